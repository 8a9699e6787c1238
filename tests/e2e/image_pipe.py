"""The image editor's child process, spoken to as the front does: JSON lines both ways.

with Pipe(python, folder, rung="groups") as pipe:
    done = pipe.edit(seeds=[7])
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from studio.core.settings import ROOT

WORKER = ROOT / "studio/engines/workers/image_worker.py"
TINY = ROOT / "assets/models/tiny-qwen-image-edit"
SIDE = 128
SETTINGS = {
    "model": str(TINY),
    "dtype": "float32",
    "reference_pixels": SIDE * SIDE,
    "condition_pixels": 112 * 112,
    "cfg_mode": "sequential",
}
JOB = {
    "mask": None,
    "prompt": "make it red",
    "negative_prompt": " ",
    "steps": 4,
    "true_cfg_scale": 4.0,
    "seeds": [7],
    "width": SIDE,
    "height": SIDE,
    "loras": {},
    "preview_every": 0,
}
START_S = 120
JOB_S = 60


class Pipe:
    """A pipe that runs; its events can be waited for."""

    def __init__(
        self,
        python: str,
        folder: Path,
        *,
        skip: str = "",
        cards: str = "",
        fault: str = "",
        **settings: Any,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "image.json").write_text(json.dumps(SETTINGS | settings))
        self.picture = draw(folder / "in.png")
        argv = [python, str(WORKER), "--pipe", "--config", str(folder / "image.json")]
        env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        env |= {"LADDER_IMAGE_CARDS": cards, "LADDER_IMAGE_FAULT": fault}
        with (folder / "log.txt").open("w") as log:
            self._process = subprocess.Popen(
                [*argv, "--skip", skip],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=env,
            )
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._jobs = 0
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.say(do="quit")
        try:
            self._process.wait(timeout=10)
        finally:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin and self._process.stdout
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.stdout.close()

    def say(self, **command: Any) -> None:
        """Send one command; a pipe that has gone does not hear it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            assert self._process.poll() is not None or self._process.wait(timeout=10) is not None

    def wait(self, *names: str, timeout_s: float = START_S) -> dict[str, Any]:
        """Return the next event of one of these names."""
        until = time.monotonic() + timeout_s
        while True:
            event = self._queue.get(timeout=max(0.01, until - time.monotonic()))
            if event is None:
                raise AssertionError(f"it left with {self.left()}: {self.log[-2000:]}")
            if event["event"] in names:
                return event

    def start(self, **job: Any) -> str:
        """Send an edit; return its name."""
        self._jobs += 1
        name = f"j{self._jobs}"
        told = {"pictures": [str(self.picture)], "out": str(self.folder / name)} | JOB | job
        self.say(do="edit", job=name, **told)
        return name

    def edit(self, **job: Any) -> dict[str, Any]:
        """Do an edit; return how it ended."""
        self.start(**job)
        return self.wait("done", "error", "oom", "cancelled", timeout_s=JOB_S)

    def picture_of(self, done: dict[str, Any], variant: int = 0) -> np.ndarray:
        """Return the pixels of what was made."""
        assert done["event"] == "done", done
        return pixels(Path(done["pictures"][variant]))

    def left(self) -> int:
        """Wait until it is gone; return its exit code."""
        return self._process.wait(timeout=30)

    @property
    def log(self) -> str:
        """What it wrote beside the events."""
        return (self.folder / "log.txt").read_text()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._queue.put(event)
        self._queue.put(None)


def draw(path: Path) -> Path:
    """Write a picture with something in it."""
    rng = np.random.default_rng(1)
    rows = np.linspace(0, 255, 120)[:, None, None] + rng.integers(0, 60, (120, 160, 3))
    Image.fromarray(rows.clip(0, 255).astype(np.uint8)).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    """Return a picture's numbers."""
    with Image.open(path) as opened:
        return np.asarray(opened.convert("RGB")).astype(int)
