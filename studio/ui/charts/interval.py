"""The bar around a drawn value: 95 % interval from three repeats on, smallest to largest of two."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from studio.bench.spread import spread
from studio.ui.i18n import say

ENOUGH = 3
"""Repeats from which an interval is drawn; that of two is 13 standard errors wide."""


@dataclass(frozen=True)
class Spread:
    """A value to draw: the mean of `n` repeats and the ends of the bar around it."""

    value: float
    low: float
    high: float
    n: int

    def scaled(self, factor: float) -> Spread:
        """Return it in another unit."""
        return Spread(self.value * factor, self.low * factor, self.high * factor, self.n)


def spread_of(values: Sequence[float]) -> Spread:
    """Return the mean of repeats with its bar; nothing that is measured goes below zero."""
    found = spread(values)
    low, high = found.least, found.most
    if found.num >= ENOUGH and found.interval is not None:
        low, high = found.interval
        low = max(low, 0.0) if found.least >= 0 else low
    return Spread(found.mean, low, high, found.num)


def bars_said(lang: str, spreads: Iterable[Spread | None]) -> str:
    """Return what the bars around the values are; empty where nothing was repeated."""
    counts = sorted({s.n for s in spreads if s is not None and s.n > 1})
    if not counts:
        return ""
    told = str(counts[0]) if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    if counts[0] >= ENOUGH:
        return say(lang, "charts.note.interval", n=told)
    key = "charts.note.range" if counts[-1] < ENOUGH else "charts.note.both"
    return say(lang, key, n=told)
