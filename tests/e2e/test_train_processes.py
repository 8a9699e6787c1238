"""Two processes on the CPU: every launcher, DDP and ZeRO-1, 2 and 3, with the same result.

The first run with DeepSpeed in a home compiles one of its operators, for a minute or two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from e2e.conftest import stopped
from e2e.training import curve, died_in_teardown, falls, output, trained
from studio.jobs.jobs import Run
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

WAYS = ["smoke-torchrun", "smoke-accelerate", "smoke-zero1", "smoke-zero2", "smoke-zero3"]
STEPS = 10
WEIGHTS = 1_700_000
"""Of the tiny model, roughly."""

Way = Callable[[str], Run]


@pytest.fixture(scope="module")
def way(real_studio: Studio) -> Way:
    """Train by a recipe when it is first asked for; the run is shared by the tests of this file."""
    runs: dict[str, Run] = {}

    def get(name: str) -> Run:
        if name not in runs:
            runs[name] = trained(real_studio, f"llamafactory/{name}")
        return runs[name]

    return get


def seen(run: Run) -> list[dict[str, Any]]:
    """Return the supervisor's samples that counted training processes."""
    return [row for row in run.dir.metrics() if row.get("ranks")]


@pytest.mark.parametrize("name", WAYS)
def test_two_processes_come_up_and_learn(real_studio: Studio, way: Way, name: str) -> None:
    """The studio's own check, not the launcher's word: some launchers silently run one process."""
    run = way(name)
    assert run.spec.ranks == 2
    assert max(row["ranks"] for row in seen(run)) == 2
    losses = curve(real_studio, run)
    assert list(losses) == list(range(1, STEPS + 1))
    assert falls(losses, 0.8), losses
    assert (output(run) / "model.safetensors").stat().st_size > 2 * WEIGHTS


@pytest.mark.parametrize("name", WAYS[1:])
def test_losses_are_those_of_plain_ddp(real_studio: Studio, way: Way, name: str) -> None:
    """The same data in the same order: sharing the states out changes nothing but rounding."""
    plain, other = curve(real_studio, way("smoke-torchrun")), curve(real_studio, way(name))
    assert other == pytest.approx(plain, rel=2e-3)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_states_are_shared_out_on_the_disk(way: Way, stage: int) -> None:
    """Each process saved its own half of the optimizer's states, and with ZeRO-3 of the weights."""
    saved = output(way(f"smoke-zero{stage}")) / f"checkpoint-{STEPS}/global_step{STEPS}"
    sizes = [path.stat().st_size for path in sorted(saved.glob("*_optim_states.pt"))]
    assert len(sizes) == 2
    assert max(sizes) < 1.1 * min(sizes)
    assert 0.4 < sum(sizes) / (12 * WEIGHTS) < 1.6, "master weights and two moments, 12 bytes each"
    pieces = list(saved.glob("zero_pp_rank_*_model_states.pt"))
    assert len(pieces) == (2 if stage == 3 else 0)


def test_cooperative_stop_reaches_both_processes(real_studio: Studio) -> None:
    """Each finishes its step, and the first one saves."""
    run = real_studio.launch_recipe("llamafactory/smoke-torchrun", {"max_steps": 3000})
    real_studio.jobs.wait(run.id, lambda r: len(curve(real_studio, r)) > 3, timeout_s=600)
    run = stopped(real_studio, run)
    assert max(row["ranks"] for row in seen(run)) == 2
    assert (output(run) / "model.safetensors").stat().st_size > 2 * WEIGHTS
    assert run.result["exit_code"] == 0 or died_in_teardown(run)


def test_script_of_ones_own_under_accelerate(real_studio: Studio) -> None:
    run = trained(real_studio, "scripts/smoke-script")
    assert run.spec.ranks == 2
    assert max(row["ranks"] for row in seen(run)) == 2
    assert "processes: 2" in run.dir.log.read_text()
    losses = curve(real_studio, run)
    assert len(losses) == 20 and falls(losses, 0.8), losses
    assert real_studio.progress(run.id)[:2] == (40, 40)
    assert (output(run) / "model.safetensors").exists()
