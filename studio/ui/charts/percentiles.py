"""TTFT and TPOT in percentiles over the load: what half, nine of ten and nearly all wait for."""

from __future__ import annotations

import math
from typing import Any

from studio.ui.charts import lines, look
from studio.ui.charts.ask import Ask, tick
from studio.ui.charts.drawing import Drawing, Key, Note
from studio.ui.charts.interval import Spread
from studio.ui.charts.lines import Mark
from studio.ui.charts.measure import Measure, first_of, measure
from studio.ui.charts.series import Series
from studio.ui.i18n import say

PERCENTILES = ("median", "p90", "p99")
PANELS = ("ttft", "tpot", "itl", "e2el")
BAND = {"median": "", "p90": "dash", "p99": "dot"}
MOST_WHOLE = 3
"""Series that are drawn with all percentiles; of more, P90 alone."""
GAP_PX = 92
"""Between two panels that stand below each other."""


def percentiles(ask: Ask) -> Drawing:
    """Draw P50, P90 and P99 of the waiting times over the load, a panel for each kind."""
    wanted = (ask.metric,) if ask.metric in PANELS else ("ttft", "tpot")
    panels = [name for name in wanted if first_of(ask.points, [f"{name}_median_ms"])]
    if not panels or not ask.x:
        return ask.nothing("load" if panels else "none")
    return _Percentiles(ask, panels).drawing()


