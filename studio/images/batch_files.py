"""A batch on disk: what was asked, what became of each picture, and who works on it now."""

from __future__ import annotations

import fcntl
import json
import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Any

from studio.core.spec import Frozen
from studio.images.request import EditSettings

HALTED = -1
"""Index of a row about the batch itself."""


class BatchState(StrEnum):
    """Worked out at every look."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    DONE = "done"


class Plan(Frozen):
    """`batch.json`: what was asked. Never changed."""

    id: str
    created_at: float
    name: str
    settings: EditSettings
    endpoint: str = ""
    """Id of the endpoint; empty takes the first that runs."""
    sources: tuple[str, ...] = ()
    """Paths of the pictures, in order."""
    names: tuple[str, ...] = ()
    out: str = ""
    """Folder that results are copied to; empty keeps them in the gallery alone."""


class Row(Frozen):
    """What became of one picture."""

    index: int
    state: str
    """running, done, failed or cancelled."""
    item: str = ""
    took_s: float | None = None
    error: str = ""
    hint: str = ""
    at: float = 0.0


class BatchLook(Frozen):
    """A batch at this moment."""

    plan: Plan
    state: BatchState
    rows: tuple[Row, ...] = ()
    """The last word about each picture that was begun, in order."""
    halt: Row | None = None
    """Why it stopped by itself, where no picture is to blame: the worker is gone, the disk full."""

    @property
    def total(self) -> int:
        """Pictures in all."""
        return len(self.plan.sources)

    def count(self, state: str) -> int:
        """Return how many pictures are in a state: done, failed, cancelled, running."""
        return sum(row.state == state for row in self.rows)

    @property
    def current(self) -> Row | None:
        """The picture at work."""
        return next((row for row in self.rows if row.state == "running"), None)

    @property
    def eta_s(self) -> float | None:
        """Seconds to go, from the time the pictures so far took; None before the first."""
        took = [row.took_s for row in self.rows if row.took_s is not None]
        left = self.total - self.count("done") - self.count("failed")
        return sum(took) / len(took) * left if took and left else None

    def summary(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        return {
            "id": self.plan.id,
            "name": self.plan.name,
            "state": str(self.state),
            "prompt": self.plan.settings.prompt,
            "total": self.total,
            "done": self.count("done"),
            "failed": self.count("failed"),
            "out": self.plan.out,
            "created_at": self.plan.created_at,
            "eta_s": self.eta_s,
            "error": self.halt.error if self.halt else "",
            "hint": self.halt.hint if self.halt else "",
            "rows": [
                {**row.model_dump(mode="json"), "name": self.plan.names[row.index]}
                for row in self.rows
            ],
        }


def read_plan(own: Path) -> Plan:
    """Read what was asked."""
    return Plan.model_validate_json((own / "batch.json").read_bytes())


def read_rows(own: Path) -> tuple[list[Row], Row | None]:
    """Return the last row about each picture, in order, and why the batch halted if it did."""
    try:
        lines = (own / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return [], None
    last: dict[int, Row] = {}
    for line in lines:
        try:
            row = Row.model_validate(json.loads(line))
        except ValueError:
            continue
        if row.index != HALTED:
            last.pop(HALTED, None)  # it went on
        last[row.index] = row
    halt = last.pop(HALTED, None)
    return [last[index] for index in sorted(last)], halt


def append(own: Path, row: Row) -> None:
    """Write down what became of a picture."""
    with open(own / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write(row.model_copy(update={"at": time.time()}).model_dump_json() + "\n")


def lock(own: Path, kind: int) -> int | None:
    """Lock a batch until the descriptor is closed: LOCK_EX to work on it, LOCK_SH to look."""
    descriptor = os.open(own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
