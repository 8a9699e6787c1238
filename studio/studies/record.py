"""A study's folder of results: the frozen question, and what each case is doing.

home/bench/<study>_<YYYYMMDD-HHMMSS>/
    about.json     as every folder of results has it (`studio.bench.saved`)
    study.json     recipe, title, settings and cells, frozen when the study begins
    state.jsonl    a row for each change of a cell, or of the study (`cell` empty); append-only
    points.jsonl   a point for every row that is done or has failed

Both the runner (writer) and the page and the command line (readers) come here.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeGuard

from studio.bench.point import POINTS, Point, append_point, read_points
from studio.core.errors import NotFound
from studio.jobs.rundir import read_rows
from studio.jobs.shim.files import replace_json

STUDY, STATE = "study.json", "state.jsonl"


class Phase(StrEnum):
    """What a cell, or the whole study, is doing."""

    PENDING = "pending"
    WAITING = "waiting"
    """In line for cards, or for its environment to be built."""
    STARTING = "starting"
    """A server is loading."""
    MEASURING = "measuring"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    NOT_MEASURABLE = "not_measurable"
    """This machine cannot; the reason says why."""
    STOPPED = "stopped"
    """Somebody stopped the study; a resume goes on here."""
    SKIPPED = "skipped"
    """Never begun, because an earlier case failed and the study does not go on then."""
    INTERRUPTED = "interrupted"
    """Under way when the runner disappeared; a resume goes on here. Never written, only read."""

    ELSEWHERE = "elsewhere"
    """Not over when it was written last, by a run that is not in this home, as after a folder was
    copied. Never written, only read."""

    @property
    def over(self) -> bool:
        """True when nothing more happens to it in this run of the study."""
        return self not in _UNDER_WAY

    @property
    def settled(self) -> bool:
        """True when a resume leaves it alone."""
        return self in (Phase.DONE, Phase.NOT_MEASURABLE)


_UNDER_WAY = {Phase.PENDING, Phase.WAITING, Phase.STARTING, Phase.MEASURING, Phase.STOPPING}


@dataclass(frozen=True)
class CellLook:
    """One cell at this moment."""

    name: str
    slug: str
    case: str
    measure: str
    phase: Phase
    title: dict[str, str] | None = None
    reason: str = ""
    """Why it waits, failed or cannot be measured; English, as it was raised."""
    at: float = 0.0
    """Unix seconds of the last change; 0 while it is pending."""
    repeat: int = 0
    """Which repeat is under way, from 0."""
    rows: int = 0
    """Rows to come."""
    rows_done: int = 0
    rows_failed: int = 0
    runs: tuple[str, ...] = ()
    """Ids of the runs launched for it, oldest first."""
    results: str = ""
    """Folder of its load test; its points are there. Empty for other measures."""
    engine: str = ""
    recipe: str | None = None
    cards: int | list[int] | None = None
    copies: int = 1
    condition: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyLook:
    """A whole study at this moment."""

    name: str
    phase: Phase
    """`measuring` while its runner is at work; else how it ended."""
    reason: str
    run: str
    """Id of the run that works on it, or did last."""
    recipe: str
    title: dict[str, str]
    started_at: float
    ended_at: float | None
    worked_s: float
    """Seconds that its runs were at work together, without the time between a stop and a resume."""
    rows: int
    rows_done: int
    cells: tuple[CellLook, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for `--json` and the page."""
        return asdict(self)


