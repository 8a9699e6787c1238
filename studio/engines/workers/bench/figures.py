"""From the JSON that `vllm bench serve` wrote to the figures of a point. Pure.

What vLLM worked out itself is taken as it is; what needs its requests one by one (the share that
keeps the limits, the pace a user sees) is worked out here by the same definitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

METRICS = ("ttft", "tpot", "itl", "e2el")
STATISTICS = {"mean": "mean", "median": "median", "std": "std", "p90": "p90", "p99": "p99"}
TOTALS = {
    "output_throughput": "output_throughput",
    "total_throughput": "total_token_throughput",
    "request_throughput": "request_throughput",
    "completed": "completed",
    "failed": "failed",
    "duration_s": "duration",
    "input_tokens": "total_input_tokens",
    "output_tokens": "total_output_tokens",
}


class Request(NamedTuple):
    """One answered request; times in seconds."""

    ttft: float
    latency: float
    output_len: int

    @property
    def tpot(self) -> float | None:
        """Time per output token after the first; None with one token or less."""
        return (self.latency - self.ttft) / (self.output_len - 1) if self.output_len > 1 else None


def figures_of(raw: Mapping[str, Any], slo: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a point from vLLM's JSON; nothing that it did not measure."""
    found = {name: raw.get(key) for name, key in TOTALS.items()}
    if raw.get("completed"):
        for metric in METRICS:
            for name, key in STATISTICS.items():
                found[f"{metric}_{name}_ms"] = raw.get(f"{key}_{metric}_ms")
        answered = list(requests(raw))
        paces = [1 / r.tpot for r in answered if r.tpot]
        if not paces:  # the answers came whole, or had one token: there is no pace
            for metric in ("tpot", "itl"):
                for name in STATISTICS:
                    found.pop(f"{metric}_{name}_ms", None)
        if paces:
            found["tokens_per_s_user"] = median(paces)
        if slo and answered:
            sent = len(answered) + int(raw.get("failed") or 0)
            found["goodput"] = raw.get("request_goodput")
            found["goodput_share"] = sum(keeps(r, slo) for r in answered) / sent
    return {
        name: float(value) if isinstance(value, float) else value
        for name, value in found.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }


def requests(raw: Mapping[str, Any]) -> Iterator[Request]:
    """Yield the requests that were answered; needs `--save-detailed`.

    Versions without `latencies` are given first token plus all gaps, which is the same.
    """
    errors = raw.get("errors") or []
    latencies = raw.get("latencies")
    for number, ttft in enumerate(raw.get("ttfts") or []):
        output_len = raw["output_lens"][number]
        if (number < len(errors) and errors[number]) or not output_len:
            continue
        gaps = raw["itls"][number]
        yield Request(ttft, latencies[number] if latencies else ttft + sum(gaps), output_len)


def first_error(raw: Mapping[str, Any]) -> str:
    """Return what the first failed request said, its last line; empty when none failed."""
    for error in raw.get("errors") or ():
        lines = [line for line in str(error).splitlines() if line.strip()]
        if lines:
            return lines[-1].strip()[:400]
    return ""


def keeps(request: Request, slo: Mapping[str, float]) -> bool:
    """Tell whether a request keeps every limit; one token or less has a pace of 0, as in vLLM."""
    told = {
        "ttft_ms": request.ttft * 1000,
        "tpot_ms": (request.tpot or 0.0) * 1000,
        "e2el_ms": request.latency * 1000,
    }
    return all(told[name] <= limit for name, limit in slo.items())
