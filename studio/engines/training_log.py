"""What a training says about itself: curves, progress, checkpoints and final figures.

LLaMA-Factory writes `trainer_log.jsonl` (loss, learning rate, accuracy). Gradient norms, rewards
and exact times stand only in the lines the trainer prints, and, once a checkpoint or the result is
saved, in `trainer_state.json`. Nothing here keeps anything between two looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.spec import RunSpec
from studio.engines.engine import Point, Progress
from studio.engines.training_yaml import OUTPUT
from studio.jobs.logs import read_from
from studio.jobs.rundir import RunDir, read_rows

MOST_LOG_BYTES = 4 * 2**20
"""How much of the end of a log is looked at for figures that stand nowhere else."""
LAST_ROW_BYTES = 16 * 2**10
MOST_ANCESTORS = 20
_LINE = re.compile(r"\{'loss': [^\n{}]*\}")
_PAIR = re.compile(r"'([\w/]+)': '?([-+.\w]+)'?")
_NAMES = {"loss": "loss", "eval_loss": "eval_loss", "lr": "lr", "accuracy": "accuracy"}
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint of a run, as far as it is written."""

    step: int
    path: Path
    bytes: int
    at: float
    """When it was complete, in seconds since the epoch."""
    eval_loss: float | None = None
    best: bool = False
    """True for the one with the best figure so far, as the trainer counts it."""
    resumable: bool = True
    """False when it has no optimizer states: a run cannot go on from it."""


def points(run: RunDir) -> Iterator[Point]:
    """Yield every curve: those of the run it goes on from, up to that step, then its own.

    loss, eval_loss, lr, accuracy, grad_norm, rewards/*; throughput in tokens/s and samples_per_s,
    both of all processes together.
    """
    for ancestor, last in _ancestors(run):
        for point in _own_points(ancestor):
            if point.step <= last:
                yield point
    yield from _own_points(run)


def progress(run: RunDir) -> Progress | None:
    """Return steps done, of how many, and what is left; None before the first log line."""
    last = _last_row(run.folder / OUTPUT / "trainer_log.jsonl")
    if last is None:
        return None
    done, total = last["current_steps"], last["total_steps"]
    left = seconds(last.get("remaining_time"))
    began = resumed_at(run.spec())
    spent = seconds(last.get("elapsed_time"))
    if began and spent is not None and done > began:
        left = spent / (done - began) * (total - done)
    return Progress(done, total, f"step {done}/{total}", left)


def checkpoints(run: RunDir) -> list[Checkpoint]:
    """Return the complete checkpoints of a run, the oldest first."""
    found = []
    best = best_checkpoint(run)
    losses = {
        row["current_steps"]: row["eval_loss"]
        for row in read_rows(run.folder / OUTPUT / "trainer_log.jsonl")
        if isinstance(row.get("eval_loss"), (int, float))
    }
    for folder in (run.folder / OUTPUT).glob("checkpoint-*"):
        told, state = _CHECKPOINT.fullmatch(folder.name), folder / "trainer_state.json"
        if told is None or not state.is_file():
            continue
        step = int(told[1])
        found.append(
            Checkpoint(
                step=step,
                path=folder,
                bytes=sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()),
                at=state.stat().st_mtime,
                eval_loss=losses.get(step),
                best=folder.name == best,
                resumable=resumable(folder),
            )
        )
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def best_checkpoint(run: RunDir) -> str | None:
    """Return the name of the folder the trainer holds for the best; None when it does not say."""
    told = _state(run).get("best_model_checkpoint")
    return Path(told).name if told else None


def figures(run: RunDir) -> dict[str, float]:
    """Return the trainer's closing figures (train_loss, train_runtime, eval_loss, ...)."""
    told = _json(run.folder / OUTPUT / "all_results.json")
    return {name: value for name, value in told.items() if isinstance(value, (int, float))}


def resumable(folder: Path) -> bool:
    """Tell whether a checkpoint has the optimizer states that a run needs to go on from it."""
    return (
        (folder / "optimizer.pt").is_file()
        or (folder / "optimizer.bin").is_file()
        or any(folder.glob("global_step*"))
    )


def resumed_at(spec: RunSpec) -> int:
    """Return the step a run went on from; 0 for one that began."""
    named = str(spec.config.get("resume_from_checkpoint") or "").rstrip("/").rpartition("/")[2]
    told = _CHECKPOINT.fullmatch(named)
    return int(told[1]) if told else 0


def seconds(text: str | None) -> float | None:
    """Turn LLaMA-Factory's `1:02:03` or `1 day, 0:00:01` into seconds."""
    if not text:
        return None
    days, _, clock = text.rpartition(", ")
    try:
        hours, minutes, rest = (float(part) for part in clock.split(":"))
        whole_days = float(days.split()[0]) if days else 0.0
    except (ValueError, IndexError):
        return None
    return whole_days * 86400 + hours * 3600 + minutes * 60 + rest


