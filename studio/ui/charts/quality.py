"""Models beside each other by what their answers are worth: score, win rate, task metrics."""

from __future__ import annotations

from typing import Any

from studio.bench.definitions import SHARE, definition
from studio.bench.formulas import wilson
from studio.ui.charts import rows
from studio.ui.charts.ask import Ask
from studio.ui.charts.drawing import Drawing, Note
from studio.ui.charts.interval import Spread
from studio.ui.charts.measure import Measure, measure
from studio.ui.charts.rows import Bar, Group
from studio.ui.charts.series import Series

MOST_METRICS = 8
JUDGE_SCALE = 10.0
FIRST = ("win_rate", "score")


def quality(ask: Ask) -> Drawing:
    """Draw each metric with its own scale: models as bars, the better ones longer."""
    names = [ask.metric] if ask.metric else _metrics(ask)
    shown = [s for s in ask.series if not s.extra]
    if not names or not shown:
        return ask.nothing("quality")
    groups, table, sure = [], [], False
    for name in names[:MOST_METRICS]:
        m = measure(ask.lang, name)
        bars = []
        for series in shown:
            value = _value(series, name)
            sure = sure or (value is not None and value.n > 1)
            bars.append(_bar(ask, m, series, value))
            table.append(
                (
                    series.name,
                    m.label,
                    value.value if value else None,
                    value.low if value and value.n > 1 else None,
                    value.high if value and value.n > 1 else None,
                )
            )
        groups.append(Group(_heading(ask, m), tuple(bars), _scale(name, bars), _even(ask, name)))
    more = len(names) - MOST_METRICS
    return Drawing(
        kind=ask.kind,
        title=_best(ask, shown, names) or ask.say("quality.title"),
        about=ask.about(without=("model", "server")),
        read=ask.say("quality.read"),
        figure=rows.figure(groups, keep=ask.kind, narrow=ask.narrow),
        notes=(
            *ask.failures(),
            *([Note(ask.say("quality.interval"))] if sure else []),
            *([Note(ask.say("quality.more", n=more))] if more > 0 else []),
        ),
        head=(
            ask.say("series"),
            ask.say("quality.metric"),
            ask.say("quality.value"),
            ask.say("low"),
            ask.say("high"),
        ),
        rows=tuple(table),
    )


def _metrics(ask: Ask) -> list[str]:
    found = dict.fromkeys(name for p in ask.points if p.done for name in p.figures)
    quality = [name for name in found if definition(name).group == "quality"]
    return sorted(quality, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))


def _value(series: Series, name: str) -> Spread | None:
    spot = series.spots[0]
    value = spot.figure(name)
    if value is None or name != "win_rate":
        return value
    votes = spot.figure("comparisons")
    if votes is None or votes.value < 1:
        return value
    low, high = wilson(value.value * votes.value, round(votes.value))
    return Spread(value.value, low, high, round(votes.value))


def _bar(ask: Ask, m: Measure, series: Series, value: Spread | None) -> Bar:
    if value is None:
        return Bar(series.name, None, ask.say("unmeasured"), series.colour, tone="--l-muted")
    text = m.say(value.value)
    hover = f"<b>{series.name}</b><br>{m.label}: {text}"
    return Bar(series.name, value, text, series.colour, hover)


def _scale(name: str, bars: list[Bar]) -> float:
    top = max((bar.value.high for bar in bars if bar.value), default=1.0)
    if name == "score" and top <= JUDGE_SCALE:
        return JUDGE_SCALE
    return 1.0 if top <= 1 else top


def _even(ask: Ask, name: str) -> tuple[float, str] | None:
    return (0.5, ask.say("quality.even")) if name == "win_rate" else None


def _heading(ask: Ask, m: Measure) -> str:
    if definition(m.name).unit == SHARE:
        return f"{m.label} (%)"
    if m.name == "score":
        return ask.say("quality.of_ten", metric=m.label)
    return m.label


def _best(ask: Ask, shown: list[Series], names: list[str]) -> str:
    """Say who is ahead in the first metric, when the intervals do not overlap or none is known."""
    m = measure(ask.lang, names[0])
    found: list[tuple[Spread, Any]] = [(v, s) for s in shown if (v := _value(s, m.name))]
    if len(found) < 2:
        return ""
    order = sorted(found, key=lambda one: one[0].value, reverse=m.more is not False)
    (best, series), (second, other) = order[:2]
    sure = best.low > second.high if m.more is not False else best.high < second.low
    values = {"name": series.name, "metric": m.label, "value": m.say(best.value)}
    if best.n > 1 and not sure:
        return ask.say("quality.close", other=other.name, **values)
    return ask.say("quality.best", **values)
