"""Figures of a server: known answers for percentiles, rates, new beginnings and tails."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from studio.telemetry import readings as readings_module
from studio.telemetry.curves import history, series
from studio.telemetry.readings import Reading, Tail, Tails, Unroller, all_readings
from studio.telemetry.serving import Quantiles, at, load, quantile

TTFT = {"0.1": 10, "0.5": 30, "1.0": 40, "+Inf": 20}


# percentiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "q, seconds",
    [
        (0.05, 0.05),  # rank 5 of 10 in 0 .. 0.1
        (0.1, 0.1),
        (0.25, 0.3),  # rank 25: 15 of 30 in 0.1 .. 0.5
        (0.5, 0.625),  # rank 50: 10 of 40 in 0.5 .. 1.0
        (0.8, 1.0),
        (0.99, 1.0),  # in the open bucket: its lower bound
    ],
)
def test_quantile_as_prometheus_reads_it(q: float, seconds: float) -> None:
    assert quantile(q, TTFT) == pytest.approx(seconds)


def test_quantiles_of_strange_histograms() -> None:
    assert quantile(0.5, {}) is None
    assert quantile(0.5, {"0.1": 0, "+Inf": 0}) is None
    assert quantile(0.5, {"0.1": 0, "0.2": 0, "0.4": 4, "+Inf": 0}) == pytest.approx(0.3)
    assert quantile(0.99, {"+Inf": 5}) == 0
    assert quantile(0, {"0.1": 0, "0.2": 5}) == pytest.approx(0.1)
    assert quantile(0.5, {"10.0": 1, "2.5": 1}) == pytest.approx(2.5), (
        "bounds are sorted as numbers"
    )


def test_quantile_lies_in_the_bucket_of_the_true_value() -> None:
    """Against the values themselves: the error is never more than the bucket is wide."""
    values = [0.001 * (i % 397) ** 1.3 for i in range(2000)]
    bounds = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
    counts = {str(b): 0.0 for b in bounds} | {"+Inf": 0.0}
    for value in values:
        bound = next((b for b in bounds if value <= b), math.inf)
        counts["+Inf" if math.isinf(bound) else str(bound)] += 1
    for q in (0.5, 0.9, 0.99):
        true = sorted(values)[math.ceil(q * len(values)) - 1]
        found = quantile(q, counts)
        upper = next(b for b in bounds if true <= b)
        lower = max([0.0, *[b for b in bounds if b < true]])
        assert lower <= found <= upper


# rates ------------------------------------------------------------------------------------------


def reading(moment: float, **values: object) -> Reading:
    return Reading(moment, {key.replace("__", "|"): value for key, value in values.items()})


BUSY = [
    reading(1000, generation_tokens=0, prompt_tokens=0, finished__stop=0, running=1),
    reading(
        1020,
        generation_tokens=400,
        prompt_tokens=2000,
        prefix_queries=2000,
        prefix_hits=500,
        finished__stop=10,
        finished__length=0,
        finished__abort=1,
        preemptions=1,
        running=4,
        waiting=2,
        kv_use=0.5,
        ttft=dict.fromkeys(TTFT, 0),
    ),
    reading(
        1050,
        generation_tokens=1000,
        prompt_tokens=5000,
        prefix_queries=5000,
        prefix_hits=2600,
        finished__stop=16,
        finished__length=3,
        finished__abort=2,
        preemptions=3,
        running=7,
        waiting=0,
        kv_use=0.75,
        kv_tokens=4096,
        block_size=128,
        prefix_caching=1,
        ttft=TTFT,
    ),
]


def test_load_over_the_last_seconds() -> None:
    now = load(BUSY, now=1051, window_s=30)
    assert (now.running, now.waiting, now.kv_cache_use) == (7, 0, 0.75)
    assert now.generation_tok_s == pytest.approx(600 / 30)
    assert now.prompt_tok_s == pytest.approx(3000 / 30)
    assert now.requests_s == pytest.approx(9 / 30)
    assert now.prefix_hit_rate == pytest.approx(2100 / 3000)
    assert now.prefix_hit_rate_total == pytest.approx(2600 / 5000)
    assert now.ttft == Quantiles(pytest.approx(0.625), pytest.approx(1.0), pytest.approx(1.0))
    assert now.itl is None
    assert (now.preemptions, now.preemptions_total) == (2, 3)
    assert (now.finished, now.failed) == (19, 2)
    assert (now.kv_tokens, now.block_size, now.prefix_caching) == (4096, 128, True)
    assert now.asked


def test_rate_sinks_when_nothing_comes_any_more() -> None:
    """Quiet after a rush: the window goes on with the clock, and what was current is not."""
    idle = [*BUSY, Reading(1052, BUSY[-1].values, moved=False)]
    assert load(idle, now=1065, window_s=30).generation_tok_s == pytest.approx(600 / 30)
    assert load(idle, now=1081, window_s=30).generation_tok_s == 0
    assert load(BUSY, now=1090, window_s=30).generation_tok_s == 0, "silence is no rate"


def test_first_reading_and_none() -> None:
    assert load([]) is None
    first = load([reading(1000, running=0, prompt_tokens=0)], now=1001)
    assert (first.generation_tok_s, first.prefix_hit_rate, first.asked) == (0, None, False)
    assert first.kv_cache_use is None


def test_young_server_is_not_diluted() -> None:
    """Ten seconds of figures in a window of thirty are ten seconds."""
    young = [reading(1000, generation_tokens=0), reading(1010, generation_tokens=100)]
    assert load(young, now=1010, window_s=30).generation_tok_s == pytest.approx(10)


def test_sglang_counts_tokens_as_they_come() -> None:
    before = reading(0, realtime__decode=0, realtime__prefill_compute=0, realtime__prefill_cache=0)
    after = reading(
        10,
        realtime__decode=50,
        realtime__prefill_compute=30,
        realtime__prefill_cache=10,
        prompt_tokens=40,
        prefix_hits=10,
        generation_tokens=0,
        requests=2,
        aborted=1,
    )
    now = load([before, after], now=10, window_s=10)
    assert (now.generation_tok_s, now.prompt_tok_s) == (5, 4)
    assert now.prefix_hit_rate == pytest.approx(0.25)
    assert (now.finished, now.failed) == (2, 1)


def test_router_tells_what_it_hands_on(tmp_path: Path) -> None:
    """Rows that a real vllm-router left: two servers, of which one went away."""
    name = "vllm_router_"
    rows = [
        {"full": True, "values": {f"{name}worker_health": 2}},
        {
            "full": True,
            "values": {
                f"{name}processed_requests_total": 9,
                f"{name}retries_total": 1,
                f"{name}request_errors_total": 1,
                f"{name}running_requests": 3,
                f"{name}worker_health": 2,
            },
        },
        {"values": {f"{name}processed_requests_total": 11, f"{name}worker_health": 1}},
    ]
    path = tmp_path / "served.jsonl"
    write(path, *({"at": 12 * number, **row} for number, row in enumerate(rows)))
    now = load(all_readings(path), now=24, window_s=24)
    assert (now.workers, now.running, now.finished, now.failed) == (1, 3, 10, 1)
    assert now.requests_s == pytest.approx(10 / 24)
    assert ("healthy servers", 24.0, 1) in list(series(path))


# counters that start over -----------------------------------------------------------------------


def test_counters_that_start_over_never_go_back() -> None:
    unroller = Unroller()
    rows = [
        {"at": 0, "full": True, "values": {"generation_tokens": 100, "running": 9, "ttft": TTFT}},
        {"at": 2, "values": {"generation_tokens": 130, "ttft": {"0.1": 15}}},
        {
            "at": 4,
            "full": True,
            "values": {"generation_tokens": 5, "running": 1, "ttft": {"0.1": 2, "+Inf": 0}},
        },
        {"at": 6, "values": {"generation_tokens": 25, "ttft": {"0.1": 4}}},
    ]
    seen = [unroller.feed(row) for row in rows]
    assert [r.values["generation_tokens"] for r in seen] == [100, 130, 135, 155]
    assert [r.values["running"] for r in seen] == [9, 9, 1, 1]
    assert [r.values["ttft"]["0.1"] for r in seen] == [10, 15, 17, 19]
    now = load(seen, now=6, window_s=4)
    assert now.generation_tok_s == pytest.approx(25 / 4)
    assert now.ttft.p50 == pytest.approx(0.05), "only what was counted in the window"


def test_a_figure_that_vanishes_keeps_its_count() -> None:
    unroller = Unroller()
    unroller.feed({"at": 0, "full": True, "values": {"preemptions": 4, "running": 1}})
    after = unroller.feed({"at": 2, "full": True, "values": {"running": 1}})
    assert after.values == {"running": 1, "preemptions": 4}


def test_changes_before_the_first_full_row_are_passed_over() -> None:
    unroller = Unroller()
    assert unroller.feed({"at": 0, "values": {"running": 1}}) is None
    assert unroller.feed({"at": 1, "full": True, "values": {"running": 2}}).values["running"] == 2


# tails ------------------------------------------------------------------------------------------


def write(path: Path, *rows: dict, end: str = "\n") -> None:
    with open(path, "a") as file:
        file.write("\n".join(json.dumps(row) for row in rows) + end)


def test_tail_reads_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    tail = Tail(path)
    assert tail.readings() == []
    write(path, {"at": 0, "full": True, "values": {"n_total": 1}})
    write(path, {"at": 2, "values": {"n_total": 2}}, end="")
    assert [r.at for r in tail.readings()] == [0], "a line that is not whole waits"
    write(path, end="\n")
    write(path, {"at": 4, "values": {}})
    assert [(r.at, r.values["n_total"], r.moved) for r in tail.readings()] == [
        (0, 1, True),
        (2, 2, True),
        (4, 2, False),
    ]
    again = tail.readings()
    assert [r.at for r in again] == [0, 2, 4]


def test_tail_forgets_what_is_old_and_begins_near_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings_module, "TAIL_BYTES", 4000)
    path = tmp_path / "served.jsonl"
    for number in range(600):
        row = {"at": number, "values": {"n_total": number}}
        write(path, {**row, "full": True} if number % 50 == 0 else row)
    tail = Tail(path, kept_s=20)
    found = tail.readings()
    assert [r.at for r in found] == list(range(578, 600))
    assert found[-1].values["n_total"] == 599
    assert at(found, 590.5).at == 590
    write(path, {"at": 700, "values": {}})
    assert [r.at for r in tail.readings()] == [599, 700]


def test_tails_keep_the_servers_looked_at_last(tmp_path: Path) -> None:
    tails = Tails(most=2)
    for name in "abc":
        write(tmp_path / name, {"at": 1, "full": True, "values": {"running": 1}})
        assert len(tails.readings(tmp_path / name)) == 1
    assert set(tails._tails) == {tmp_path / "b", tmp_path / "c"}


# curves -----------------------------------------------------------------------------------------


def test_history_is_even_and_shows_short_rushes() -> None:
    rows = [reading(1000 + i, running=9 if i == 33 else 1, generation_tokens=i) for i in range(60)]
    samples = history(rows, now=1060, span_s=120, points=12)
    assert [s.at for s in samples] == [1000 + 10 * i for i in range(7)]
    assert [s.running for s in samples] == [1, 1, 1, 1, 9, 1, 1]
    assert samples[3].generation_tok_s == pytest.approx(1.0)
    assert history([], now=0, span_s=10, points=5) == []


@pytest.mark.parametrize("every", [2, 12])
def test_steady_work_is_a_steady_line(every: int) -> None:
    """However often the server is read: 50 tokens a second are drawn as 50, up to now."""
    rows = [reading(t, generation_tokens=50 * t, running=1) for t in range(0, 1200, every)]
    now = rows[-1].at + 3
    samples = history(rows, now=now, span_s=600, points=100)
    assert len(samples) == 100
    assert {round(s.generation_tok_s, 6) for s in samples[3:]} == {50.0}
    assert load(rows, now=now, window_s=30).generation_tok_s == pytest.approx(50)


def test_rush_after_a_silence_is_no_trickle() -> None:
    rows = [
        reading(0, generation_tokens=0),
        Reading(2, {"generation_tokens": 0}, moved=False),
        reading(62, generation_tokens=600),
    ]
    samples = history(rows, now=66, span_s=66, points=11)
    assert [round(s.generation_tok_s) for s in samples] == [0] * 9 + [0, 100]


def test_series_of_a_whole_run(tmp_path: Path) -> None:
    path = tmp_path / "served.jsonl"
    assert list(series(path)) == []
    write(path, {"at": 100, "full": True, "values": {"running": 0, "generation_tokens": 0}})
    for number in range(1, 101):
        values = {"running": number % 5, "generation_tokens": 20 * number}
        write(path, {"at": 100 + 2 * number, "values": values})
    points = list(series(path))
    speed = [(step, value) for name, step, value in points if name == "generation tok/s"]
    assert len(speed) == 20, "one every ten seconds"
    assert speed[-1] == (200.0, pytest.approx(10))
    assert {name for name, _, _ in points} == {
        "requests running",
        "requests waiting",
        "generation tok/s",
        "prompt tok/s",
    }


def test_file_of_months_is_read_by_its_full_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings_module, "LARGE_BYTES", 1000)
    path = tmp_path / "served.jsonl"
    for number in range(300):
        row = {"at": number, "values": {"n_total": number}}
        write(path, {"at": number, "full": True, **row} if number % 100 == 0 else row)
    assert [r.at for r in all_readings(path)] == [0, 100, 200]