def printed(run: RunDir) -> list[dict[str, float]]:
    """Return the figures the trainer printed with every loss, the oldest first.

    Of a very long log only the end is read; the step is not among what is printed. LLaMA-Factory
    says most of it a second time in a line of its own, told by its `throughput`: left out.
    """
    try:
        with open(run.log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MOST_LOG_BYTES))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return []
    rows = (_numbers(line) for line in _LINE.findall(text))
    return [row for row in rows if "throughput" not in row]


# curves -----------------------------------------------------------------------------------------


def _own_points(run: RunDir) -> Iterator[Point]:
    rows = read_rows(run.folder / OUTPUT / "trainer_log.jsonl")
    more = _more(run, rows)
    exact = any("train_tokens_per_second" in figures for figures in more.values())
    for row in rows:
        step = row.get("current_steps")
        if step is None:
            continue
        for key, name in _NAMES.items():
            if isinstance(row.get(key), (int, float)):
                yield Point(name, step, row[key])
        if not exact and isinstance(row.get("throughput"), (int, float)):
            yield Point("throughput", step, row["throughput"])
    yield from _more_points(run.spec(), more)


def _more_points(spec: RunSpec, more: dict[int, dict[str, float]]) -> Iterator[Point]:
    """Yield what stands beside the loss; speeds are those between two log lines."""
    batch = _effective_batch(spec)
    before_step, before_s = resumed_at(spec), 0.0
    for step, told in sorted(more.items()):
        for name, value in told.items():
            if name == "grad_norm" or name.startswith("rewards/"):
                yield Point(name, step, value)
        if "train_tokens_per_second" in told:
            yield Point("throughput", step, told["train_tokens_per_second"])
        spent = told.get("train_runtime", 0.0)
        if spent > before_s and step > before_step:
            rate = (step - before_step) * batch / (spent - before_s)
            yield Point("samples_per_s", step, rate)
            before_step, before_s = step, spent


def _more(run: RunDir, rows: list[dict[str, Any]]) -> dict[int, dict[str, float]]:
    """Return the figures beside the loss by step: as saved, and as printed since then."""
    found: dict[int, dict[str, float]] = {}
    began = resumed_at(run.spec())
    for entry in _state(run).get("log_history", ()):
        if "loss" in entry and entry["step"] > began:
            found[int(entry["step"])] = {
                name: float(value)
                for name, value in entry.items()
                if isinstance(value, (int, float))
            }
    steps = [(row["current_steps"], row["loss"]) for row in rows if "loss" in row]
    if steps and steps[-1][0] in found:
        return found
    lines = printed(run)
    for (step, _), told in zip(reversed(steps), _aligned(lines, steps), strict=False):
        found.setdefault(step, told)
    return found


def _aligned(
    lines: list[dict[str, float]], steps: list[tuple[int, float]]
) -> Iterator[dict[str, float]]:
    """Yield the printed lines backwards from the one that belongs to the last step.

    The trainer prints before a background thread writes the row, so a line may be ahead.
    """
    if not steps:
        return
    for ahead in range(min(3, len(lines))):
        line = lines[-1 - ahead]
        if f"{line.get('loss', 0):.3g}" == f"{steps[-1][1]:.3g}":
            yield from reversed(lines[: len(lines) - ahead])
            return


def _numbers(line: str) -> dict[str, float]:
    found = {}
    for name, text in _PAIR.findall(line):
        try:
            found[name] = float(text)
        except ValueError:
            continue
    return found


def _effective_batch(spec: RunSpec) -> int:
    config = spec.config
    each = config.get("per_device_train_batch_size") or 1
    return each * (config.get("gradient_accumulation_steps") or 1) * max(1, spec.ranks)


def _ancestors(run: RunDir) -> list[tuple[RunDir, int]]:
    """Return the runs this one goes on from, the oldest first, each with its last step that counts.

    Only runs of the same home; a checkpoint from elsewhere has no curves here.
    """
    found: list[tuple[RunDir, int]] = []
    last = float("inf")
    while len(found) < MOST_ANCESTORS:
        spec = run.spec()
        step = resumed_at(spec)
        folder = Path(str(spec.config.get("resume_from_checkpoint") or ""))
        here = folder.parents[2] if step and len(folder.parents) > 3 else None
        inside = here is not None and here.parent == run.folder.parent
        if here is None or not inside or not (here / "spec.json").is_file():
            break
        last = min(last, step)
        run = RunDir(here)
        found.insert(0, (run, int(last)))
    return found


def _last_row(path: Path) -> dict[str, Any] | None:
    """Return the newest row of a log by its end alone; it is asked for every second."""
    for line in reversed(read_from(path, -LAST_ROW_BYTES).text.splitlines()):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "total_steps" in row:
            return row
    return None


def _state(run: RunDir) -> dict[str, Any]:
    """Return the newest trainer_state.json: the result's, else the last checkpoint's."""
    output = run.folder / OUTPUT
    final = _json(output / "trainer_state.json")
    if final:
        return final
    saved = [
        (int(told[1]), folder / "trainer_state.json")
        for folder in output.glob("checkpoint-*")
        if (told := _CHECKPOINT.fullmatch(folder.name))
    ]
    for _, path in sorted(saved, reverse=True):
        if state := _json(path):
            return state
    return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
