"""The table of a paper: a row for each condition, its repeats together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.bench.definitions import HEADLINES
from studio.bench.point import Point
from studio.ui import measures, units
from studio.ui.charts.interval import ENOUGH
from studio.ui.charts.series import axis_of, series_of
from studio.ui.i18n import say

MOST_COLUMNS = 7
NARROW = 0.0005
"""Share of a value below which its spread is left out: it is below the digits shown."""

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Headings and cells."""
NO_TABLE: Table = ((), [])


def results_table(lang: str, points: Sequence[Point], names: Mapping[str, str]) -> Table:
    """Return a row for each condition, its repeats together: mean and half the interval."""
    done = [point for point in points if point.done]
    if not done:
        return (), []
    x = axis_of(done)
    had = {name for point in done for name in point.figures}
    chosen = [name for name in HEADLINES if name in had][:MOST_COLUMNS]
    chosen = chosen or sorted(had)[:MOST_COLUMNS]
    rows = []
    for series in series_of(lang, done, x=x, names=names):
        for spot in series.spots:
            cells = [series.name]
            if x:
                cells.append(units.number(spot.condition(x)))
            for name in chosen:
                value = spot.figure(name)
                cells.append(
                    _cell(name, value.value, value.low, value.high, value.n) if value else "–"
                )
            rows.append((*cells, str(len(spot.points))))
    heads = [say(lang, "charts.series")]
    heads += [say(lang, f"charts.axis.{x}")] if x else []
    heads += [measures.axis(lang, name) for name in chosen]
    return (*heads, say(lang, "charts.repeats")), rows


def _cell(name: str, value: float, low: float, high: float, n: int) -> str:
    told, *ends = (measures.shown(name, v, with_unit=False) for v in (value, low, high))
    half = max(high - value, value - low)
    if n < 2 or half <= NARROW * abs(value):
        return told
    if n < ENOUGH:
        return f"{told} ({'–'.join(ends)})"
    return f"{told} ± {measures.shown(name, half, with_unit=False)}"


def bars_said(lang: str, table: Table) -> str:
    """Say what stands beside the means: half an interval, or the ends of two repeats."""
    repeats = [int(row[-1]) for row in table[1]]
    told = [
        say(lang, "report.bars.half") if max(repeats, default=0) >= ENOUGH else "",
        say(lang, "report.bars.ends") if any(1 < n < ENOUGH for n in repeats) else "",
    ]
    return " ".join(filter(None, told))