class Record:
    """Reads and writes one folder of a study. Writers are threads of one runner."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def name(self) -> str:
        """Name of the folder, by which the study is resumed and shown."""
        return self.folder.name

    # in -----------------------------------------------------------------------------------------

    def freeze(self, study: dict[str, Any]) -> None:
        """Write `study.json`; the question does not change afterwards."""
        replace_json(self.folder / STUDY, {"v": 1, **study})

    def note(self, cell: str, phase: Phase, reason: str = "", **facts: Any) -> None:
        """Append a row of state; `cell` is empty for the study itself."""
        row = {"at": time.time(), "cell": cell, "phase": str(phase), "reason": reason, **facts}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        file = os.open(self.folder / STATE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def add(self, point: Point, raw: dict[str, Any] | None = None) -> None:
        """Keep a row, with the tool's own figures beside it."""
        if raw is not None:
            (self.folder / "points").mkdir(exist_ok=True)
            replace_json(self.folder / "points" / f"{point.id}.json", raw)
            point = point.model_copy(update={"raw": f"points/{point.id}.json"})
        append_point(self.folder, point)

    # out ----------------------------------------------------------------------------------------

    def study(self) -> dict[str, Any]:
        """Return the frozen question; raise NotFound where the folder is no study's."""
        try:
            found = json.loads((self.folder / STUDY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if not _is_question(found):
            raise NotFound(
                f"{self.name} is not a folder of a study.", hint="`study ls` lists the studies."
            )
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of state, oldest first."""
        return [row for row in read_rows(self.folder / STATE) if _is_state(row)]

    def points(self) -> dict[str, Point]:
        """Return the study's own points by id, each as it was measured last."""
        return {point.id: point for point in read_points(self.folder / POINTS, self.name)}

    def last_run(self) -> str:
        """Return the id of the run that works on it, or did last."""
        rows = [row for row in self.rows() if not row["cell"] and row.get("run")]
        return str(rows[-1]["run"]) if rows else ""

    def load_results(self, cell: str) -> str:
        """Return the folder of a cell's load test; empty before it has one."""
        rows = [row for row in self.rows() if row["cell"] == cell and row.get("results")]
        return str(rows[-1]["results"]) if rows else ""

    def look(
        self,
        alive: bool,
        load_points: dict[str, list[Point]] | None = None,
        *,
        here: bool = True,
    ) -> StudyLook:
        """Return what the study is doing; `alive` tells whether its last run is at work.

        `load_points` are the points of its load tests, by folder; `here` is False when that run is
        not in this home.
        """
        study, rows, points = self.study(), self.rows(), self.points()
        own = [row for row in rows if not row["cell"]]
        last = own[-1] if own else {}
        phase = Phase(last.get("phase", Phase.PENDING))
        broken_off = Phase.INTERRUPTED if here else Phase.ELSEWHERE
        if not phase.over and not alive:
            phase = broken_off
        ends = None if alive else broken_off
        found = tuple(
            self._cell(cell, [row for row in rows if row["cell"] == cell["name"]], points, ends)
            for cell in study["cells"]
        )
        found = tuple(_with_load(cell, load_points or {}) for cell in found)
        return StudyLook(
            name=self.name,
            phase=phase,
            reason=last.get("reason", ""),
            run=self.last_run(),
            recipe=study.get("recipe") or "",
            title=study.get("title") or {"en": self.name, "zh": self.name},
            started_at=own[0]["at"] if own else 0.0,
            ended_at=last["at"] if own and phase.over and phase is not Phase.ELSEWHERE else None,
            worked_s=worked_s(rows, time.time() if alive else None),
            rows=sum(cell.rows for cell in found),
            rows_done=sum(cell.rows_done for cell in found),
            cells=found,
        )

    def _cell(
        self,
        cell: dict[str, Any],
        rows: list[dict[str, Any]],
        points: dict[str, Point],
        ends: Phase | None,
    ) -> CellLook:
        """Look at one cell; `ends` is what becomes of one that nobody works on any more."""
        last = rows[-1] if rows else {}
        phase = Phase(last.get("phase", Phase.PENDING))
        begun = phase is not Phase.PENDING or ends is Phase.ELSEWHERE
        if not phase.over and begun and ends is not None:
            phase = ends
        mine = [point for point in points.values() if point.case == cell["name"]]
        told = ("name", "slug", "case", "measure", "title", "engine", "recipe", "cards")
        return CellLook(
            **{name: cell.get(name) for name in told},  # pyright: ignore[reportArgumentType]
            phase=phase,
            reason=last.get("reason", ""),
            at=last.get("at", 0.0),
            repeat=last.get("repeat", 0),
            rows=cell.get("rows", 0),
            rows_done=sum(point.done for point in mine),
            rows_failed=sum(not point.done for point in mine),
            runs=tuple(dict.fromkeys(row["run"] for row in rows if row.get("run"))),
            results=next((row["results"] for row in reversed(rows) if row.get("results")), ""),
            copies=cell.get("copies", 1),
            condition=cell.get("condition", {}),
        )


def worked_s(rows: Iterable[dict[str, Any]], until: float | None = None) -> float:
    """Return how many seconds the runs of a study were at work, from its rows of state.

    A run that was killed wrote nothing of its end and counts to the last row it wrote; the last
    one counts to `until` (unix seconds) where it is still at work.
    """
    spans: dict[str, tuple[float, float]] = {}
    run = ""
    for row in rows:
        run = str(row.get("run") or run) if not row["cell"] else run
        begun, _ = spans.get(run, (row["at"], 0.0))
        spans[run] = begun, row["at"]
    if until is not None and run in spans:
        spans[run] = spans[run][0], until
    return sum(end - begun for begun, end in spans.values())


def _is_question(found: Any) -> TypeGuard[dict[str, Any]]:
    """Tell whether a `study.json` is whole: its settings, and cells that have names."""
    if not isinstance(found, dict) or not isinstance(found.get("settings"), dict):
        return False
    cells = found.get("cells")
    return isinstance(cells, list) and all(isinstance(c, dict) and "name" in c for c in cells)


def _is_state(row: dict[str, Any]) -> bool:
    """Tell whether a row of state was written by `note`."""
    told = isinstance(row.get("cell"), str) and isinstance(row.get("at"), int | float)
    return told and row.get("phase") in set(Phase)


def _with_load(cell: CellLook, load_points: dict[str, list[Point]]) -> CellLook:
    """Count the points of a cell's load test as rows of the cell."""
    points = load_points.get(cell.results, []) if cell.results else []
    if not points:
        return cell
    done = sum(point.done for point in points)
    counted = {
        **cell.__dict__,
        "rows_done": cell.rows_done + done,
        "rows_failed": cell.rows_failed + len(points) - done,
    }
    return CellLook(**counted)
