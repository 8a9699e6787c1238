"""What a server is doing: figures from the readings its supervisor keeps. Curves: `curves`.

The names are those of `studio.jobs.shim.figures`, the same for every engine. Rates are differences
of counters over a window; percentiles are read from histograms as Prometheus reads them. A counter
that starts over, because its engine did, goes on from where it was: nothing is ever negative.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from studio.jobs.shim.figures import Value
from studio.jobs.shim.scrape import HEARTBEAT_S, RARELY_S
from studio.telemetry.readings import Reading

VLLM = (
    "vllm:num_requests_",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:prefix_cache_",
    "vllm:gpu_prefix_cache_",
    "vllm:mm_cache_",
    "vllm:cache_config_info",
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:num_preemptions",
    "vllm:request_success",
    "vllm:admission_rejections",
    "vllm:time_to_first_token_seconds",
    "vllm:inter_token_latency_seconds",
    "vllm:time_per_output_token_seconds",
    "vllm:e2e_request_latency_seconds",
    "vllm:request_queue_time_seconds",
)
"""What vLLM's `Scrape` asks for; names of 0.9 to 0.33."""
SGLANG = (
    "sglang:num_running_reqs",
    "sglang:num_queue_reqs",
    "sglang:token_usage",
    "sglang:cached_tokens_total",
    "sglang:realtime_tokens_total",
    "sglang:prompt_tokens_total",
    "sglang:generation_tokens_total",
    "sglang:num_retracted_requests_total",
    "sglang:num_requests_total",
    "sglang:num_aborted_requests_total",
    "sglang:time_to_first_token_seconds",
    "sglang:inter_token_latency_seconds",
    "sglang:e2e_request_latency_seconds",
    "sglang:queue_time_seconds",
)
"""What SGLang's `Scrape` asks for; the server needs `--enable-metrics`."""

NOW_S = 30.0
"""Window of the rates that are shown as current."""
LATELY_S = 300.0
"""Window of the percentiles, wide enough to hold requests."""
STEADY_S = RARELY_S * 1.5
"""Rows closer together than this are one activity; what lies between them is no silence."""
SILENT_S = HEARTBEAT_S * 1.5
"""After this long without a row the server does not answer its supervisor."""

ROUTER = "vllm_router_"
"""Beginning of the names of a router's figures, which keep their own."""
WELL, CUT = ("stop", "length", "repetition"), ("error", "abort")
"""How requests end: with an answer, or without."""


class Quantiles(NamedTuple):
    """Percentiles in seconds."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True, kw_only=True)
class Load:
    """A server's figures over a window that ends now; rates per second, times in seconds."""

    at: float
    """When the server was last heard."""
    window_s: float
    workers: int | None
    """Healthy servers behind a router; None for a server itself."""
    running: int
    waiting: int
    kv_cache_use: float | None
    """Share of the KV cache in use, 0 to 1, of the fullest replica."""
    kv_tokens: int | None
    """Tokens the KV cache holds, where the server tells."""
    block_size: int | None
    """Tokens in a block of the KV cache; only whole blocks are found again."""
    prefix_caching: bool | None
    """False when the server was started without it."""
    prefix_hit_rate: float | None
    """Share of the prompt tokens of the window that the prefix cache already had."""
    prefix_hit_rate_total: float | None
    """The same since the start."""
    prompt_tok_s: float
    generation_tok_s: float
    requests_s: float
    ttft: Quantiles | None
    itl: Quantiles | None
    e2e: Quantiles | None
    queue: Quantiles | None
    preemptions: int
    """Requests that were set back in the window because the KV cache was full."""
    preemptions_total: int
    finished: int
    """Answers since the start."""
    failed: int
    """Requests since the start that ended by an error, were cancelled or turned away."""
    prompt_tokens: int
    generation_tokens: int
    """Tokens read and written since the start."""

    @property
    def asked(self) -> bool:
        """True once anybody has asked anything."""
        counted = self.finished + self.failed + self.prompt_tokens
        return bool(counted + self.running + self.waiting)


def load(
    readings: list[Reading], *, now: float | None = None, window_s: float = NOW_S
) -> Load | None:
    """Return a server's figures over the last seconds; None before the first reading.

    While rows come the window ends with the last of them, so that what has not been read yet does
    not count as silence. An infinite window counts from the server's own start; its rates are
    meaningless, as only the last minutes are at hand.
    """
    if not readings:
        return None
    last = readings[-1]
    now = time.time() if now is None else now
    end = last.at if last.moved and now - last.at < STEADY_S else max(now, last.at)
    first = Reading(readings[0].at, {}) if math.isinf(window_s) else at(readings, end - window_s)
    span = max(end - _begin(readings, first, end - window_s), 1e-9)
    diff = Difference(first.values, last.values)
    total = Difference({}, last.values)
    shares, workers = last.values, scalar(last.values, f"{ROUTER}worker_health")
    return Load(
        at=last.at,
        window_s=window_s,
        workers=None if workers is None else int(workers),
        running=int(scalar(shares, "running") or scalar(shares, f"{ROUTER}running_requests") or 0),
        waiting=int(scalar(shares, "waiting") or 0),
        kv_cache_use=scalar(shares, "kv_use"),
        kv_tokens=_whole(scalar(shares, "kv_tokens")),
        block_size=_whole(scalar(shares, "block_size")),
        prefix_caching=_yes(scalar(shares, "prefix_caching")),
        prefix_hit_rate=diff.hit_rate(),
        prefix_hit_rate_total=total.hit_rate(),
        prompt_tok_s=diff.prompt_tokens() / span,
        generation_tok_s=diff.generation_tokens() / span,
        requests_s=diff.answered() / span,
        ttft=diff.quantiles("ttft"),
        itl=diff.quantiles("itl"),
        e2e=diff.quantiles("e2e"),
        queue=diff.quantiles("queue"),
        preemptions=int(diff.of("preemptions")),
        preemptions_total=int(total.of("preemptions")),
        finished=int(total.answered()),
        failed=int(total.failed()),
        prompt_tokens=int(total.prompt_tokens()),
        generation_tokens=int(total.generation_tokens()),
    )


