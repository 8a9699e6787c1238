"""Intervals of few repeats: printed t tables, examples by hand, and coverage by drawing lots."""

from __future__ import annotations

import math

import numpy
import pytest

from studio.bench.spread import Judged, ratio, scaled, spread, t_cdf, t_quantile

TABLE = {
    0.95: {1: 6.314, 2: 2.920, 3: 2.353, 5: 2.015, 10: 1.812, 30: 1.697, 120: 1.658},
    0.975: {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 10: 2.228, 20: 2.086, 120: 1.980},
    0.995: {1: 63.657, 2: 9.925, 3: 5.841, 5: 4.032, 10: 3.169, 30: 2.750, 120: 2.617},
}


@pytest.mark.parametrize("p", TABLE)
def test_quantiles_of_the_printed_table(p: float) -> None:
    for df, told in TABLE[p].items():
        assert t_quantile(p, df) == pytest.approx(told, abs=6e-4)
        assert t_quantile(1 - p, df) == pytest.approx(-told, abs=6e-4)


def test_quantile_of_few_is_exact_and_of_many_is_normal() -> None:
    assert t_quantile(0.975, 1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)  # Cauchy
    two = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    assert t_quantile(0.975, 2) == pytest.approx(two, rel=1e-9)
    assert t_quantile(0.975, 1e7) == pytest.approx(1.959964, abs=1e-5)
    assert t_quantile(0.5, 3) == 0
    with pytest.raises(ValueError, match="no quantile"):
        t_quantile(1.0, 3)


@pytest.mark.parametrize("df", [0.7, 2.7, 3.99, 17.3])
def test_broken_degrees_of_freedom_by_integration(df: float) -> None:
    """The density, integrated by numpy from 0 to 2.5."""
    t = numpy.linspace(0, 2.5, 200_001)
    front = math.gamma((df + 1) / 2) / math.gamma(df / 2) / math.sqrt(df * math.pi)
    density = front * (1 + t * t / df) ** (-(df + 1) / 2)
    assert t_cdf(2.5, df) == pytest.approx(0.5 + float(numpy.trapezoid(density, t)), abs=1e-8)
    assert t_cdf(-2.5, df) == pytest.approx(1 - t_cdf(2.5, df))


def test_three_repeats_by_hand() -> None:
    """10, 11, 12: mean 11, sd 1, half the interval 4.303 / sqrt 3 = 2.484."""
    found = spread([10, 12, 11])
    assert (found.num, found.mean, found.median, found.sd) == (3, 11, 11, 1)
    assert (found.least, found.most) == (10, 12)
    assert found.interval == pytest.approx((8.5159, 13.4841), abs=1e-4)
    assert found.half == pytest.approx(2.4841, abs=1e-4)
    assert found.relative == pytest.approx(0.22583, abs=1e-5)


def test_one_repeat_has_no_interval() -> None:
    found = spread([42.0])
    assert (found.sd, found.interval, found.half, found.relative) == (None, None, None, None)
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratio_by_hand() -> None:
    """20, 22, 24 over 10, 11, 12: both sides vary by 1/11, so log varies by 2/3 of 1/121.

    The degrees of freedom are 4, t is 2.776445; exp(2.776445 * sqrt(2/363)) is 1.228860.
    """
    found = ratio([20, 22, 24], [10, 11, 12])
    assert found
    assert found.value == 2
    assert found.percent == 100
    assert found.interval == pytest.approx((2 / 1.228860, 2 * 1.228860), rel=1e-5)


def test_swapping_the_groups_gives_the_reciprocal() -> None:
    a, b = [101, 99, 104, 97], [48, 51, 52]
    there, back = ratio(a, b), ratio(b, a)
    assert there
    assert back
    assert there.interval
    assert back.interval
    assert there.value == pytest.approx(1 / back.value)
    assert there.interval == pytest.approx((1 / back.interval.high, 1 / back.interval.low))


@pytest.mark.parametrize(
    ("group", "base", "word"),
    [
        ([150, 151, 149], [100, 101, 99], Judged.MORE),
        ([50, 51, 49], [100, 101, 99], Judged.LESS),
        ([103, 90, 120], [100, 101, 99], Judged.NOISE),
        ([100.1, 100.2, 100.0], [100, 100.1, 99.9], Judged.EQUAL),
        ([101, 101.05, 100.95], [100, 100.1, 99.9], Judged.EQUAL),
        ([101.9, 102.1, 101.7], [100, 100.4, 99.6], Judged.SMALL),
        ([150], [100, 101, 99], Judged.UNKNOWN),
        ([150], [100], Judged.UNKNOWN),
        ([24, 24, 24], [24, 24, 24], Judged.EQUAL),
        ([12, 12, 12], [24, 24, 24], Judged.LESS),
        ([0, 0, 0], [24, 24, 24], Judged.UNKNOWN),
    ],
)
def test_what_may_be_said(group: list[float], base: list[float], word: Judged) -> None:
    found = ratio(group, base)
    assert found
    assert found.judged is word


def test_nothing_is_a_ratio_to_nothing() -> None:
    assert ratio([1, 2], [0, 0]) is None
    assert ratio([1, 2], [-1, -2]) is None


@pytest.mark.parametrize("variation", [0.01, 0.05, 0.15])
def test_the_interval_of_three_repeats_covers_what_it_promises(variation: float) -> None:
    """Of 1,000 pairs of three repeats, the true ratio 1.5 is inside about 95 of 100 times."""
    draw = numpy.random.default_rng(7)
    inside = 0
    for _ in range(1000):
        a = draw.normal(150, 150 * variation, 3).tolist()
        b = draw.normal(100, 100 * variation, 3).tolist()
        found = ratio(a, b)
        assert found
        assert found.interval
        inside += found.interval.low <= 1.5 <= found.interval.high
    assert 0.94 <= inside / 1000 <= 0.985


def test_a_scaled_interval_is_that_of_a_ratio_to_a_known_figure() -> None:
    """By hand: mean 10, sd 2 over two repeats, t = 12.706, so a factor of exp(12.706 * 0.1414)."""
    values = [10 - math.sqrt(2), 10 + math.sqrt(2)]
    found = scaled(values)
    assert found is not None
    assert found.high == pytest.approx(10 * math.exp(12.7062 * 2 / math.sqrt(2) / 10), rel=1e-5)
    assert found.low * found.high == pytest.approx(100)
    told = ratio(values, [1.0, 1.0])
    assert told is not None and told.interval == pytest.approx(found)


def test_a_scaled_interval_without_repeats_or_above_zero() -> None:
    assert scaled([5.0]) is None
    assert scaled([-1.0, 0.0, 1.0]) == spread([-1.0, 0.0, 1.0]).interval
    assert scaled([3.0, 3.0]) == (3.0, 3.0)
