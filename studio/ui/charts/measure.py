"""What a figure is called on an axis, in which unit, and how its values are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.bench.definitions import definition
from studio.bench.point import Point
from studio.ui import measures, units

SECONDS_FROM_MS = 10_000.0
"""Latencies are drawn in seconds when the largest is longer than this."""


@dataclass(frozen=True)
class Measure:
    """A figure on an axis: `value * factor` is in `unit`."""

    name: str
    label: str
    """Without the unit: `Time to first token, P90`."""
    short: str
    unit: str
    factor: float = 1.0
    more: bool | None = None
    """True when more is better, False when less is, None when neither."""

    @property
    def axis(self) -> str:
        """Return the label with its unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def say(self, value: float | None) -> str:
        """Return a value (as measured) in the axis' unit: `13,000 tok/s`."""
        return units.number(None if value is None else value * self.factor, self.unit)


def measure(lang: str, name: str, points: Iterable[Point] = ()) -> Measure:
    """Return how a figure is drawn; the points decide between ms and s."""
    unit, factor = measures.unit(name), 1.0
    if unit == "%":
        factor = 100.0
    elif unit == "ms":
        largest = max((p.figures.get(name, 0) for p in points), default=0)
        if largest >= SECONDS_FROM_MS:
            unit, factor = "s", 0.001
    more = {"more": True, "less": False}.get(definition(name).better)
    return Measure(name, measures.label(lang, name), measures.short(lang, name), unit, factor, more)


def first_of(points: Sequence[Point], names: Iterable[str]) -> str:
    """Return the first figure that every case has, else that any point has; empty without any.

    A server that tells no token counts can be compared by its requests alone.
    """
    names = list(names)
    had: dict[str, set[str]] = {}
    for point in points:
        if point.done:
            had.setdefault(point.case, set()).update(point.figures)
    common = set.intersection(*had.values()) if had else set()
    known = common if any(name in common for name in names) else set().union(*had.values())
    return next((name for name in names if name in known), "")
