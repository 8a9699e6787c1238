"""Curves of any length are kept in a bounded number of points, and their extremes survive."""

from __future__ import annotations

import math

from studio.telemetry.thinning import MOST_BUCKETS, Thin


def curve(values: list[float], most: int = MOST_BUCKETS) -> Thin:
    line = Thin(most)
    for step, value in enumerate(values, 1):
        line.add(step, value)
    return line


def test_a_short_curve_is_kept_point_by_point() -> None:
    line = curve([3.0, 1.0, 2.0])
    assert line.points() == ([1, 2, 3], [3.0, 1.0, 2.0])
    assert line.whole and line.last == (3, 2.0) and line.lowest == (2, 1.0)


def test_a_long_curve_stays_below_800_points_and_keeps_its_spikes() -> None:
    values = [math.sin(n / 1000) for n in range(100_000)]
    values[31_415], values[77_777] = 9.0, -9.0
    line = curve(values)
    steps, shown = line.points()
    assert 400 <= len(steps) < 800 and steps == sorted(steps)
    assert 9.0 in shown and -9.0 in shown and steps[shown.index(9.0)] == 31_416
    assert (steps[-1], shown[-1]) == (100_000, values[-1]), "the newest point is always there"
    assert line.count == 100_000 and line.lowest == (77_778, -9.0)


def test_means_are_those_of_equal_parts() -> None:
    line = curve([float(n) for n in range(1, 65)], most=8)
    steps, values = line.means()
    assert steps == values, "the mean of a straight line lies on it"
    assert len(steps) == 8 and steps[0] == 4.5


def test_any_length_fits_whatever_the_number_of_buckets() -> None:
    for most in (2, 3, 5, 8):
        for length in range(1, 70):
            line = curve([1.0] * length, most)
            steps, _ = line.points()
            assert steps[0] == 1 and steps[-1] == length and len(line.means()[0]) <= most


def test_what_is_no_number_is_noticed_and_not_drawn() -> None:
    line = curve([1.0, math.nan, math.inf])
    assert line.points() == ([1], [1.0])
    assert line.bad_since == 2 and line.last is not None and line.last[0] == 3
    line.add(4, 0.5)
    assert line.bad_since is None and line.points()[0] == [1, 4]
    assert curve([math.nan]).points() == ([], [])
