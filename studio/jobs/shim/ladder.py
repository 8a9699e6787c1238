"""The stop ladder: polite first, the whole tree last, and never a process that is not the run's."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import NamedTuple

from studio.jobs.shim import procs

KILL = {"signal": "SIGKILL", "to": "tree", "grace_s": 10.0, "label": "kill"}


class Rung(NamedTuple):  # a dataclass would cost every supervisor 10 ms of imports
    """One step: which signal goes to whom, and how long it is given."""

    number: int
    of: int
    signal: str
    to: str
    grace_s: float
    label: str


def rungs(steps: list[dict]) -> Iterator[Rung]:
    """Yield the engine's own steps and, as the last, SIGKILL to the whole tree."""
    every = [step for step in steps if step["signal"] != "SIGKILL"] + [KILL]
    for number, step in enumerate(every, 1):
        yield Rung(
            number=number,
            of=len(every),
            signal=step["signal"],
            to=step["to"],
            grace_s=float(step["grace_s"]),
            label=step.get("label", ""),
        )


def targets(run_id: str, root: procs.Stat | None, to: str) -> list[procs.Stat]:
    """Return the processes a rung addresses.

    `group` and `tree` are found by parenthood (this process is a subreaper, so orphans are its
    children) and by the environment mark; `ranks` are the topmost processes that a torch launcher
    gave a LOCAL_RANK, and the root where there are none. Runs that this one launched are not its
    processes, though their supervisors are its children.
    """
    if to == "tree":
        found = {entry.pid: entry for entry in procs.descendants(os.getpid(), run_id)}
        found.update({entry.pid: entry for entry in procs.marked(run_id)})
        return list(found.values())
    if root is None:
        return []
    if to == "group":
        return [e for e in procs.descendants(os.getpid(), run_id) if e.pgrp == root.pgrp]
    if to == "ranks":
        top = [entry for entry, _ in procs.ranks(procs.descendants(os.getpid(), run_id))]
        return top or [root]
    return [root]


def strike(run_id: str, root: procs.Stat | None, rung: Rung) -> int:
    """Send a rung's signal and return how many processes it went to."""
    addressed = targets(run_id, root, rung.to)
    procs.send(addressed, getattr(signal, rung.signal))
    return len(addressed)
