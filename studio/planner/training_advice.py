"""What to change when a training does not fit: only what was planned again and does.

The order is the one of least loss: an idle card, a smaller batch with the same effective batch,
shorter samples, recomputed activations, LoRA, packed weights, then more or slower memory: ZeRO-2,
ZeRO-3, offload, more cards. When no single change is enough, they are put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner.result import Advice, CardMemory
from studio.planner.training_result import TrainingPlan
from studio.planner.training_states import ZERO

Plan = Callable[..., TrainingPlan]
Changes = dict[str, Any]

STEP = 256
"""Lengths that are advised are multiples of this."""
MOST = 5
"""Pieces of advice that are offered."""
MOST_TOGETHER = 3
OF_MEMORY = {"memory", "others"}
FIELDS = {
    "gradient_checkpointing": ("disable_gradient_checkpointing", lambda on: not on),
    "liger_kernel": ("enable_liger_kernel", bool),
}
"""What a form calls a field of `Training` differently."""


def advise(
    need: Training,
    refused: TrainingPlan,
    cards: Sequence[CardMemory],
    spare: Sequence[CardMemory],
    plan: Plan,
) -> Iterator[Advice]:
    """Yield the changes with which the training fits, best first; none when nothing helps."""
    if refused.reason == "cards":
        yield from _fewer_cards(need, cards, plan)
        return
    of_host = refused.reason == "host" and (need.on_cpu or not cards)
    if refused.reason not in OF_MEMORY and not of_host:
        cures = (c for c in _cures(need, refused, cards) if _fits(need, c, plan))
        yield from (_advice(c) for c in islice(cures, 2))
        return
    found = [*_idle(need, cards, spare, plan)]
    singles = _leanest(_singles(need, cards, plan))
    found += [_advice(c) for c in islice(singles, MOST - len(found))]
    if not found:
        several = _leanest(_together(need, cards, plan))
        found = [_advice(c) for c in islice(several, MOST_TOGETHER)]
    yield from found


def _leanest(found: Iterator[Changes]) -> Iterator[Changes]:
    """Leave out what changes still more, or offloads more, than something that already fits."""
    seen: list[Changes] = []
    for changes in found:
        milder = {**changes, "offload": "optimizer"} if "offload" in changes else changes
        if not any(less.items() <= each.items() for less in seen for each in (changes, milder)):
            seen.append(changes)
            yield changes


def _fits(need: Training, changes: Changes, plan: Plan) -> bool:
    return plan(need.model_copy(update=changes)).fits


def _cures(need: Training, refused: TrainingPlan, cards: Sequence[CardMemory]) -> Iterator[Changes]:
    """Yield what cures a refusal that has nothing to do with the size of a card."""
    match refused.reason:
        case "packed":
            yield {"finetuning_type": "lora"}
        case "pure_bf16":
            yield {"precision": "bf16"}
            yield {"strategy": "zero2"}
        case "bfloat16":
            yield {"precision": "fp16"}
        case "offload":
            yield {"offload": "none"}
            yield {"strategy": "zero2"}
            yield {"strategy": "zero3"}
        case "offload_all":
            yield {"strategy": "zero3"}
            yield {"offload": "optimizer"}
        case "host" if need.offload != "none":
            yield {"offload": "none"}
            if need.offload == "all":
                yield {"offload": "optimizer"}
        case "disk":
            yield from _less_disk(need)


def _fewer_cards(need: Training, cards: Sequence[CardMemory], plan: Plan) -> Iterator[Advice]:
    """Yield the training on the cards there are, with what else that takes."""
    base: Changes = {"num_processes": len(cards)}
    fewer = need.model_copy(update=base)
    if plan(fewer).fits:
        yield _advice(base)
        return
    for changes in islice(_leanest(_singles(fewer, cards, plan)), MOST_TOGETHER):
        yield _advice({**base, **changes})


def _less_disk(need: Training) -> Iterator[Changes]:
    """Yield fewer checkpoints, then checkpoints from which nothing can go on."""
    for kept in (2, 1):
        if need.save_steps and (need.save_total_limit or kept + 1) > kept:
            yield {"save_total_limit": kept}
    if need.save_steps and not need.save_only_model:
        yield {"save_only_model": True}
        yield {"save_only_model": True, "save_total_limit": 1}
    if need.save_steps:
        yield {"save_steps": None}


def _idle(
    need: Training, cards: Sequence[CardMemory], spare: Sequence[CardMemory], plan: Plan
) -> Iterator[Advice]:
    """Yield cards that were not offered to the training and have room for it."""
    known = {card.index for card in cards}
    others = [card for card in spare if card.index not in known and card.used_bytes <= cal.GIB]
    chosen = others[: need.num_processes]
    if len(chosen) == need.num_processes and plan(need, chosen).fits:
        numbers = [card.index for card in chosen]
        yield Advice(key="cards", values={"cards": numbers}, changes={"cards": numbers})


def _singles(need: Training, cards: Sequence[CardMemory], plan: Plan) -> Iterator[Changes]:
    """Yield single changes that make it fit, in the order of least loss."""
    yield from islice((c for c in _batches(need) if _fits(need, c, plan)), 1)
    yield from _lengths(need, {}, plan)
    fewer: list[Changes] = [{"num_processes": 1}] if not cards and need.num_processes > 1 else []
    for changes in _same_result(need):
        if _fits(need, changes, plan):
            yield changes
    gentle = _gentle(need)
    for changes in (*_smaller(need), *fewer, *_shared(need, cards)):
        for both in (changes, {**gentle, **changes}) if gentle else (changes,):
            if _fits(need, both, plan):
                yield both
                break


def _gentle(need: Training) -> Changes:
    """Return the changes that cost time alone: the smallest batch, recomputed activations."""
    changes = list(_batches(need))[-1:]
    return {key: value for each in (*changes, *_same_result(need)) for key, value in each.items()}


def _batches(need: Training) -> Iterator[Changes]:
    """Yield smaller batches, the largest first, each with the same effective batch."""
    size = need.per_device_train_batch_size
    for smaller in range(size - 1, 0, -1):
        if size % smaller == 0:
            more = need.gradient_accumulation_steps * (size // smaller)
            yield {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": more}


def _lengths(need: Training, base: Changes, plan: Plan) -> Iterator[Changes]:
    """Yield the longest multiple of STEP that fits together with `base`."""
    low, high = 0, (need.cutoff_len - 1) // STEP
    while low < high:
        middle = (low + high + 1) // 2
        if _fits(need, {**base, "cutoff_len": middle * STEP}, plan):
            low = middle
        else:
            high = middle - 1
    if low:
        yield {**base, "cutoff_len": low * STEP}


def _same_result(need: Training) -> Iterator[Changes]:
    """Yield what costs time alone."""
    if not need.gradient_checkpointing:
        yield {"gradient_checkpointing": True}


def _smaller(need: Training) -> Iterator[Changes]:
    """Yield trainings of fewer parameters, then with packed weights."""
    if need.finetuning_type != "lora":
        yield {"finetuning_type": "lora"}
    if need.quantization_bit is None and not need.on_cpu:
        packed: Changes = {"quantization_bit": 4}
        if need.finetuning_type != "lora":
            packed = {"finetuning_type": "lora", **packed}
        if need.strategy == "zero3" or need.offload != "none":
            packed = {**packed, "strategy": "ddp", "offload": "none"}
        yield packed


def _shared(need: Training, cards: Sequence[CardMemory]) -> Iterator[Changes]:
    """Yield states dealt out over the cards or waiting in host memory, then more cards."""
    if need.on_cpu or not cards:
        return
    counts = range(need.num_processes, len(cards) + 1)
    at_hand = [need.num_processes] if need.num_processes > 1 else []
    for size in at_hand or [count for count in counts if count > 1][:1]:
        more = {} if size == need.num_processes else {"num_processes": size}
        stage = ZERO.get(need.strategy, 0)
        yield from ({"strategy": name, **more} for name, n in ZERO.items() if n > max(1, stage))
    offload = [("zero2", "optimizer"), ("zero3", "optimizer"), ("zero3", "all")]
    for strategy, what in offload:
        if ZERO.get(need.strategy, 0) <= ZERO[strategy] and what != need.offload:
            changes = {"strategy": strategy, "offload": what}
            yield {k: v for k, v in changes.items() if getattr(need, k) != v}
    for size in counts:
        if size > max(need.num_processes, 2):
            for strategy in ("zero2", "zero3"):
                yield {"strategy": strategy, "num_processes": size}


def _together(need: Training, cards: Sequence[CardMemory], plan: Plan) -> Iterator[Changes]:
    """Yield several changes at once, when no single one is enough."""
    gentle = _gentle(need)
    for base in ({}, *_smaller(need), *_shared(need, cards)):
        both = {**gentle, **base}
        if both and _fits(need, both, plan):
            yield both
        else:
            yield from _lengths(need, both, plan)
    for base in _shared(need, cards):
        for less in _smaller(need):
            both = {**gentle, **base, **less}
            if _fits(need, both, plan):
                yield both


def _advice(changes: Changes) -> Advice:
    """Return the changes under the key of their sentence and by the names a form has for them."""
    asked = _as_asked(changes)
    key = _key(changes)
    settings = ", ".join(f"{name} = {_spelled(value)}" for name, value in asked.items())
    return Advice(key=key, values={**changes, "settings": settings}, changes=asked)


def _key(changes: Changes) -> str:
    """Return the key below `trainplan.advice`; `together` for what has no sentence of its own."""
    names = set(changes)
    if names == {"per_device_train_batch_size", "gradient_accumulation_steps"}:
        return "batch"
    if len(names) == 1:
        return next(iter(names))
    if changes.get("quantization_bit"):
        return "qlora" if names <= {"quantization_bit", "finetuning_type"} else "together"
    return "together"


def _as_asked(changes: Changes) -> Changes:
    """Return the changes in the engine's own field names."""
    asked: Changes = {}
    for name, value in changes.items():
        if name == "precision":
            asked |= {one: one == value for one in ("bf16", "fp16", "pure_bf16")}
        elif name in FIELDS:
            other, turn = FIELDS[name]
            asked[other] = turn(value)
        else:
            asked[name] = value
    return asked


def _spelled(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
