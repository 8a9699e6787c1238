"""Points and comparisons as tables of text: heads and cells, for a terminal or a paper."""

from __future__ import annotations

from collections.abc import Sequence

from studio.bench.compare import Comparison
from studio.bench.definitions import HEADLINES
from studio.bench.levels import LOADS
from studio.bench.point import Point
from studio.ui import measures
from studio.ui.i18n import say

MOST_COLUMNS = 8

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads, and the cells of each row."""


def points_table(lang: str, points: Sequence[Point], metrics: Sequence[str] = ()) -> Table:
    """Return a row for each point; folder and case only where they tell points apart.

    Without `metrics` the figures are the first headlines that any point has. A failed point shows
    its error instead.
    """
    had = {name for point in points for name in point.figures}
    chosen = list(metrics) or [name for name in HEADLINES if name in had][:MOST_COLUMNS]
    told = [
        name for name in ("results", "case") if len({getattr(point, name) for point in points}) > 1
    ]
    rows = []
    columns = [measures.axis(lang, name) for name in chosen]
    if not columns and not all(point.done for point in points):
        columns = [say(lang, "measures.error")]
    for point in points:
        cells = [*(getattr(point, name) for name in told), point.id]
        if point.done:
            cells += [measures.shown(n, point.figures.get(n), with_unit=False) for n in chosen]
            cells += [""] * (len(columns) - len(chosen))
        else:
            cells += [point.error[:60], *[""] * (len(columns) - 1)]
        rows.append(tuple(cells))
    names = (*(measures.condition(lang, name) for name in told), measures.condition(lang, "point"))
    return (*names, *columns), rows


def comparison_table(lang: str, found: Comparison) -> Table:
    """Return a row for each figure under each condition: base, then value, change, interval, word.

    Every group after the base has four columns of its own.
    """
    base, *others = found.groups
    names = _telling(found)
    rows = []
    for row in found.rows:
        cells = [str(row.condition.get(name, "")) for name in names]
        cells.append(measures.axis(lang, row.metric))
        cells.append(measures.shown(row.metric, row.spreads[base].mean, with_unit=False))
        for name in others:
            ratio = row.ratios[name]
            cells.append(measures.shown(row.metric, row.spreads[name].mean, with_unit=False))
            cells.append(measures.change(ratio.percent if ratio else None))
            cells.append(measures.between(ratio.interval if ratio else None))
            cells.append(say(lang, f"measures.judged_short.{row.judged(name)}"))
        rows.append(tuple(cells))
    head = [measures.condition(lang, name) for name in names]
    columns = [part for name in others for part in (name, "", "95 %", "")]
    return (*head, "", base, *columns), rows


def _telling(found: Comparison) -> list[str]:
    """Return the conditions worth a column: those that change from row to row, and the load."""
    names = list(dict.fromkeys(name for row in found.rows for name in row.condition))
    values = {name: {row.condition.get(name) for row in found.rows} for name in names}
    return [name for name in names if len(values[name]) > 1 or name in LOADS]
