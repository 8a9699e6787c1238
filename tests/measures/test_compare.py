"""Comparisons: what is matched with what, what differs, and what is said about it."""

from __future__ import annotations

import pytest
from measures.points import load, thrice

from studio.bench.compare import compare, group_by, repeats
from studio.bench.point import Point
from studio.ui.measures import sentences

ONE = thrice(1, 210, 211, 212) + thrice(128, 8700, 8750, 8800)
TWO = thrice(1, 299, 300, 301, cards=2) + thrice(128, 13000, 13028, 13056, cards=2)


def test_rows_by_condition() -> None:
    found = compare({"one": ONE, "tp2": TWO}, metrics=["output_throughput"])
    assert [(row.condition["concurrency"], row.metric) for row in found.rows] == [
        (1, "output_throughput"),
        (128, "output_throughput"),
    ]
    light, heavy = found.rows
    assert (light.spreads["one"].mean, light.spreads["tp2"].mean) == (211, 300)
    assert heavy.ratios["tp2"]
    assert heavy.ratios["tp2"].value == pytest.approx(1.488914, abs=1e-6)
    assert heavy.judged("tp2") == "better"
    assert found.differs == {"cards": [[0], [2]]}
    assert (found.base, found.num_conditions, found.num_only) == ("one", 2, 0)


def test_less_is_better_for_latencies() -> None:
    fast = [load(1, 100, repeat=n, ttft=50 + n / 10) for n in range(3)]
    slow = [load(1, 100, repeat=n, ttft=90 + n / 10) for n in range(3)]
    found = compare({"slow": slow, "fast": fast}, metrics=["ttft_p90_ms"])
    assert found.rows[0].judged("fast") == "better"
    assert compare({"fast": fast, "slow": slow}).rows[-1].judged("slow") in ("worse", "equal")


def test_without_repeats_nothing_is_claimed() -> None:
    found = compare({"a": [load(1, 100)], "b": [load(1, 150)]}, metrics=["output_throughput"])
    assert found.rows[0].judged("b") == "unknown"
    assert sentences("en", found.said()) == [
        "Output throughput: +50.0 % from a to b, measured once: repeat it before believing it."
    ]


def test_noise_is_called_noise() -> None:
    a, b = thrice(8, 100, 130, 70), thrice(8, 110, 140, 75)
    found = compare({"a": a, "b": b}, metrics=["output_throughput"])
    told = sentences("en", found.said())
    assert told == [
        "Output throughput: no difference between b and a that the repeats can show: "
        "+8.3 % (95 %: \N{MINUS SIGN}45.1 % … +114 %)."
    ]


def test_worse_in_one_condition_does_not_boast_of_another_that_is_noise() -> None:
    """The noisy condition is 30 % up; only the clear one, which is down, is said."""
    a = thrice(1, 100, 101, 99) + thrice(64, 900, 1300, 500)
    b = thrice(1, 80, 81, 79) + thrice(64, 1200, 1700, 700)
    found = compare({"a": a, "b": b}, metrics=["output_throughput"])
    assert sentences("en", found.said()) == [
        "Output throughput: b is worse than a in 1 of 2 conditions, \N{MINUS SIGN}20.0 %; "
        "elsewhere no difference shows."
    ]
    both = compare({"one": ONE, "tp2": TWO}, metrics=["output_throughput"])
    assert sentences("en", both.said())[1] == (
        "Output throughput: tp2 is better than one in 2 of 2 conditions, +42.2 % to +48.9 %."
    )


def test_better_here_and_worse_there() -> None:
    a = thrice(1, 100, 101, 99) + thrice(64, 900, 901, 899)
    b = thrice(1, 80, 81, 79) + thrice(64, 1200, 1201, 1199)
    told = sentences("en", compare({"a": a, "b": b}, metrics=["output_throughput"]).said())
    assert told == [
        "Output throughput: b is better than a in 1 of 2 conditions, worse in 1; "
        "it depends on the load."
    ]


def test_what_was_measured_in_one_only_is_counted() -> None:
    found = compare({"a": ONE, "b": [*ONE, *thrice(256, 1, 2, 3)]}, metrics=["output_throughput"])
    assert (found.num_conditions, found.num_only) == (2, 1)
    assert "1 in one only" in sentences("en", found.said())[0]


def test_failed_points_are_not_compared() -> None:
    broken = [load(1, 0, status="failed"), *thrice(1, 100, 100, 100)]
    row = compare({"a": broken, "b": broken}, metrics=["output_throughput"]).rows[0]
    assert (row.spreads["a"].num, row.spreads["a"].mean) == (3, 100)