class _Percentiles:
    """Draws the panels, side by side where there is room."""

    def __init__(self, ask: Ask, panels: list[str]) -> None:
        self.ask = ask
        self.panels = panels
        self.single = len(ask.series) == 1
        self.stats = PERCENTILES if len(ask.series) <= MOST_WHOLE else ("p90",)
        lasts = {s.last.condition(ask.x) for s in ask.series if not s.extra and s.last}
        self.named = len(lasts) == 1 and lines.names_fit(ask.series, narrow=ask.narrow)
        self.data: list[dict[str, Any]] = []
        self.words: list[dict[str, Any]] = []
        self.shapes: list[dict[str, Any]] = []
        self.axes: dict[str, Any] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.spreads: list[Spread] = []
        side = lines.right_margin(ask.series, narrow=False) if self.named else 0
        self.right = 44 if self.single else max(22, side)
        stacked = ask.narrow and len(panels) > 1
        inner = 230 if stacked else (look.NARROW_HEIGHT if ask.narrow else look.HEIGHT) - 98
        self.inner = inner
        count = len(panels)
        self.height = look.TOP + look.BOTTOM + inner * (count if stacked else 1)
        self.height += GAP_PX * (count - 1) if stacked else 0
        self.stacked = stacked

    def drawing(self) -> Drawing:
        """Return the chart."""
        ask = self.ask
        for number, panel in enumerate(self.panels):
            self._panel(number, panel)
        keys: list[Key] = []
        if not self.single and not self.named:
            keys += [Key(s.name, s.colour) for s in ask.series if not s.extra]
        if not self.single and len(self.stats) > 1:
            keys += [Key(self._stat(s), "--l-muted", BAND[s] or "solid") for s in PERCENTILES]
        return Drawing(
            kind=ask.kind,
            title=self._title(),
            about=ask.about(),
            read=ask.say(self._how()),
            figure={
                "data": self.data,
                "layout": look.layout(
                    keep=f"{ask.kind}:{','.join(self.panels)}",
                    height=self.height,
                    right=self.right,
                    annotations=self.words,
                    shapes=self.shapes,
                    **self.axes,
                ),
            },
            keys=tuple(keys),
            notes=ask.notes(self.spreads, ask.lonely(self.rows), self._limits()),
            head=(
                ask.say("series"),
                ask.x_title,
                *(m.axis for p in self.panels for m in self._measures(p)),
                ask.say("repeats"),
            ),
            rows=tuple(self._table()),
        )

    def _how(self) -> str:
        if self.single:
            return "percentiles.read"
        return "percentiles.read_many" if len(self.stats) > 1 else "percentiles.read_p90"

    def _measures(self, panel: str) -> list[Measure]:
        names = [f"{panel}_{stat}_ms" for stat in PERCENTILES]
        found = [measure(self.ask.lang, name, self.ask.points) for name in names]
        worst = min(found, key=lambda m: m.factor)
        return [Measure(m.name, m.label, m.short, worst.unit, worst.factor, False) for m in found]

    def _stat(self, stat: str) -> str:
        return {"median": "P50", "p90": "P90", "p99": "P99"}[stat]

    def _tail(self, number: int) -> str:
        """Return what Plotly puts after the names of a panel's axes."""
        return "" if number == 0 else str(number + 1)

    def _panel(self, number: int, panel: str) -> None:
        ask, count = self.ask, len(self.panels)
        tail = self._tail(number)
        gap = 0.0
        if count > 1:
            gap = GAP_PX / (self.height - look.TOP - look.BOTTOM) if self.stacked else 0.12
        size = (1 - gap * (count - 1)) / count
        low = number * (size + gap)
        wide, tall = [low, low + size], [0.0, 1.0]
        if self.stacked:
            wide, tall = [0.0, 1.0], [max(0.0, 1 - low - size), 1 - low]
        measures = self._measures(panel)
        values = [
            v.high * m.factor
            for stat, m in zip(PERCENTILES, measures, strict=True)
            if stat in self.stats
            for s in ask.series
            for spot in s.spots
            if (v := spot.figure(m.name)) is not None
        ]
        values += [limit * measures[0].factor for limit in self._slo(panel)]
        log = look.is_wide(values)
        y_axis = look.y_axis(values, log=log, domain=tall, anchor=f"x{tail}")
        loads = [spot.condition(ask.x) for s in ask.series for spot in s.spots]
        x_axis = look.load_axis(
            loads,
            ask.x_title,
            least=0.07 if ask.narrow else 0.13,  # two of them share the width
            tickangle=0,
            domain=wide,
            anchor=f"y{tail}",
        )
        self.axes |= {f"xaxis{tail}": x_axis, f"yaxis{tail}": y_axis}
        title = say(ask.lang, f"measures.label.{panel}")
        if len(self.stats) == 1:
            title = measure(ask.lang, f"{panel}_p90_ms").label
        title = f"<b>{title}</b> ({measures[0].unit}{ask.say('log_short') if log else ''})"
        self.words.append(look.y_title(title, top=tall[1], left=wide[0]))
        for series in sorted(ask.series, key=lambda s: not s.extra):
            self._lines(series, measures, tail)
        self._ends(measures, tail, x_axis, y_axis, log)
        for limit in self._slo(panel):
            self._limit(limit * measures[0].factor, tail, log, measures[0])
        self._failed(tail, x_axis)

    def _lines(self, series: Series, measures: list[Measure], tail: str) -> None:
        previous: dict[str, Any] | None = None
        for stat, m in zip(PERCENTILES, measures, strict=True):
            if stat not in self.stats:
                continue
            marks = self._marks(series, m)
            if not marks:
                continue
            self.spreads += [mark.y for mark in marks]
            line = lines.trace(series, marks, xaxis=f"x{tail}", yaxis=f"y{tail}")
            dash = "solid" if stat == self.stats[0] else BAND[stat]
            line["line"] = {**line["line"], "dash": dash}
            if stat != self.stats[0]:
                line["line"]["width"] = 1.5
                line["marker"] = {**line["marker"], "size": 5, "line": {"width": 0}}
            if self.single and previous is not None:
                line |= {"fill": "tonexty", "fillcolor": f"{series.colour}/0.10"}
            previous = line
            self.data.append(line)

    def _marks(self, series: Series, m: Measure) -> list[Mark]:
        ask, found = self.ask, []
        for spot in series.spots:
            value, load = spot.figure(m.name), spot.condition(ask.x)
            if value is None or not load:
                continue
            hover = f"<b>{series.name}</b><br>{ask.load(load)}<br>{m.label}: {m.say(value.value)}"
            at = Spread(load, load, load, 1)
            found.append(Mark(at, value.scaled(m.factor), tick(load), hover))
        return found

    def _ends(
        self,
        measures: list[Measure],
        tail: str,
        x_axis: dict[str, Any],
        y_axis: dict[str, Any],
        log: bool,
    ) -> None:
        how: dict[str, Any] = {
            "y_range": y_axis["range"],
            "log_x": x_axis["type"] == "log",
            "log_y": log,
            "height": self.inner,
            "refs": (f"x{tail}", f"y{tail}"),
        }
        if self.single:
            series = self.ask.series[0]
            ends = []
            for stat, m in zip(PERCENTILES, measures, strict=True):
                marks = self._marks(series, m)
                if marks:
                    ends.append((Series(self._stat(stat), series.spots, series.number), marks[-1]))
            self.words += lines.end_names(ends, **how)
        elif self.named and tail == self._tail(len(self.panels) - 1):  # else they cover the next
            named = [s for s in self.ask.series if not s.extra]
            ends = [(s, m[-1]) for s in named if (m := self._marks(s, measures[0]))]
            self.words += lines.end_names(ends, **how)

    def _slo(self, panel: str) -> list[float]:
        return sorted({p.slo[f"{panel}_ms"] for p in self.ask.points if f"{panel}_ms" in p.slo})

    def _limit(self, limit: float, tail: str, log: bool, m: Measure) -> None:
        y = math.log10(limit) if log else limit
        self.shapes.append(
            {
                "type": "line",
                "xref": f"x{tail} domain",
                "yref": f"y{tail}",
                "x0": 0,
                "x1": 1,
                "y0": limit,
                "y1": limit,
                "line": {"color": "--l-bad", "width": 1.25, "dash": "dash"},
            }
        )
        text = self.ask.say("percentiles.limit", value=f"{look.plain(limit)} {m.unit}")
        self.words.append(
            look.words_at(
                text,
                0,
                y,
                color="--l-bad-text",
                font={"size": 11},
                xref=f"x{tail} domain",
                yref=f"y{tail}",
                xanchor="left",
                yanchor="bottom",
            )
        )

    def _failed(self, tail: str, x_axis: dict[str, Any]) -> None:
        """Mark the loads at which nothing could be measured."""
        ask = self.ask
        loads = {
            spot.condition(ask.x)
            for s in ask.series
            for spot in s.spots
            if not spot.done and spot.condition(ask.x)
        }
        for load in loads:
            at = math.log10(load) if x_axis["type"] == "log" else load
            self.words.append(
                look.words_at(
                    f"× {ask.say('failed')}",
                    at,
                    1,
                    color="--l-bad-text",
                    font={"size": 11},
                    xref=f"x{tail}",
                    yref=f"y{tail} domain",
                    yanchor="top",
                )
            )

    def _title(self) -> str:
        ask = self.ask
        if not self.single or self.panels[:2] != ["ttft", "tpot"]:
            return ask.say("percentiles.title")
        ttft, tpot = (measure(ask.lang, f"{p}_p90_ms", ask.points) for p in ("ttft", "tpot"))
        for spot in reversed(ask.series[0].spots):
            first, rest = spot.figure(ttft.name), spot.figure(tpot.name)
            if first is not None and rest is not None:
                return ask.say(
                    "percentiles.said",
                    load=ask.load(spot.condition(ask.x)),
                    ttft=ttft.say(first.value),
                    tpot=tpot.say(rest.value),
                )
        return ask.say("percentiles.title")

    def _limits(self) -> Note | str:
        return self.ask.say("percentiles.slo") if any(map(self._slo, self.panels)) else ""

    def _table(self) -> list[tuple[Any, ...]]:
        measures = [m for p in self.panels for m in self._measures(p)]
        found = []
        for series in self.ask.series:
            for spot in series.spots:
                values = [spot.figure(m.name) for m in measures]
                cells = [
                    v.value * m.factor if v else None for v, m in zip(values, measures, strict=True)
                ]
                load = spot.condition(self.ask.x)
                found.append((series.name, load, *cells, sum(p.done for p in spot.points)))
        return found
