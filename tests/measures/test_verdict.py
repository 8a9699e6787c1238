"""Verdicts over load tests whose outcome is known, said in sentences."""

from __future__ import annotations

from typing import Any

import pytest
from measures.points import load, server, thrice

from studio.bench.point import Point
from studio.bench.said import Said
from studio.bench.verdict import DEFAULT_SLO, parts, verdict
from studio.ui.measures import sentences

SLO = {"ttft_ms": 500, "tpot_ms": 50}
VLLM = {"engine": "vllm"}


def said(told: list[Said], key: str) -> dict[str, Any]:
    """Return the values of the one sentence of a key."""
    (found,) = [one.values for one in told if one.key == f"measures.verdict.{key}"]
    return found


def keys(told: list[Said]) -> list[str]:
    return [one.key.rpartition(".")[2] for one in told]


def grid(*rows: tuple[int, float, float, float], **more: Any) -> list[Point]:
    """Return three close repeats of (users, tokens/s, TTFT P90, TPOT P90)."""
    return [
        point
        for users, speed, ttft, tpot in rows
        for point in thrice(
            users, speed, speed * 1.001, speed * 0.999, ttft=ttft, tpot=tpot, **more
        )
    ]


def test_the_sentence_of_the_brief() -> None:
    """4 users keep the limits; beyond 32 requests queue because the KV cache is full."""
    points = [
        *grid((1, 100, 80, 10), (4, 380, 312.4, 41.7), (16, 1200, 700, 60)),
        *grid((32, 2000, 900, 70), figures=server(0.8, 32, 0)),
        *grid((64, 2100, 4000, 72), figures=server(0.998, 38, 26)),
        *grid((128, 2080, 9000, 73), figures=server(1.0, 38, 90)),
    ]
    told = verdict(points, slo=SLO)
    assert sentences("en", told) == [
        "4 users at once: first token under 313 ms and 23.9 tokens/s each for 90 %.",
        "At 16 users, the slowest tenth waits 700 ms or more for the first token; "
        "the limit is 500 ms.",
        "Most output: 2,100 tokens/s at 64 users.",
        "Beyond 32 users the throughput hardly grows: 4 times the load gives 5 % more.",
        "Requests queue because the KV cache is full (100 % in use, 38 of 64 running).",
        "Limits: TTFT ≤ 500 ms, TPOT ≤ 50 ms.",
    ]
    assert sentences("zh", told)[0] == (
        "4 个用户同时使用：90 % 的请求首 token 不超过 313 ms，每人 23.9 token/s。"
    )


def test_two_h200_cards_still_grow() -> None:
    """FACTS: 211, 4,216 and 8,750 tok/s at 1, 32 and 128 users on one H200."""
    points = grid((1, 211, 22, 4.6), (32, 4216, 254, 5.63), (128, 8750, 278, 12.46))
    told = verdict(points)
    assert said(told, "users_all") == {
        "load": {"users": 128},
        "ttft_ms": 278,
        "tokens_per_s": 80.2,  # 1000 / 12.46 = 80.26, rounded to the careful side
    }
    assert said(told, "growing") == {"load": {"users": 128}}
    assert said(told, "limits_default") == {"limits": DEFAULT_SLO}
    assert sentences("en", told)[0].startswith("At least 128 users at once")


@pytest.mark.parametrize(
    ("figures", "settings", "key"),
    [
        (server(0.99, 40, 24), {}, "why_kv"),
        (server(0.99, 64, 0, preemptions=7), {}, "why_preempt"),
        (server(0.40, 32, 32), {"max_num_seqs": 32}, "why_seqs"),
        (server(0.40, 32, 32), {}, "why_limit"),
        (server(0.40, 32, 32), {"max_num_seqs": 256}, "why_limit"),
        (server(0.40, 64, 12), {"max_num_seqs": 256}, "why_compute_unknown"),
        (server(0.40, 20, 0), {}, "why_client"),
        ({}, {"max_num_seqs": 32}, "why_unknown"),
    ],
)
def test_why_it_stops(figures: dict[str, float], settings: dict[str, Any], key: str) -> None:
    points = [*grid((16, 2000, 100, 10)), *grid((64, 2050, 900, 40), figures=figures)]
    told = verdict(points, slo=SLO, server={"settings": settings})
    assert said(told, "stops")["load"] == {"users": 16}
    assert key in keys(told)
    assert sum(name.startswith("why_") for name in keys(told)) == 1


