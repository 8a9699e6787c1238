"""What the measures of a study share: the studio, the record, the hands, and words about it all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from studio.bench.point import Point
from studio.engines.study_config import StudyConfig
from studio.jobs.jobs import Run
from studio.studies.cells import Cell
from studio.studies.hands import Hands
from studio.studies.record import Phase, Record
from studio.studies.rows import row
from studio.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Desk:
    """One study under way. Shared by the threads of a study that runs side by side."""

    studio: Studio
    config: StudyConfig
    record: Record
    hands: Hands
    tell: Callable[[str], None]
    """Takes each line of the study's own log."""
    fractions: dict[str, float] = field(default_factory=dict)
    """How far each cell is, 0 to 1, for the progress of the whole."""
    _said: dict[str, tuple[str, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def say(self, cell: Cell, phase: Phase, reason: str = "", **facts: object) -> None:
        """Note what a cell is doing, once for each change, and print it to the run's log."""
        with self._lock:
            if self._said.get(cell.name) == (phase, reason) and not facts:
                return
            self._said[cell.name] = (phase, reason)
        self.record.note(cell.name, phase, reason, **facts)
        clock = time.strftime("%H:%M:%S")
        words = " ".join(f"{key} {value}" for key, value in facts.items())
        text = f"{clock} {cell.name}: {phase} {words}".rstrip()
        self.tell(f"{text}: {reason}" if reason else text)

    def keep(
        self,
        cell: Cell,
        ident: str,
        figures: dict[str, float],
        *,
        runs: Sequence[Run],
        begun: float,
        repeat: int = 0,
        engine: str = "",
        seed: int | None = None,
        condition: dict[str, object] | None = None,
        raw: dict[str, object] | None = None,
    ) -> Point:
        """Keep a row that is done."""
        point = row(
            self.studio,
            self.record.name,
            cell,
            ident,
            runs=runs,
            begun=begun,
            repeat=repeat,
            figures=figures,
            engine=engine,
            seed=seed,
        )
        if condition:
            point = point.model_copy(update={"condition": {**point.condition, **condition}})
        self.record.add(point, raw)
        return point

    def keep_failure(self, cell: Cell, ident: str, error: str, *, repeat: int = 0) -> Point:
        """Keep a row that failed, with why."""
        point = row(
            self.studio,
            self.record.name,
            cell,
            ident,
            runs=(),
            begun=time.time(),
            repeat=repeat,
            error=error,
        )
        self.record.add(point)
        return point

    def is_done(self, ident: str) -> bool:
        """Tell whether a row was measured, now or before a resume."""
        point = self.record.points().get(ident)
        return point is not None and point.done
