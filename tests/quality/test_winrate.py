"""Wins, ties and losses against answers worked out by hand."""

from __future__ import annotations

import pytest

from studio.quality.winrate import (
    Bias,
    Verdict,
    WinRate,
    by_category,
    position_bias,
    versus,
    win_rates,
)


def v(left: str, right: str, won: str, category: str = "facts") -> Verdict:
    return Verdict("q", category, left, right, won)


VERDICTS = [
    v("a", "b", "left"),
    v("b", "a", "right", "style"),
    v("a", "b", "tie"),
    v("b", "a", "left", "style"),
    v("a", "c", "left"),
]


def test_a_tie_is_half_a_win() -> None:
    rates = win_rates(VERDICTS)
    assert rates["a"] == WinRate(wins=3, ties=1, losses=1) and rates["a"].rate == 3.5 / 5
    assert rates["b"] == WinRate(wins=1, ties=1, losses=2) and rates["b"].rate == 1.5 / 4
    assert rates["c"] == WinRate(losses=1) and rates["c"].rate == 0.0
    assert WinRate().rate is None and WinRate().interval is None


def test_against_each_other_and_by_category() -> None:
    table = versus(VERDICTS)
    assert table["a", "b"] == WinRate(2, 1, 1) and table["b", "a"] == WinRate(1, 1, 2)
    assert table["a", "c"] == WinRate(1, 0, 0)
    assert by_category(VERDICTS)["style"] == {"a": WinRate(1, 0, 1), "b": WinRate(1, 0, 1)}


@pytest.mark.parametrize(
    ("rate", "low", "high", "decided"),
    [
        # Wilson score intervals, 95 %: 8 of 10, 10 of 10, 7.5 of 10 (five wins, five ties)
        (WinRate(8, 0, 2), 0.4902, 0.9433, False),
        (WinRate(10, 0, 0), 0.7225, 1.0, True),
        (WinRate(5, 5, 0), 0.4422, 0.9191, False),
        (WinRate(70, 0, 30), 0.6042, 0.7811, True),
    ],
)
def test_the_interval(rate: WinRate, low: float, high: float, decided: bool) -> None:
    span = rate.interval
    assert span is not None
    assert (span.low, span.high) == pytest.approx((low, high), abs=5e-5)
    assert rate.decided is decided
    assert rate.as_dict()["num"] == rate.num and rate.as_dict()["low"] == span.low


def test_position_bias_counts_decided_ones_only() -> None:
    bias = position_bias(VERDICTS)
    assert bias == Bias(left=3, right=1, ties=1) and bias.rate == 0.75 and not bias.leans
    assert Bias(90, 10, 50).leans and not Bias(0, 0, 4).leans
    assert Bias(0, 0, 4).rate is None
