"""Points put in order for drawing: repeats become one spot, spots become series with a name.

A series is named by what tells it from the others and by nothing else: two cases of one study by
their case, two models by their model. What is the same everywhere is told once, by `shared`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from studio.bench.point import Point
from studio.ui.charts.interval import Spread, spread_of
from studio.ui.i18n import say

LOADS = ("concurrency", "request_rate")
"""What a load test turns up; an axis, never a series."""
FOLLOWS = {
    "num_prompts",
    "prompts",
    "prompts_per_user",
    "num_warmups",
    "burstiness",
    "seed",
    "copies",
}
"""Conditions that go with the load and tell nothing apart."""
_STAMP = re.compile(r"_(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)\d\d(?:-\d+)?$")
FIELDS = ("case", "model", "server", "cards", "lengths", "card_name")
MOST = 8
"""Series that get a colour and a name; the rest are drawn in grey."""

Names = Mapping[str, str]
"""What cases and folders of results are called, where they have a title."""


@dataclass(frozen=True)
class Spot:
    """All repeats of one measurement under one condition."""

    points: tuple[Point, ...]
    _known: dict[str, Spread | None] = field(default_factory=dict, repr=False, compare=False)

    @property
    def done(self) -> bool:
        """True when at least one repeat was measured."""
        return any(point.done for point in self.points)

    @property
    def errors(self) -> list[str]:
        """What failed repeats said."""
        return list(dict.fromkeys(p.error for p in self.points if not p.done))

    def condition(self, name: str) -> Any:
        """Return a value of the condition, or of a field."""
        return self.points[0].get(name)

    def values(self, name: str) -> list[float]:
        """Return a figure of every repeat that has it."""
        return [p.figures[name] for p in self.points if p.done and name in p.figures]

    def figure(self, name: str) -> Spread | None:
        """Return a figure over the repeats; None when no repeat has it."""
        if name not in self._known:
            found = self.values(name)
            self._known[name] = spread_of(found) if found else None
        return self._known[name]


@dataclass(frozen=True)
class Series:
    """Spots that belong to one line or one colour."""

    name: str
    spots: tuple[Spot, ...]
    number: int
    """Place in the order of appearance; the colour is that of the number, grey from MOST on."""

    @property
    def extra(self) -> bool:
        """True for those that are one too many to be told apart."""
        return self.number >= MOST

    @property
    def colour(self) -> str:
        """Name of the colour's token."""
        return "--l-faint" if self.extra else f"--l-s{self.number}"

    @property
    def ink(self) -> str:
        """Name of the token for words in this colour."""
        return "--l-faint" if self.extra else f"--l-s{self.number}-text"

    @property
    def cards(self) -> int:
        """Cards it was measured on; 0 when nobody said."""
        return self.spots[0].points[0].cards

    @property
    def last(self) -> Spot | None:
        """The last spot that was measured."""
        return next((spot for spot in reversed(self.spots) if spot.done), None)

    @property
    def key(self) -> str:
        """Case, or the folder of results where there is no case."""
        first = self.spots[0].points[0]
        return first.case or first.results


def axis_of(points: Sequence[Point]) -> str:
    """Return what most points turn up: `concurrency`, `request_rate`, or nothing."""
    counts = {
        name: len({p.condition[name] for p in points if p.condition.get(name) is not None})
        for name in LOADS
    }
    best = max(counts, key=lambda name: counts[name])
    return best if counts[best] else ""


def series_of(
    lang: str, points: Sequence[Point], *, x: str = "", names: Names | None = None
) -> list[Series]:
    """Group points into named series; within each, repeats into spots, ordered by `x`."""
    names = names or {}
    points = alone(points)
    apart = _telling(points, x)
    answers = _same_answers(points)

    def differing(name: str, value: Any) -> Any:
        return (value[0], None) if name == "lengths" and value and answers else value

    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        groups.setdefault(tuple(value_of(point, name) for name in apart), []).append(point)
    made = []
    for number, (values, mine) in enumerate(groups.items()):
        told = zip(apart, map(differing, apart, values), strict=True)
        words = [said(lang, name, value, names) for name, value in told]
        name = " · ".join(word for word in words if word) or _only(lang, mine, names)
        made.append(Series(_harmless(name), _spots(mine, x), number))
    return made


def shared(lang: str, points: Sequence[Point], *, without: Iterable[str] = ()) -> str:
    """Return what all points have in common, as one line: model, server, cards, lengths."""
    parts = []
    for name in ("model", "server", "card", "lengths", "dataset"):
        if name in without:
            continue
        values = {value_of(point, name) for point in points}
        if len(values) == 1:
            parts.append(said(lang, name, values.pop(), {}))
        elif name == "lengths" and (answers := _same_answers(points)):
            parts.append(said(lang, name, (None, answers), {}))
    return " · ".join(part for part in parts if part)


