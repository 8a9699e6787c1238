"""What a person should know about a planned training, whether it fits or not."""

from __future__ import annotations

from collections.abc import Iterator

from studio.core.spec import Training
from studio.planner.models import Model
from studio.planner.result import Said
from studio.planner.training_activations import Needs, needs
from studio.planner.training_states import ZERO, Counts, States, zero_paper


def notes_of(
    need: Training, model: Model, counts: Counts, held: States, wanted: Needs
) -> Iterator[Said]:
    """Yield keys below `trainplan.note` with their values."""
    if not model.measured:
        yield ("published" if model.download_bytes else "from_config"), {}
    ranks = max(1, need.num_processes)
    if need.strategy in ZERO:
        yield from _zero(need, counts, ranks)
    elif need.strategy == "ddp" and ranks > 1 and held.buffers:
        yield "ddp", {"buffers_bytes": held.buffers}
    if need.finetuning_type == "lora" and held.gradients * 20 > held.weights:
        yield "lora_large", {"trainable": counts.trainable}
    losses = need.stage in ("pt", "sft") and not need.liger_kernel and not need.on_cpu
    if losses and wanted.logits * 3 > held.on_card:
        lean = needs(need.model_copy(update={"liger_kernel": True}), model.shape, counts)
        yield "liger", {"logits_bytes": wanted.logits, "lean_bytes": lean.logits}
    if need.needs_reference:
        yield "reference", {}
    if need.packing:
        yield "packing", {}
    elif need.max_steps <= 0 and need.num_samples is None:
        yield "samples", {}
    if need.cutoff_len > model.shape.max_positions:
        yield "positions", {"cutoff_len": need.cutoff_len, "most": model.shape.max_positions}
    if need.offload_nvme:
        yield "nvme", {"offload_bytes": held.host}
    if _derived(need, model):
        yield "derived", {}


def _zero(need: Training, counts: Counts, ranks: int) -> Iterator[Said]:
    """Say what ZeRO can bring for this model, in the paper's bytes of model states."""
    stage = ZERO[need.strategy]
    if ranks == 1 and need.offload == "none":
        yield "zero_alone", {"strategy": need.strategy}
        return
    alone = 16 * counts.trainable + 2 * counts.frozen
    trained, frozen = zero_paper(stage, ranks)
    here = trained * counts.trainable + frozen * counts.frozen
    if counts.frozen > counts.trainable:
        if stage < 3:
            yield (
                "zero_frozen",
                {
                    "strategy": need.strategy,
                    "frozen_bytes": counts.frozen_bytes,
                    "saved_bytes": round(alone - here),
                },
            )
        return
    if need.offload != "none":
        return
    values = {
        "num_cards": ranks,
        "strategy": need.strategy,
        "alone_bytes": alone,
        "here_bytes": round(here),
        "ratio": round(alone / here, 2),
    }
    yield ("zero_saves_little" if alone < 4 * here else "zero_saves"), values


def _derived(need: Training, model: Model) -> bool:
    """Tell what has not been measured on cards: everything beside bf16, full or LoRA."""
    return (
        need.precision != "bf16"
        or need.quantization_bit is not None
        or need.strategy == "fsdp2"
        or need.offload == "optimizer"
        or need.stage not in ("pt", "sft")
        or need.finetuning_type == "freeze"
        or model.shape.vision is not None
        or model.shape.experts is not None
        or not need.gradient_checkpointing
        or need.liger_kernel
    ) and not need.on_cpu
