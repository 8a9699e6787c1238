"""The table of conditions: what was measured at each, the mean of the repeats and its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.bench.definitions import HEADLINES
from studio.bench.point import Point
from studio.bench.spread import spread
from studio.ui import measures
from studio.ui import widgets as w
from studio.ui.bench import words
from studio.ui.bench.table import usual
from studio.ui.i18n import say
from studio.ui.sentences import translate

MOST_ROWS = 300
COLUMNS = 8
"""Figures that the table shows before every one is asked for."""


def conditions(
    lang: str,
    points: Sequence[Point],
    titles: Mapping[str, str],
    *,
    each: bool = False,
    every: bool = False,
) -> str:
    """Return the table of conditions: the mean of the repeats with its 95 % interval.

    With `each` a row for every repeat, with `every` all figures there are. `titles` are what a
    study's cases are called.
    """
    if not points:
        return w.note(say(lang, "bench.no_points"), icon_name="clock")
    there = {name for point in points for name in point.figures}
    wanted = [name for name in HEADLINES if name in there] or usual(there)
    names = sorted(there, key=words.rank) if every else wanted[:COLUMNS]
    groups = _groups(points, each=each)
    cases = len({point.case for point in points}) > 1
    known = {
        loaded: words.constant([group[0] for group in groups if words.is_load(group[0]) is loaded])
        for loaded in (True, False)
    }
    called = {point.case: titles.get(point.case) or point.case for point in points}
    rows = "".join(
        _row(lang, group, names, known[words.is_load(group[0])], called if cases else None)
        for group in groups[:MOST_ROWS]
    )
    head = "".join(_head(lang, name) for name in names)
    first = f"<th>{w.esc(say(lang, 'bench.col.case'))}</th>" if cases else ""
    more = ""
    if len(groups) > MOST_ROWS:
        more = w.note(say(lang, "bench.more_rows", n=len(groups) - MOST_ROWS))
    table = (
        f'<div class="l-scroll"><table class="l-table l-b-conditions"><thead><tr>{first}'
        f"<th>{w.esc(say(lang, 'bench.col.condition'))}</th>"
        f'<th class="l-num">{w.esc(say(lang, "bench.col.repeats"))}</th>{head}<th></th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div>{more}"
    )
    boxes = "".join(
        f'<label class="l-b-check"><input type="checkbox" name="{name}" data-bench-ask'
        f"{' checked' if on else ''}><span>{w.esc(say(lang, f'bench.{key}'))}</span></label>"
        for name, key, on in (("each", "each_repeat", each), ("all", "every_figure", every))
    )
    side = w.Html(f'<span class="l-b-checks">{boxes}</span>')
    told = "" if each else f'<p class="l-sub">{w.esc(say(lang, "bench.interval"))}</p>'
    return w.card(say(lang, "bench.figures"), table + told, side=side)


def _groups(points: Sequence[Point], *, each: bool) -> list[list[Point]]:
    """Return the points by case and condition, in the order of the conditions."""
    found: dict[Any, list[Point]] = {}
    for number, point in enumerate(points):
        key = (point.case, point.results, tuple(sorted(point.condition.items(), key=str)))
        found.setdefault((number, *key) if each else key, []).append(point)
    return sorted(found.values(), key=lambda group: _place(group[0]))


def _place(point: Point) -> tuple[Any, ...]:
    values = [point.condition.get(name) for name in words.LOAD]
    return (*(float(v) if isinstance(v, (int, float)) else -1.0 for v in values), point.repeat)


def _head(lang: str, name: str) -> str:
    label, unit = w.esc(words.label(lang, name)), w.esc(words.unit(lang, name))
    what = ""
    if words.is_defined(name):
        told = w.esc(say(lang, "bench.what", name=words.label(lang, name)))
        what = (
            f'<button type="button" class="l-b-what" data-bench-what="{w.esc(name)}" '
            f'aria-label="{told}">?</button>'
        )
    small = f"<small>{unit}</small>" if unit else ""
    return f'<th class="l-num"><span>{label}</span>{what}{small}</th>'


def _row(
    lang: str,
    group: Sequence[Point],
    names: Sequence[str],
    known: set[str],
    called: Mapping[str, str] | None,
) -> str:
    first, done = group[0], [point for point in group if point.done]
    cells = "".join(f'<td class="l-num">{_cell(name, done)}</td>' for name in names)
    case = f"<td>{w.esc(called[first.case])}</td>" if called is not None else ""
    bad = ""
    for error in dict.fromkeys(point.error for point in group if not point.done):
        told = translate(lang, error) or say(lang, "bench.status.failed")
        bad += f'<small class="l-b-error">{w.icon("alert")}{w.esc(told)}</small>'
    raw = "".join(
        f'<a class="l-link" download title="{w.esc(point.id)}" '
        f'href="ladder/bench/raw/{w.esc(point.results)}/{w.esc(point.raw)}">'
        f"{w.esc(str(point.repeat + 1) if len(done) > 1 else 'JSON')}</a>"
        for point in done
        if point.raw
    )
    raws = f'<span class="l-b-raws">{"JSON " if len(done) > 1 and raw else ""}{raw}</span>'
    return (
        f'<tr>{case}<td class="l-b-condition" title="{w.esc(words.condition(lang, first))}">'
        f"{w.esc(words.condition(lang, first, known=known))}{bad}</td>"
        f'<td class="l-num">{len(done)}</td>{cells}<td>{raws}</td></tr>'
    )


def _cell(name: str, done: Iterable[Point]) -> str:
    values = [point.figures[name] for point in done if name in point.figures]
    if not values:
        return "–"
    found = spread(values)
    mean = w.esc(measures.shown(name, found.mean, with_unit=False))
    if found.half is None:
        return mean
    return f"{mean}<small>± {w.esc(measures.shown(name, found.half, with_unit=False))}</small>"
