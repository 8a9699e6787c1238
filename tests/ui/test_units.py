"""Figures as people read them."""

import math

import pytest

from studio.ui import units

MIB = 2**20


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (13028.4, "tok/s", "13,000 tok/s"),
        (4.6, "ms", "4.60 ms"),
        (0.0123, "", "0.0123"),
        (999.6, "", "1,000"),
        (99.95, "", "100"),
        (123_456, "", "123,456"),
        (1_234_567.0, "", "1,230,000"),
        (0.0, "s", "0 s"),
        (-2.345, "", "-2.35"),
        (1e-5, "", "1.00e-05"),
        (None, "ms", "–"),
        (math.nan, "ms", "–"),
    ],
)
def test_numbers_have_three_digits(value: float | None, unit: str, text: str):
    assert units.number(value, unit) == text


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (512, "512 B"), (2048, "2.00 KiB"), (24_564 * MIB, "24.0 GiB"), (None, "–")],
)
def test_sizes_take_the_unit_that_suits(num_bytes: int | None, text: str):
    assert units.size(num_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.6, "1 min"),
        (75, "1 min 15 s"),
        (4800, "1 h 20 min"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
        (None, "–"),
    ],
)
def test_spans_have_two_units_at_most(seconds: float | None, text: str):
    assert units.duration("en", seconds) == text


def test_moments_are_told_as_distances():
    assert units.ago("en", 1000.0, 1002.0) == "just now"
    assert units.ago("en", 1000.0, 1000.0 + 200) == "3 min ago"
    assert units.ago("zh", 1000.0, 1000.0 + 2 * 86400) == "2 天前"
    assert units.ago("en", 1100.0, 1000.0) == "in 1 min"
    assert units.ago("en", None) == "–" and units.exact(None) == ""
