"""Lines with their names at the end: what the charts over load and throughput are made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.ui.charts import look
from studio.ui.charts.drawing import Key
from studio.ui.charts.interval import Spread
from studio.ui.charts.series import Series

LINE_PX, FAINT_PX, MARKER_PX = 2.25, 1, 8
LEAST_PLOT_PX = 380
"""Width of a plot in a card that is half as wide as the page."""


@dataclass(frozen=True)
class Mark:
    """One point of a line: where it stands, its bars, its number and what a pointer is told."""

    x: Spread
    y: Spread
    text: str
    hover: str
    load: str = ""
    """The load in words, where there is one: `256 users`."""


def trace(
    series: Series,
    marks: Sequence[Mark],
    *,
    bars_x: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Return a series as a line with markers; those beyond the eighth are thin and grey."""
    faint = series.extra
    error_y = look.bars([mark.y for mark in marks])
    error_x = look.bars([mark.x for mark in marks]) if bars_x else None
    drawn: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines" if faint else "lines+markers",
        "name": series.name,
        "x": [mark.x.value for mark in marks],
        "y": [mark.y.value for mark in marks],
        "hovertext": [mark.hover for mark in marks],
        "hoverinfo": "text",
        "cliponaxis": False,
        "line": {
            "color": "--l-faint/0.5" if faint else series.colour,
            "width": FAINT_PX if faint else LINE_PX,
            "shape": "linear",
        },
        "marker": {
            "color": series.colour,
            "size": MARKER_PX,
            "symbol": look.SYMBOLS[series.number % len(look.SYMBOLS)],
            "line": {"color": "--l-surface", "width": 1.5},
        },
    }
    for name, bars in (("error_y", error_y), ("error_x", error_x)):
        if bars and not faint:
            drawn[name] = {**bars, "color": f"{series.colour}/0.55"}
    return drawn | more


def numbers(
    series: Series, marks: Sequence[Mark], *, at: str = "top center", **more: Any
) -> dict[str, Any]:
    """Return the marks' numbers, above their bars."""
    return {
        "type": "scatter",
        "mode": "markers+text",
        "marker": {"size": MARKER_PX, "opacity": 0},
        "x": [mark.x.value for mark in marks],
        "y": [mark.y.high for mark in marks],
        "text": [mark.text for mark in marks],
        "textposition": at,
        "textfont": {"size": 11, "color": series.ink},
        "hoverinfo": "skip",
        "cliponaxis": False,
        "name": series.name,
        **more,
    }


def names_fit(series: Sequence[Series], *, narrow: bool) -> bool:
    """Tell whether the names can stand at the ends of their lines."""
    named = [one for one in series if not one.extra]
    longest = max((look.text_px(one.name) for one in named), default=0)
    return 1 < len(named) <= 4 and not narrow and longest <= look.LONGEST_LABEL


def right_margin(series: Sequence[Series], *, narrow: bool) -> int:
    """Return the room that the names at the ends need."""
    if not names_fit(series, narrow=narrow):
        return 22
    return 26 + round(max(look.text_px(one.name) for one in series if not one.extra))


def end_margin(ends: Sequence[tuple[str, float]]) -> int:
    """Return the room on the right for words that begin beside points at 0 to 1 of the width."""
    needs = [26 + look.text_px(words) - (1 - at) * LEAST_PLOT_PX for words, at in ends]
    return max(22, round(max(needs, default=0)))


def end_name(series: Series, mark: Mark) -> str:
    """Return a series' name with the load of its last point: `One card · 256 users`."""
    return f"{series.name} · {mark.load}" if mark.load else series.name


def end_names(
    lines: Sequence[tuple[Series, Mark]],
    *,
    y_range: Sequence[float],
    log_x: bool,
    log_y: bool,
    height: float,
    refs: tuple[str, str] = ("x", "y"),
    numbered: bool = False,
) -> list[dict[str, Any]]:
    """Return each line's name beside its last point; none covers another.

    `height` is that of the plot's area in pixels. Plotly wants logarithms on logarithmic axes.
    `numbered` says the point's load after the name, where a number would lie under another's name.
    """
    at = [look.place(mark.y.value, y_range, log=log_y) * height for _, mark in lines]
    moved = look.apart(at)
    return [
        look.words_at(
            end_name(series, mark) if numbered else series.name,
            _power(mark.x.value, log_x),
            _power(mark.y.value, log_y),
            color=series.ink,
            font={"weight": 600},
            bgcolor="--l-surface/0.75",
            borderpad=1,
            xref=refs[0],
            yref=refs[1],
            xanchor="left",
            xshift=11,
            yshift=shift,
        )
        for (series, mark), shift in zip(lines, moved, strict=True)
    ]


def keys(series: Sequence[Series], *, narrow: bool) -> tuple[Key, ...]:
    """Return the names to write above the chart, where they do not fit beside the lines."""
    named = [one for one in series if not one.extra]
    if len(named) < 2 or names_fit(series, narrow=narrow):
        return ()
    return tuple(Key(one.name, one.colour) for one in named)


def _power(value: float, log: bool) -> float:
    return math.log10(value) if log else value