def test_what_is_studied_is_not_matched() -> None:
    """ZeRO stages differ in the condition itself; the batch size is shared."""

    def training(stage: int, speed: float) -> list[Point]:
        told = {"zero_stage": stage, "batch": 2}
        return [
            Point(id=f"{stage}-{n}", repeat=n, condition=told, figures={"samples_per_s": speed + n})
            for n in range(3)
        ]

    found = compare({"zero1": training(1, 20), "zero3": training(3, 8)})
    assert [row.condition for row in found.rows] == [{"batch": 2}]
    assert found.differs == {"zero_stage": [[1], [3]]}
    assert sentences("zh", found.said())[0] == "它们的不同之处：zero_stage。"


def test_how_long_was_measured_is_no_condition() -> None:
    more = [load(1, 100, condition={"num_prompts": 400})]
    assert len(compare({"a": [load(1, 100)], "b": more}).rows) > 0


def test_what_is_not_alike_is_no_repeat() -> None:
    """Lengths that change within a group are matched, though the groups share none of them."""
    a = [load(1, 100), load(1, 90, condition={"input_len": 128})]
    b = [load(1, 70, condition={"input_len": 2048})]
    found = compare({"a": a, "b": b})
    assert (found.rows, found.num_only) == ((), 3)


def test_two_studies_are_matched_case_by_case() -> None:
    first = [*thrice(1, 100, 101, 99, case="one"), *thrice(1, 150, 151, 149, case="two")]
    again = [*thrice(1, 200, 201, 199, case="one"), *thrice(1, 300, 301, 299, case="two")]
    found = compare({"may": first, "june": again}, metrics=["output_throughput"])
    assert [row.condition["case"] for row in found.rows] == ["one", "two"]
    assert [row.ratios["june"].value for row in found.rows if row.ratios["june"]] == [2, 2]


def test_nothing_in_common() -> None:
    found = compare({"a": [load(1, 100)], "b": [load(2, 100)]}, by=["concurrency"])
    assert found.rows == ()
    assert found.num_only == 2
    told = "Nothing to compare: no Users at once was measured in all of them: a 1; b 2."
    assert sentences("en", found.said()) == [told]
    with pytest.raises(ValueError, match="two groups"):
        compare({"a": ONE})


def test_a_group_that_has_nothing() -> None:
    found = compare({"a": ONE, "b": []})
    assert (found.rows, found.differs) == ((), {})
    assert sentences("en", found.said()) == ["Nothing to compare: b has no point that is done."]


def test_why_there_is_nothing_to_compare() -> None:
    """Each condition has its like, but not together; and groups without a figure in common."""
    a = [load(1, 100), load(2, 100, condition={"input_len": 128})]
    b = [load(2, 100), load(1, 100, condition={"input_len": 128})]
    told = sentences("en", compare({"a": a, "b": b}).said())
    assert len(told) == 1 and "no combination of" in told[0] and "Users at once" in told[0]
    found = compare({"a": ONE, "b": TWO}, metrics=["score"])
    assert sentences("en", found.said()) == ["Nothing to compare: they have no figure in common."]


def test_memory_of_a_server_is_no_merit() -> None:
    """vLLM takes the share of a card that it is told to take."""
    a, b = (
        [load(1, 100, figures={"memory_gib": gib + n / 100}) for n in range(3)] for gib in (40, 60)
    )
    found = compare({"a": a, "b": b}, metrics=["memory_gib"])
    assert found.rows[0].judged("b") == "more"
    assert "has more than" in sentences("en", found.said())[0]


def test_many_tests_and_one_start_are_told() -> None:
    a = [p for users in range(1, 31) for p in thrice(users, 10, 11, 12, server_run="r1")]
    b = [p for users in range(1, 31) for p in thrice(users, 10, 11, 12, server_run="r2")]
    told = sentences("en", compare({"a": a, "b": b}, metrics=["output_throughput"]).said())
    chance = (
        "30 differences were looked at; if none were real, about 2 would still seem so by chance."
    )
    assert chance in told
    assert told[-1].startswith("All repeats ran in one start of each server")


def test_three_groups_and_plain_values() -> None:
    found = compare({"a": ONE, "b": TWO, "c": ONE}, metrics=["output_throughput"])
    told = found.as_dict()
    assert told["base"] == "a"
    row = told["rows"][0]
    assert row["groups"]["a"]["num"] == 3
    assert row["against_base"]["b"]["judged"] == "better"
    assert row["against_base"]["c"]["percent"] == 0


def test_groups_and_repeats() -> None:
    points = [*ONE, *TWO]
    assert {name: len(found) for name, found in group_by(points, "cards").items()} == {
        "0": 6,
        "2": 6,
    }
    found = repeats(points, ["cards", "concurrency"], "output_throughput")
    assert found[2, 128].mean == 13028
    assert found[0, 1].num == 3
