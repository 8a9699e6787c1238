"""The cases of a study while it runs and after: state, what is measured now, how long it took.

Turns what `study_look` gathered into HTML; nothing here launches or stops.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from studio.engines.engine import Progress
from studio.studies.record import CellLook, Phase
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.ui.study.look import Seen

LOOKS = {
    Phase.PENDING: ("queued", "clock"),
    Phase.WAITING: ("queued", "clock"),
    Phase.STARTING: ("starting l-spin", "spinner"),
    Phase.MEASURING: ("running", "pulse"),
    Phase.STOPPING: ("stopping l-spin", "spinner"),
    Phase.DONE: ("done", "check"),
    Phase.FAILED: ("failed", "cross"),
    Phase.NOT_MEASURABLE: ("none", "minus"),
    Phase.STOPPED: ("stopped", "square"),
    Phase.SKIPPED: ("none", "minus"),
    Phase.INTERRUPTED: ("lost", "question"),
    Phase.ELSEWHERE: ("none", "minus"),
}
"""Colour and drawing of every phase."""


def phase_badge(lang: str, phase: Phase) -> str:
    """Return what a case is doing: colour, icon and word together."""
    kind, icon = LOOKS[phase]
    text = w.esc(say(lang, f"study.phase.{phase}"))
    return f'<span class="l-badge l-{kind}">{w.icon(icon)}{text}</span>'


def cases_html(lang: str, seen: Seen) -> str:
    """Return the cases as rows, in the order they are run."""
    if seen.look is None:
        return ""
    cells = seen.look.cells
    repeats = max((cell.repeat for cell in cells), default=0) + 1
    rows = "".join(
        _row(lang, cell, (seen.cell_runs or {}).get(cell.name), seen.cell_progress or {}, repeats)
        for cell in cells
    )
    done = sum(cell.phase is Phase.DONE for cell in cells)
    side = w.tag(say(lang, "study.of_rows", done=done, total=len(cells)))
    return w.card(say(lang, "study.case.head"), f'<ol class="l-case-rows">{rows}</ol>', side=side)


def cell_title(lang: str, cell: CellLook) -> str:
    """Return what a cell is called: its case's title, and the values of the matrix."""
    told = cell.title or {}
    _, _, more = cell.name.partition(" · ")
    return " · ".join(filter(None, (told.get(lang) or told.get("en") or cell.case, more)))


def _row(
    lang: str, cell: CellLook, run: Run | None, far: Mapping[str, Progress], repeats: int
) -> str:
    title = cell_title(lang, cell)
    name = f"<small>{w.esc(cell.name)}</small>" if title != cell.name else ""
    parts = [
        phase_badge(lang, cell.phase),
        f"<b>{w.esc(title)}{name}</b>",
        f'<span class="l-case-side">{_side(lang, cell, run)}</span>',
    ]
    if cell.reason:
        bad = " bad" if cell.phase is Phase.FAILED else ""
        parts.append(f'<p class="l-case-why{bad}">{w.esc(translate(lang, cell.reason))}</p>')
    if not cell.phase.over and cell.phase is not Phase.PENDING:
        parts.append(_progress(lang, cell, far.get(cell.name), repeats))
    return f'<li class="l-case-row">{"".join(parts)}</li>'


def _side(lang: str, cell: CellLook, run: Run | None) -> str:
    """Return what runs, the rows that are done, and the time."""
    parts: list[str] = [w.chip(lang, run)] if run is not None else []
    if cell.rows_failed:
        text = say(lang, "study.case.failed", n=cell.rows_failed)
        parts.append(w.tag(text, tone="bad", icon_name="cross"))
    if cell.rows_done or not cell.phase.over:
        text = say(lang, "study.of_rows", done=cell.rows_done, total=cell.rows)
        parts.append(f"<span>{w.esc(say(lang, 'study.rows'))} {w.esc(text)}</span>")
    if cell.phase.over and cell.at:
        parts.append(w.when(lang, cell.at))
    elif cell.at and cell.phase is not Phase.PENDING:
        span = units.duration(lang, time.time() - cell.at)
        parts.append(f"<span>{w.esc(say(lang, 'study.case.for', time=span))}</span>")
    return "".join(parts)


def _progress(lang: str, cell: CellLook, far: Progress | None, repeats: int) -> str:
    """Return how far the run at work is, else how far the case is."""
    if far is not None and far.total:
        return w.bar(far.done / far.total, label=translate(lang, far.text))
    if cell.rows:
        return w.bar(cell.rows_done / cell.rows)
    return w.bar(None)
