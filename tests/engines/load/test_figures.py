"""From the tools' own JSON to figures: known answers, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from studio.bench.definitions import DEFINITIONS
from studio.engines.workers.bench import figures, guidellm_run

RAW: dict[str, Any] = {
    "duration": 2.0,
    "completed": 3,
    "failed": 1,
    "total_input_tokens": 30,
    "total_output_tokens": 11,
    "request_throughput": 1.5,
    "request_goodput": 0.5,
    "output_throughput": 5.5,
    "total_token_throughput": 20.5,
    "mean_ttft_ms": 200.0,
    "median_ttft_ms": 200.0,
    "std_ttft_ms": 81.65,
    "p50_ttft_ms": 200.0,
    "p90_ttft_ms": 280.0,
    "p99_ttft_ms": 298.0,
    "mean_tpot_ms": 62.5,
    "median_tpot_ms": 62.5,
    "input_lens": [10, 10, 10, 10],
    "output_lens": [5, 5, 1, 0],
    "ttfts": [0.1, 0.2, 0.3, 0.0],
    "itls": [[0.025] * 4, [0.1] * 4, [], []],
    "errors": ["", "", "", "Traceback ...\nConnectionError: gone\n"],
}


def test_vllms_own_figures_are_taken_and_the_rest_is_worked_out() -> None:
    found = figures.figures_of(RAW, {"ttft_ms": 150.0, "e2el_ms": 400.0})
    assert found["output_throughput"] == 5.5 and found["total_throughput"] == 20.5
    assert found["ttft_p90_ms"] == 280.0 and "ttft_p50_ms" not in found
    assert found["tokens_per_s_user"] == pytest.approx(25.0), "the median of 40 and 10"
    assert found["goodput"] == 0.5
    assert found["goodput_share"] == 0.25, "one of four that were sent, the failed one too"
    assert figures.first_error(RAW) == "ConnectionError: gone"


def test_versions_that_tell_latencies_are_believed() -> None:
    told = {**RAW, "latencies": [0.3, 0.6, 0.3, 0.0]}
    assert [request.latency for request in figures.requests(told)] == [0.3, 0.6, 0.3]
    bare = [request.latency for request in figures.requests(RAW)]
    assert bare == pytest.approx([0.2, 0.6, 0.3])


def test_without_an_answer_there_are_no_latencies() -> None:
    told = {"duration": 1.0, "completed": 0, "failed": 4, "mean_ttft_ms": 0.0, "ttfts": [0.0]}
    assert figures.figures_of(told, {}) == {"completed": 0, "failed": 4, "duration_s": 1.0}


def test_one_token_has_no_pace() -> None:
    told = {**RAW, "output_lens": [1, 1, 1, 0], "itls": [[], [], [], []], "mean_tpot_ms": 0.0}
    found = figures.figures_of(told, {})
    assert not {name for name in found if name.startswith(("tpot", "itl", "tokens_per_s"))}


def test_what_is_no_number_is_left_out() -> None:
    assert "ttft_p99_ms" not in figures.figures_of({**RAW, "p99_ttft_ms": float("nan")}, {})


def request(sent: float, first: float, last: float, tokens: int) -> dict[str, Any]:
    timings = {
        "request_start": sent,
        "first_token_iteration": first,
        "last_token_iteration": last,
        "token_iterations": tokens,
    }
    return {
        "info": {"timings": timings, "error": None},
        "input_metrics": {"text_tokens": 10},
        "output_metrics": {"text_tokens": tokens},
    }


def test_guidellms_requests_by_our_definitions() -> None:
    """Its own TPOT would be 600 ms / 5 tokens = 120 ms: it counts the first token."""
    told = {
        "duration": 2.0,
        "requests": {
            "successful": [request(0.0, 0.2, 0.6, 5), request(1.0, 1.4, 1.8, 5)],
            "errored": [{"info": {"error": "gone"}}],
            "incomplete": [],
        },
    }
    found = guidellm_run.figures_of(told, {"ttft_ms": 300})
    assert found["ttft_median_ms"] == pytest.approx(300)
    assert found["tpot_mean_ms"] == pytest.approx(100)
    assert found["e2el_p99_ms"] == pytest.approx(798)
    assert found["output_throughput"] == 5 and found["total_throughput"] == 15
    assert found["tokens_per_s_user"] == pytest.approx(10)
    assert found["goodput"] == 0.5 and found["goodput_share"] == pytest.approx(1 / 3)
    assert found["failed"] == 1 and guidellm_run.first_error(told) == "gone"
    assert not {name for name in found if name.startswith("itl")}


def test_every_figure_of_a_load_is_defined() -> None:
    told = {"duration": 2.0, "requests": {"successful": [request(0.0, 0.2, 0.6, 5)]}}
    names = {*figures.figures_of(RAW, {"ttft_ms": 1.0}), *guidellm_run.figures_of(told, {})}
    assert names <= set(DEFINITIONS), names - set(DEFINITIONS)
