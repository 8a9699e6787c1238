"""Points sorted into series: the same lengths, model and case under a rising load."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from studio.bench.compare import LOAD_SIZES
from studio.bench.point import Point
from studio.bench.spread import Spread, spread

LOADS = ("concurrency", "request_rate")
_FIELDS = ("case", "model", "server", "cards", "endpoint", "results")
_FIRST = ("input_len", "output_len", "case", "model", "server", "cards")
_LAST = ("endpoint", "results")

Kind = Literal["users", "rate"]


@dataclass(frozen=True)
class Level:
    """The repeats of one load."""

    load: dict[str, float]
    """`{"users": 32}` or `{"rate": 8.0}`, as a sentence takes it."""
    points: tuple[Point, ...]

    @property
    def value(self) -> float:
        """Users at once, or requests per second."""
        return next(iter(self.load.values()))

    def values(self, name: str) -> list[float]:
        """Return a figure of every repeat that has it."""
        return [point.figures[name] for point in self.points if name in point.figures]

    def spread(self, name: str) -> Spread | None:
        """Return a figure over the repeats; None when none has it."""
        found = self.values(name)
        return spread(found) if found else None

    def mean(self, name: str) -> float | None:
        """Return the mean of a figure over the repeats; None when none has it."""
        found = self.spread(name)
        return found.mean if found else None

    def worst(self, name: str) -> float | None:
        """Return the highest value over the repeats; None when none has it."""
        return max(self.values(name), default=None)


@dataclass(frozen=True)
class Series:
    """Levels of rising load, everything else equal."""

    kind: Kind
    shape: dict[str, Any]
    """What sets it apart from the other series of the same points, and no more than that."""
    levels: tuple[Level, ...]

    def first(self, name: str) -> Any:
        """Return a field or condition, which all its points share."""
        return self.levels[0].points[0].get(name)


def series_of(points: Iterable[Point]) -> list[Series]:
    """Sort points that have a load into series, in the order they were measured; failed ones too.

    Points with neither users nor a rate belong to no series.
    """
    found: dict[tuple[Any, ...], list[Point]] = {}
    kinds: dict[tuple[Any, ...], Kind] = {}
    for point in points:
        kind = _kind(point)
        if kind is not None:
            key = (kind, *sorted(_shape(point).items(), key=lambda pair: pair[0]))
            found.setdefault(key, []).append(point)
            kinds[key] = kind
    shapes = [_shape(own[0]) for own in found.values()]
    names = _telling(shapes)
    return [
        Series(kind, {name: shape.get(name) for name in names}, _levels(kind, own))
        for kind, shape, own in zip(kinds.values(), shapes, found.values(), strict=True)
    ]


def _kind(point: Point) -> Kind | None:
    if isinstance(point.condition.get("concurrency"), int | float):
        return "users"
    return "rate" if isinstance(point.condition.get("request_rate"), int | float) else None


def _shape(point: Point) -> dict[str, Any]:
    left_out = {*LOADS, *LOAD_SIZES}
    told = {name: value for name, value in point.condition.items() if name not in left_out}
    return {**{name: getattr(point, name) for name in _FIELDS}, **told}


def _telling(shapes: list[dict[str, Any]]) -> list[str]:
    """Return as few names as tell all shapes apart, the most telling first."""
    every = {name for shape in shapes for name in shape}
    order = [*_FIRST, *sorted(every - {*_FIRST, *_LAST}), *_LAST]
    chosen: list[str] = []
    for name in order:
        if _num_apart(shapes, [*chosen, name]) > _num_apart(shapes, chosen):
            chosen.append(name)
    return chosen


def _num_apart(shapes: list[dict[str, Any]], names: list[str]) -> int:
    return len({tuple(shape.get(name) for name in names) for shape in shapes})


def _levels(kind: Kind, points: Iterable[Point]) -> tuple[Level, ...]:
    name = LOADS[0] if kind == "users" else LOADS[1]
    found: dict[float, list[Point]] = {}
    for point in points:
        found.setdefault(point.condition[name], []).append(point)
    return tuple(Level({kind: value}, tuple(found[value])) for value in sorted(found))