@pytest.mark.parametrize(
    ("loops", "key"),
    [
        ({"api_server_busy": 0.97, "generator_busy": 0.62}, "why_api_vllm"),
        ({"api_server_busy": 0.93, "generator_busy": 0.96}, "why_generator"),
        ({"api_server_busy": 0.60, "generator_busy": 0.55}, "why_compute"),
        ({"generator_busy": 0.55}, "why_compute"),
        ({}, "why_not_kv"),
    ],
)
def test_what_cards_wait_for(loops: dict[str, float], key: str) -> None:
    """Cards and cache have room: then it is the cards, or the one thread that feeds them."""
    figures = {**server(0.04, 256, 80), **loops}
    points = [*grid((128, 10400, 880, 7.4)), *grid((256, 8200, 1730, 22.4), figures=figures)]
    told = verdict([point.model_copy(update={"cards": 2}) for point in points], server=VLLM)
    assert said(told, "falls")["loss_percent"] == 21
    assert said(told, key)["kv_percent"] == 4
    if "busy" in (sentence := sentences("en", told)[-2]):
        assert f"{round(100 * max(loops.values()))} % of the time" in sentence


@pytest.mark.parametrize(
    ("loops", "key"),
    [
        ({"api_server_busy": 0.79, "generator_busy": 0.47}, "why_api_vllm_less"),
        ({"api_server_busy": 0.93, "generator_busy": 0.47}, "why_api_vllm"),
        ({"api_server_busy": 0.51, "generator_busy": 0.66}, "why_generator_less"),
        ({"api_server_busy": 0.31, "generator_busy": 0.22}, "why_waits_else"),
        ({}, "why_waits"),
    ],
)
def test_cards_that_draw_less_power_wait(loops: dict[str, float], key: str) -> None:
    """H200, 7B, TP=2: 1,233 W with 128 users, 966 W with 256, and less output."""
    busy = {**server(0.04, 256, 80), **loops, "power_w": 966.0}
    calm = {**server(0.04, 128, 20), **loops, "power_w": 1233.0}
    points = [
        *grid((128, 10400, 880, 7.4), figures=calm),
        *grid((256, 8200, 1730, 22.4), figures=busy),
    ]
    told = verdict([point.model_copy(update={"cards": 2}) for point in points], server=VLLM)
    assert key in keys(told)
    for lang, less in (("en", "22 % less power than with 128 users"), ("zh", "低 22 %")):
        assert key == "why_api_vllm" or any(less in one for one in sentences(lang, told))


def test_a_server_of_another_kind_is_given_no_setting_of_vllm() -> None:
    figures = {**server(0.04, 64, 0), "api_server_busy": 0.99}
    points = [*grid((16, 2000, 100, 10)), *grid((64, 2050, 900, 40), figures=figures)]
    told = verdict([p.model_copy(update={"cards": 1}) for p in points], server={"engine": "sglang"})
    assert "why_api" in keys(told) and "api_server_count" not in str(sentences("en", told))


def test_throughput_that_falls() -> None:
    told = verdict(grid((8, 1000, 10, 10), (16, 990, 10, 10), (32, 700, 10, 10)))
    assert said(told, "falls") == {
        "load": {"users": 8},
        "last": {"users": 32},
        "loss_percent": 30,
    }


def test_no_load_keeps_the_limits() -> None:
    told = verdict(grid((1, 10, 2500, 100), (2, 20, 3000, 100)), slo=SLO)
    assert said(told, "users_none") == {"load": {"users": 1}}
    assert sentences("en", told)[0] == (
        "Even with 1 user at once, fewer than 90 % of the requests keep the limits."
    )
    assert said(told, "broken_ttft") == {"load": {"users": 1}, "value_ms": 2500, "limit_ms": 500}


def test_the_pace_breaks_first() -> None:
    told = verdict(grid((1, 10, 100, 10), (8, 60, 100, 80)), slo=SLO)
    broken = said(told, "broken_tpot")
    assert (broken["tokens_per_s"], broken["limit_tokens_per_s"]) == (12.5, 20)


def test_one_bad_repeat_is_one_too_many() -> None:
    good = grid((1, 10, 100, 10))
    points = [load(8, 80, ttft=t, repeat=n) for n, t in enumerate((480, 490, 510))]
    told = verdict([*good, *points], slo=SLO)
    assert said(told, "users")["load"] == {"users": 1}
    assert said(told, "barely") == {"load": {"users": 8}, "kept": 2, "repeats": 3}


def test_all_limits_at_once_where_that_was_measured() -> None:
    """Each P90 keeps its limit, but only 84 % of the requests keep both."""
    ok = {"goodput_share": 0.99}
    points = [
        *[load(1, 10, figures=ok, slo=SLO, repeat=n) for n in range(3)],
        *[load(8, 60, figures={"goodput_share": 0.84}, slo=SLO, repeat=n) for n in range(3)],
    ]
    told = verdict(points)
    assert said(told, "users")["load"] == {"users": 1}
    assert said(told, "broken_share") == {"load": {"users": 8}, "share_percent": 84}
    assert said(told, "limits") == {"limits": SLO}
    assert said(verdict(points, slo={"ttft_ms": 400}), "users_all")["load"] == {"users": 8}


def test_failures_break_limits_too() -> None:
    many = {"failed": 10, "completed": 30}
    told = verdict([load(1, 10), load(8, 60, figures=many)], slo=SLO)
    assert said(told, "broken_failed") == {"load": {"users": 8}, "failed_percent": 25}
    assert said(told, "failed_requests") == {"failed": 10, "requests": 80}


