"""A run's folder as everybody but the supervisor sees it: read, and reconcile into a state."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.spec import RunSpec, State
from studio.jobs.shim import procs
from studio.jobs.shim.files import replace_json
from studio.jobs.shim.leases import STARTING_S

_PHASES = {
    "queued": State.QUEUED,
    "starting": State.STARTING,
    "running": State.RUNNING,
    "ready": State.READY,
    "stopping": State.STOPPING,
}
_OUTCOMES = {"done": State.DONE, "failed": State.FAILED, "stopped": State.STOPPED}


class RunDir:
    """Paths and readers of one run folder. Everything in it is write-once or append-only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def log(self) -> Path:
        """What the engine printed, both streams."""
        return self.folder / "log.txt"

    @property
    def artifacts(self) -> Path:
        """What the engine made."""
        return self.folder / "artifacts"

    @property
    def command_sh(self) -> Path:
        """The launch as a script that a person can run again."""
        return self.folder / "command.sh"

    def create(self, spec: RunSpec, plan: dict[str, Any] | None = None) -> None:
        """Lay the folder out: the frozen spec, its plan, the script, the engine's input files."""
        self.folder.mkdir(mode=0o700)
        self.artifacts.mkdir()
        for name, text in spec.command.files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.command_sh.write_text(script(spec))
        self.command_sh.chmod(0o700)
        if plan is not None:
            replace_json(self.folder / "plan.json", plan)
        replace_json(self.folder / "spec.json", spec.model_dump(mode="json"))

    def spec(self) -> RunSpec:
        """Read the frozen spec back."""
        return RunSpec.model_validate_json((self.folder / "spec.json").read_text())

    def events(self) -> list[dict[str, Any]]:
        """Return the supervisor's events, oldest first."""
        return read_rows(self.folder / "events.jsonl")

    def metrics(self) -> list[dict[str, Any]]:
        """Return the supervisor's samples of memory and load, oldest first."""
        return read_rows(self.folder / "metrics.jsonl")

    def ranks_seen(self) -> int:
        """Return how many training processes were up at once, at most; 0 when none was seen.

        A process started without a torch launcher is not counted: it has no rank.
        """
        return max((row.get("ranks", 0) for row in self.metrics()), default=0)

    def served(self) -> list[dict[str, Any]]:
        """Return the rows of a server's own figures, each what changed; see telemetry.readings."""
        return read_rows(self.folder / "served.jsonl")

    def adapters(self) -> list[dict[str, Any]]:
        """Return the adapters put on and taken off while the server ran, oldest first."""
        return read_rows(self.folder / "adapters.jsonl")

    def hung_on(self) -> list[str]:
        """Return the names of the adapters that are on the server now."""
        names: dict[str, None] = {}
        for row in self.adapters():
            if row["op"] == "load":
                names[row["name"]] = None
            else:
                names.pop(row["name"], None)
        return list(names)

    def plan(self) -> dict[str, Any] | None:
        """Return what was worked out before the launch; None when nothing was."""
        return _read(self.folder / "plan.json")

    def result(self) -> dict[str, Any] | None:
        """Return how the run ended; None while it has not."""
        return _read(self.folder / "result.json")

    def lost(self) -> dict[str, Any] | None:
        """Return when the supervisor was found gone, and what was swept."""
        return _read(self.folder / "lost.json")

    def supervisor(self) -> procs.Identity | None:
        """Return the identity of the supervisor, once it is on record."""
        row = _read(self.folder / "pid.json")
        return procs.Identity(row["pid"], row["start"], row["boot"]) if row else None

    def state(self) -> State:
        """Reconcile: a result decides, else the supervisor's life, else its last event."""
        result = self.result()
        if result is None:
            if self.lost() is not None:
                return State.LOST
            who = self.supervisor()
            if who is None:
                young = time.time() - self.folder.stat().st_mtime < STARTING_S
                return State.QUEUED if young else State.LOST
            if who.alive:
                if (self.folder / "stop.jsonl").exists():
                    return State.STOPPING
                events = self.events()
                return _PHASES[events[-1]["phase"]] if events else State.QUEUED
            result = self.result()  # it may have finished between the two looks
        return _OUTCOMES[result["outcome"]] if result else State.LOST


def script(spec: RunSpec) -> str:
    """Return the launch as a readable, re-runnable shell script."""
    lines = ["#!/usr/bin/env bash", f"# {spec.name} - {spec.engine} - run {spec.id}", "set -eu"]
    lines.append('cd "$(dirname "$0")"')
    if spec.bin_dir:
        lines.append(f'export PATH={shlex.quote(spec.bin_dir)}:"$PATH"')
    if spec.resources.gpu_ids is not None:
        cards = ",".join(str(card) for card in spec.resources.gpu_ids)
        lines.append(f"export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES={cards}")
    lines += [f"export {k}={shlex.quote(v)}" for k, v in sorted(spec.command.env.items())]
    return "\n".join([*lines, "exec " + shlex.join(spec.command.argv), ""])


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file; a half-written last line is left for the next look."""
    try:
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return []
    return parse_rows(text.splitlines())


def parse_rows(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Return those lines of JSONL that can be read as rows."""
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
