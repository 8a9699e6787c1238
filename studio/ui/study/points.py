"""The points of a study as a table: one row for each case, condition and repeat."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from studio.bench.definitions import DEFINITIONS, HEADLINES
from studio.bench.point import Point
from studio.ui import measures, units
from studio.ui import widgets as w
from studio.ui.bench import words as bench_words
from studio.ui.i18n import say

MOST_ROWS = 80
MOST_FIGURES = 7
LONGEST_ERROR = 120


def points_html(lang: str, points: Sequence[Point], titles: Mapping[str, str]) -> str:
    """Return the newest points in the order they were measured; failed ones say why."""
    if not points:
        return w.note(say(lang, "study.table.none"), icon_name="clock")
    shown = points[-MOST_ROWS:]
    figures = columns(shown)
    telling = varying(points)
    told = [_told(lang, point, telling) for point in shown]
    columns_told = ("case", "condition", "repeat") if any(told) else ("case", "repeat")
    heads = [say(lang, f"study.table.{key}") for key in columns_told]
    head = "".join(f"<th>{w.esc(text)}</th>" for text in heads)
    head += "".join(
        f'<th class="l-num" title="{w.esc(measures.formula(lang, name))}">'
        f"{w.esc(measures.axis(lang, name))}</th>"
        for name in figures
    )
    body = "".join(
        _row(lang, point, figures, titles, text if any(told) else None)
        for point, text in zip(shown, told, strict=True)
    )
    more = ""
    if len(points) > len(shown):
        more = w.note(say(lang, "study.table.more", n=len(points) - len(shown)))
    return (
        '<div class="l-scroll"><table class="l-table l-points-table">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def columns(points: Sequence[Point]) -> list[str]:
    """Return the figures worth a column: headlines that are there, then others with words."""
    there = {name for point in points for name in point.figures}
    found = [name for name in HEADLINES if name in there]
    if len(found) < MOST_FIGURES:
        found += [name for name in DEFINITIONS if name in there and name not in found]
    if not found:
        found = sorted(there)
    return found[:MOST_FIGURES]


def varying(points: Sequence[Point]) -> set[str]:
    """Return the conditions that tell points of one case apart; what a case has anyway is left out.

    The load of a load test is always among them.
    """
    found: set[str] = {*bench_words.LOAD}
    for case in {point.case for point in points}:
        mine = [point.condition for point in points if point.case == case]
        for name in {name for condition in mine for name in condition}:
            if len({str(condition.get(name)) for condition in mine}) > 1:
                found.add(name)
    return found


def _told(lang: str, point: Point, telling: Collection[str]) -> str:
    """Return what tells a point apart from others of its case; empty where nothing does."""
    kept = {name: value for name, value in point.condition.items() if name in telling}
    return bench_words.condition(lang, point.model_copy(update={"condition": kept})) if kept else ""


def _row(
    lang: str,
    point: Point,
    figures: Sequence[str],
    titles: Mapping[str, str],
    told: str | None,
) -> str:
    cells = [titles.get(point.case) or point.case or point.id]
    cells += [told] if told is not None else []
    cells += [units.number(point.repeat + 1)]
    body = "".join(f"<td>{w.esc(text)}</td>" for text in cells)
    if not point.done:
        why = point.error.strip().splitlines()[-1][:LONGEST_ERROR] if point.error.strip() else "?"
        text = w.esc(say(lang, "study.table.failed", why=why))
        span = max(1, len(figures))
        return f'<tr class="l-point-failed">{body}<td colspan="{span}">{text}</td></tr>'
    body += "".join(
        f'<td class="l-num">{w.esc(measures.shown(name, point.figures.get(name), with_unit=False))}'
        "</td>"
        for name in figures
    )
    return f"<tr>{body}</tr>"
