"""The plan beside what a run really took.

`vllm-0.32-cpu.txt` was written by vLLM. There was no log of an H200 to be had: the two
`reconstructed-…` files are put together from the figures vLLM 0.26 reported there and the wording
of its source; estimates and times in them are made up.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from planner.planning import GIB, MIB, TINY, h200, plan

from studio.jobs.rundir import RunDir
from studio.planner.measured import compare, read_plan
from studio.planner.result import ServingPlan

LOGS = Path(__file__).parent / "logs"
SEVEN = "Qwen/Qwen2.5-7B-Instruct"


def run_dir(
    folder: Path,
    log: str | None,
    result: dict[str, Any] | None = None,
    samples: list[dict[str, Any]] | None = None,
) -> RunDir:
    if log:
        shutil.copy(LOGS / f"{log}.txt", folder / "log.txt")
    if result:
        (folder / "result.json").write_text(json.dumps(result))
    lines = [json.dumps(sample) for sample in samples or []]
    (folder / "metrics.jsonl").write_text("\n".join(lines))
    return RunDir(folder)


def rows(plan: ServingPlan, run: RunDir) -> dict[str, tuple[float, float]]:
    found = compare(plan, run)
    return {row.what: (row.measured, round(row.error, 4)) for row in found.rows} if found else {}


def test_a_real_start_on_a_cpu(tmp_path: Path) -> None:
    """vllm/smoke on vLLM 0.32: the cache to the token, host memory within 2 %."""
    p = plan(TINY, [], host_free=16 * GIB, dtype="float32", kv_cache_memory_bytes=64 * MIB,
             max_model_len=2048, max_num_seqs=16, enforce_eager=True)  # fmt: skip
    run = run_dir(tmp_path, "vllm-0.32-cpu", {"peak_host_bytes": 1_428_544_512})
    found = rows(p, run)
    assert found["kv_tokens"] == (32_768, 0)
    assert abs(found["host_bytes"][1]) < 0.02
    assert set(found) == {"kv_tokens", "host_bytes"}


def test_an_h200(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(), dummy_weights=True)
    run = run_dir(tmp_path, "reconstructed-h200-tp1", {"peak_gpu_bytes": {"0": 130_855 * MIB}})
    found = rows(p, run)
    assert set(found) == {
        "weights_bytes", "kv_tokens", "cache_bytes", "graphs_bytes", "activations_bytes",
        "peak_bytes",
    }  # fmt: skip
    assert found["weights_bytes"] == (14.29 * GIB, pytest.approx(0, abs=0.001))
    assert found["kv_tokens"] == (2_063_088, pytest.approx(0, abs=0.005))
    assert found["cache_bytes"][0] == 110.18 * GIB
    assert found["activations_bytes"][0] == pytest.approx((1.25 - 0.30) * GIB)
    assert found["peak_bytes"] == (130_855 * MIB, pytest.approx(0, abs=0.02))


def test_replicas_are_summed_and_workers_are_not(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(4), tensor_parallel_size=2, data_parallel_size=2, dummy_weights=True)
    found = rows(p, run_dir(tmp_path, "reconstructed-h200-dp2-tp2"))
    assert found["kv_tokens"][0] == 4_410_656 + 4_410_000
    assert found["weights_bytes"][0] == 7.16 * GIB
    assert found["cache_bytes"][0] == 117.78 * GIB


def test_a_running_server_tells_by_its_samples(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(2), tensor_parallel_size=2, dummy_weights=True)
    samples = [
        {"at": 1, "host_bytes": 5, "gpu_bytes": {"0": 100 * GIB, "1": 90 * GIB}},
        {"at": 2, "host_bytes": 5, "gpu_bytes": {"0": 120 * GIB, "1": 127 * GIB}},
        {"at": 3, "host_bytes": 5},
    ]
    assert rows(p, run_dir(tmp_path, None, samples=samples))["peak_bytes"][0] == 127 * GIB


def test_older_wording_and_sglang(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(), dummy_weights=True)
    (tmp_path / "log.txt").write_text(
        "Actual usage is 14.29 GiB for weight, 1.25 GiB for peak activation, and\n"
        "Load weight end. type=Qwen2ForCausalLM, avail mem=124.9 GB, mem usage=14.30 GB.\n"
        "max_total_num_tokens=2011223, chunked_prefill_size=8192\n"
    )
    found = rows(p, RunDir(tmp_path))
    assert found["activations_bytes"][0] == 1.25 * GIB
    assert found["weights_bytes"][0] == pytest.approx(14.30 * GIB)
    assert found["kv_tokens"][0] == 2_011_223


def test_a_run_that_has_said_nothing(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(), dummy_weights=True)
    assert compare(p, run_dir(tmp_path, None)) is None
    assert compare(p, run_dir(tmp_path, None, {"peak_gpu_bytes": {}})) is None


def test_the_plan_of_a_run_is_read_back(tmp_path: Path) -> None:
    p = plan(SEVEN, h200(), dummy_weights=True)
    run = RunDir(tmp_path)
    assert read_plan(run) is None
    (tmp_path / "plan.json").write_text(json.dumps({"engine": "vllm"}))
    assert read_plan(run) is None
    (tmp_path / "plan.json").write_text(json.dumps(p.model_dump(mode="json")))
    assert read_plan(run) == p
