"""The shared look: axes, ticks, direct labels, error bars. Plain dicts in Plotly's vocabulary.

Sizes are pixels. Heights and ranges are set here rather than by Plotly, so that labels can be kept
apart from each other before anything is drawn.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any
from unicodedata import east_asian_width

from studio.ui import units
from studio.ui.charts.interval import Spread

FONT = (
    "Inter, -apple-system, BlinkMacSystemFont, Segoe UI, Roboto, PingFang SC, Noto Sans SC, "
    "Noto Sans CJK SC, Microsoft YaHei, sans-serif"
)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "pentagon", "star", "hexagon")
"""Told apart also by shape, for eyes and printers that see no colour."""
HEIGHT, NARROW_HEIGHT = 400, 360
TOP, BOTTOM = 46, 52
LABEL_GAP = 19
LONGEST_LABEL = 190
"""Pixels; longer names stand in keys above the chart, not at the end of their line."""
_PIECE = re.compile(r"[\u2e80-\uffef]|[^\u2e80-\uffef\s]+\s*|\s+")
_WIDE = re.compile(r"[\u2e80-\uffef]")
ROOM = 0.08
"""Part of an axis left free beyond the data."""


def layout(
    *, keep: str, height: int, right: int = 16, left: int = 48, **more: Any
) -> dict[str, Any]:
    """Return the shared layout. `keep` names what is looked at: a zoom survives while it stays."""
    return {
        "height": height,
        "margin": {"l": left, "r": right, "t": TOP, "b": BOTTOM, "pad": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 12, "color": "--l-muted"},
        "hovermode": "closest",
        "hoverlabel": {
            "bgcolor": "--l-raised",
            "bordercolor": "--l-line-2",
            "font": {"family": FONT, "size": 12.5, "color": "--l-ink"},
            "align": "left",
            "namelength": -1,
        },
        "showlegend": False,
        "uirevision": keep,
        "separators": ".,",
        **more,
    }


def axis(**more: Any) -> dict[str, Any]:
    """Return an axis: a faint grid, no frame, three significant digits, thousands separated."""
    return {
        "gridcolor": "--l-line",
        "gridwidth": 1,
        "zeroline": False,
        "showline": False,
        "ticks": "",
        "tickformat": ",.4~r",
        "tickfont": {"size": 12, "color": "--l-muted"},
        "ticklabelstandoff": 4,
        "automargin": True,
        "fixedrange": False,
        **more,
    }


def x_title(text: str) -> dict[str, Any]:
    """Return an axis' title, below it."""
    return {"text": text, "font": {"size": 12.5, "color": "--l-ink-2"}, "standoff": 10}


def y_title(text: str, *, top: float = 1.0, ref: str = "paper", left: float = 0) -> dict[str, Any]:
    """Return a vertical axis' title, lying above it, where it is read without turning the head."""
    return {
        "text": text,
        "xref": ref,
        "yref": "paper",
        "x": left,
        "y": top,
        "xanchor": "left",
        "yanchor": "bottom",
        "yshift": 12,
        "showarrow": False,
        "align": "left",
        "font": {"size": 12.5, "color": "--l-ink-2"},
    }


def words_at(text: str, x: Any, y: Any, **more: Any) -> dict[str, Any]:
    """Return words at a place in the data."""
    font = {"size": 12, "color": more.pop("color", "--l-muted"), **more.pop("font", {})}
    return {"text": text, "x": x, "y": y, "showarrow": False, "font": font, **more}


def bars(spreads: Sequence[Spread | None]) -> dict[str, Any] | None:
    """Return error bars for values with their intervals; None where nothing was repeated."""
    if not any(s and s.n > 1 for s in spreads):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [s.high - s.value if s else 0 for s in spreads],
        "arrayminus": [s.value - s.low if s else 0 for s in spreads],
        "thickness": 1.5,
        "width": 4,
    }


def log_range(low: float, high: float) -> list[float]:
    """Return a range for a logarithmic axis (in powers of ten) with room at both ends."""
    a, b = math.log10(low), math.log10(high)
    room = max((b - a) * ROOM, 0.06)
    return [a - room, b + room]


