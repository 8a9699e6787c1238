"""A curve of any length in a bounded number of points; one more costs the same however many came.

Points are gathered in buckets of equal count. When there are too many, neighbours are joined and
the buckets hold twice as many, so a month of steps takes no more memory than an afternoon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_BUCKETS = 398
"""At most twice as many points are drawn, and the newest: below 800."""


@dataclass(slots=True)
class _Bucket:
    count: int
    steps: float
    values: float
    low: tuple[float, float]
    high: tuple[float, float]

    def add(self, step: float, value: float) -> None:
        self.count += 1
        self.steps += step
        self.values += value
        if value < self.low[1]:
            self.low = (step, value)
        if value > self.high[1]:
            self.high = (step, value)

    def join(self, other: _Bucket) -> _Bucket:
        return _Bucket(
            self.count + other.count,
            self.steps + other.steps,
            self.values + other.values,
            min(self.low, other.low, key=lambda point: point[1]),
            max(self.high, other.high, key=lambda point: point[1]),
        )


class Thin:
    """One curve. Steps come in rising order; values that are no numbers are counted, not drawn."""

    def __init__(self, most: int = MOST_BUCKETS) -> None:
        self._most = most
        self._width = 1
        self._buckets: list[_Bucket] = []
        self.count = 0
        self.last: tuple[float, float] | None = None
        """The newest point, whatever its value."""
        self.lowest: tuple[float, float] | None = None
        """The point with the lowest value."""
        self.bad_since: float | None = None
        """Step of the first NaN or infinity after the last number; None while all is well."""

    def add(self, step: float, value: float) -> None:
        """Take in the next point."""
        self.count += 1
        self.last = (step, value)
        if not math.isfinite(value):
            if self.bad_since is None:
                self.bad_since = step
            return
        self.bad_since = None
        if self.lowest is None or value < self.lowest[1]:
            self.lowest = (step, value)
        if self._buckets and self._buckets[-1].count < self._width:
            self._buckets[-1].add(step, value)
            return
        if len(self._buckets) >= self._most:
            self._widen()
        self._buckets.append(_Bucket(1, step, value, (step, value), (step, value)))

    def points(self) -> tuple[list[float], list[float]]:
        """Return steps and values: the lowest and the highest of each bucket, then the newest."""
        found: list[tuple[float, float]] = []
        for bucket in self._buckets:
            found += sorted({bucket.low, bucket.high})
        if self.last and math.isfinite(self.last[1]) and found and found[-1] != self.last:
            found.append(self.last)
        return [step for step, _ in found], [value for _, value in found]

    def means(self) -> tuple[list[float], list[float]]:
        """Return steps and values averaged per bucket, which is what may be smoothed."""
        return (
            [bucket.steps / bucket.count for bucket in self._buckets],
            [bucket.values / bucket.count for bucket in self._buckets],
        )

    @property
    def whole(self) -> bool:
        """True while every point is still there by itself."""
        return self._width == 1

    def _widen(self) -> None:
        """Join neighbours; an odd one at the end stays and is filled up."""
        old, self._buckets = self._buckets, []
        for left in range(0, len(old), 2):
            pair = old[left : left + 2]
            self._buckets.append(pair[0].join(pair[1]) if len(pair) == 2 else pair[0])
        self._width *= 2
