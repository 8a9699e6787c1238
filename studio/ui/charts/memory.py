"""Memory of every case: the fullest card and the host, in parts where they are known."""

from __future__ import annotations

from collections.abc import Sequence

from studio.ui import units
from studio.ui.charts import rows
from studio.ui.charts.ask import Ask
from studio.ui.charts.bars import absent
from studio.ui.charts.drawing import Drawing, Key
from studio.ui.charts.measure import Measure, measure
from studio.ui.charts.rows import Bar, Group, Part
from studio.ui.charts.series import Series, Spot

PARTS = {
    "weights_gib": ("weights", "--l-accent"),
    "kv_cache_gib": ("cache", "--l-run"),
    "gradients_gib": ("gradients", "--l-run"),
    "optimizer_gib": ("optimizer", "--l-lost"),
    "activations_gib": ("activations", "--l-warn"),
    "other_gib": ("other", "--l-line-3"),
}


def memory(ask: Ask) -> Drawing:
    """Draw what each case takes of a card and of the host, against what there is."""
    shown = [s for s in ask.series if not s.extra]
    card = ask.metric or _measured(shown, "peak_card_gib") or _measured(shown, "memory_gib")
    host = _measured(shown, "peak_host_gib")
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


def _measured(shown: Sequence[Series], name: str) -> str:
    """Return the name where a case has that figure under the loads drawn, else nothing."""
    return name if any(_fullest(series, name).figure(name) for series in shown) else ""


def _fullest(series: Series, name: str) -> Spot:
    """Return the spot at which a figure is largest."""

    def size(spot: Spot) -> float:
        found = spot.figure(name)
        return found.value if found else -1.0

    return max(series.spots, key=size)


def _need(ask: Ask, m: Measure, series: Series, spot: Spot, limit: float | None) -> Bar:
    value = spot.figure(m.name)
    if value is None:
        return absent(ask, series, spot)
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


def _value(spot: Spot | None, name: str) -> float | None:
    found = spot.figure(name) if spot else None
    return found.value if found else None
