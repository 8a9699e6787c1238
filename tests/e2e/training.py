"""A training of the real engine from its launch to its end, and its curves, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.core.settings import ROOT
from studio.core.spec import State
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.studio import Studio

TRAIN_S = 900
"""DeepSpeed compiles an operator for minutes in a fresh home."""

TEARDOWN = "terminate called without an active exception"
"""What the C++ runtime says when a process is left while one of its threads is at work."""

Curve = dict[int, float]


def trained(studio: Studio, recipe: str, changes: dict[str, Any] | None = None) -> Run:
    """Launch a training by recipe and return it when it is DONE.

    In a few of a hundred runs of two processes on a CPU, one that is done with everything aborts
    while it is torn down, and the launcher reports the whole as failed. Only where the log says
    exactly that line, such a run is repeated, once.
    """
    run = ended(studio, studio.launch_recipe(recipe, changes))
    if run.state is State.FAILED and died_in_teardown(run):
        run = ended(studio, studio.relaunch(run.id))
    assert run.state is State.DONE, f"{explain(run)}\n{run.dir.log.read_text()[-3000:]}"
    assert run.result["exit_code"] == 0
    return run


def ended(studio: Studio, run: Run) -> Run:
    """Wait for the end of a run, its environment's build included."""
    for build in run.spec.after:
        assert studio.jobs.wait(build, timeout_s=1800).state is State.DONE
    return studio.jobs.wait(run.id, timeout_s=TRAIN_S)


def died_in_teardown(run: Run) -> bool:
    """Tell whether the log of a run of several processes says exactly that line."""
    lines = run.dir.log.read_text(errors="replace").splitlines()
    return run.spec.ranks > 1 and TEARDOWN in [line.strip() for line in lines]


def curve(studio: Studio, run: Run, name: str = "loss") -> Curve:
    """Return one of a run's curves, by step."""
    return {int(p.step): p.value for p in studio.points(run.id) if p.name == name}


def output(run: Run) -> Path:
    """Return the folder with the result of a training."""
    return run.dir.folder / "artifacts/output"


def rows_of(name: str) -> list[dict[str, Any]]:
    """Read one of the sample data sets."""
    return json.loads((ROOT / f"assets/data/{name}.json").read_text(encoding="utf-8"))


def falls(losses: Curve, to: float) -> bool:
    """Tell whether the last quarter of a curve lies below `to` times its first value."""
    values = list(losses.values())
    last = values[-max(1, len(values) // 4) :]
    return sum(last) / len(last) < to * values[0]
