"""Charts over load: throughput against latency, percentiles of latency, Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from studio.ui.charts import lines, look
from studio.ui.charts.ask import Ask, tick
from studio.ui.charts.drawing import Drawing
from studio.ui.charts.interval import Spread
from studio.ui.charts.lines import Mark
from studio.ui.charts.measure import Measure, first_of, measure
from studio.ui.charts.series import Series, Spot

LATENCIES = ("e2el_median_ms", "e2el_p90_ms", "e2el_mean_ms", "tpot_median_ms", "ttft_median_ms")
GROWTH = 0.1
"""Throughput that grows by less than this per doubling of the load no longer pays."""
MOST_NUMBERED, MOST_ENDS = 2, 4
"""Series whose every point carries its load; of more, only the last does; of still more, none."""


def throughput_latency(ask: Ask) -> Drawing:
    """Draw what each load costs in latency and brings in throughput."""
    down = ask.metric or first_of(ask.points, LATENCIES)
    across = first_of(ask.points, ("output_throughput", "total_throughput", "request_throughput"))
    if not down or not across:
        return ask.nothing()
    x, y = (measure(ask.lang, name, ask.points) for name in (across, down))
    drawn = _against(ask, x, y)
    if not drawn:
        return ask.nothing()
    title = _where_it_bends(ask, across) or ask.say("throughput-latency.title")
    return _plotted(ask, drawn, x, y, title=title, read=ask.say("throughput-latency.read"))


def pareto(ask: Ask) -> Drawing:
    """Draw the speed that one user sees against what a card delivers, with the best of all."""
    if not first_of(ask.points, ("tokens_per_s_user",)):
        return ask.nothing()
    x = measure(ask.lang, "tokens_per_s_user")
    per_card = measure(ask.lang, "output_throughput")
    label = ask.say("pareto.per_card")
    y = Measure("per_card", label, label, per_card.unit)
    drawn: list[tuple[Series, list[Mark]]] = []
    for series in ask.series:
        marks = []
        for spot in series.spots:
            user, whole = spot.figure("tokens_per_s_user"), spot.figure("output_throughput")
            if user is None or whole is None:
                continue
            card = whole.scaled(1 / max(1, series.cards))
            marks.append(_mark(ask, series, spot, x, user, y, card))
        if marks:
            drawn.append((series, marks))
    if not drawn:
        return ask.nothing()
    best = front([mark for _, marks in drawn for mark in marks])
    edge = {
        "type": "scatter",
        "mode": "lines",
        "x": [mark.x.value for mark in best],
        "y": [mark.y.value for mark in best],
        "hoverinfo": "skip",
        "line": {"color": "--l-line-3", "width": 9, "shape": "linear"},
        "opacity": 0.45,
    }
    return _plotted(
        ask,
        drawn,
        x,
        y,
        title=ask.say("pareto.title"),
        read=ask.say("pareto.read"),
        behind=[edge] if len(best) > 1 else [],
        text_at="top right",
        name_at=0,
    )


def front(marks: Sequence[Mark]) -> list[Mark]:
    """Return the marks that none beats in both directions, from left to right."""
    best: list[Mark] = []
    for mark in sorted(marks, key=lambda m: (-m.x.value, -m.y.value)):
        if not best or mark.y.value > best[-1].y.value:
            best.append(mark)
    return best[::-1]


def _against(ask: Ask, x: Measure, y: Measure) -> list[tuple[Series, list[Mark]]]:
    drawn = []
    for series in ask.series:
        marks = []
        for spot in series.spots:
            one, other = spot.figure(x.name), spot.figure(y.name)
            if one is not None and other is not None:
                marks.append(_mark(ask, series, spot, x, one, y, other))
        if marks:
            drawn.append((series, marks))
    return drawn


def _mark(
    ask: Ask, series: Series, spot: Spot, x: Measure, one: Spread, y: Measure, other: Spread
) -> Mark:
    load = spot.condition(ask.x) if ask.x else None
    facts = [
        f"<b>{series.name}</b>",
        ask.load(load),
        f"{x.short}: {x.say(one.value)}",
        f"{y.short}: {y.say(other.value)}",
    ]
    hover = "<br>".join(fact for fact in facts if fact)
    number, told = (tick(load), ask.load(load)) if load else ("", "")
    return Mark(one.scaled(x.factor), other.scaled(y.factor), number, hover, told)


def _plotted(
    ask: Ask,
    drawn: list[tuple[Series, list[Mark]]],
    x: Measure,
    y: Measure,
    *,
    title: str,
    read: str,
    behind: Sequence[dict[str, Any]] = (),
    text_at: str = "top center",
    name_at: int = -1,
) -> Drawing:
    marks = [mark for _, found in drawn for mark in found]
    named = [(series, found) for series, found in drawn if not series.extra]
    shown = [series for series, _ in drawn]
    ups = [mark.y.high for mark in marks]
    log_y = look.is_wide([mark.y.value for mark in marks])
    y_axis = look.y_axis([m.y.value for m in marks] if log_y else ups, log=log_y)
    if not log_y and text_at:
        y_axis["range"][1] *= 1.04  # the numbers above the highest points
    height = look.NARROW_HEIGHT if ask.narrow else look.HEIGHT
    data = [*behind]
    for series, found in sorted(drawn, key=lambda one: not one[0].extra):
        data.append(lines.trace(series, found, bars_x=True))
    fits = lines.names_fit(shown, narrow=ask.narrow)
    numbered_names = fits and len(named) > MOST_NUMBERED and name_at == -1
    for series, found in named:
        if len(named) <= MOST_ENDS and not numbered_names:
            numbered = found if len(named) <= MOST_NUMBERED else [found[-1]]
            data.append(lines.numbers(series, numbered, at=text_at))
    log = ask.say("log_short" if ask.narrow else "log") if log_y else ""
    labels = [look.y_title(f"{y.axis}{log}")]
    if fits:
        last = [(series, found[name_at]) for series, found in named]
        labels += lines.end_names(
            last,
            y_range=y_axis["range"],
            log_x=False,
            log_y=log_y,
            height=height - look.TOP - look.BOTTOM,
            numbered=numbered_names,
        )
    whole = max(m.x.high for m in marks) * (1 + look.ROOM)
    ends = [
        (lines.end_name(series, mark) if numbered_names else series.name, mark.x.value / whole)
        for series, found in named
        if fits and (mark := found[name_at])
    ]
    return Drawing(
        kind=ask.kind,
        title=title,
        about=ask.about(),
        read=read,
        figure={
            "data": data,
            "layout": look.layout(
                keep=f"{ask.kind}:{x.name}:{y.name}",
                height=height,
                right=lines.end_margin(ends),
                xaxis=look.axis(
                    range=[0, whole],
                    title=look.x_title(x.axis),
                    nticks=5 if ask.narrow else 8,
                ),
                yaxis=y_axis,
                annotations=labels,
            ),
        },
        keys=lines.keys(shown, narrow=ask.narrow),
        notes=ask.notes([m.y for m in marks], ask.lonely(marks)),
        head=(ask.say("series"), ask.x_title, x.axis, y.axis, ask.say("repeats")),
        rows=tuple(
            (series.name, m.text.replace(",", ""), m.x.value, m.y.value, m.y.n)
            for series, found in drawn
            for m in found
        ),
    )


def _where_it_bends(ask: Ask, name: str) -> str:
    """Say where more users stop bringing more throughput; of several series, which serves most."""
    if not ask.x:
        return ""
    best: list[tuple[float, Series, Spot]] = []
    for series in ask.series:
        found = [(s.figure(name), s) for s in series.spots]
        tops = [(value.value, spot) for value, spot in found if value is not None]
        if tops:
            value, spot = max(tops, key=lambda one: one[0])
            best.append((value, series, spot))
    if not best:
        return ""
    many = measure(ask.lang, name)
    if len(best) > 1:
        value, series, spot = max(best, key=lambda one: one[0])
        load = ask.load(spot.condition(ask.x))
        return ask.say(
            "throughput-latency.most", name=series.name, value=many.say(value), load=load
        )
    spots = [s for s in best[0][1].spots if s.figure(name) is not None]
    if len(spots) < 3:
        return ""
    knee = _knee(ask.x, spots, name)
    value = spots[knee].figure(name)
    key = "grows" if knee == len(spots) - 1 else "knee"
    load = ask.load(spots[knee].condition(ask.x))
    return ask.say(
        f"throughput-latency.{key}", value=many.say(value.value if value else None), load=load
    )


def _knee(x: str, spots: Sequence[Spot], name: str) -> int:
    """Return the index of the last load that still paid."""
    for index, (one, other) in enumerate(pairwise(spots)):
        a, b = one.figure(name), other.figure(name)
        low, high = one.condition(x), other.condition(x)
        if a is None or b is None or not low or not high or a.value <= 0 or high <= low:
            continue
        if (b.value / a.value - 1) / math.log2(high / low) < GROWTH:
            return index
    return len(spots) - 1
