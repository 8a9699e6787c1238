"""Expectations and verdicts: known answers, and everything that can be missing."""

from __future__ import annotations

import math
from itertools import count
from typing import Any

import pytest

from studio.bench.point import Point
from studio.core.errors import RecipeInvalid
from studio.engines.study_config import Expectation
from studio.studies.expect import CaseEnd, Outcome, Sureness, judge, read_summary, summary
from studio.ui.verdicts.words import bound, why

_ids = count()


def point(case: str, repeat: int = 0, *, at: dict[str, Any] | None = None, **figures: float):
    name = f"p{next(_ids)}"
    return Point(id=name, case=case, repeat=repeat, condition=at or {}, figures=figures)


def rows(case: str, metric: str, values: list[float], **at: Any) -> list[Point]:
    return [point(case, n, at=at, **{metric: value}) for n, value in enumerate(values)]


def one(points: list[Point], ends: dict[str, CaseEnd] | None = None, **wanted: Any):
    [verdict] = judge([Expectation(**{"metric": "speed", "of": "a", **wanted})], points, ends)
    return verdict


def test_a_figure_is_met_clearly() -> None:
    """Mean 103, sd 1: the interval by Student's t is 103 times exp(+- 4.303 / sqrt(3) / 103)."""
    verdict = one(rows("a", "speed", [102, 103, 104]), at_least=90)
    assert (verdict.state, verdict.sureness) == (Outcome.MET, Sureness.CLEARLY)
    assert verdict.value == verdict.measured == 103 and verdict.repeats == 3
    factor = math.exp(4.3027 / 3**0.5 / 103)
    assert verdict.low == pytest.approx(103 / factor, rel=1e-6)
    assert verdict.high == pytest.approx(103 * factor, rel=1e-6)
    assert verdict.limit == (90, None) and not verdict.why and why("en", verdict) == ""


def test_a_figure_is_not_met_clearly() -> None:
    verdict = one(rows("a", "speed", [102, 103, 104]), at_least=120)
    assert (verdict.state, verdict.sureness) == (Outcome.NOT_MET, Sureness.CLEARLY)


def test_the_limit_lies_within_the_noise() -> None:
    for limit, state in ((102, Outcome.MET), (104, Outcome.NOT_MET)):
        verdict = one(rows("a", "speed", [102, 103, 104]), at_least=limit)
        assert (verdict.state, verdict.sureness) == (state, Sureness.NOISE)


def test_an_interval_that_ends_near_the_limit_is_barely() -> None:
    for limit, state in ((100, Outcome.MET), (106, Outcome.NOT_MET)):
        verdict = one(rows("a", "speed", [102, 103, 104]), at_least=limit)
        assert (verdict.state, verdict.sureness) == (state, Sureness.BARELY)


def test_at_most_and_between() -> None:
    points = rows("a", "speed", [102, 103, 104])
    assert one(points, at_most=110).state is Outcome.MET
    assert one(points, at_most=100).state is Outcome.NOT_MET
    assert one(points, at_most=104).sureness is Sureness.NOISE
    inside = one(points, between=(90, 120))
    assert (inside.state, inside.sureness) == (Outcome.MET, Sureness.CLEARLY)
    assert inside.limit == (90, 120)
    assert one(points, between=(104, 200)).sureness is Sureness.NOISE
    assert one(points, between=(1, 2)).state is Outcome.NOT_MET


def test_repeats_that_agree_exactly_are_sure() -> None:
    """Memory is the same every time: an interval of no width, and no division by zero."""
    verdict = one(rows("a", "speed", [5.0, 5.0, 5.0]), at_least=4)
    assert (verdict.low, verdict.high, verdict.sureness) == (5, 5, Sureness.CLEARLY)


def test_a_ratio_of_two_cases() -> None:
    points = rows("a", "speed", [180, 181, 182]) + rows("b", "speed", [100, 100, 100])
    verdict = one(points, against="b", at_least=1.5)
    assert verdict.value == pytest.approx(1.81)
    assert (verdict.measured, verdict.base) == (181, 100)
    assert (verdict.repeats, verdict.repeats_against) == (3, 3)
    assert verdict.low is not None and verdict.high is not None
    assert verdict.low < 1.81 < verdict.high
    assert (verdict.state, verdict.sureness) == (Outcome.MET, Sureness.CLEARLY)


def test_inverse_is_for_what_is_better_when_less() -> None:
    points = rows("zero2", "peak_card_gib", [21.48]) + rows("ddp", "peak_card_gib", [32.06])
    verdict = one(
        points,
        metric="peak_card_gib",
        of="zero2",
        against="ddp",
        inverse=True,
        at_least=4,
        bound=1.78,
        possible={"en": "at most 1.78 times", "zh": "最多 1.78 倍"},
    )
    assert verdict.value == pytest.approx(1.4926, abs=1e-4)
    assert verdict.state is Outcome.NOT_MET and verdict.forbidden
    assert verdict.possible is not None and verdict.possible["zh"] == "最多 1.78 倍"
    assert bound("en", verdict) == "Physics allows 1.78× at most."
    assert bound("zh", verdict) == "物理上最多 1.78×。"


def test_what_physics_allows_is_not_forbidden() -> None:
    points = rows("a", "speed", [1.5])
    assert not one(points, at_least=1.8, bound=2).forbidden
    assert one(points, at_most=0.5, bound=1).forbidden
    assert bound("en", one(points, at_least=1.8, bound=2)) == ""


