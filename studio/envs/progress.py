"""Progress of a build: one line of JSON per step forward, for the page's bar."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from studio.jobs.shim.procs import MARK

MIN_GAP_S = 0.5


class Progress:
    """Appends to `artifacts/progress.jsonl` of the run folder, which is the working directory.

    Outside of a run (a build started by hand) nothing is written. `done` never goes back.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "artifacts" / "progress.jsonl"
        self._wanted = self._file.parent.is_dir() or MARK in os.environ
        self._done = -1.0
        self._at = 0.0
        self._step = ""

    def tell(self, step: str, done: float, text: str) -> None:
        """Say how far the build is in percent; too many lines a second are left out."""
        done = round(max(done, self._done), 1)
        fresh = time.monotonic() - self._at >= MIN_GAP_S
        if not self._wanted or (step == self._step and not fresh):
            return
        self._done, self._at, self._step = done, time.monotonic(), step
        row = {"at": time.time(), "done": done, "total": 100, "step": step, "text": text}
        self._file.parent.mkdir(exist_ok=True)
        with open(self._file, "a") as file:
            file.write(json.dumps(row) + "\n")
