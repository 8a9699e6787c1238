"""Runs that a run launched: they outlive its crash, and end with it when it is stopped.

A launched run has a supervisor of its own, which is a child of this one (a subreaper) and carries
its own mark. Runs that an earlier run launched and this one took over are named by its engine in
`adopted.jsonl`, one row `{"run": id}` each.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from studio.jobs.shim import procs
from studio.jobs.shim.files import supervisor_of

ADOPTED = "adopted.jsonl"


class InnerRuns:
    """The launched and adopted runs of one run, as its supervisor finds them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: dict[str, bool] = {}

    def alive(self) -> list[str]:
        """Return the ids of those that still have a live supervisor."""
        found = dict.fromkeys(procs.supervisors(os.getpid()))
        for run_id in self._adopted():
            who = supervisor_of(self._folder.parent / run_id)
            if who is not None and who.alive:
                found[run_id] = None
        return [run_id for run_id in found if (self._folder.parent / run_id).is_dir()]

    def ask(self, runs: list[str], *, now: bool) -> list[str]:
        """Ask runs to stop, each once and once more for `now`; return those that were asked."""
        fresh = [one for one in runs if self._asked.get(one) not in (True, now)]
        for run_id in fresh:
            self._asked[run_id] = now
            with open(self._folder.parent / run_id / "stop.jsonl", "a") as file:
                file.write(json.dumps({"at": time.time(), "now": now}) + "\n")
            who = supervisor_of(self._folder.parent / run_id)
            if who is not None and who.alive:
                os.kill(who.pid, signal.SIGUSR1)
        return fresh

    def _adopted(self) -> list[str]:
        try:
            lines = (self._folder / ADOPTED).read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line)["run"] for line in lines if line.endswith("}")]
