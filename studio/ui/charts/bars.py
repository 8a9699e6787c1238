"""Charts of cases side by side: scaling, comparison, memory. Each is bars in groups."""

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
from studio.ui.charts.rows import Bar, Group, Part
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
MOST_LOADS = 3
"""Loads that are drawn: the smallest, a middle one, the largest. The table has all of them."""
PARTS = {
    "weights_gib": ("weights", "--l-accent"),
    "kv_cache_gib": ("cache", "--l-run"),
    "gradients_gib": ("gradients", "--l-run"),
    "optimizer_gib": ("optimizer", "--l-lost"),
    "activations_gib": ("activations", "--l-warn"),
    "other_gib": ("other", "--l-line-3"),
}


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
    return Drawing(
        kind=ask.kind,
        title=_fastest(ask, m, shown, base) or ask.say("scaling.title"),
        about=ask.about(),
        read=ask.say("scaling.read", base=base.name),
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


def memory(ask: Ask) -> Drawing:
    """Draw what each case takes of a card and of the host, against what there is."""
    card = ask.metric or first_of(ask.points, ("peak_card_gib", "memory_gib"))
    host = first_of(ask.points, ("peak_host_gib",))
    shown = [s for s in ask.series if not s.extra]
    if not card or not shown:
        return ask.nothing()
    limit = ask.limit or _card_gib(ask)
    groups, spreads, keys = [], [], {}
    for name in filter(None, (card, host)):
        m = measure(ask.lang, name)
        bars = []
        for series in shown:
            spot = _fullest(series, name)
            bar = _need(ask, m, series, spot, limit if name == card else None)
            keys |= {part.name: Key(part.name, part.colour) for part in bar.parts}
            bars.append(bar)
            spreads.append(bar.value)
        groups.append(Group(m.label, tuple(bars)))
    m = measure(ask.lang, card)
    line = (limit, ask.say("memory.limit", gib=units.number(limit))) if limit else None
    return Drawing(
        kind=ask.kind,
        title=_leanest(ask, m, shown) or ask.say("memory.title"),
        about=ask.about(without=("card",)),
        read=" ".join(
            (ask.say("memory.read"), ask.say("memory.read_limit") if limit else "")
        ).strip(),
        figure=rows.figure(
            groups, keep=ask.kind, narrow=ask.narrow, title=ask.say("memory.axis"), limit=line
        ),
        keys=tuple(keys.values()),
        notes=ask.notes(spreads, lines=False),
        head=(
            ask.say("series"),
            *(measure(ask.lang, n).axis for n in filter(None, (card, host))),
            ask.say("repeats"),
        ),
        rows=tuple(
            (
                s.name,
                *(_value(_fullest(s, n), n) for n in filter(None, (card, host))),
                max(len(spot.points) for spot in s.spots),
            )
            for s in ask.series
        ),
    )


# which ------------------------------------------------------------------------------------------


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


def _fullest(series: Series, name: str) -> Spot:
    """Return the spot at which a figure is largest."""

    def size(spot: Spot) -> float:
        found = spot.figure(name)
        return found.value if found else -1.0

    return max(series.spots, key=size)


# one bar ----------------------------------------------------------------------------------------


def _absent(ask: Ask, series: Series, spot: Spot | None) -> Bar:
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
        return _absent(ask, series, spot)
    found = times(m, spot, under)
    if found is None:
        return _absent(ask, series, spot)
    ideal = None
    if series.cards and base.cards and series.cards != base.cards:
        ideal = series.cards / base.cards
    own = series is base
    hover = f"<b>{series.name}</b><br>{m.label}: {m.say(value.value)}"
    return Bar(
        series.name,
        Spread(1.0, 1.0, 1.0, 1) if own else found,
        "1×" if own else f"{found.value:.2f}×",
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
        return _absent(ask, series, spot)
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


def _need(ask: Ask, m: Measure, series: Series, spot: Spot, limit: float | None) -> Bar:
    value = spot.figure(m.name)
    if value is None:
        return _absent(ask, series, spot)
    parts = []
    if m.name != "peak_host_gib":
        for name, (word, colour) in PARTS.items():
            size = spot.figure(name)
            if size is not None and size.value > 0:
                parts.append(Part(ask.say(f"part.{word}"), size.value, colour))
    share = units.percent(value.value / limit) if limit else ""
    over = bool(limit) and value.value > (limit or 0)
    return Bar(
        series.name,
        value,
        m.say(value.value),
        "--l-bad" if over else "--l-s0" if m.name != "peak_host_gib" else "--l-s5",
        f"<b>{series.name}</b><br>{m.label}: {m.say(value.value)}",
        aside=share,
        parts=tuple(parts),
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
    values: dict[str, Any] = {"name": series.name, "times": f"{best:.2f}", "base": base.name}
    values["load"] = ask.say("at_load", load=ask.load(load)) if load is not None else ""
    if series.cards > base.cards > 0:
        ideal = f"{series.cards / base.cards:g}"
        return ask.say("scaling.said_ideal", ideal=ideal, **values)
    return ask.say("scaling.said", **values)


def _difference(ask: Ask, m: Measure, shown: Sequence[Series], base: Series) -> str:
    if len(shown) != 2:
        return ""
    load = _loads(ask, shown)[-1]
    other = next(s for s in shown if s is not base)
    spots = [_at(s, ask.x, load) for s in (other, base)]
    mine, under = (spot.values(m.name) if spot else [] for spot in spots)
    found = ratio(mine, under) if mine and under else None
    if found is None:
        return ""
    return ask.say(
        "compare.said",
        name=other.name,
        base=base.name,
        metric=m.label,
        change=measures.change(found.percent),
        load=ask.say("at_load", load=ask.load(load)) if load is not None else "",
    )


def _leanest(ask: Ask, m: Measure, shown: Sequence[Series]) -> str:
    found = [(v.value, s) for s in shown if (v := _fullest(s, m.name).figure(m.name))]
    if len(found) < 2:
        return ""
    (least, lean), (most, full) = (pick(found, key=lambda one: one[0]) for pick in (min, max))
    if least >= most * 0.98:
        return ""
    return ask.say(
        "memory.said", name=lean.name, least=m.say(least), other=full.name, most=m.say(most)
    )


def _card_gib(ask: Ask) -> float | None:
    """Return how much memory a card has, as a point tells it or as its share gives away."""
    for point in ask.points:
        told = point.figures.get("card_gib")
        if told:
            return float(told)
        used, share = point.figures.get("memory_gib"), point.figures.get("memory_share")
        if used and share:
            return used / share
    return None


# tables -----------------------------------------------------------------------------------------


def _value(spot: Spot | None, name: str) -> float | None:
    found = spot.figure(name) if spot else None
    return found.value if found else None


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
