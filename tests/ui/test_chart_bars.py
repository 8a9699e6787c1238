"""Charts of cases side by side: how many times as good, how far apart, how much memory."""

from __future__ import annotations

import math

import pytest
from ui import chart_points as cp

from studio.bench.point import Point
from studio.ui import charts
from studio.ui.charts.measure import first_of


def test_scaling_is_the_ratio_of_means_and_two_cards_have_an_ideal_of_two():
    points = cp.scaling_points()
    drawing = charts.draw("scaling", points, "en", base="one-card")
    assert "upright mark" in drawing.read
    mean = {
        case: sum(p.figures["output_throughput"] for p in found) / len(found)
        for case in ("one-card", "tp2")
        if (found := [p for p in points if p.case == case and p.condition["concurrency"] == 128])
    }
    row = next(r for r in drawing.rows if r[0] == "tp2" and r[1] == 128)
    assert math.isclose(row[3], mean["tp2"] / mean["one-card"])
    assert "(2 would be ideal)" in drawing.title
    assert drawing.figure
    assert {shape["x0"] for shape in drawing.figure["layout"]["shapes"]} == {2.0}


def test_what_is_sooner_over_is_as_fast():
    points = [
        Point(id=f"{case}{n}", case=case, repeat=n, figures={"picture_s": seconds})
        for case, seconds in (("whole", 9.6), ("fp8", 4.8))
        for n in range(3)
    ]
    assert charts.draw("scaling", points, "en").title == "fp8: 2.00 times as fast as whole"


def test_a_figure_of_which_less_is_better_scales_the_other_way():
    drawing = charts.draw("scaling", cp.training_points(), "en", metric="step_s")
    ddp = next(row for row in drawing.rows if row[0] == "ddp")
    assert ddp[3] == pytest.approx((2048 / 9_100) / (2048 * 2 / 17_600))


def test_compare_says_what_the_repeats_cannot_show():
    drawing = charts.draw("compare", cp.scaling_points(), "en")
    assert drawing.figure
    said = " ".join(a["text"] for a in drawing.figure["layout"]["annotations"])
    assert "within noise" in said and "+4" in said


def test_a_headline_tells_no_difference_that_the_repeats_cannot_show():
    def drawn(other: tuple[float, ...]) -> str:
        points = [
            Point(id=f"{case}{n}", case=case, repeat=n, figures={"tokens_per_s": figure})
            for case, figures in (("a", (100.0, 130.0, 90.0)), ("b", other))
            for n, figure in enumerate(figures)
        ]
        return charts.draw("compare", points, "en").title

    assert drawn((140.0, 100.0, 125.0)) == "Training tokens per second, case by case"
    assert drawn((240.0, 200.0, 225.0)).startswith("b against a: +")


def test_memory_knows_the_cards_limit_from_its_share():
    drawing = charts.draw("memory", cp.scaling_points(), "en")
    assert drawing.figure
    limit = drawing.figure["layout"]["shapes"][0]
    assert limit["x0"] == pytest.approx(127.8 / 0.909)
    assert charts.draw("memory", cp.training_points(), "en").title.startswith("zero3-offload needs")


def test_memory_of_a_study_of_servers_is_that_of_its_loads():
    """The study's own rows have a peak and no load; they are not the points that are drawn."""
    points = cp.scaling_points()
    rows = {p.case: p for p in points}.values()
    own = [
        p.model_copy(update={"id": p.case, "condition": {}, "figures": {"peak_card_gib": 128.0}})
        for p in rows
    ]
    drawing = charts.draw("memory", [*own, *points], "en")
    assert [row[1] for row in drawing.rows] and None not in {row[1] for row in drawing.rows}


def test_memory_is_stacked_where_its_parts_are_known():
    parts = {"weights_gib": 14.2, "kv_cache_gib": 90.0, "activations_gib": 3.0}
    points = [p.model_copy(update={"figures": {**p.figures, **parts}}) for p in cp.scaling_points()]
    drawing = charts.draw("memory", points, "en")
    assert [key.name for key in drawing.keys] == ["Weights", "KV cache", "Activations"]
    assert drawing.figure and [
        t for t in drawing.figure["data"] if t.get("base") == [pytest.approx(14.2)]
    ]


def test_cases_are_compared_by_a_figure_that_all_of_them_have() -> None:
    def told(case: str, **figures: float) -> Point:
        return Point(id=case, at=1.0, status="done", engine="x", case=case, figures=figures)

    both = [
        told("vllm", output_throughput=200.0, request_throughput=3.0),
        told("hf", request_throughput=0.3),
    ]
    names = ("output_throughput", "request_throughput")
    assert first_of(both, names) == "request_throughput"
    assert first_of(both[:1], names) == "output_throughput"
    assert first_of([told("a", output_throughput=1.0), told("b", seconds=1.0)], names) == names[0]
    assert first_of([], names) == ""
