"""What each figure is: unit, which way is better, and the key of its words.

Words (label, short, formula) are `measures.label.<base>` and so on in assets/locales, said by
`studio.ui.measures`. Latencies share one text over their five statistics: `ttft_p90_ms` has the
base `ttft` and the statistic `p90`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["more", "less", ""]

STATISTICS = ("mean", "median", "p90", "p99", "std")
LATENCIES = ("ttft", "tpot", "itl", "e2el")
SHARE = "share"
"""Unit of what runs from 0 to 1 and is shown as percent."""


@dataclass(frozen=True)
class Definition:
    """One figure. `base` is empty when nobody has words for it (`mmlu/acc`)."""

    name: str
    base: str
    unit: str
    better: Better
    group: str
    """load, latency, server, memory, energy, training, images, quality or other."""
    statistic: str = ""

    @property
    def known(self) -> bool:
        """True when it has a text of its own."""
        return bool(self.base)


def _all() -> dict[str, Definition]:
    found = [
        Definition(f"{base}_{statistic}_ms", base, "ms", "less", "latency", statistic)
        for base in LATENCIES
        for statistic in STATISTICS
    ]
    plain: tuple[tuple[str, str, Better, str], ...] = (
        ("output_throughput", "tok/s", "more", "load"),
        ("total_throughput", "tok/s", "more", "load"),
        ("request_throughput", "req/s", "more", "load"),
        ("goodput", "req/s", "more", "load"),
        ("goodput_share", SHARE, "more", "load"),
        ("tokens_per_s_user", "tok/s", "more", "load"),
        ("completed", "", "more", "load"),
        ("failed", "", "less", "load"),
        ("input_tokens", "", "", "load"),
        ("output_tokens", "", "", "load"),
        ("duration_s", "s", "", "load"),
        ("waiting_max", "", "less", "server"),
        ("running_max", "", "", "server"),
        ("kv_cache_use_max", SHARE, "", "server"),
        ("preemptions", "", "less", "server"),
        ("prefix_hit_rate", SHARE, "more", "server"),
        ("prefix_cache_reset", "", "", "server"),
        ("api_server_busy", SHARE, "less", "server"),
        ("generator_busy", SHARE, "less", "server"),
        ("startup_s", "s", "less", "server"),
        ("memory_gib", "GiB", "", "memory"),  # a server takes what it is given
        ("memory_share", SHARE, "", "memory"),
        ("peak_card_gib", "GiB", "less", "memory"),
        ("peak_host_gib", "GiB", "less", "memory"),
        ("power_w", "W", "less", "energy"),
        ("energy_j", "J", "less", "energy"),
        ("energy_per_token_j", "J/tok", "less", "energy"),
        ("samples_per_s", "samples/s", "more", "training"),
        ("tokens_per_s", "tok/s", "more", "training"),
        ("step_s", "s", "less", "training"),
        ("loss_first", "", "", "training"),
        ("loss_last", "", "less", "training"),
        ("seconds", "s", "less", "training"),
        ("picture_s", "s", "less", "images"),
        ("load_s", "s", "less", "images"),
        ("score", "", "more", "quality"),
        ("win_rate", SHARE, "more", "quality"),
        ("answer_tokens", "", "", "quality"),
    )
    found += [Definition(name, name, unit, better, group) for name, unit, better, group in plain]
    return {item.name: item for item in found}


DEFINITIONS = _all()
"""Every figure that has words, by its name, in the order tables show them."""

HEADLINES = (
    "output_throughput",
    "request_throughput",
    "goodput",
    "tokens_per_s_user",
    "ttft_median_ms",
    "ttft_p90_ms",
    "tpot_median_ms",
    "tpot_p90_ms",
    "e2el_p90_ms",
    "memory_gib",
    "energy_per_token_j",
    "samples_per_s",
    "tokens_per_s",
    "step_s",
    "picture_s",
    "peak_card_gib",
    "peak_host_gib",
    "loss_last",
    "score",
    "win_rate",
)
"""The figures that a first look shows, where a point has them."""


_FALLING = ("perplexity", "ppl", "loss", "error", "wer", "bits")


def definition(name: str) -> Definition:
    """Return what a figure is; one that nobody has words for keeps its name as its label.

    `<task>/<metric>` of an evaluation counts as quality, where more is better unless the metric is
    a loss, an error or a perplexity.
    """
    known = DEFINITIONS.get(name)
    if known is not None:
        return known
    if "/" in name:
        metric = name.rpartition("/")[2].lower()
        falls = any(
            word in metric for word in ("perplexity", "ppl", "loss", "error", "wer", "bits")
        )
        return Definition(name, "", "", "less" if falls else "more", "quality")
    return Definition(name, "", _unit(name), "", "other")


def _unit(name: str) -> str:
    endings = (("_ms", "ms"), ("_gib", "GiB"), ("_per_s", "1/s"), ("_s", "s"), ("_w", "W"))
    return next((unit for ending, unit in endings if name.endswith(ending)), "")
