"""What to change when a server does not fit: only what was planned again and does.

The order is the one of least loss: a shorter context, a larger share of the card, packed weights,
more cards, then the same in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import ceil, floor
from typing import Any

from studio.core.spec import Serving
from studio.planner import calibration as cal
from studio.planner.models import IN_FLIGHT, published_config
from studio.planner.result import Advice, CardMemory, ServingPlan

Plan = Callable[[Serving], ServingPlan]
Changes = dict[str, Any]

STEP = 1024
"""Lengths that are advised are multiples of this."""
MOST = 3
"""Combinations that are offered."""
CPU_CACHE_STEP = 64 * 2**20
OF_SHARE = {"others", "share"}
OF_MEMORY = {"weights", "cache", "reserve"}
"""Reasons that more room cures; the others have a cure of their own."""


def advise(
    need: Serving, refused: ServingPlan, cards: Sequence[CardMemory], plan: Plan
) -> Iterator[Advice]:
    """Yield the changes with which the launch fits, best first; none when nothing helps."""
    if refused.reason not in OF_MEMORY:
        cures = _cures(need, refused, cards)
        helped = (c for c in cures if plan(need.model_copy(update=c)).fits)
        yield from map(_advice, islice(helped, 1 if refused.reason in OF_SHARE else 2))
        return
    singles = [
        *_lengths(need, refused, plan),
        *_shares(need, refused, plan),
        *(c for c in _packings(need, cards) if plan(need.model_copy(update=c)).fits),
        *_more_cards(need, cards, plan),
    ]
    yield from map(_advice, singles or _together(need, cards, plan))


def _cures(need: Serving, refused: ServingPlan, cards: Sequence[CardMemory]) -> Iterator[Changes]:
    """Yield what cures a refusal that has nothing to do with size."""
    values = refused.values
    match refused.reason:
        case "positions":
            yield {"max_model_len": values["most"]}
        case "bfloat16":
            yield {"dtype": "float16"}
        case "quantization_missing" | "quantization_other":
            yield {"quantization": None}
        case "heads" | "kv_heads" | "vision_heads" | "width" | "group" | "cards":
            for size in reversed(range(1, need.tensor_parallel_size)):
                yield {"tensor_parallel_size": size}
            for size in range(need.tensor_parallel_size + 1, len(cards) + 1):
                yield {"tensor_parallel_size": size}
            if need.data_parallel_size > 1:
                yield {"data_parallel_size": 1}
        case "layers":
            yield {"pipeline_parallel_size": 1}
        case "others" | "share":
            room = values["have_bytes"] / (values["need_bytes"] or 1)
            lower = floor(need.gpu_memory_utilization * room * 100) / 100
            for share in (lower, lower - 0.01, lower - 0.02):
                if 0 < share < need.gpu_memory_utilization:
                    yield {"gpu_memory_utilization": round(share, 2)}
        case "host":
            cache = refused.max_model_len * refused.kv_bytes_per_token
            yield {"kv_cache_memory_bytes": ceil(cache / CPU_CACHE_STEP) * CPU_CACHE_STEP}


def _lengths(need: Serving, seen: ServingPlan, plan: Plan) -> Iterator[Changes]:
    """Yield the largest multiple of 1024 that fits."""
    most = min(seen.kv_tokens_replica, seen.max_model_len - 1) // STEP * STEP
    if most >= STEP and plan(need.model_copy(update={"max_model_len": most})).fits:
        yield {"max_model_len": most}


def _shares(need: Serving, seen: ServingPlan, plan: Plan) -> Iterator[Changes]:
    """Yield the smallest share, in hundredths up to 0.95, with which it fits."""
    if seen.backend == "hf" or need.kv_cache_memory_bytes or not _on_cards(seen):
        return
    first, last = floor(need.gpu_memory_utilization * 100) + 1, round(cal.HIGHEST_UTILIZATION * 100)
    steps = [{"gpu_memory_utilization": n / 100} for n in range(first, last + 1)]
    if steps and plan(need.model_copy(update=steps[-1])).fits:
        yield next(step for step in steps if plan(need.model_copy(update=step)).fits)


def _packings(need: Serving, cards: Sequence[CardMemory]) -> Iterator[Changes]:
    """Yield a published AWQ checkpoint, or FP8 (or 4 bits) made while loading."""
    if need.quantization or need.backend == "hf" or not cards:
        return
    config = published_config(need.model)
    if config is not None and "quantization_config" in config:
        return
    if published_config(f"{need.model}-AWQ"):
        yield {"model": f"{need.model}-AWQ"}
    powers = [cal.compute_capability(card.name) for card in cards]
    if need.backend == "vllm":
        for kind, least in (("fp8", cal.FP8_FROM), ("bitsandbytes", cal.PACKED_FROM["awq"])):
            if kind in IN_FLIGHT and all(power is not None and power >= least for power in powers):
                yield {"quantization": kind}
                return


def _more_cards(need: Serving, cards: Sequence[CardMemory], plan: Plan) -> Iterator[Changes]:
    """Yield the smallest tensor parallel size above this one that fits on the cards there are."""
    if need.backend == "hf":
        return
    each = need.pipeline_parallel_size * need.data_parallel_size
    for size in range(need.tensor_parallel_size + 1, len(cards) // each + 1):
        changes = {"tensor_parallel_size": size}
        if plan(need.model_copy(update=changes)).fits:
            yield changes
            return


def _together(need: Serving, cards: Sequence[CardMemory], plan: Plan) -> Iterator[Changes]:
    """Yield two or three changes at once, when no single one is enough; three at the most."""
    share = {"gpu_memory_utilization": max(need.gpu_memory_utilization, cal.HIGHEST_UTILIZATION)}
    most = len(cards) // (need.pipeline_parallel_size * need.data_parallel_size)
    more = range(need.tensor_parallel_size + 1, most + 1)
    sizes = [{"tensor_parallel_size": size} for size in more] if need.backend != "hf" else []
    packings = list(_packings(need, cards))
    bases = [share, *packings, *sizes, *({**p, **s} for p in packings for s in sizes)]
    bases += [{**base, **share} for base in (*packings, *sizes)]
    found = 0
    for base in bases:
        changed = need.model_copy(update=base)
        seen = plan(changed)
        for shorter in ({},) if seen.fits else _lengths(changed, seen, plan):
            yield {**base, **shorter}
            found += 1
        if found == MOST:
            return


def _advice(changes: Changes) -> Advice:
    """Return the changes under the key of their sentence; several at once share one."""
    if len(changes) > 1:
        settings = ", ".join(f"{name} = {value}" for name, value in changes.items())
        return Advice(key="together", values={**changes, "settings": settings}, changes=changes)
    key = next(iter(changes))
    off = changes == {"quantization": None}
    values = {"value": changes[key], **({"value_bytes": changes[key]} if "bytes" in key else {})}
    return Advice(key="quantization_off" if off else key, values=values, changes=changes)


def _on_cards(plan: ServingPlan) -> bool:
    return any(card.card is not None for card in plan.cards)
