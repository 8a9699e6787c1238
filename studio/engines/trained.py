"""What a training left that something can be done with: its checkpoints and its result.

    saved(run.dir)         [Trained(step=20, kind="adapter", eval_loss=1.31, best=True, ...), ...]
    result(run.dir)        what the training itself saved in the end, as one more of these
    saved_at(run.dir, 20)  the checkpoint of a step, or the newest to go on from

What the trainer tells about a checkpoint is read by `training_log`. Only the disk is looked at.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import NotFound
from studio.engines import training_log
from studio.engines.training_yaml import OUTPUT
from studio.jobs.rundir import RunDir

Kind = Literal["adapter", "model", "other"]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One saved state of a model."""

    step: int | None
    """None for what was saved in the end."""
    folder: Path
    bytes: int
    made_at: float
    """When it was complete, in seconds since the epoch."""
    kind: Kind
    """What it holds: an adapter, a whole model, or neither (states of a sharded training)."""
    eval_loss: float | None = None
    best: bool = False
    resumable: bool = False
    """True when the optimizer's states are there as well, so that one can go on from it."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "folder": str(self.folder)}


def saved(run: RunDir) -> list[Trained]:
    """Return the checkpoints that are on the disk, by step.

    The best is the trainer's own; where it holds none, the one with the lowest evaluation loss.
    """
    found = [
        Trained(
            step=item.step,
            folder=item.path,
            bytes=item.bytes,
            made_at=item.at,
            kind=kind_of(item.path),
            eval_loss=item.eval_loss,
            best=item.best,
            resumable=item.resumable,
        )
        for item in training_log.checkpoints(run)
    ]
    told = {item.eval_loss: item.step for item in reversed(found) if item.eval_loss is not None}
    if len(told) > 1 and not any(item.best for item in found):
        best = told[min(told)]
        found = [replace(item, best=item.step == best) for item in found]
    return found


def result(run: RunDir) -> Trained | None:
    """Return what the training saved in the end; None while there is nothing to use."""
    folder = run.folder / OUTPUT
    kind = kind_of(folder)
    if kind == "other":
        return None
    return Trained(
        step=None,
        folder=folder,
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        made_at=folder.stat().st_mtime,
        kind=kind,
        eval_loss=training_log.figures(run).get("eval_loss"),
    )


def saved_at(run: RunDir, step: int | None = None) -> Trained:
    """Return the checkpoint of a step, or the newest that one can go on from; raise NotFound."""
    found = saved(run)
    if step is None:
        found = [item for item in found if item.resumable]
        if found:
            return found[-1]
        raise NotFound(
            f"Run {run.folder.name} has no checkpoint to go on from.",
            hint="Set save_steps, so that the next training keeps some.",
        )
    for item in found:
        if item.step == step:
            return item
    have = ", ".join(str(item.step) for item in found) or "none"
    raise NotFound(f"Run {run.folder.name} has no checkpoint {step}.", hint=f"There are: {have}.")


def kind_of(folder: Path) -> Kind:
    """Tell what a folder holds."""
    if (folder / "adapter_config.json").is_file():
        return "adapter" if any(folder.glob("adapter_model.*")) else "other"
    weights = any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    return "model" if weights and (folder / "config.json").is_file() else "other"
