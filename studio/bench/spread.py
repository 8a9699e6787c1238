"""How sure repeats make a figure: intervals by Student's t, ratios of two groups, honest words.

Repeats are few (three is usual), so every interval uses the t distribution and its degrees of
freedom; three repeats make it 2.2 times as wide as a normal table would. What one repeat cannot
tell is None, never a guess.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from studio.bench.formulas import Interval, mean, median, sd

CONFIDENCE = 0.95
SMALL = 0.02
"""A relative difference below this is called small, and an interval within it equal."""


@dataclass(frozen=True)
class Spread:
    """A figure over repeats."""

    num: int
    mean: float
    median: float
    least: float
    most: float
    sd: float | None
    """Sample standard deviation; None with one repeat."""
    interval: Interval | None
    """95 % interval of the mean, by Student's t; None with one repeat."""

    @property
    def half(self) -> float | None:
        """Half the interval's width: the `±` beside the mean."""
        return None if self.interval is None else (self.interval.high - self.interval.low) / 2

    @property
    def relative(self) -> float | None:
        """Half the interval over the mean: 0.05 is ±5 %; None where it means nothing."""
        return None if self.half is None or self.mean == 0 else self.half / abs(self.mean)


def spread(values: Sequence[float], confidence: float = CONFIDENCE) -> Spread:
    """Return mean, median and t interval of repeats; raise ValueError without any."""
    middle, num = mean(values), len(values)
    deviation = sd(values) if num > 1 else None
    interval = None
    if deviation is not None:
        half = t_quantile(0.5 + confidence / 2, num - 1) * deviation / math.sqrt(num)
        interval = Interval(middle - half, middle + half)
    return Spread(num, middle, median(values), min(values), max(values), deviation, interval)


def scaled(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Return the interval of the mean of figures above zero; None with one repeat.

    By Student's t on the logarithm, as `ratio` does it: a speed or a time is never below zero,
    which the interval of `spread` may be with two repeats. Where the mean is not above zero it is
    that of `spread`.
    """
    found = spread(values, confidence)
    if found.half is None or found.mean <= 0:
        return found.interval
    factor = math.exp(found.half / found.mean)
    return Interval(found.mean / factor, found.mean * factor)


class Judged(StrEnum):
    """What two groups of repeats say about their difference."""

    UNKNOWN = "unknown"
    """No interval: a single repeat, or a mean that is not above zero."""
    NOISE = "noise"
    """The interval holds 'no difference'."""
    EQUAL = "equal"
    """The whole interval is within 2 %: the same for all practical purposes."""
    SMALL = "small"
    """A difference that the repeats show, of less than 2 %."""
    MORE = "more"
    LESS = "less"


@dataclass(frozen=True)
class Ratio:
    """One group over another."""

    value: float
    """Ratio of the means."""
    interval: Interval | None
    """95 % interval of the ratio; None when either side was measured once."""

    @property
    def percent(self) -> float:
        """The difference in percent of the base."""
        return (self.value - 1) * 100

    @property
    def judged(self) -> Judged:
        """What may be said about the difference."""
        if self.interval is None:
            return Judged.UNKNOWN
        low, high = self.interval
        if low >= 1 - SMALL and high <= 1 + SMALL:
            return Judged.EQUAL
        if low <= 1 <= high:
            return Judged.NOISE
        if abs(self.value - 1) < SMALL:
            return Judged.SMALL
        return Judged.MORE if self.value > 1 else Judged.LESS


def ratio(
    group: Sequence[float], base: Sequence[float], confidence: float = CONFIDENCE
) -> Ratio | None:
    """Return the mean of one group over that of another; None where the base is not above zero.

    The interval is Welch's on the logarithm: the variance of log(a/b) is s_a^2/(n_a a^2) +
    s_b^2/(n_b b^2) (delta method), its degrees of freedom are Satterthwaite's. It stays positive,
    and swapping the groups gives the reciprocal. For the coverage with three repeats see
    tests/measures/test_spread.py.
    """
    a, b = mean(group), mean(base)
    if b <= 0 or a < 0:
        return None
    value = a / b
    if a == 0 or len(group) < 2 or len(base) < 2:
        return Ratio(value, None)
    parts = [
        ((sd(values) / middle) ** 2 / len(values), len(values) - 1)
        for values, middle in ((group, a), (base, b))
    ]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return Ratio(value, Interval(value, value))
    freedom = variance**2 / math.fsum(part**2 / df for part, df in parts)
    factor = math.exp(t_quantile(0.5 + confidence / 2, freedom) * math.sqrt(variance))
    return Ratio(value, Interval(value / factor, value * factor))


# Student's t -----------------------------------------------------------------------------------


@lru_cache(maxsize=1024)  # repeats are alike: a table of points asks for the same few
def t_quantile(p: float, df: float) -> float:
    """Return the p-quantile of Student's t with `df` degrees of freedom, which may be broken."""
    if not 0 < p < 1 or df <= 0:
        raise ValueError(f"no quantile {p} with {df} degrees of freedom")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    if p == 0.5:
        return 0.0
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        low, high = high, high * 2
    t = (low + high) / 2
    for _ in range(100):  # Newton's method, kept between two ends that close in
        below = p - t_cdf(t, df)
        low, high = (t, high) if below > 0 else (low, t)
        better = t + below / _t_density(t, df)
        if not low < better < high:
            better = (low + high) / 2
        if abs(better - t) <= 1e-13 * better:
            break
        t = better
    return t


def t_cdf(t: float, df: float) -> float:
    """Return the probability below `t` under Student's t (Abramowitz and Stegun 26.7.1)."""
    tail = 0.5 * _beta(df / (df + t * t), df / 2, 0.5)
    return 1 - tail if t > 0 else tail


def _t_density(t: float, df: float) -> float:
    log = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log - (df + 1) / 2 * math.log1p(t * t / df))


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularized incomplete beta function (Numerical Recipes, section 6.4)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1), tiny)
    h = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for step in (even, odd):
            d = 1 / _away(1 + step * d, tiny)
            c = _away(1 + step / c, tiny)
            change = c * d
            h *= change
        if abs(change - 1) < 1e-15:
            break
    return h


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
