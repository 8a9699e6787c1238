"""Whether a server fits before it is launched, and how many users it will carry.

The arithmetic follows the engine: vLLM takes a share of each card, loads the weights, measures
the peak of a full batch, takes CUDA graphs and its own needs off, and gives the rest to the KV
cache. What is not exact is in `calibration.py` and `activations.py`, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import ceil
from pathlib import Path

from studio.core.spec import Serving
from studio.planner import advice as adviser
from studio.planner import calibration as cal
from studio.planner.budgets import Budget, Ranks, budgets_of
from studio.planner.host import host_memory
from studio.planner.models import Model, find_model
from studio.planner.result import (
    OWN,
    Advice,
    CardMemory,
    CardPlan,
    Kind,
    Part,
    Said,
    ServingPlan,
)
from studio.planner.rules import refusals
from studio.planner.shapes import CannotPlan

__all__ = ["Advice", "CardMemory", "CardPlan", "Part", "ServingPlan", "plan_serving"]

LENGTHS = (1024, 4096, 16384, 32768)
"""Conversations, in tokens, for which the number of users is worked out."""


def plan_serving(
    need: Serving,
    *,
    cards: Sequence[CardMemory],
    root: Path,
    host_free_bytes: int | None = None,
    host_total_bytes: int | None = None,
    disk_free_bytes: int | None = None,
    hub: Path | None = None,
) -> ServingPlan:
    """Return what a server needs on each of `cards` (or on the host, when there are none).

    The emptiest cards are taken when there are more than it needs. Advice is only what would
    make it fit: each piece was planned again with its changes.

    Raises CannotPlan when the model's sizes are not known, RecipeInvalid when its files are
    damaged.
    """
    host = host_memory(host_free_bytes, host_total_bytes)

    @cache
    def find(name: str) -> Model:
        return find_model(name, root, dummy=need.dummy_weights, hub=hub)

    def plan(asked: Serving) -> ServingPlan:
        model, notes, draft = find(asked.model), [], None
        if asked.draft_model:
            try:
                draft = find(asked.draft_model)
            except CannotPlan:
                notes.append(("draft_unknown", {"model": asked.draft_model}))
        return _plan(asked, model, draft, cards, host, disk_free_bytes, notes)

    first = plan(need)
    if first.fits:
        return first
    return first.model_copy(update={"advice": tuple(adviser.advise(need, first, cards, plan))})


def _plan(
    need: Serving,
    model: Model,
    draft: Model | None,
    cards: Sequence[CardMemory],
    host: CardMemory,
    disk_free_bytes: int | None,
    notes: list[Said],
) -> ServingPlan:
    ranks = Ranks.of(need, cards, host)
    shape = model.shape
    length = need.max_model_len or (
        min(cal.HF_LENGTH, shape.max_positions) if need.backend == "hf" else shape.max_positions
    )
    budgets = budgets_of(need, model, draft, ranks, length)
    least = _least_tokens(model, length, budgets[0].batch_tokens, ranks)
    tokens = [min(b.tokens for b in replica) for replica in _split(budgets, ranks.dp)]
    total = sum(tokens)
    download = model.download_bytes + (draft.download_bytes if draft else 0)
    if refused := next(refusals(shape, need, cards), None):
        reason, values = refused
    elif disk_free_bytes is not None and download > disk_free_bytes:
        reason, values = "disk", {"need_bytes": download, "have_bytes": disk_free_bytes}
    else:
        reason, values = _verdict(budgets, length, least, total, ranks.on_host)
    drawn = _cards(budgets, least, ranks, host)
    if reason == "fits" and ranks.on_host and drawn[0].over_bytes > 0:  # all ranks in one memory
        free = budgets[0].free
        reason = "host"
        values = {"need_bytes": free + drawn[0].over_bytes, "have_bytes": free}
    return ServingPlan(
        fits=reason == "fits",
        reason=reason,
        values=values,
        backend=need.backend,
        model=need.model,
        cards=drawn,
        params=model.params,
        weights_bytes=max(b.weights + b.lora + b.draft for b in budgets),
        kv_bytes_per_token=max(b.per_token for b in budgets),
        kv_tokens_replica=min(tokens),
        kv_tokens=total,
        max_model_len=length,
        users=total / least,
        users_at={n: total / n for n in LENGTHS if n < least and need.backend != "hf"},
        max_num_seqs=budgets[0].seqs,
        max_num_batched_tokens=budgets[0].batch_tokens,
        host_bytes=_host_bytes(ranks, budgets),
        download_bytes=download,
        notes=(*notes, *_notes(need, model, ranks, min(tokens) / least, budgets[0].seqs)),
    )


def _least_tokens(model: Model, length: int, batch_tokens: int, ranks: Ranks) -> int:
    """Return the cached tokens that one conversation of `length` takes, in whole blocks.

    With a sliding window a block falls out once the window and a batch have passed it.
    """
    window = model.shape.sliding_window
    kept = min(length, window - 1 + batch_tokens) if window else length
    blocks = -(-kept // ranks.block) + (1 if window else 0)
    return blocks * ranks.block


def _split(budgets: Sequence[Budget], dp: int) -> list[Sequence[Budget]]:
    size = len(budgets) // dp
    return [budgets[n * size : (n + 1) * size] for n in range(dp)]


def _verdict(budgets: Sequence[Budget], length: int, least: int, total: int, on_host: bool) -> Said:
    """Return the first reason of size why it cannot work, or `fits`."""
    for budget in budgets:
        if budget.taken > budget.free:
            values = {
                "card": None if on_host else budget.card.index,
                "need_bytes": budget.taken,
                "have_bytes": budget.free,
                "other_bytes": budget.other,
            }
            if on_host:  # every rank's memory comes out of the same place
                least_of_all = sum(b.fixed + least * b.per_token for b in budgets)
                return "host", {**values, "need_bytes": max(budget.taken, least_of_all)}
            return ("others" if budget.other > cal.GIB else "share"), values
        if budget.left < 0:
            return "weights", {"need_bytes": budget.fixed, "have_bytes": budget.limit}
        if budget.reserve_over > 0:
            return "reserve", {"over_bytes": budget.reserve_over}
    short = min(budgets, key=lambda b: b.tokens)
    if short.tokens < least:
        return "cache", {
            "max_model_len": length,
            "need_bytes": least * short.per_token,
            "have_bytes": max(0, short.left),
            "most": short.tokens,
        }
    return "fits", {"users": total / least, "tokens": length}


def _cards(
    budgets: Sequence[Budget], least: int, ranks: Ranks, host: CardMemory
) -> tuple[CardPlan, ...]:
    if ranks.on_host:
        return (_card(None, host, budgets, least),)
    return tuple(_card(b.card.index, b.card, [b], least) for b in budgets if b.card.index >= 0)


def _card(index: int | None, card: CardMemory, budgets: Sequence[Budget], least: int) -> CardPlan:
    """Return the parts of one card; on the host every rank's memory lies in the same place.

    When a whole conversation does not fit, the cache is drawn as large as it would have to be.
    """
    sizes: dict[Kind, int] = dict.fromkeys((*OWN, "other", "free"), 0)
    over = 0
    for budget in budgets:
        wanted = least * budget.per_token
        if budget.tokens < least:
            over += wanted - max(0, min(budget.left, wanted))
        over += max(0, -budget.left, budget.reserve_over)
        for kind in OWN:
            sizes[kind] += max(budget.cache, wanted) if kind == "cache" else getattr(budget, kind)
    sizes["other"] = budgets[0].other
    sizes["free"] = max(0, card.total_bytes - sum(sizes.values()))
    over = max(over, sum(b.taken for b in budgets) - budgets[0].free)
    parts = tuple(Part(kind=kind, bytes=size) for kind, size in sizes.items() if size > 0)
    return CardPlan(
        card=index, name=card.name, total_bytes=card.total_bytes, parts=parts, over_bytes=over
    )


def _host_bytes(ranks: Ranks, budgets: Sequence[Budget]) -> int:
    """Return the host memory of the server's own processes, and of all of it on a CPU."""
    if ranks.on_host:
        return sum(b.fixed + max(0, b.cache) for b in budgets)
    workers = ranks.tp * ranks.pp
    core = cal.HOST_CORE_CUDA_BYTES if workers > 1 or ranks.dp > 1 else 0
    each = cal.HOST_SERVER_CUDA_BYTES + core + workers * cal.HOST_WORKER_CUDA_BYTES
    return ranks.dp * each


