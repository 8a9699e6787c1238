"""A figure over lengths and load: one cell for each combination, its number written in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from studio.bench.point import Point
from studio.ui import units
from studio.ui.charts import look
from studio.ui.charts.ask import Ask, tick
from studio.ui.charts.drawing import Drawing
from studio.ui.charts.measure import Measure, first_of, measure
from studio.ui.charts.series import Series, Spot, series_of, value_of

FIRST = ("output_throughput", "request_throughput", "ttft_median_ms")
MOST_PANELS = 4
ROW_PX, NARROW_ROW_PX = 46, 40
HEAD_PX, GAP_PX, FOOT_PX = 40, 46, 56
SCALE = [[0.0, "--l-heat-0"], [0.35, "--l-heat-1"], [0.7, "--l-heat-2"], [1.0, "--l-heat-3"]]
FEW_COLUMNS = 6
"""Loads whose figures have room for three digits on a telephone."""
TURN = 0.68
"""Part of the scale from which numbers are written in the other ink."""
WIDE_SPAN = 20
"""Largest over smallest from which colours go by the logarithm."""


def heat(ask: Ask) -> Drawing:
    """Draw one figure over lengths (down) and load (across), a panel for each case."""
    name = ask.metric or first_of(ask.points, FIRST)
    points = [p for p in ask.points if ask.x and p.condition.get(ask.x) is not None]
    if not name or not any(name in p.figures for p in points):
        return ask.nothing("load" if name else "none")
    m = measure(ask.lang, name, points)
    panels = _panels(ask, points)
    values = [v.value for p in panels for s in p[1] for spot in s.spots if (v := spot.figure(name))]
    hidden = len(panels) - MOST_PANELS
    return Drawing(
        kind=ask.kind,
        title=ask.say("heat.said", metric=m.label, low=m.say(min(values)), high=m.say(max(values))),
        about=ask.about(),
        read=ask.say("heat.read"),
        figure=_Heat(ask, m, panels[:MOST_PANELS], values).figure(),
        notes=ask.notes((), ask.say("heat.more", n=hidden) if hidden > 0 else ""),
        head=(ask.say("series"), ask.say("heat.into"), ask.say("heat.out"), ask.x_title, m.axis),
        rows=tuple(
            (
                name_of or series.name,
                *(value_of(spot.points[0], "lengths") or (None, None)),
                spot.condition(ask.x),
                value.value * m.factor if (value := spot.figure(name)) else None,
            )
            for name_of, found in panels
            for series in found
            for spot in series.spots
        ),
    )


def _panels(ask: Ask, points: Sequence[Point]) -> list[tuple[str, list[Series]]]:
    """Return the cases, each with a series for every pair of lengths."""
    parts: dict[Any, list[Point]] = {}
    for point in points:
        parts.setdefault(value_of(point, "lengths"), []).append(point)
    whole = series_of(ask.lang, [p for p in points], x="lengths", names=ask.names)
    panels = []
    for case in whole:
        mine = {id(p) for spot in case.spots for p in spot.points}
        lengths = sorted(
            (key for key, found in parts.items() if any(id(p) in mine for p in found)),
            key=lambda pair: tuple(n or 0 for n in pair or ()),
        )
        rows = []
        for pair in lengths:
            inside = [p for p in parts[pair] if id(p) in mine]
            rows += series_of(ask.lang, inside, x=ask.x, names=ask.names)[:1]
        panels.append((case.name if len(whole) > 1 else "", rows))
    return panels


class _Heat:
    def __init__(
        self,
        ask: Ask,
        m: Measure,
        panels: Sequence[tuple[str, list[Series]]],
        values: Sequence[float],
    ) -> None:
        self.ask = ask
        self.m = m
        self.panels = panels
        self.low, self.high = min(values), max(values)
        self.log = self.low > 0 and self.high / self.low > WIDE_SPAN
        self.row_px = NARROW_ROW_PX if ask.narrow else ROW_PX
        self.words: list[dict[str, Any]] = []

    def figure(self) -> dict[str, Any]:
        """Return the panels below each other."""
        count = len(self.panels)
        heights = [len(rows) * self.row_px for _, rows in self.panels]
        inner = sum(heights) + GAP_PX * (count - 1)
        data, axes, top = [], {}, 0.0
        for number, ((name, rows), height) in enumerate(zip(self.panels, heights, strict=True)):
            tail = "" if number == 0 else str(number + 1)
            last = number == count - 1
            domain = [max(0.0, 1 - (top + height) / inner), 1 - top / inner]
            data.append(self._panel(rows, tail))
            axes |= self._axes(rows, tail, domain, last=last)
            head = self.ask.say("heat.lengths")
            if name:
                head = f"<b>{name}</b>" + (f" · {head}" if number == 0 else "")
            self.words.append(look.y_title(head, top=domain[1]) | {"yshift": 4})
            if number == 0:
                self.words.append(look.y_title(self.m.axis, top=domain[1], left=1) | self._corner())
            top += height + GAP_PX
        head = HEAD_PX + (20 if self.ask.narrow else 0)
        layout = look.layout(
            keep=f"heat:{self.m.name}",
            height=inner + head + FOOT_PX,
            annotations=self.words,
            **axes,
        )
        layout["margin"] |= {"t": head, "b": FOOT_PX, "r": 12}
        return {"data": data, "layout": layout}

    def _loads(self) -> list[Any]:
        return sorted(
            {
                spot.condition(self.ask.x)
                for _, rows in self.panels
                for s in rows
                for spot in s.spots
            }
        )

    def _panel(self, rows: Sequence[Series], tail: str) -> dict[str, Any]:
        loads = self._loads()
        shades, hovers = [], []
        for y, series in enumerate(rows):
            spots = {spot.condition(self.ask.x): spot for spot in series.spots}
            line = [self._cell(series, spots.get(load)) for load in loads]
            shades.append([cell[0] for cell in line])
            hovers.append([cell[2] for cell in line])
            for x, (cell, load) in enumerate(zip(line, loads, strict=True)):
                spot = spots.get(load)
                if cell[0] is not None:
                    self._write(cell[1], x, y, tail, self._ink(cell[0]))
                elif spot is not None and not spot.done:
                    text = "×" if self.ask.narrow else f"× {self.ask.say('failed')}"
                    self._write(text, x, y, tail, "--l-bad-text")
        ends = self._shade(self.low), self._shade(self.high)
        return {
            "type": "heatmap",
            "x": list(range(len(loads))),
            "y": list(range(len(rows))),
            "z": shades,
            "hovertext": hovers,
            "hoverinfo": "text",
            "hoverongaps": False,
            "xgap": 2,
            "ygap": 2,
            "zmin": ends[0],
            "zmax": ends[1] if ends[1] > ends[0] else ends[0] + 1,
            "colorscale": SCALE,
            "showscale": False,
            "xaxis": f"x{tail}",
            "yaxis": f"y{tail}",
        }

    def _cell(self, series: Series, spot: Spot | None) -> tuple[float | None, str, str]:
        value = spot.figure(self.m.name) if spot else None
        if spot is None or value is None:
            return None, "", ""
        load = self.ask.load(spot.condition(self.ask.x))
        hover = f"<b>{_lengths(series)}</b><br>{load}<br>{self.m.label}: {self.m.say(value.value)}"
        return self._shade(value.value), self._short(value.value), hover

    def _short(self, value: float) -> str:
        shown = value * self.m.factor
        if not self.ask.narrow:
            return units.number(shown)
        short = shown / 1000 if abs(shown) >= 1000 else shown
        digits = 3 if len(self._loads()) <= FEW_COLUMNS else 2
        return f"{float(f'{short:.{digits}g}'):g}{'k' if short != shown else ''}"

    def _shade(self, value: float) -> float:
        return math.log10(value) if self.log and value > 0 else value

    def _corner(self) -> dict[str, Any]:
        """Return where the figure's name stands: at the right, on a telephone a line higher."""
        return {"xanchor": "right", "yshift": 22 if self.ask.narrow else 4}

    def _ink(self, shade: float) -> str:
        low, high = self._shade(self.low), self._shade(self.high)
        part = (shade - low) / (high - low) if high > low else 0.0
        return "--l-heat-high-text" if part > TURN else "--l-heat-low-text"

    def _write(self, text: str, x: int, y: int, tail: str, colour: str) -> None:
        few = len(self._loads()) <= FEW_COLUMNS
        size = {"size": 12.5 if not self.ask.narrow else 11 if few else 10}
        where = {"xref": f"x{tail}", "yref": f"y{tail}"}
        self.words.append(look.words_at(text, x, y, color=colour, font=size, **where))

    def _axes(
        self, rows: Sequence[Series], tail: str, domain: list[float], *, last: bool
    ) -> dict[str, Any]:
        loads = self._loads()
        shared: dict[str, Any] = {"showgrid": False, "fixedrange": True, "tickmode": "array"}
        x = look.axis(
            **shared,
            range=[-0.5, len(loads) - 0.5],
            tickvals=list(range(len(loads))),
            ticktext=[tick(load) for load in loads],
            anchor=f"y{tail}",
            title=look.x_title(self.ask.x_title) if last else None,
            showticklabels=last,
        )
        y = look.axis(
            **shared,
            range=[len(rows) - 0.5, -0.5],
            tickvals=list(range(len(rows))),
            ticktext=[_lengths(series) for series in rows],
            anchor=f"x{tail}",
            domain=domain,
        )
        y["tickfont"] = {"size": 12, "color": "--l-ink"}
        return {f"xaxis{tail}": x, f"yaxis{tail}": y}


def _lengths(series: Series) -> str:
    pair = value_of(series.spots[0].points[0], "lengths")
    return f"{pair[0]} → {pair[1]}" if pair else series.name
