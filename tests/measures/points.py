"""Points made by hand: a load test whose figures are known because they were written down."""

from __future__ import annotations

from typing import Any

from studio.bench.point import Point


def load(
    users: int | None = 1,
    tokens_per_s: float = 100.0,
    *,
    rate: float | None = None,
    repeat: int = 0,
    ttft: float = 100.0,
    tpot: float = 10.0,
    figures: dict[str, Any] | None = None,
    condition: dict[str, Any] | None = None,
    **fields: Any,
) -> Point:
    """Return one point of a load test; latencies in ms are those of the slowest tenth."""
    asked = {"input_len": 512, "output_len": 128, "dataset": "random", "num_prompts": 40}
    asked |= {"concurrency": users, "request_rate": rate, **(condition or {})}
    told = {
        "output_throughput": tokens_per_s,
        "ttft_p90_ms": ttft,
        "tpot_p90_ms": tpot,
        "completed": 40,
        "failed": 0,
        **(figures or {}),
    }
    lengths = f"in{asked['input_len']}-out{asked['output_len']}"
    told_by = f"c{users}" if rate is None else f"q{rate:g}"
    given = {"id": f"{lengths}-{told_by}-r{repeat}", "at": 1_760_000_000.0 + repeat, **fields}
    return Point(
        **{"engine": "vllm-bench", "model": "Qwen/Qwen2.5-7B", "server": "vllm 0.26.0", **given},
        repeat=repeat,
        condition=asked,
        figures=told,
    )


def thrice(users: int, *tokens_per_s: float, **more: Any) -> list[Point]:
    """Return the repeats of one load, each with a throughput of its own."""
    return [load(users, rate, repeat=n, **more) for n, rate in enumerate(tokens_per_s)]


def server(kv: float, running: float, waiting: float, preemptions: float = 0) -> dict[str, float]:
    """Return what the server told of itself while a point was measured."""
    return {
        "kv_cache_use_max": kv,
        "running_max": running,
        "waiting_max": waiting,
        "preemptions": preemptions,
    }