def test_rates() -> None:
    """40 requests at 8/s take 5 s plus the last answer's second: 6.67 a second are all of them."""

    def at(rate: float, answered: float, **more: Any) -> list[Point]:
        told = {"request_throughput": answered, "e2el_mean_ms": 1000.0, **more}
        return [load(None, 100, rate=rate, figures=told, repeat=n) for n in range(3)]

    fine = [*at(2, 40 / 21), *at(8, 40 / 6)]
    told = verdict(fine, slo=SLO)
    assert said(told, "keeps_up") == {"load": {"rate": 8}}
    assert said(told, "rate_all")["load"] == {"rate": 8}
    full = at(16, 6.9, **server(0.99, 50, 30))
    told = verdict([*fine, *full], slo=SLO)
    assert said(told, "behind") == {"load": {"rate": 8}, "next": 16, "answered": 6.9}
    assert said(told, "why_kv") == {"kv_percent": 99, "running": 50, "asked": 80}
    told = verdict(at(16, 2.0), slo=SLO)
    assert said(told, "behind_all") == {"next": 16, "answered": 2}


def test_each_length_is_judged_by_itself() -> None:
    long = grid((1, 50, 100, 10), (8, 300, 800, 10), condition={"input_len": 2048})
    told = verdict([*grid((1, 100, 50, 10), (8, 700, 90, 10)), *long], slo=SLO)
    heads = [one.values for one in told if one.key.endswith(".shape")]
    assert heads == [{"input_len": 512, "output_len": 128}, {"input_len": 2048, "output_len": 128}]
    assert said(told, "users_all")["load"] == {"users": 8}
    assert said(told, "users")["load"] == {"users": 1}


def test_each_case_is_judged_by_itself() -> None:
    told = verdict(
        [*grid((1, 100, 50, 10), case="one"), *grid((1, 150, 50, 10), case="tp2", cards=2)]
    )
    assert [one.values["name"] for one in told if one.key.endswith("shape_named")] == [
        "one",
        "tp2",
    ]
    peak = said(told, "peak_cards")
    assert (peak["tokens_per_s"], peak["per_card"], peak["cards"]) == (150, 75, 2)


def test_noise_is_said_of_the_series_that_has_it() -> None:
    points = [*thrice(8, 100, 80, 120, case="one"), *thrice(8, 150, 151, 149, case="tp2")]
    (one, tp2), whole = parts(verdict(points))
    assert "noise" in keys(list(one.told)) and "noise" not in keys([*tp2.told, *whole])
    assert one.about is not None and one.about.values == {"name": "one"}
    ((only,), doubts) = parts(verdict(thrice(8, 100, 80, 120)))
    assert only.about is None and "noise" in keys(doubts) and "limits_default" in keys(doubts)


def test_doubts() -> None:
    noisy = thrice(8, 100, 80, 120)
    assert said(verdict(noisy), "noise") == {"load": {"users": 8}, "percent": 50}
    assert "once" in keys(verdict([load(1, 100)]))
    assert said(verdict(thrice(1, 100, 101)), "few") == {"repeats": 2}
    short = [load(1, 100, figures={"output_tokens": 40 * 64})]
    assert said(verdict(short), "ignored_lengths") == {"got_percent": 50}
    assert "ignored_lengths" not in keys(verdict([load(1, 9, figures={"output_tokens": 40 * 128})]))
    failed = load(8, 0, status="failed", error="Connection refused")
    assert said(verdict([*thrice(1, 9, 9, 9), failed]), "failed_points") == {
        "failed": 1,
        "points": 4,
        "error": "Connection refused",
    }


def test_energy_at_its_cheapest() -> None:
    points = [
        *thrice(1, 10, 10, 10, figures={"energy_per_token_j": 2.5}),
        *thrice(64, 600, 600, 600, figures={"energy_per_token_j": 0.08125}),
    ]
    assert said(verdict(points), "energy") == {"load": {"users": 64}, "joules": 0.0812}


def test_nothing_and_nothing_but_failures() -> None:
    assert keys(verdict([])) == ["none"]
    failed = [load(1, 0, status="failed", error="no memory")]
    assert sentences("en", verdict(failed)) == ["Every point failed: no memory"]


def test_points_without_a_load_have_no_series() -> None:
    told = verdict([Point(id="mmlu", figures={"mmlu/acc": 0.5})])
    assert keys(told) == ["no_load"]


@pytest.mark.parametrize(
    ("cards", "server_told", "key"),
    [(1, {}, "why_not_kv"), (0, {"cards": []}, "why_compute_cpu"), (0, {}, "why_compute_unknown")],
)
def test_what_computes_is_named(cards: int, server_told: dict[str, Any], key: str) -> None:
    own = {"cards": cards, "figures": server(0.40, 64, 0)}
    points = [*thrice(32, 1000, 1001, 999, **own), *thrice(64, 1010, 1011, 1009, **own)]
    assert key in [one.key.rpartition(".")[2] for one in verdict(points, server=server_told)]
