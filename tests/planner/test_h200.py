"""The plan beside what nine servers on real H200 cards took; see docs/evidence/serve.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from planner.planning import h200, plan

POINTS = json.loads((Path(__file__).parent / "h200.json").read_text())["points"]
SHAPES = {"qwen2.5-7b": "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-14b": "Qwen/Qwen2.5-14B-Instruct"}
GIB = 2**30


def _name(point: dict[str, Any]) -> str:
    return f"{point['model']} tp{point['tp']} dp{point['dp']} {point['util']}"


@pytest.mark.parametrize("point", POINTS, ids=_name)
def test_plan_against_measured(point: dict[str, Any]) -> None:
    """Weights within 1 %, KV-cache tokens within 5 %, the peak not under-estimated by over 2 %."""
    found = plan(
        SHAPES[point["model"]],
        h200(point["tp"] * point["dp"]),
        tensor_parallel_size=point["tp"],
        data_parallel_size=point["dp"],
        gpu_memory_utilization=point["util"],
        max_model_len=point["len"],
        enforce_eager=point["eager"],
        dummy_weights=True,
    )
    assert found.fits
    assert found.weights_bytes / GIB == pytest.approx(point["weights_gib"], rel=0.01)
    assert found.kv_tokens == pytest.approx(point["kv_tokens"], rel=0.05)
    card = found.cards[0]
    peak = card.total_bytes - card.of("free") - card.of("other") - 606 * 2**20
    error = peak / point["peak_bytes"] - 1
    print(
        f"\n{_name(point)}: weights {found.weights_bytes / GIB / point['weights_gib'] - 1:+.2%}, "
        f"KV tokens {found.kv_tokens / point['kv_tokens'] - 1:+.2%}, peak {error:+.2%}"
    )
    assert -0.02 < error < 0.02
