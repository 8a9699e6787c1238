"""How `train_points.py` looks at a training: its steps, its memory, the same one by hand."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.spec import RunSpec
from studio.jobs.shim import nvml
from studio.jobs.shim.cards import read_cards

WARM_STEPS = 10
"""Steps before speed is taken."""


class Steps(threading.Thread):
    """Notes by its own clock when each row of a trainer's log appears."""

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self.log, self.seen, self.over = log, {}, threading.Event()

    def run(self) -> None:
        """Look every few milliseconds until told to stop."""
        size = 0
        while not self.over.wait(0.004):
            try:
                now = self.log.stat().st_size
            except OSError:
                continue
            if now == size:
                continue
            at, size = time.monotonic(), now
            for line in self.log.read_text().splitlines():
                try:
                    row = json.loads(line)
                except ValueError:
                    continue
                if "loss" in row:
                    self.seen.setdefault(row["current_steps"], (at, row["loss"]))

    def rate(self, batch: int) -> dict[str, Any]:
        """Return samples/s after the warm-up and the losses seen."""
        self.over.set()
        steps = sorted(step for step in self.seen if step >= WARM_STEPS)
        if len(steps) < 2:
            return {"samples_per_s": None}
        first, last = steps[0], steps[-1]
        seconds = self.seen[last][0] - self.seen[first][0]
        return {
            "samples_per_s": round((last - first) * batch / seconds, 3),
            "steps": [first, last],
            "loss": [self.seen[first][1], self.seen[last][1]],
        }


class Memory(threading.Thread):
    """Keeps the most that the vendor's tool shows on each card, less what was there before."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = {card.index: card.used for card in read_cards()}
        self.peak = dict.fromkeys(self.before, 0)
        self.over = threading.Event()
        self.start()

    def run(self) -> None:
        """Look four times a second until told to stop."""
        open_ones = nvml.open_cards((card.index, card.uuid) for card in read_cards())
        assert open_ones is not None, "no NVML here"
        while not self.over.wait(0.25):
            for card, before in self.before.items():
                reading = open_ones.read(card)
                if reading is not None:
                    self.peak[card] = max(self.peak[card], reading.used - before)

    def mib(self, cards: Sequence[int]) -> list[int]:
        """Return the peaks of some cards in MiB."""
        return [self.peak[card] // 2**20 for card in cards]


class ByHand:
    """The same command with the same files in a folder of its own, without the studio."""

    def __init__(self, spec: RunSpec, folder: Path, cards: Sequence[int]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "artifacts").mkdir(parents=True)
        for name, text in spec.command.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        env = {**os.environ, **spec.command.env, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        env["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, cards))
        self.folder = folder
        with (folder / "log.txt").open("w") as log:
            self.process = subprocess.Popen(
                spec.command.argv,
                cwd=folder,
                env=env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def wait(self, timeout_s: float) -> int:
        """Wait for the end; kill what is left of its session."""
        try:
            return self.process.wait(timeout_s)
        finally:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