def _notes(need: Serving, model: Model, ranks: Ranks, users: float, seqs: int) -> list[Said]:
    shape, notes = model.shape, []
    if not model.measured and not need.dummy_weights:
        notes.append(("published" if model.download_bytes else "from_config", {}))
    if shape.sliding_window:
        notes.append(("sliding_window", {"tokens": shape.sliding_window}))
    if shape.vision is not None and not ranks.on_host:
        notes.append(("vision", {}))
    if shape.kv_heads < ranks.tp:
        notes.append(("kv_heads", {"heads": shape.kv_heads, "tensor_parallel_size": ranks.tp}))
    if need.backend != "hf" and users > seqs:
        notes.append(("max_num_seqs", {"max_num_seqs": seqs}))
    if need.backend == "hf" and need.max_model_len is None:
        notes.append(("hf_length", {"tokens": min(cal.HF_LENGTH, shape.max_positions)}))
    if need.dtype == "auto" and shape.dtype == "bfloat16" and not ranks.bfloat16:
        notes.append(("float16", {"name": ranks.cards[0].name}))
    if ceil(need.gpu_memory_utilization * 100) > cal.HIGHEST_UTILIZATION * 100 and ranks.shares:
        notes.append(("utilization", {"gpu_memory_utilization": need.gpu_memory_utilization}))
    return notes