def log_ticks(low: float, high: float, *, most: int = 9) -> list[float]:
    """Return 1, 2, 5 times the powers of ten; fewer of them over many decades."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [n * 10.0**e for e in range(first, last + 1) for n in steps]
        if sum(low <= t <= high for t in ticks) <= most:
            break
    return ticks


def is_wide(values: Sequence[float], *, over: float = 25) -> bool:
    """Tell whether values span so much that only a logarithmic axis shows them all."""
    positive = [value for value in values if value > 0]
    return len(positive) == len(values) > 1 and max(positive) / min(positive) > over


def y_axis(values: Sequence[float], *, log: bool, **more: Any) -> dict[str, Any]:
    """Return a value axis: logarithmic, or from zero with room above."""
    if log:
        low, high = min(values), max(values)
        ticks = log_ticks(low / 1.2, high * 1.2)
        return axis(
            type="log",
            range=log_range(low, high),
            tickmode="array",
            tickvals=ticks,
            ticktext=[plain(tick) for tick in ticks],
            **more,
        )
    top = max(values, default=1.0) or 1.0
    return axis(range=[0, top * (1 + ROOM)], nticks=6, **more)


def load_axis(
    values: Iterable[Any], text: str, *, least: float = 0.07, **more: Any
) -> dict[str, Any]:
    """Return the axis of users at once or offered requests: logarithmic, a tick at each load.

    A tick that would stand nearer to the next than `least`, a share of the axis, is left out.
    """
    loads = sorted({value for value in values if value})
    low, high = (loads[0], loads[-1]) if loads else (1, 1)
    if high / low < 4:
        spread = (high - low) or max(1.0, high * 0.5)
        extent = [max(0.0, low - spread * 0.12), high + spread * 0.12]
        kind: dict[str, Any] = {"type": "linear", "range": extent}
    else:
        kind = {"type": "log", "range": log_range(low, high)}
    ticks = _apart(loads, log=kind["type"] == "log", least=least)
    return axis(
        **kind,
        tickmode="array",
        tickvals=ticks,
        ticktext=[units.number(int(t) if float(t).is_integer() else t) for t in ticks],
        title=x_title(text),
        showgrid=False,
        **more,
    )


def plain(value: float) -> str:
    """Return a round value without the zeros that three digits would give it: `0.5`, `20`."""
    text = units.number(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def place(value: float, ends: Sequence[float], *, log: bool) -> float:
    """Return where a value stands on an axis, 0 to 1."""
    at = math.log10(max(value, 1e-300)) if log else value
    return (at - ends[0]) / ((ends[1] - ends[0]) or 1)


def apart(heights: Sequence[float], *, gap: float = LABEL_GAP) -> list[float]:
    """Return how far each label (at so many pixels) has to move so that none covers another."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    at = list(heights)
    for _ in range(60):
        moved = False
        for below, above in pairwise(order):
            short = gap - (at[above] - at[below])
            if short > 0.01:
                at[below] -= short / 2
                at[above] += short / 2
                moved = True
        if not moved:
            break
    return [new - old for new, old in zip(at, heights, strict=True)]


def text_px(text: str, size: float = 12) -> float:
    """Return about how wide words are; Chinese letters are twice as wide as Latin ones."""
    wide = sum(east_asian_width(letter) in "WF" for letter in text)
    return size * (wide * 1.02 + (len(text) - wide) * 0.56)


def short(text: str, width: float, size: float = 12) -> str:
    """Return words cut to a width in pixels."""
    if text_px(text, size) <= width:
        return text
    while text and text_px(text + "…", size) > width:
        text = text[:-1]
    return f"{text.rstrip(' ·')}…"


def wrapped(text: str, most: int) -> list[str]:
    """Return text as lines of HTML, none longer than about so many Latin letters."""
    lines: list[str] = []
    size = most + 1
    for piece in _PIECE.findall(text):
        wide = 2 if _WIDE.match(piece) else len(piece)
        if size + wide > most:
            lines.append("")
            size = 0
        lines[-1] += piece
        size += wide
    return [html.escape(line.strip()) for line in lines]


def _apart(loads: Sequence[float], *, log: bool, least: float) -> list[float]:
    """Leave out the ticks that would touch their neighbour; the ends stay."""
    if len(loads) < 3:
        return list(loads)
    ends = [math.log10(loads[0]), math.log10(loads[-1])] if log else [loads[0], loads[-1]]
    kept = [loads[0]]
    for load in loads[1:-1]:
        at = place(load, ends, log=log)
        if at - place(kept[-1], ends, log=log) >= least and 1 - at >= least:
            kept.append(load)
    return [*kept, loads[-1]]
