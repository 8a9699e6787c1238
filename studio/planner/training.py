"""Whether a training fits before it is launched, on cards, host and disk, and how long it is.

The arithmetic follows LLaMA-Factory 0.9.5 with transformers' Trainer, DeepSpeed 0.19 and torch's
DDP: states in `training_states`, what a step needs in `training_activations`, what is written in
`training_disk`. What is not exact is in `calibration`, by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner import training_advice as adviser
from studio.planner.host import host_memory
from studio.planner.models import Model, find_model
from studio.planner.result import CardMemory, CardPlan, Kind, Part, Said
from studio.planner.shapes import CannotPlan
from studio.planner.training_activations import needs, tokens_of
from studio.planner.training_budget import Budget, budget_of
from studio.planner.training_disk import disk_of, steps_of
from studio.planner.training_notes import notes_of
from studio.planner.training_result import TRAINED, Disk, TrainingPlan
from studio.planner.training_rules import refusals
from studio.planner.training_states import Counts, count, deepspeed, paper, states

__all__ = ["TrainingPlan", "plan_training"]


def plan_training(
    need: Training,
    *,
    cards: Sequence[CardMemory],
    root: Path,
    spare: Sequence[CardMemory] = (),
    imagined: bool = False,
    host_free_bytes: int | None = None,
    host_total_bytes: int | None = None,
    disk_free_bytes: int | None = None,
    hub: Path | None = None,
) -> TrainingPlan:
    """Return what a training needs on each of `cards` (on the host, when there are none).

    The emptiest cards are taken when there are more than processes. `spare` are cards that were
    not offered to it; they serve for advice alone. Of an `imagined` machine the cards are all that
    is known, so that host memory and disk refuse nothing. Advice is only what would make it fit:
    each piece was planned again with its changes.

    Raises CannotPlan when the model's sizes are not known or a DeepSpeed config of the person's
    own decides, RecipeInvalid when its files are damaged.
    """
    if need.own_config:
        raise CannotPlan(
            "A DeepSpeed config of your own decides what each card holds; it is not planned here.",
            hint="Set strategy and offload instead, and the plan follows them.",
        )
    host = host_memory(host_free_bytes, host_total_bytes)
    if imagined:
        disk_free_bytes = None
    model = find_model(need.model, root, hub=hub)

    @cache
    def counts(**asked: object) -> Counts:
        return count(model, need.model_copy(update=asked))

    def plan(asked: Training, where: Sequence[CardMemory] = cards) -> TrainingPlan:
        counted = counts(**{name: getattr(asked, name) for name in COUNTED})
        return _plan(asked, model, counted, where, host, disk_free_bytes, imagined)

    first = plan(need)
    if first.fits:
        return first
    return first.model_copy(
        update={"advice": tuple(adviser.advise(need, first, cards, spare, plan))}
    )


COUNTED = (
    "strategy", "precision", "finetuning_type", "lora_rank", "lora_target", "use_dora",
    "additional_target", "freeze_trainable_layers", "quantization_bit", "double_quantization",
    "freeze_vision_tower", "freeze_multi_modal_projector",
)  # fmt: skip
"""Fields of a training on which the number of its parameters depends."""


def _plan(
    need: Training,
    model: Model,
    counts: Counts,
    cards: Sequence[CardMemory],
    host: CardMemory,
    disk_free_bytes: int | None,
    imagined: bool,
) -> TrainingPlan:
    on_host = need.on_cpu or not cards
    held = states(need, counts, model.shape.hidden)
    wanted = needs(need, model.shape, counts)
    chosen = _chosen(need, cards, host, on_host)
    budgets = [budget_of(need, held, wanted, card, on_host) for card in chosen]
    steps = steps_of(need)
    disk = disk_of(need, counts, steps, model.download_bytes)
    drawn = _cards(budgets, host, on_host)
    host_bytes, waiting = _host_bytes(need, budgets, on_host, disk.result_bytes)
    reason, values = _verdict(
        need, model, cards, budgets, drawn, host_bytes, host, disk, disk_free_bytes, imagined
    )
    estimates = [paper(need, counts)]
    if (theirs := deepspeed(need, counts)) is not None:
        estimates.append(theirs)
    batch = need.per_device_train_batch_size * need.gradient_accumulation_steps
    ranks = max(1, need.num_processes)
    return TrainingPlan(
        fits=reason.startswith("fits"),
        reason=reason,
        values=values,
        model=need.model,
        finetuning_type=need.finetuning_type,
        strategy=need.strategy,
        offload=need.offload,
        num_processes=ranks,
        cards=drawn,
        params=counts.total + counts.added,
        trainable=counts.trainable,
        peak_bytes=max(budget.taken - budget.driver for budget in budgets),
        states_bytes=held.on_card,
        logits_bytes=wanted.logits,
        estimates=tuple(estimates),
        effective_batch=batch * ranks,
        steps=steps,
        num_samples=need.num_samples,
        tokens_per_step=tokens_of(need) * need.gradient_accumulation_steps * ranks,
        host_bytes=host_bytes,
        offload_bytes=waiting,
        disk=disk,
        notes=tuple(notes_of(need, model, counts, held, wanted)),
    )


def _chosen(
    need: Training, cards: Sequence[CardMemory], host: CardMemory, on_host: bool
) -> list[CardMemory]:
    """Return one card for every process, the emptiest; a card that is not there has index -1."""
    ranks = max(1, need.num_processes)
    if on_host:
        return [host] * ranks
    busy = sorted(cards, key=lambda c: (c.used_bytes > cal.GIB, c.index))[:ranks]
    chosen = sorted(busy, key=lambda c: c.index)
    return [*chosen, *[replace(chosen[0], index=-1)] * (ranks - len(chosen))]


def _verdict(
    need: Training,
    model: Model,
    cards: Sequence[CardMemory],
    budgets: Sequence[Budget],
    drawn: Sequence[CardPlan],
    host_bytes: int,
    host: CardMemory,
    disk: Disk,
    disk_free_bytes: int | None,
    imagined: bool,
) -> Said:
    """Return the first reason why it cannot work, or `fits`."""
    if refused := next(refusals(need, model.shape, cards), None):
        return refused
    on_host = drawn[0].card is None
    if not on_host:
        for budget in budgets:
            if budget.taken > budget.free:
                return _too_little(budget)
    host_free = host.total_bytes - host.used_bytes
    if host_bytes > host_free and (on_host or not imagined):
        return "host", {"need_bytes": host_bytes, "have_bytes": host_free}
    if disk_free_bytes is not None and disk.most_bytes > disk_free_bytes:
        return "disk", {
            "need_bytes": disk.most_bytes,
            "have_bytes": disk_free_bytes,
            "checkpoints": disk.num_checkpoints,
            "checkpoint_bytes": disk.checkpoint_bytes,
        }
    if on_host:
        return "fits_host", {"need_bytes": host_bytes, "have_bytes": host_free}
    fullest = max(budgets, key=lambda budget: budget.taken)
    return "fits", {"need_bytes": fullest.taken, "have_bytes": fullest.free}


def _too_little(budget: Budget) -> Said:
    """Return why a card is too small: by others' processes, or by its largest part."""
    values = {
        "card": budget.card.index,
        "need_bytes": budget.taken,
        "have_bytes": max(0, budget.free),
        "other_bytes": budget.card.used_bytes,
    }
    if budget.card.used_bytes > cal.GIB and budget.taken <= budget.usable:
        return "others", values
    part, size = max(budget.sizes.items(), key=lambda item: item[1])
    return "memory", {**values, "part": part, "part_bytes": size}


