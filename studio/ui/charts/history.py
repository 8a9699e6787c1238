"""One figure over the days on which it was measured, with the changes of version marked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from studio.bench.point import Point
from studio.ui import measures
from studio.ui.charts import lines, look
from studio.ui.charts.ask import Ask
from studio.ui.charts.drawing import Drawing
from studio.ui.charts.interval import Spread, spread_of
from studio.ui.charts.lines import Mark
from studio.ui.charts.measure import Measure, first_of, measure
from studio.ui.charts.series import Series, series_of

FIRST = ("output_throughput", "tokens_per_s", "picture_s", "score", "e2el_median_ms")
MARK_PX = 22


def history(ask: Ask) -> Drawing:
    """Draw one figure over time, for one load, a line for each thing measured."""
    name = ask.metric or first_of(ask.points, FIRST)
    points = [p for p in ask.points if p.at and (name in p.figures or not p.done)]
    if not name or not any(p.done for p in points):
        return ask.nothing()
    load = _load(ask, points)
    if load is not None:
        points = [p for p in points if p.condition.get(ask.x) == load]
    m = measure(ask.lang, name, points)
    blind = [p.model_copy(update={"server": "", "results": "", "case": p.case}) for p in points]
    homes = {id(copy): point for copy, point in zip(blind, points, strict=True)}
    found = []
    for series in series_of(ask.lang, blind, names=ask.names):
        mine = [homes[id(p)] for spot in series.spots for p in spot.points]
        marks = _marks(ask, m, series, mine)
        if marks:
            found.append((series, marks))
    return _drawn(ask, m, found, points, load)


def _load(ask: Ask, points: Sequence[Point]) -> Any:
    """Return the load asked for, or the largest of those measured most often."""
    if not ask.x:
        return None
    days: dict[Any, set[str]] = {}
    for point in points:
        if point.done and point.condition.get(ask.x) is not None:
            days.setdefault(point.condition[ask.x], set()).add(point.results)
    near = [load for load in days if f"{load:g}" == ask.at]
    return near[0] if near else max(days, key=lambda load: (len(days[load]), load), default=None)


def _marks(ask: Ask, m: Measure, series: Series, points: Sequence[Point]) -> list[Mark]:
    """Return one mark for each folder of results, at the time of its last point."""
    folders: dict[str, list[Point]] = {}
    for point in points:
        if point.done and m.name in point.figures:
            folders.setdefault(point.results, []).append(point)
    marks = []
    for mine in sorted(folders.values(), key=lambda found: max(p.at for p in found)):
        at = max(p.at for p in mine)
        value = spread_of([p.figures[m.name] for p in mine])
        facts = (
            f"<b>{series.name}</b>",
            _day(at),
            mine[0].server,
            f"{m.label}: {m.say(value.value)}",
        )
        text = m.say(value.value).removesuffix(m.unit).strip()
        hover = "<br>".join(fact for fact in facts if fact)
        marks.append(Mark(Spread(at, at, at, 1), value.scaled(m.factor), text, hover))
    return marks


def _drawn(
    ask: Ask,
    m: Measure,
    found: list[tuple[Series, list[Mark]]],
    points: Sequence[Point],
    load: Any,
) -> Drawing:
    shown = [series for series, _ in found]
    every = [mark for _, marks in found for mark in marks]
    first, last = min(k.x.value for k in every), max(k.x.value for k in every)
    room = (last - first) * 0.05 or 86400.0
    y_axis = look.y_axis([k.y.high for k in every], log=False)
    y_axis["range"][1] *= 1.06
    height = look.NARROW_HEIGHT if ask.narrow else look.HEIGHT
    data = []
    for series, marks in sorted(found, key=lambda one: not one[0].extra):
        data.append(lines.trace(series, marks))
        if len(found) <= 2 and not series.extra:
            told = [marks[0], marks[-1]] if ask.narrow and len(marks) > 2 else marks
            data.append(lines.numbers(series, told))
    for line in data:
        line["x"] = [_moment(x) for x in line["x"]]
    words, shapes = _versions(points, narrow=ask.narrow)
    if lines.names_fit(shown, narrow=ask.narrow):
        ends = [(series, marks[-1]) for series, marks in found if not series.extra]
        labels = lines.end_names(
            ends,
            y_range=y_axis["range"],
            log_x=False,
            log_y=False,
            height=height - look.TOP - MARK_PX - look.BOTTOM,
        )
        words += [label | {"x": _moment(label["x"])} for label in labels]
    words.append(look.y_title(m.axis) | {"yshift": 12 + MARK_PX})
    layout = look.layout(
        keep=f"history:{m.name}:{load}",
        height=height + MARK_PX,
        right=lines.right_margin(shown, narrow=ask.narrow),
        annotations=words,
        shapes=shapes,
        xaxis=look.axis(
            type="date",
            range=[_moment(first - room), _moment(last + room)],
            tickformat=_tick_format(ask.lang, last - first),
            title=look.x_title(ask.say("history.axis")),
            showgrid=False,
            **_days(first, last, narrow=ask.narrow),
        ),
        yaxis=y_axis,
    )
    layout["margin"]["t"] += MARK_PX
    return Drawing(
        kind=ask.kind,
        title=_change(ask, m, found) or ask.say("history.by", metric=m.label),
        about=" · ".join(part for part in (ask.about(), ask.load(load)) if part),
        read=ask.say("history.read"),
        figure={"data": data, "layout": layout},
        keys=lines.keys(shown, narrow=ask.narrow),
        notes=ask.notes([k.y for k in every], ask.lonely(every)),
        head=(ask.say("series"), ask.say("history.axis"), m.axis, ask.say("repeats")),
        rows=tuple(
            (series.name, _moment(k.x.value), k.y.value, k.y.n) for series, ks in found for k in ks
        ),
    )


def _versions(
    points: Sequence[Point], *, narrow: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a thin upright line and the new name wherever the server's version changed."""
    words: list[dict[str, Any]] = []
    shapes: list[dict[str, Any]] = []
    servers: dict[str, list[Point]] = {}
    for point in points:
        servers.setdefault(point.server.partition(" ")[0], []).append(point)
    ends_at: dict[str, float] = {}
    for point in points:
        ends_at[point.results] = max(point.at, ends_at.get(point.results, 0.0))
    for mine in servers.values():
        if len({point.server for point in mine}) < 2:
            continue
        before = ""
        for point in sorted(mine, key=lambda p: p.at):
            if not point.server or point.server == before:
                continue
            before, at = point.server, _moment(ends_at[point.results])
            line = {"color": "--l-line-3", "width": 1, "dash": "dot"}
            ends = {"x0": at, "x1": at, "y0": 0, "y1": 1}
            shapes.append({"type": "line", "yref": "paper", "layer": "below", **ends, "line": line})
            told = before.partition(" ")[2] or before if narrow and words else before
            words.append(
                look.words_at(
                    told,
                    at,
                    1,
                    font={"size": 11},
                    yref="paper",
                    xanchor="left",
                    yanchor="bottom",
                    xshift=-2,
                )
            )
    return words, shapes


def _change(ask: Ask, m: Measure, found: list[tuple[Series, list[Mark]]]) -> str:
    if len(found) != 1 or len(found[0][1]) < 2:
        return ""
    first, last = found[0][1][0], found[0][1][-1]
    if first.y.value <= 0:
        return ""
    change = measures.change((last.y.value / first.y.value - 1) * 100)
    return ask.say(
        "history.said",
        metric=m.label,
        value=m.say(last.y.value / m.factor),
        change=change,
        day=_day(first.x.value),
    )


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _days(first: float, last: float, *, narrow: bool) -> dict[str, Any]:
    if first == last:
        return {"tickmode": "array", "tickvals": [_moment(first)]}
    return {"nticks": 4 if narrow else 8}


def _tick_format(lang: str, span_s: float) -> str:
    if 0 < span_s < 2 * 86400:
        return "%H:%M<br>%Y-%m-%d"
    day = "%-m 月 %-d 日" if lang == "zh" else "%-d %b"
    return day if span_s < 300 * 86400 else "%Y-%m"
