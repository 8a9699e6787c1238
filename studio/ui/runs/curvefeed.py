"""The curves of the runs that somebody looks at, kept thinned, read only as often as that is cheap.

A run of 100,000 steps has megabytes of rows. They are read by one reader for all viewers, only
when a file has grown, and so rarely that reading takes at most a twentieth of the time.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import NotFound
from studio.engines.trained import Trained, saved
from studio.engines.training_yaml import OUTPUT
from studio.telemetry.thinning import Thin

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

LEAST_WAIT_S = 0.9
SHARE = 0.05
"""Part of the time that reading a run's rows may take."""
MOST_KEPT = 24
YOUNG_S, AGAIN_S = 60.0, 10.0
_SOURCES = ("log.txt", "artifacts/*.jsonl", "artifacts/output/*.jsonl")


class Curves:
    """One run's curves by name, and a word that changes with them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lines: dict[str, Thin] = {}
        self.version = ""
        self.size: tuple[int, ...] | None = None
        self.not_before = 0.0


class CurveFeed:
    """Hands out the curves of runs; shared by all viewers of a page."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._kept: dict[str, Curves] = {}
        self._lock = threading.Lock()

    def curves(self, run: Run) -> Curves:
        """Return a run's curves, as fresh as the cost of reading them allows."""
        with self._lock:
            kept = self._kept.pop(run.id, None) or Curves()
            self._kept[run.id] = kept  # the one looked at last comes last
            while len(self._kept) > MOST_KEPT:
                del self._kept[next(iter(self._kept))]
        if kept.size is None:
            with kept.lock:
                if kept.size is None:
                    self._read(run, kept)
        elif self._due(run, kept) and kept.lock.acquire(blocking=False):
            threading.Thread(target=self._read_aside, args=(run, kept), daemon=True).start()
        return kept

    def settled(self, run: Run) -> bool:
        """Tell whether a run has ended and all of its curves are known."""
        kept = self._kept.get(run.id)
        known = kept is not None and kept.size == _sizes(run.dir.folder)
        return known and not run.state.alive

    def _due(self, run: Run, kept: Curves) -> bool:
        """Tell whether there is more to read, and whether it is time."""
        if run.state.alive and time.monotonic() < kept.not_before:
            return False
        return _sizes(run.dir.folder) != kept.size

    def _read_aside(self, run: Run, kept: Curves) -> None:
        """Read in a thread of its own, so that nobody waits; the lock is held already."""
        try:
            with suppress(NotFound):  # it was deleted meanwhile
                self._read(run, kept)
        finally:
            kept.lock.release()

    def _read(self, run: Run, kept: Curves) -> None:
        size = _sizes(run.dir.folder)
        began = time.monotonic()
        lines: dict[str, Thin] = {}
        for point in self._studio.points(run.id):
            lines.setdefault(point.name, Thin()).add(point.step, point.value)
        spent = time.monotonic() - began
        kept.lines, kept.size = lines, size
        kept.version = " ".join(f"{name}:{line.count}" for name, line in sorted(lines.items()))
        kept.not_before = time.monotonic() + max(LEAST_WAIT_S, spent / SHARE)


class SavedFeed:
    """Hands out what trainings saved; read again only when a checkpoint came or went."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[float, tuple[tuple[str, float], ...], list[Trained]]] = {}

    def saved(self, run: Run) -> list[Trained]:
        """Return a run's checkpoints. A young one is looked at again: its figure may be late."""
        folders = sorted((run.dir.folder / OUTPUT).glob("checkpoint-*"))
        seen = tuple((path.name, path.stat().st_mtime) for path in folders)
        at, known, found = self._kept.get(run.id, (0.0, (), []))
        young = max((moment for _, moment in seen), default=0.0) > time.time() - YOUNG_S
        if known != seen or (young and time.monotonic() - at > AGAIN_S):
            found = saved(run.dir)
            while len(self._kept) >= MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[run.id] = (time.monotonic(), seen, found)
        return found


def _sizes(folder: Path) -> tuple[int, ...]:
    """Return the sizes of the files that curves may come from."""
    found = (path for pattern in _SOURCES for path in sorted(folder.glob(pattern)))
    return tuple(path.stat().st_size for path in found)