def at(readings: list[Reading], moment: float) -> Reading:
    """Return the reading that held at a moment: the last one before it, else the first."""
    held = readings[0]
    for reading in readings:
        if reading.at > moment:
            break
        held = reading
    return held


def _begin(readings: list[Reading], first: Reading, wanted: float) -> float:
    """Return the moment from which growth since `first` is to be counted.

    Between rows close together counters grow evenly; after a silence, only at its end.
    """
    after = next((reading.at for reading in readings if reading.at > first.at), first.at)
    return first.at if after - first.at <= STEADY_S else max(first.at, wanted)


def quantile(q: float, buckets: Mapping[str, float]) -> float | None:
    """Return the q-quantile (0 to 1) of a histogram; None when it is empty.

    `buckets` are counts per bucket by upper bound, not cumulative. As in Prometheus'
    histogram_quantile, values are taken as evenly spread inside a bucket, the first bucket begins
    at zero, and a quantile in the last, open one is its lower bound.
    """
    bounds = sorted(((float(bound), n) for bound, n in buckets.items()), key=lambda pair: pair[0])
    total = sum(n for _, n in bounds)
    if total <= 0:
        return None
    rank, below, lower = q * total, 0.0, 0.0
    for upper, count in bounds:
        if below + count >= rank and count > 0:
            if math.isinf(upper):
                return lower
            start = min(lower, upper) if upper > 0 else upper
            return start + (upper - start) * (rank - below) / count
        below += count
        lower = upper
    return lower


class Difference:
    """What was counted between two readings; tokens and requests, whatever the engine."""

    def __init__(self, old: Mapping[str, Value], new: Mapping[str, Value]) -> None:
        self._old, self._new = old, new

    def of(self, key: str) -> float:
        """Return the growth of one counter; 0 when it is unknown."""
        return max(0.0, (scalar(self._new, key) or 0) - (scalar(self._old, key) or 0))

    def quantiles(self, key: str) -> Quantiles | None:
        """Return the percentiles of what a histogram counted; None when that was nothing."""
        new, old = self._new.get(key), self._old.get(key, {})
        if not isinstance(new, dict) or not isinstance(old, dict):
            return None
        grown = {bound: max(0.0, n - old.get(bound, 0)) for bound, n in new.items()}
        p50, p90, p99 = (quantile(q, grown) for q in (0.5, 0.9, 0.99))
        return None if p50 is None or p90 is None or p99 is None else Quantiles(p50, p90, p99)

    def prompt_tokens(self) -> float:
        """Tokens read. SGLang counts them at a request's end, and in `realtime` as they come."""
        if "realtime|prefill_compute" in self._new:
            return self.of("realtime|prefill_compute") + self.of("realtime|prefill_cache")
        return self.of("prompt_tokens")

    def generation_tokens(self) -> float:
        """Tokens written."""
        live = "realtime|decode" in self._new
        return self.of("realtime|decode" if live else "generation_tokens")

    def hit_rate(self) -> float | None:
        """Share of prompt tokens that were in the prefix cache; None without a prompt."""
        asked = "prefix_queries" if "prefix_queries" in self._new else "prompt_tokens"
        tokens = self.of(asked)
        if tokens <= 0 or "prefix_hits" not in self._new:
            return None
        return min(1.0, self.of("prefix_hits") / tokens)

    def answered(self) -> float:
        """Requests that got their answer."""
        if f"{ROUTER}worker_health" in self._new:
            taken = self.of(f"{ROUTER}processed_requests_total")
            return max(0.0, taken - self.of(f"{ROUTER}request_errors_total"))
        if "requests" in self._new:
            return self.of("requests")
        return sum(self.of(f"finished|{how}") for how in WELL)

    def failed(self) -> float:
        """Requests that got none."""
        lost = [*(f"finished|{how}" for how in CUT), "aborted", f"{ROUTER}request_errors_total"]
        turned_away = [key for key in self._new if key.startswith("rejected|")]
        return sum(self.of(key) for key in (*lost, *turned_away))


def scalar(values: Mapping[str, Value], key: str) -> float | None:
    """Return a figure that is one number; None when it is unknown."""
    value = values.get(key)
    return None if isinstance(value, dict) else value


def _whole(value: float | None) -> int | None:
    return None if not value else int(value)


def _yes(value: float | None) -> bool | None:
    return None if value is None else value > 0
