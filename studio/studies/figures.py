"""The figures of a finished run: how fast a training was once it was warm, and what it took.

Speeds are those of the trainer's own clock between two of its log lines: from the first line after
the warm-up to the last. Starting, loading, the first steps and saving are outside of them. What a
training says is in its `trainer_state.json`, exact; where it left none, in the lines it printed,
to four digits.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from studio.bench.formulas import median
from studio.engines.training_log import printed, resumed_at
from studio.jobs.jobs import Run
from studio.jobs.rundir import RunDir

if TYPE_CHECKING:
    from studio.studio import Studio

WARM_STEPS = 10
"""Steps that are left out; a third of the training when that is fewer."""
_GIB = 2**30


class Logged(NamedTuple):
    """One log line of a trainer."""

    step: int
    seconds: float | None
    """Since the first step began."""
    tokens: float | None
    """Tokens that went in so far, of all processes; padding counts."""
    loss: float


def run_figures(run: Run) -> dict[str, float]:
    """Return what the supervisor saw of a run that ended: `seconds`, `peak_card_gib` (the fullest
    card), `peak_host_gib`. What it did not see is left out.
    """
    figures: dict[str, float] = {}
    if run.started_at is not None and run.ended_at is not None:
        figures["seconds"] = run.ended_at - run.started_at
    result = run.result or {}
    card = max((result.get("peak_gpu_bytes") or {}).values(), default=0)
    host = result.get("peak_host_bytes") or 0
    return figures | {
        name: size / _GIB
        for name, size in (("peak_card_gib", card), ("peak_host_gib", host))
        if size
    }


def training_figures(studio: Studio, run: Run) -> dict[str, float]:
    """Return the figures of a training that ended, those of `run_figures` among them.

    `samples_per_s` and `tokens_per_s` of all processes together, `step_s` (median over log lines),
    `loss_first`, `loss_last`. A training too short to have two log lines after the warm-up has no
    speed. A script that is no transformers Trainer has what its curves tell.
    """
    figures = run_figures(run)
    logged = _saved(run.dir) or _printed(run.dir)
    if not logged:
        return figures | _curves(studio, run)
    figures |= {"loss_first": logged[0].loss, "loss_last": logged[-1].loss}
    return figures | speeds(logged, _batch(run))


def speeds(logged: list[Logged], batch: int) -> dict[str, float]:
    """Return `samples_per_s`, `tokens_per_s` and `step_s` after the warm-up; empty without it.

    `batch` is how many samples one step takes, of all processes and accumulated steps together.
    """
    warm = min(WARM_STEPS, logged[-1].step // 3)
    rows = [row for row in logged if row.step >= warm and row.seconds is not None]
    if len(rows) < 2:
        return {}
    first, last = rows[0], rows[-1]
    seconds = _since(first, last)
    if seconds <= 0:
        return {}
    found = {"samples_per_s": (last.step - first.step) * batch / seconds}
    if first.tokens is not None and last.tokens is not None:
        found["tokens_per_s"] = (last.tokens - first.tokens) / seconds
    steps = [_since(a, b) / (b.step - a.step) for a, b in pairwise(rows)]
    return {**found, "step_s": median(steps)}


def _since(a: Logged, b: Logged) -> float:
    return (b.seconds or 0.0) - (a.seconds or 0.0)


def _batch(run: Run) -> int:
    config = run.spec.config
    each = config.get("per_device_train_batch_size") or 1
    return each * (config.get("gradient_accumulation_steps") or 1) * max(1, run.spec.ranks)


def _saved(run: RunDir) -> list[Logged]:
    """Return the log of the trainer's state, the one of the most steps that was saved."""
    states = [_read(path) for path in run.artifacts.rglob("trainer_state.json")]
    if not states:
        return []
    best = max(states, key=lambda state: state.get("global_step") or 0)
    began = resumed_at(run.spec())
    rows = (row for row in best.get("log_history", ()) if "loss" in row)
    return [_logged(int(row["step"]), row) for row in rows if row["step"] > began]


def _printed(run: RunDir) -> list[Logged]:
    """Return the lines a trainer printed, one for every `logging_steps`."""
    spec = run.spec()
    every, began = spec.config.get("logging_steps") or 1, resumed_at(spec)
    return [_logged(began + (i + 1) * every, row) for i, row in enumerate(printed(run))]


def _logged(step: int, row: dict[str, Any]) -> Logged:
    return Logged(step, row.get("train_runtime"), row.get("num_input_tokens_seen"), row["loss"])


def _curves(studio: Studio, run: Run) -> dict[str, float]:
    """Return the first and last loss and the median speed of a script's own curves."""
    curves: dict[str, list[float]] = {}
    for point in studio.points(run.id):
        curves.setdefault(point.name, []).append(point.value)
    found: dict[str, float] = {}
    if losses := curves.get("loss"):
        found |= {"loss_first": losses[0], "loss_last": losses[-1]}
    for name in ("samples_per_s", "tokens_per_s"):
        if values := curves.get(name):
            found[name] = median(values[len(values) // 3 :])
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