def value_of(point: Point, name: str) -> Any:
    """Return what a point has under a name that may tell series apart."""
    if name == "lengths":
        pair = point.condition.get("input_len"), point.condition.get("output_len")
        return pair if any(pair) else None
    if name == "card":
        return (point.cards, point.card_name) if point.cards or point.card_name else None
    return point.get(name)


def said(lang: str, name: str, value: Any, names: Names) -> str:
    """Return a value in words: `2 cards`, `512 tokens in, 128 out`."""
    if value in (None, "", 0, ()):
        return ""
    plain: dict[str, Callable[[], str]] = {
        "case": lambda: names.get(value, value),
        "results": lambda: names.get(value) or _moment(value),
        "model": lambda: str(value).rstrip("/").rpartition("/")[2],
        "server": lambda: str(value),
        "card_name": lambda: _card_name(value),
        "dataset": lambda: "" if value == "random" else str(value),
        "cards": lambda: say(lang, "charts.card" if value == 1 else "charts.cards", n=value),
        "card": lambda: _card(lang, *value),
        "lengths": lambda: _lengths(lang, *value),
    }
    return plain[name]() if name in plain else f"{name} {value}"


def _lengths(lang: str, into: int | None, out: int | None) -> str:
    """Return prompt and answer lengths in words; prompts of a file have lengths of their own."""
    if into is None:
        return say(lang, "charts.answers", out=out)
    if out is None:
        return say(lang, "charts.prompts", into=into)
    return say(lang, "charts.lengths", into=into, out=out)


def _same_answers(points: Sequence[Point]) -> int | None:
    """Return the one answer length of prompts of several lengths; None where that is not so."""
    into, out = ({p.condition.get(name) for p in points} for name in ("input_len", "output_len"))
    return out.pop() if len(out) == 1 and len(into) > 1 and None not in into else None


def alone(points: Sequence[Point]) -> list[Point]:
    """Leave out a case's summary where the loads that it sums up are there themselves."""
    loaded = {p.case for p in points if p.case and _is_load(p)}
    return [p for p in points if _is_load(p) or p.case not in loaded]


def _is_load(point: Point) -> bool:
    return any(point.condition.get(name) is not None for name in LOADS)


def _telling(points: Sequence[Point], x: str) -> list[str]:
    """Return the names whose values tell groups apart, the most telling first."""
    known = {name for point in points for name in point.condition}
    others = sorted(known - FOLLOWS - {*LOADS, x, "input_len", "output_len"})
    chosen: list[str] = []
    for name in (*FIELDS, *others):
        if name == x or len({value_of(point, name) for point in points}) < 2:
            continue
        if _splits(points, chosen, name):
            chosen.append(name)
    if _collide(points, chosen, x):
        chosen.append("results")
    return chosen


def _splits(points: Sequence[Point], chosen: Sequence[str], name: str) -> bool:
    """Tell whether a name divides a group that the chosen ones leave whole."""
    seen: dict[tuple[Any, ...], Any] = {}
    for point in points:
        group = tuple(value_of(point, one) for one in chosen)
        value = value_of(point, name)
        if seen.setdefault(group, value) != value:
            return True
    return False


def _collide(points: Sequence[Point], chosen: Sequence[str], x: str) -> bool:
    """Tell whether two folders measured the very same thing."""
    seen: dict[tuple[Any, ...], str] = {}
    for point in points:
        place = tuple(value_of(point, one) for one in (*chosen, *LOADS, "lengths"))
        if seen.setdefault((*place, point.repeat), point.results) != point.results:
            return True
    return False


def _spots(points: Sequence[Point], x: str) -> tuple[Spot, ...]:
    found: dict[Any, list[Point]] = {}
    for point in points:
        found.setdefault(point.get(x) if x else None, []).append(point)
    order = sorted(found, key=lambda value: (value is None, value if value is not None else 0))
    return tuple(Spot(tuple(found[value])) for value in order)


def _harmless(name: str) -> str:
    """Return a name that Plotly, which reads some HTML, takes as it is."""
    return name.replace("<", "‹").replace(">", "›")


def _only(lang: str, points: Sequence[Point], names: Names) -> str:
    """Name the one series there is."""
    first = points[0]
    told = said(lang, "case", first.case, names) or said(lang, "model", first.model, names)
    return told or first.server or first.results


def _moment(folder: str) -> str:
    """Return when a folder was begun, as its name says; its name where that says nothing."""
    stamp = _STAMP.search(folder)
    if not stamp:
        return folder
    year, month, day, hour, minute = stamp.groups()
    return f"{year}-{month}-{day} {hour}:{minute}"


def _card_name(name: str) -> str:
    return name.removeprefix("NVIDIA ").removeprefix("GeForce ").strip()


def _card(lang: str, num: int, name: str) -> str:
    short = _card_name(name)
    if not short:
        return said(lang, "cards", num, {})
    return f"{num} × {short}" if num > 1 else short
