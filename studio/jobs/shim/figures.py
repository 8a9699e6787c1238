"""The figures of a server's Prometheus page that are kept, under one name for every engine.

Labels that nobody asks about are folded: replicas of a data-parallel server are summed, and of
shares the fullest one counts.
"""

from __future__ import annotations

import re

FIGURES = {
    "vllm:num_requests_running": "running",
    "vllm:num_requests_waiting": "waiting",
    "vllm:num_requests_waiting_by_reason": "waiting_for",
    "vllm:kv_cache_usage_perc": "kv_use",
    "vllm:gpu_cache_usage_perc": "kv_use",
    "vllm:prefix_cache_queries_total": "prefix_queries",
    "vllm:prefix_cache_hits_total": "prefix_hits",
    "vllm:gpu_prefix_cache_queries_total": "prefix_queries",
    "vllm:gpu_prefix_cache_hits_total": "prefix_hits",
    "vllm:mm_cache_queries_total": "picture_queries",
    "vllm:mm_cache_hits_total": "picture_hits",
    "vllm:prompt_tokens_total": "prompt_tokens",
    "vllm:generation_tokens_total": "generation_tokens",
    "vllm:num_preemptions_total": "preemptions",
    "vllm:request_success_total": "finished",
    "vllm:admission_rejections_total": "rejected",
    "vllm:time_to_first_token_seconds": "ttft",
    "vllm:inter_token_latency_seconds": "itl",
    "vllm:time_per_output_token_seconds": "itl",
    "vllm:e2e_request_latency_seconds": "e2e",
    "vllm:request_queue_time_seconds": "queue",
    "sglang:num_running_reqs": "running",
    "sglang:num_queue_reqs": "waiting",
    "sglang:token_usage": "kv_use",
    "sglang:cached_tokens_total": "prefix_hits",
    "sglang:realtime_tokens_total": "realtime",
    "sglang:prompt_tokens_total": "prompt_tokens",
    "sglang:generation_tokens_total": "generation_tokens",
    "sglang:num_retracted_requests_total": "preemptions",
    "sglang:num_requests_total": "requests",
    "sglang:num_aborted_requests_total": "aborted",
    "sglang:time_to_first_token_seconds": "ttft",
    "sglang:inter_token_latency_seconds": "itl",
    "sglang:e2e_request_latency_seconds": "e2e",
    "sglang:queue_time_seconds": "queue",
}
"""Families with a name of ours. What else these engines tell is left out; the scalars of others
keep their own names."""
_NAMED = tuple({family.partition(":")[0] + ":" for family in FIGURES})
INFO = "vllm:cache_config_info"
INFO_LABELS = {
    "block_size": "block_size",
    "kv_cache_size_tokens": "kv_tokens",
    "enable_prefix_caching": "prefix_caching",
}
"""What a server says about its KV cache in labels; kept as figures."""
FULLEST = frozenset({"kv_use", "block_size", "prefix_caching"})
"""Figures of which the greatest of all replicas is kept instead of the sum."""
_GAUGES = {"running", "waiting", "waiting_for", "kv_use", *INFO_LABELS.values()}
_COUNTERS = frozenset(FIGURES.values()) - _GAUGES
_PARTS = ("_bucket", "_sum", "_count", "_created", "_info")
"""Endings of samples that are no figure by themselves."""
TOLD_APART = ("finished_reason", "reason", "mode", "outcome")
"""Labels that stay, behind a bar: `finished|stop`."""

Value = float | dict[str, float]

_SAMPLE = re.compile(r"([\w:]+)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def read(page: str, prefixes: tuple[str, ...]) -> dict[str, Value]:
    """Return the figures of a Prometheus page whose families begin with one of the prefixes."""
    found: dict[str, Value] = {}
    for line in page.splitlines():
        sample = _SAMPLE.match(line) if line.startswith(prefixes) else None
        if sample is None:
            continue
        name, labels, text = sample.groups()
        if name == INFO:
            told = dict(_LABEL.findall(labels or ""))
            for label, figure in INFO_LABELS.items():
                _add(found, figure, _number(told.get(label, "")))
            continue
        figure = FIGURES.get(name.removesuffix("_bucket"))
        if figure is None:
            if name.startswith(_NAMED) or name.endswith(_PARTS):
                continue
            figure = name
        told = dict(_LABEL.findall(labels or ""))
        if name.endswith("_bucket"):
            buckets = found.setdefault(figure, {})
            if isinstance(buckets, dict) and "le" in told:
                buckets[told["le"]] = buckets.get(told["le"], 0) + float(text)
        else:
            key = "|".join([figure, *(told[label] for label in TOLD_APART if label in told)])
            _add(found, key, _number(text))
    return {key: _plain(value) for key, value in found.items()}


def only_grows(key: str) -> bool:
    """Tell whether a figure is a counter, which falls only when its engine begins anew."""
    figure = key.partition("|")[0]
    return figure in _COUNTERS or figure.endswith("_total")


def _add(found: dict[str, Value], key: str, value: float | None) -> None:
    """Fold one sample into a figure; what is no number (yet) is left out."""
    known = found.get(key, 0.0)
    if value is not None and not isinstance(known, dict):
        fullest = key.partition("|")[0] in FULLEST
        found[key] = max(known, value) if fullest else known + value


def _number(text: str) -> float | None:
    """Return a number, also of `True`; None for NaN and for words."""
    try:
        value = {"True": 1.0, "False": 0.0}.get(text) if text[:1] in ("T", "F") else float(text)
    except ValueError:
        return None
    return value if value == value else None


def _plain(value: Value) -> Value:
    """Return a figure as short as JSON allows, and a histogram's counts bucket by bucket."""
    if not isinstance(value, dict):
        return int(value) if value == int(value) else round(value, 4)
    counts, below = {}, 0.0
    for bound in sorted(value, key=float):
        counts[bound] = int(value[bound] - below)
        below = value[bound]
    return counts
