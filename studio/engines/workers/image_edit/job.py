"""One edit from the moment it was asked for to its pictures, and the files it leaves behind.

Everything of a job lies in its own folder, `artifacts/jobs/<id>/` of the run: `request.json` when
it is asked for, `in-0.png` ..., `mask.png`, `out-0.png` ..., and `done.json` with the last status,
which is how the studio learns the end of a job when the worker is not there any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from .asked import Asked
from .stamp import stamped

STATES = ("queued", "loading", "encoding", "running", "decoding", "done", "failed", "cancelled")
OVER = frozenset({"done", "failed", "cancelled"})
STAGES = {"encode": "encoding", "steps": "running", "decode": "decoding"}
"""State by the stage that the pipe names."""


class Job:
    """What was asked for, how far it is, and what came of it."""

    def __init__(
        self, folder: Path, asked: Asked, size: tuple[int, int], *, num_pictures: int, masked: bool
    ) -> None:
        self.id = f"{time.strftime('%m%d%H%M%S')}-{secrets.token_hex(4)}"
        self.folder = folder / self.id
        self.asked = asked
        self.size = size
        self.num_pictures = num_pictures
        self.masked = masked
        self.notes = list(asked.notes)
        self.state = "queued"
        self.created_at = time.time()
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.step = 0
        self.variant = 0
        """Which of the variants is being made, from 0."""
        self.step_s: float | None = None
        """Seconds of the latest step."""
        self.previews = 0
        self.preview: Path | None = None
        self.rung = ""
        self.seeds = list(asked.seeds)
        self.pictures: list[Path] = []
        self.timings: dict[str, Any] = {}
        self.peaks: dict[str, Any] = {}
        self.cached: dict[str, Any] = {}
        self.error: dict[str, Any] | None = None
        self.bad = False
        """True when it failed for what it asked for, and would again."""
        self.cancelling = False
        self._change = asyncio.Event()

    @property
    def over(self) -> bool:
        """True when nothing will change any more."""
        return self.state in OVER

    @property
    def name(self) -> str:
        """A short name for the log."""
        return f"job {self.id[-8:]}"

    # what happens to it -------------------------------------------------------------------------

    def keep(self, pictures: list[bytes], mask: bytes | None) -> None:
        """Write the request and its pictures (PNG); raise OSError when there is no room."""
        self.folder.mkdir(parents=True, mode=0o700)
        for index, data in enumerate(pictures):
            (self.folder / f"in-{index}.png").write_bytes(data)
        if mask is not None:
            (self.folder / "mask.png").write_bytes(mask)
        replace_json(self.folder / "request.json", self._request())

    def command(self) -> dict[str, Any]:
        """Return what the pipe is told to do."""
        asked = self.asked
        return {
            "do": "edit",
            "job": self.id,
            "pictures": [str(self.folder / f"in-{n}.png") for n in range(self.num_pictures)],
            "mask": str(self.folder / "mask.png") if self.masked else None,
            "prompt": asked.prompt,
            "negative_prompt": asked.negative_prompt,
            "steps": asked.steps,
            "true_cfg_scale": asked.true_cfg_scale,
            "seeds": asked.seeds,
            "width": self.size[0],
            "height": self.size[1],
            "loras": asked.loras,
            "preview_every": asked.preview_every or 0,
            "out": str(self.folder),
        }

    def enter(self, state: str, note: str = "") -> None:
        """Go on to a state that is not the last one; a note says why."""
        if self.started_at is None and state != "queued":
            self.started_at = time.time()
        self.state = state
        if note:
            self.notes.append(note)
        self.touch()

    def begin(self, rung: str) -> None:
        """Start from the first step, on this rung; a job that fell starts so again."""
        self.rung, self.step, self.variant, self.step_s = rung, 0, 0, None
        self.enter("encoding")

    def see(self, event: dict[str, Any]) -> None:
        """Take over what the pipe says about its progress."""
        kind = event["event"]
        if kind == "stage":
            self.enter(STAGES.get(event.get("stage", ""), self.state))
        elif kind == "step":
            self.state = "running"
            self.step, self.variant = int(event.get("step", 0)), int(event.get("variant", 0))
            self.step_s = event.get("step_s")
        elif kind == "preview":
            self.preview = Path(event["path"])
            self.previews += 1
        self.touch()

    def end(
        self, state: str, *, message: str = "", hint: str = "", log: list[str] | None = None
    ) -> None:
        """Close it with a state of OVER and, unless it is done, the reason."""
        self.state, self.ended_at = state, time.time()
        if message:
            self.error = {"message": message, "hint": hint}
            if log:
                self.error["log"] = log
        self.touch()

    def deliver(self, event: dict[str, Any], model: str) -> None:
        """Take the finished pictures over and write into each how it was made.

        Raises OSError or ValueError when a picture cannot be read or written.
        """
        self.pictures = [Path(path) for path in event["pictures"]]
        self.seeds = [int(seed) for seed in event.get("seeds") or self.seeds]
        self.timings = event.get("timings") or {}
        self.peaks = event.get("peaks") or {}
        self.cached = event.get("cached") or {}
        for path, seed in zip(self.pictures, self.seeds, strict=False):
            how = self.asked.settings() | {
                "seed": seed,
                "size": f"{self.size[0]}x{self.size[1]}",
                "rung": self.rung,
                "model": model,
                "job": self.id,
            }
            del how["n"]
            temporary = path.with_suffix(".new")
            temporary.write_bytes(stamped(path.read_bytes(), how))
            temporary.replace(path)

    # who looks at it ----------------------------------------------------------------------------

    def status(self, position: int, eta_s: float | None) -> dict[str, Any]:
        """Return what a client sees; `position` 0 is not waiting, 1 is next."""
        asked = self.asked
        begun = self.started_at or self.ended_at
        until = self.ended_at or time.time()
        return {
            "job": self.id,
            "state": self.state,
            "position": position,
            "step": self.step,
            "steps": asked.steps,
            "variant": self.variant,
            "variants": len(asked.seeds),
            "created_at": round(self.created_at, 3),
            "queued_s": round((begun or until) - self.created_at, 3),
            "elapsed_s": round(until - self.started_at, 3) if self.started_at else 0.0,
            "eta_s": None if eta_s is None else round(eta_s, 1),
            "preview": self.previews,
            "rung": self.rung,
            "notes": self.notes,
            "cancelling": self.cancelling and not self.over,
            "error": self.error,
            "seeds": self.seeds,
            "pictures": len(self.pictures),
            "timings": self.timings,
            "peaks": self.peaks,
            "cached": self.cached,
            "settings": asked.settings() | {"size": f"{self.size[0]}x{self.size[1]}"},
        }

    def touch(self) -> None:
        """Wake whoever waits for a change."""
        self._change.set()
        self._change = asyncio.Event()

    def changed(self) -> Awaitable[object]:
        """Return what waits for the next change, counted from this call on."""
        return self._change.wait()

    async def ended(self) -> None:
        """Wait for the end."""
        while not self.over:
            await self.changed()

    def _request(self) -> dict[str, Any]:
        return {
            "job": self.id,
            "created_at": self.created_at,
            "user": self.asked.user,
            "pictures": [f"in-{index}.png" for index in range(self.num_pictures)],
            "mask": "mask.png" if self.masked else None,
            "seeds": self.seeds,
            "settings": self.asked.settings() | {"size": f"{self.size[0]}x{self.size[1]}"},
        }


def replace_json(path: Path, value: object) -> None:
    """Write a JSON file whole: readers see the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    temporary.replace(path)
