"""Known answers: worked out by hand, from printed tables, or by numpy; never by the formulas."""

from __future__ import annotations

import numpy
import pytest

from studio.bench import formulas as f

SENT = 10.0
CHUNKS = [10.4, 10.5, 10.7, 10.8]
"""One answer of four tokens: 400 ms to the first, then gaps of 100, 200 and 100 ms."""


@pytest.mark.parametrize("q", [0, 1, 25, 50, 90, 99, 99.9, 100])
@pytest.mark.parametrize("num", [1, 2, 3, 10, 101, 1000])
def test_percentile_is_numpys(num: int, q: float) -> None:
    values = numpy.random.default_rng(num).lognormal(size=num).tolist()
    assert f.percentile(values, q) == pytest.approx(numpy.percentile(values, q), rel=1e-12)


def test_percentile_between_neighbours() -> None:
    assert f.percentile([30, 10, 20, 40], 50) == 25
    assert f.percentile([10, 20, 30, 40], 90) == pytest.approx(37)
    assert f.percentile([7], 99) == 7
    with pytest.raises(ValueError, match="no values"):
        f.percentile([], 50)


def test_deviation_of_sample_and_population() -> None:
    values = [2, 4, 4, 4, 5, 5, 7, 9]
    assert f.mean(values) == 5
    assert f.sd(values, ddof=0) == 2
    assert f.sd(values) == pytest.approx(2.13808993529939517)
    with pytest.raises(ValueError, match="too few"):
        f.sd([1.0])


def test_latency_figures_are_what_vllm_writes() -> None:
    seconds = [0.1, 0.2, 0.3, 0.4, 1.0]
    found = f.latency_figures("ttft", seconds)
    assert found == pytest.approx(
        {
            "ttft_mean_ms": 400,
            "ttft_median_ms": 300,
            "ttft_p90_ms": 760,
            "ttft_p99_ms": 976,
            "ttft_std_ms": float(numpy.std(numpy.array(seconds) * 1000)),
        }
    )
    assert f.latency_figures("ttft", []) == {}


def test_one_request() -> None:
    first, latency = f.ttft(SENT, CHUNKS), f.e2el(SENT, CHUNKS)
    assert first == pytest.approx(0.4)
    assert latency == pytest.approx(0.8)
    assert f.tpot(latency or 0, first or 0, 4) == pytest.approx(0.4 / 3)
    assert f.itl(CHUNKS) == pytest.approx([0.1, 0.2, 0.1])


def test_one_token_has_no_pace_and_no_answer_no_latency() -> None:
    assert f.tpot(0.5, 0.5, 1) is None
    assert f.ttft(SENT, []) is None
    assert f.e2el(SENT, []) is None
    assert f.itl([10.4]) == []


def test_chunks_of_several_tokens_tell_tpot_from_itl() -> None:
    """Eight tokens in four chunks: ITL counts three gaps, TPOT seven tokens."""
    assert f.tpot(0.8, 0.4, 8) == pytest.approx(0.4 / 7)
    assert f.mean(f.itl(CHUNKS)) == pytest.approx(0.4 / 3)


REQUESTS = [
    {"ttft_ms": 100.0, "tpot_ms": 20.0, "e2el_ms": 2000.0},
    {"ttft_ms": 500.0, "tpot_ms": 50.0, "e2el_ms": 4000.0},
    {"ttft_ms": 501.0, "tpot_ms": 20.0, "e2el_ms": 2000.0},
    {"ttft_ms": 100.0, "tpot_ms": 51.0, "e2el_ms": 2000.0},
    {"ttft_ms": 100.0, "tpot_ms": None, "e2el_ms": 100.0},
    {"ttft_ms": None, "tpot_ms": None, "e2el_ms": None},
]
SLO = {"ttft_ms": 500.0, "tpot_ms": 50.0}


def test_goodput_counts_whole_requests() -> None:
    assert f.num_good(REQUESTS, SLO) == 3  # a limit that is just met is kept; one token has no pace
    assert f.num_good(REQUESTS, {**SLO, "e2el_ms": 2000.0}) == 2
    assert f.goodput(REQUESTS, SLO, 10) == pytest.approx(0.3)
    assert f.goodput_share(REQUESTS, SLO) == 0.5
    assert f.goodput_share(REQUESTS, SLO, num_failed=4) == 0.3
    with pytest.raises(ValueError, match="no requests"):
        f.goodput_share([], SLO)


def test_throughput_and_its_kin() -> None:
    assert f.throughput(12_800, 3.2) == 4000
    assert f.tokens_per_s_user([0.010, 0.020, 0.040]) == 50
    assert f.energy_per_token(1400, 700) == 2
    assert f.share(18, 24) == 0.75
    for call in (
        lambda: f.throughput(1, 0),
        lambda: f.energy_per_token(1, 0),
        lambda: f.share(1, 0),
        lambda: f.speed_up(1, 0),
        lambda: f.efficiency(1, 1, 0),
    ):
        with pytest.raises(ValueError, match=r"."):
            call()


def test_two_h200_cards_as_measured() -> None:
    """7B, 128 users: 8,750 tok/s on one card, 13,028 with TP=2 (FACTS)."""
    assert f.speed_up(13_028, 8_750) == pytest.approx(1.48891, abs=1e-5)
    assert f.efficiency(13_028, 8_750, 2) == pytest.approx(0.744457, abs=1e-6)


@pytest.mark.parametrize(
    ("stage", "cards", "num_bytes", "bound"),
    [
        (0, 8, 16, 1),
        (1, 2, 10, 1.6),
        (2, 2, 9, 16 / 9),
        (3, 2, 8, 2),
        (1, 64, 4.1875, 3.820896),
        (2, 64, 2.21875, 7.211268),
        (3, 64, 0.25, 64),
    ],
)
def test_zero_as_in_the_paper(stage: int, cards: int, num_bytes: float, bound: float) -> None:
    """64 cards: 31.4, 16.6 and 1.9 GB of a 7.5B model (figure 1 of arXiv 1910.02054)."""
    assert f.zero_bytes_per_parameter(stage, cards) == num_bytes
    assert f.zero_saving_bound(stage, cards) == pytest.approx(bound, abs=1e-6)
    paper = {(1, 64): 31.4, (2, 64): 16.6, (3, 64): 1.9}
    if (stage, cards) in paper:
        assert round(7.5 * num_bytes, 1) == paper[stage, cards]


@pytest.mark.parametrize(
    ("successes", "num", "low", "high"),
    [
        (0, 10, 0.0, 0.277533),
        (8, 10, 0.490162, 0.943318),
        (10, 10, 0.722467, 1.0),
        (50, 100, 0.403832, 0.596168),
        (1, 1, 0.206549, 1.0),
    ],
)
def test_wilson_from_tables(successes: int, num: int, low: float, high: float) -> None:
    assert f.wilson(successes, num) == pytest.approx((low, high), abs=1e-6)


def test_win_rate_counts_ties_half() -> None:
    assert f.win_rate(6, 2, 2) == 0.7
    assert f.win_interval(6, 2, 4) == pytest.approx(f.wilson(8, 12))
    assert f.win_interval(7, 2, 1).low < 0.75 < f.win_interval(7, 2, 1).high
    with pytest.raises(ValueError, match="no comparisons"):
        f.win_rate(0, 0)
