"""What a training really took, by its own log, its files and the supervisor's samples.

Pairs of planned and measured; `measured.compare` puts them together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from studio.engines.training_yaml import OUTPUT
from studio.jobs.rundir import RunDir, read_rows
from studio.planner.training_result import TrainingPlan

LEAST_BYTES = 2**24
"""Below this, files beside the numbers (tokenizer, settings) weigh too much to compare."""
_READ_BYTES = 4 * 2**20
"""Everything that is looked for is said before the first step."""
_TRAINABLE = re.compile(r"trainable params: ([\d,]+)")


def peaks(run_dir: RunDir) -> tuple[dict[str, int], int]:
    """Return the peak of every card and of the host, of the run's own processes.

    From the result, or from the supervisor's samples while there is none.
    """
    result = run_dir.result() or {}
    cards: dict[str, int] = dict(result.get("peak_gpu_bytes") or {})
    host = int(result.get("peak_host_bytes") or 0)
    if not result:
        for row in run_dir.metrics():
            host = max(host, int(row.get("host_bytes") or 0))
            for card, size in (row.get("gpu_bytes") or {}).items():
                cards[card] = max(cards.get(card, 0), int(size))
    return cards, host


def training_pairs(plan: TrainingPlan, run_dir: RunDir) -> Iterator[tuple[str, float, float]]:
    """Yield what, planned and measured, as far as the run has told.

    The parameters are told by the engine's log, steps by its own count. A checkpoint is measured
    once it is whole, the result at the end.
    """
    cards, host = peaks(run_dir)
    samples = [int(row.get("host_bytes") or 0) for row in run_dir.metrics()]
    if len(samples) > 3:  # without the loading, whose file pages count and are given back
        host = max(samples[len(samples) // 2 :])
    if plan.cards and plan.cards[0].card is not None and (peak := max(cards.values(), default=0)):
        yield "peak_bytes", plan.peak_bytes, peak
    if host:
        yield "host_bytes", plan.host_bytes, host
    if found := _TRAINABLE.search(_beginning(run_dir)):
        yield "trainable", plan.trainable, int(found.group(1).replace(",", ""))
    output = run_dir.folder / OUTPUT
    rows = read_rows(output / "trainer_log.jsonl")
    if rows and plan.steps and rows[-1].get("total_steps"):
        yield "steps", plan.steps, rows[-1]["total_steps"]
    whole = [
        _bytes(folder)
        for folder in output.glob("checkpoint-*")
        if (folder / "trainer_state.json").is_file()
    ]
    if whole and plan.disk.checkpoint_bytes and max(whole) >= LEAST_BYTES:
        yield "checkpoint_bytes", plan.disk.checkpoint_bytes, max(whole)
    result = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    if result >= LEAST_BYTES and (output / "all_results.json").is_file():
        yield "result_bytes", plan.disk.result_bytes, result


def _beginning(run_dir: RunDir) -> str:
    try:
        with run_dir.log.open("rb") as file:
            return file.read(_READ_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