def test_one_repeat_gives_a_value_and_no_interval() -> None:
    verdict = one(rows("a", "speed", [103]), at_least=100)
    assert (verdict.state, verdict.sureness) == (Outcome.MET, Sureness.UNKNOWN)
    assert verdict.low is None and verdict.high is None


def test_a_speed_of_two_repeats_is_never_below_zero() -> None:
    """H200: 11,769 and 9,917 are surely more than 100, however wide two repeats leave it."""
    verdict = one(rows("a", "speed", [11_769, 9_917]), at_least=100)
    assert (verdict.state, verdict.sureness) == (Outcome.MET, Sureness.CLEARLY)
    assert verdict.low is not None and 0 < verdict.low < 9_917


def test_at_chooses_the_points() -> None:
    points = [
        *rows("a", "speed", [10, 12], concurrency=1, input_len=512),
        *rows("a", "speed", [90, 92], concurrency=32, input_len=512),
    ]
    assert one(points, at={"concurrency": 32}, at_least=1).value == 91
    assert one(points, at={"concurrency": 1.0}, at_least=1).value == 11


def test_several_points_of_a_repeat_are_reduced_to_one() -> None:
    points = [point("a", n, at={"c": c}, speed=c * 10 + n) for n in (0, 1) for c in (1, 2, 9)]
    for reduce, value in (("median", 20.5), ("max", 90.5), ("min", 10.5), ("mean", 40.5)):
        verdict = one(points, reduce=reduce, at_least=1)
        assert verdict.value == value and verdict.repeats == 2, reduce


def test_twice_the_users_on_twice_the_cards() -> None:
    points = rows("a", "speed", [190], concurrency=64) + rows("b", "speed", [100], concurrency=32)
    points += rows("b", "speed", [150], concurrency=64)
    at = {"concurrency": 64}
    assert one(points, against="b", at=at, at_least=1.8).value == pytest.approx(190 / 150)
    there = one(points, against="b", at=at, against_at={"concurrency": 32}, at_least=1.8)
    assert there.value == pytest.approx(1.9) and there.state is Outcome.MET


def test_a_case_can_be_compared_with_itself() -> None:
    points = rows("a", "speed", [30], concurrency=4) + rows("a", "speed", [10], concurrency=1)
    verdict = one(
        points, against="a", at={"concurrency": 4}, against_at={"concurrency": 1}, at_least=2
    )
    assert verdict.value == 3


MISSING = [
    ([], {}, {}, "no_case", "The card was not measured."),
    (
        [],
        {"a": CaseEnd("not_measurable", "needs 2 card(s), and this machine has 1.")},
        {},
        "not_here",
        "The card cannot be measured here: needs 2 card(s), and this machine has 1.",
    ),
    ([], {"a": CaseEnd("failed", "It ended.")}, {}, "failed", "The card failed: It ended."),
    ([], {"a": CaseEnd("failed")}, {}, "failed", "The card failed."),
    (
        [Point(id="x", case="a", status="failed", error="refused")],
        {},
        {},
        "failed",
        "The card failed: refused",
    ),
    (
        rows("a", "speed", [1], concurrency=4),
        {},
        {"at": {"concurrency": 8}},
        "nothing_there",
        "The card was not measured at",
    ),
    (rows("a", "other", [1]), {}, {}, "no_metric", "The card has no figure for: speed."),
    (
        rows("a", "speed", [1]) + rows("b", "speed", [0]),
        {},
        {"against": "b"},
        "zero",
        "speed of b is not above zero, so there is no ratio.",
    ),
    (rows("a", "speed", [1]), {}, {"against": "b"}, "no_case", "b was not measured."),
]


@pytest.mark.parametrize(("points", "ends", "wanted", "key", "said"), MISSING)
def test_what_is_missing_is_said(
    points: list[Point], ends: dict[str, CaseEnd], wanted: dict[str, Any], key: str, said: str
) -> None:
    verdict = one(points, ends, at_least=1, **wanted)
    assert verdict.state is Outcome.NOT_MEASURABLE and verdict.why == key
    assert verdict.value is None and verdict.sureness is None
    assert why("en", verdict, {"a": "The card"}).startswith(said)
    assert why("zh", verdict, {"a": "单卡"}) not in ("", f"expect.why.{key}")


def test_a_failed_point_does_not_spoil_those_that_were_measured() -> None:
    points = rows("a", "speed", [10, 11])
    points.append(Point(id="x", case="a", repeat=2, status="failed", figures={"speed": 1}))
    verdict = one(points, at_least=10)
    assert verdict.value == 10.5 and verdict.repeats == 2


def test_the_point_that_failed_at_the_condition_is_named() -> None:
    points = rows("a", "speed", [10], concurrency=1)
    points.append(
        Point(id="x", case="a", status="failed", error="timeout", condition={"concurrency": 8})
    )
    verdict = one(points, at={"concurrency": 8}, at_least=1)
    assert verdict.why == "failed" and verdict.values["error"] == "timeout"


def test_a_summary_can_be_read_back() -> None:
    points = rows("a", "speed", [1, 2])
    found = judge(
        [
            Expectation(metric="speed", of="a", at_least=1),
            Expectation(metric="speed", of="a", at_least=9),
            Expectation(metric="speed", of="b", at_least=1),
        ],
        points,
    )
    told = summary(found)
    assert (told["met"], told["not_met"], told["not_measurable"]) == (1, 1, 1)
    assert read_summary(told) == found and read_summary(None) == []


def test_an_expectation_has_exactly_one_limit() -> None:
    for limits in ({}, {"at_least": 1, "at_most": 2}):
        with pytest.raises(RecipeInvalid):
            Expectation(metric="speed", of="a", **limits)
