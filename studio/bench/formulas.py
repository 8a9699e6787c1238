"""The formulas behind every figure, one function each. Pure: numbers in, numbers out.

Times are seconds unless a name says otherwise. The definitions are those of `vllm bench serve`,
so that figures of different tools in one table mean the same; where a tool defines something else
its worker converts or leaves it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

PERCENTILES = (50, 90, 99)


class Interval(NamedTuple):
    """Two ends that hold the true value with some confidence."""

    low: float
    high: float


# lists -----------------------------------------------------------------------------------------


def percentile(values: Sequence[float], q: float) -> float:
    """Return the q-th percentile (0 to 100), linear between neighbours as numpy does by default.

    Raise ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    if not 0 <= q <= 100:
        raise ValueError(f"{q} is no percentile")
    ordered = sorted(values)
    place = (len(ordered) - 1) * q / 100
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median(values: Sequence[float]) -> float:
    """Return the 50th percentile."""
    return percentile(values, 50)


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean; raise ValueError without values."""
    if not values:
        raise ValueError("no values")
    return math.fsum(values) / len(values)


def sd(values: Sequence[float], *, ddof: int = 1) -> float:
    """Return the standard deviation: of a sample with `ddof=1`, of a population with 0.

    Raise ValueError with `ddof` values or fewer: one repeat has no spread.
    """
    if len(values) <= ddof:
        raise ValueError("too few values for a standard deviation")
    middle = mean(values)
    return math.sqrt(math.fsum((v - middle) ** 2 for v in values) / (len(values) - ddof))


def latency_figures(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Return `{name}_{mean,median,p90,p99,std}_ms` of a list of seconds; empty without values.

    The standard deviation is that of the population of requests (`ddof=0`), as vLLM writes it.
    """
    if not seconds:
        return {}
    ms = sorted(value * 1000 for value in seconds)
    return {
        f"{name}_mean_ms": mean(ms),
        f"{name}_median_ms": percentile(ms, 50),
        f"{name}_p90_ms": percentile(ms, 90),
        f"{name}_p99_ms": percentile(ms, 99),
        f"{name}_std_ms": sd(ms, ddof=0),
    }


# one request -----------------------------------------------------------------------------------


def ttft(sent: float, chunks: Sequence[float]) -> float | None:
    """Return the time to the first token: first chunk minus sending. None without a chunk."""
    return chunks[0] - sent if chunks else None


def e2el(sent: float, chunks: Sequence[float]) -> float | None:
    """Return the end-to-end latency: last chunk minus sending. None without a chunk."""
    return chunks[-1] - sent if chunks else None


def tpot(latency: float, first: float, output_len: int) -> float | None:
    """Return the time per output token after the first: (latency - TTFT) / (output_len - 1).

    None with one token or less, which says nothing about the pace.
    """
    return (latency - first) / (output_len - 1) if output_len > 1 else None


def itl(chunks: Sequence[float]) -> list[float]:
    """Return the gaps between the chunks of one answer; those of all answers are pooled."""
    return [after - before for before, after in pairwise(chunks)]


# one load --------------------------------------------------------------------------------------


def throughput(amount: float, seconds: float) -> float:
    """Return an amount (tokens, requests, samples) per second of wall time."""
    if seconds <= 0:
        raise ValueError("no time passed")
    return amount / seconds


def meets(request: Mapping[str, float | None], slo: Mapping[str, float]) -> bool:
    """Tell whether a request (`ttft_ms`, `tpot_ms`, `e2el_ms`) keeps every limit it was given.

    A TPOT of None (an answer of one token) keeps its limit, as in vLLM; any other None breaks it.
    """
    for name, limit in slo.items():
        value = request.get(name)
        if value is None:
            if name != "tpot_ms":
                return False
        elif value > limit:
            return False
    return True


def num_good(requests: Iterable[Mapping[str, float | None]], slo: Mapping[str, float]) -> int:
    """Return how many requests keep every limit."""
    return sum(meets(request, slo) for request in requests)


