"""Charts of cases side by side: how much faster, and how far apart. Bars in groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from studio.bench.spread import Judged, ratio
from studio.ui import measures, units
from studio.ui.charts import rows
from studio.ui.charts.ask import Ask
from studio.ui.charts.drawing import Drawing, Key
from studio.ui.charts.interval import ENOUGH, Spread
from studio.ui.charts.measure import Measure, first_of, measure
from studio.ui.charts.rows import Bar, Group
from studio.ui.charts.series import Series, Spot
from studio.ui.i18n import say

SPEEDS = (
    "output_throughput",
    "tokens_per_s",
    "samples_per_s",
    "request_throughput",
    "picture_s",
    "step_s",
)
COMPARED = (*SPEEDS, "e2el_median_ms", "peak_card_gib", "score", "seconds")
TIMES = ("s", "ms")
"""Units of what is the better the sooner it is over."""
MOST_LOADS = 3
"""Loads that are drawn: the smallest, a middle one, the largest. The table has all of them."""


def scaling(ask: Ask) -> Drawing:
    """Draw how many times as fast as the first case each other one is, and what would be ideal."""
    name = ask.metric or first_of(ask.points, SPEEDS)
    shown = [s for s in ask.series if not s.extra]
    if not name:
        return ask.nothing()
    if len(shown) < 2:
        return ask.nothing("cases")
    m = measure(ask.lang, name, ask.points)
    base = _base(ask, shown)
    groups, spreads, ideal = [], [], False
    for load in _loads(ask, shown):
        under = _at(base, ask.x, load)
        bars = []
        for series in shown:
            bar = _times(ask, m, series, _at(series, ask.x, load), base, under)
            bars.append(bar)
            spreads.append(bar.value)
            ideal = ideal or bar.ideal is not None
        groups.append(Group(ask.load(load), tuple(bars)))
    read = [ask.say("scaling.read", base=base.name)]
    if ideal:
        read.append(ask.say("scaling.read_ideal"))
    return Drawing(
        kind=ask.kind,
        title=_fastest(ask, m, shown, base) or ask.say("scaling.title"),
        about=ask.about(),
        read=("" if ask.lang == "zh" else " ").join(read),
        figure=rows.figure(
            groups,
            keep=f"{ask.kind}:{name}",
            narrow=ask.narrow,
            title=ask.say("scaling.axis", metric=m.label, base=base.name),
        ),
        keys=(Key(ask.say("scaling.ideal"), "--l-ink", "solid"),) if ideal else (),
        notes=ask.notes(spreads, lines=False),
        head=(ask.say("series"), ask.x_title, m.axis, ask.say("scaling.times"), ask.say("repeats")),
        rows=tuple(_scaling_rows(ask, m, ask.series, base)),
    )


def compare(ask: Ask) -> Drawing:
    """Draw one figure of every case or selection with its interval, and what differs for sure."""
    name = ask.metric or first_of(ask.points, COMPARED)
    shown = [s for s in ask.series if not s.extra]
    if not name or not shown:
        return ask.nothing()
    m = measure(ask.lang, name, ask.points)
    base = _base(ask, shown)
    groups, spreads = [], []
    for load in _loads(ask, shown):
        bars = tuple(_against(ask, m, s, base, load) for s in shown)
        spreads += [bar.value for bar in bars]
        groups.append(Group(ask.load(load), bars))
    better = {True: "more", False: "less", None: "plain"}[m.more]
    return Drawing(
        kind=ask.kind,
        title=_difference(ask, m, shown, base) or ask.say("compare.by", metric=m.label),
        about=ask.about(),
        read=" ".join((ask.say(f"compare.read_{better}"), ask.say("compare.read", base=base.name))),
        figure=rows.figure(groups, keep=f"{ask.kind}:{name}", narrow=ask.narrow, title=m.axis),
        notes=ask.notes(spreads, lines=False),
        head=(
            ask.say("series"),
            ask.x_title,
            m.axis,
            ask.say("low"),
            ask.say("high"),
            ask.say("repeats"),
        ),
        rows=tuple(_rows(ask, m, ask.series)),
    )


# which ------------------------------------------------------------------------------------------


def _multiple(value: float) -> str:
    """Return how many times: two places below ten, three significant digits above."""
    return f"{value:.2f}" if value < 10 else units.number(float(value))


def _base(ask: Ask, shown: Sequence[Series]) -> Series:
    """Return what the others are compared with: the one asked for, else the first."""
    return next((s for s in shown if ask.base and s.key == ask.base), shown[0])


def _loads(ask: Ask, shown: Sequence[Series]) -> list[Any]:
    """Return the loads to draw: the one asked for, or up to three that most cases share."""
    if not ask.x:
        return [None]
    counts: dict[Any, int] = {}
    for series in shown:
        for spot in series.spots:
            load = spot.condition(ask.x)
            if load is not None:
                counts[load] = counts.get(load, 0) + 1
    if not counts:
        return [None]
    if ask.at:
        near = [load for load in counts if f"{load:g}" == ask.at]
        if near:
            return near
    most = max(counts.values())
    loads = sorted(load for load, count in counts.items() if count == most)
    if len(loads) <= MOST_LOADS:
        return loads
    return [loads[0], loads[len(loads) // 2], loads[-1]]


def _at(series: Series, x: str, load: Any) -> Spot | None:
    if not x:
        return series.spots[0]
    return next((spot for spot in series.spots if spot.condition(x) == load), None)


# one bar ----------------------------------------------------------------------------------------


def absent(ask: Ask, series: Series, spot: Spot | None) -> Bar:
    """Return the bar of a case that failed or was not measured: words alone."""
    failed = spot is not None and not spot.done
    text = f"× {ask.say('failed')}" if failed else ask.say("unmeasured")
    return Bar(
        series.name, None, text, series.colour, tone="--l-bad-text" if failed else "--l-muted"
    )


def _times(
    ask: Ask, m: Measure, series: Series, spot: Spot | None, base: Series, under: Spot | None
) -> Bar:
    value = spot.figure(m.name) if spot else None
    if spot is None or value is None or under is None:
        return absent(ask, series, spot)
    found = times(m, spot, under)
    if found is None:
        return absent(ask, series, spot)
    ideal = None
    if series.cards and base.cards and series.cards != base.cards:
        ideal = series.cards / base.cards
    own = series is base
    hover = f"<b>{series.name}</b><br>{m.label}: {m.say(value.value)}"
    return Bar(
        series.name,
        Spread(1.0, 1.0, 1.0, 1) if own else found,
        "1×" if own else _multiple(found.value) + "×",
        series.colour,
        hover,
        aside=m.say(value.value),
        ideal=ideal,
    )


def times(m: Measure, spot: Spot, base: Spot) -> Spread | None:
    """Return how many times as good a spot is as the base, with the bar that the repeats allow."""
    over, under = spot.values(m.name), base.values(m.name)
    if m.more is False:
        over, under = under, over
    if not over or not under:
        return None
    found = ratio(over, under)
    if found is None:
        return None
    n = min(len(over), len(under))
    if n >= ENOUGH and found.interval:
        return Spread(found.value, found.interval.low, found.interval.high, n)
    if min(under) <= 0:
        return Spread(found.value, found.value, found.value, 1)
    return Spread(found.value, min(over) / max(under), max(over) / min(under), n)


def _against(ask: Ask, m: Measure, series: Series, base: Series, load: Any) -> Bar:
    spot, under = _at(series, ask.x, load), _at(base, ask.x, load)
    value = spot.figure(m.name) if spot else None
    if spot is None or value is None:
        return absent(ask, series, spot)
    aside = ""
    if series is not base and under is not None and under.values(m.name):
        found = ratio(spot.values(m.name), under.values(m.name))
        if found is not None:
            word = say(ask.lang, f"measures.judged_short.{found.judged}")
            quiet = found.judged in (Judged.MORE, Judged.LESS)
            aside = measures.change(found.percent) + ("" if quiet else f", {word}")
    return Bar(
        series.name,
        value.scaled(m.factor),
        m.say(value.value),
        series.colour,
        f"<b>{series.name}</b><br>{m.label}: {m.say(value.value)}",
        aside=aside,
    )


# what it says -----------------------------------------------------------------------------------


def _fastest(ask: Ask, m: Measure, shown: Sequence[Series], base: Series) -> str:
    load = _loads(ask, shown)[-1]
    under = _at(base, ask.x, load)
    found = []
    for series in shown:
        spot = _at(series, ask.x, load)
        value = times(m, spot, under) if series is not base and spot and under else None
        if value is not None:
            found.append((value.value, series))
    if not found:
        return ""
    best, series = max(found, key=lambda one: one[0])
    values: dict[str, Any] = {"name": series.name, "times": _multiple(best), "base": base.name}
    values["load"] = ask.say("at_load", load=ask.load(load)) if load is not None else ""
    if series.cards > base.cards > 0:
        ideal = f"{series.cards / base.cards:g}"
        return ask.say("scaling.said_ideal", ideal=ideal, **values)
    return ask.say("scaling.said_fast" if m.unit in TIMES else "scaling.said", **values)


def _difference(ask: Ask, m: Measure, shown: Sequence[Series], base: Series) -> str:
    if len(shown) != 2:
        return ""
    load = _loads(ask, shown)[-1]
    other = next(s for s in shown if s is not base)
    spots = [_at(s, ask.x, load) for s in (other, base)]
    mine, under = (spot.values(m.name) if spot else [] for spot in spots)
    found = ratio(mine, under) if mine and under else None
    if found is None or found.judged is Judged.NOISE:
        return ""  # a headline is no place for what the repeats cannot show
    return ask.say(
        "compare.said",
        name=other.name,
        base=base.name,
        metric=m.label,
        change=measures.change(found.percent),
        load=ask.say("at_load", load=ask.load(load)) if load is not None else "",
    )


# tables -----------------------------------------------------------------------------------------


def _rows(ask: Ask, m: Measure, shown: Sequence[Series]) -> list[tuple[Any, ...]]:
    found = []
    for series in shown:
        for spot in series.spots:
            load = spot.condition(ask.x) if ask.x else None
            value = spot.figure(m.name)
            if value is None:
                found.append((series.name, load, None, None, None, 0))
                continue
            v = value.scaled(m.factor)
            found.append((series.name, load, v.value, v.low, v.high, v.n))
    return found


def _scaling_rows(
    ask: Ask, m: Measure, shown: Sequence[Series], base: Series
) -> list[tuple[Any, ...]]:
    found = []
    for series in shown:
        for spot in series.spots:
            load = spot.condition(ask.x) if ask.x else None
            under, value = _at(base, ask.x, load), spot.figure(m.name)
            faster = times(m, spot, under) if under and value else None
            cells = (value.value * m.factor if value else None, faster.value if faster else None)
            found.append((series.name, load, *cells, value.n if value else 0))
    return found