def _cards(budgets: Sequence[Budget], host: CardMemory, on_host: bool) -> tuple[CardPlan, ...]:
    """Return the parts of every card; on the host all processes lie in the same memory."""
    if on_host:
        return (_card(None, host, budgets),)
    return tuple(_card(b.card.index, b.card, [b]) for b in budgets if b.card.index >= 0)


def _card(index: int | None, card: CardMemory, budgets: Sequence[Budget]) -> CardPlan:
    sizes: dict[Kind, int] = dict.fromkeys((*TRAINED, "other", "free"), 0)
    for budget in budgets:
        for kind, size in budget.sizes.items():
            sizes[kind] += size
    if index is None:
        sizes["optimizer"] += budgets[0].states.host
        sizes["runtime"] += cal.HOST_LAUNCHER_BYTES if len(budgets) > 1 else 0
    sizes["other"] = card.used_bytes
    taken = sum(sizes.values())
    sizes["free"] = max(0, card.total_bytes - taken)
    parts = tuple(Part(kind=kind, bytes=size) for kind, size in sizes.items() if size > 0)
    over = max(0, taken - card.total_bytes)
    return CardPlan(
        card=index, name=card.name, total_bytes=card.total_bytes, parts=parts, over_bytes=over
    )


def _host_bytes(
    need: Training, budgets: Sequence[Budget], on_host: bool, saved_bytes: int
) -> tuple[int, int]:
    """Return the host memory of all processes, and what is offloaded of it.

    What is saved goes from the cards through host memory, in the first process.
    """
    waiting = budgets[0].states.host
    if on_host:
        launcher = cal.HOST_LAUNCHER_BYTES if len(budgets) > 1 else 0
        return sum(budget.taken for budget in budgets) + launcher + waiting, waiting
    runtime = len(budgets) * cal.HOST_TRAINER_CUDA_BYTES + saved_bytes
    runtime += cal.HOST_LAUNCHER_CUDA_BYTES if len(budgets) > 1 else 0
    return runtime + (0 if need.offload_nvme else waiting), waiting