def goodput(
    requests: Iterable[Mapping[str, float | None]], slo: Mapping[str, float], seconds: float
) -> float:
    """Return requests per second that keep every limit (DistServe, arXiv 2401.09670)."""
    return throughput(num_good(requests, slo), seconds)


def goodput_share(
    requests: Sequence[Mapping[str, float | None]],
    slo: Mapping[str, float],
    num_failed: int = 0,
) -> float:
    """Return the share (0 to 1) of requests that keep every limit; a failed one keeps none."""
    sent = len(requests) + num_failed
    if not sent:
        raise ValueError("no requests")
    return num_good(requests, slo) / sent


def tokens_per_s_user(tpots: Sequence[float]) -> float:
    """Return the pace one user sees: the median over requests of 1 / TPOT, in tokens/s."""
    return median([1 / value for value in tpots if value > 0])


def energy_per_token(joules: float, output_tokens: int) -> float:
    """Return joules per output token: all cards, prefill and idle moments included."""
    if output_tokens <= 0:
        raise ValueError("no output tokens")
    return joules / output_tokens


def share(part: float, whole: float) -> float:
    """Return a part of a whole, 0 to 1: memory in use, prefix hits."""
    if whole <= 0:
        raise ValueError("the whole is nothing")
    return part / whole


# several cards ---------------------------------------------------------------------------------


def speed_up(many: float, one: float) -> float:
    """Return how many times faster: a throughput over that of the base."""
    if one <= 0:
        raise ValueError("the base is not above zero")
    return many / one


def efficiency(many: float, one: float, num_cards: int) -> float:
    """Return the parallel efficiency, 1 for perfect scaling: speed-up over cards."""
    if num_cards < 1:
        raise ValueError("no cards")
    return speed_up(many, one) / num_cards


def zero_bytes_per_parameter(stage: int, num_cards: int) -> float:
    """Return bytes of model states per parameter and card, mixed-precision Adam.

    Parameters and gradients in 16 bits (2 + 2), master weights and both moments in 32 (12), as
    arXiv 1910.02054, section 3: stage 0 16; 1: 4 + 12/N; 2: 2 + 14/N; 3: 16/N.
    """
    if num_cards < 1:
        raise ValueError("no cards")
    whole, split = {0: (16, 0), 1: (4, 12), 2: (2, 14), 3: (0, 16)}[stage]
    return whole + split / num_cards


def zero_saving_bound(stage: int, num_cards: int) -> float:
    """Return how many times smaller ZeRO can make the model states of a card, at most.

    Two cards: 1.6 with stage 1, 16/9 = 1.78 with stage 2, 2 with stage 3. Activations, buffers
    and the CUDA context do not shrink, so a measured saving is smaller. Without offload.
    """
    return 16 / zero_bytes_per_parameter(stage, num_cards)


# shares ----------------------------------------------------------------------------------------

Z95 = 1.959963984540054
"""97.5th percentile of the standard normal."""


def wilson(successes: float, num: int, z: float = Z95) -> Interval:
    """Return the score interval of a share (Wilson 1927); honest for few trials and for 0 and 1.

    `successes` may hold halves, so that ties count half.
    """
    if num < 1:
        raise ValueError("no trials")
    if not 0 <= successes <= num:
        raise ValueError(f"{successes} of {num}")
    p, square = successes / num, z * z
    middle = (p + square / (2 * num)) / (1 + square / num)
    half = z / (1 + square / num) * math.sqrt(p * (1 - p) / num + square / (4 * num * num))
    return Interval(
        0.0 if successes == 0 else middle - half, 1.0 if successes == num else middle + half
    )


def win_rate(wins: int, losses: int, ties: int = 0) -> float:
    """Return the share of comparisons won, 0 to 1; a tie is half a win."""
    num = wins + losses + ties
    if num < 1:
        raise ValueError("no comparisons")
    return (wins + ties / 2) / num


def win_interval(wins: int, losses: int, ties: int = 0) -> Interval:
    """Return the 95 % interval of the win rate (Wilson; a tie is half a win).

    A tie varies less than a win or a loss, so with ties the interval is wider than it need be.
    """
    return wilson(wins + ties / 2, wins + losses + ties)
