"""Trainings that arithmetic, or LLaMA-Factory itself, refuses before a card is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner.result import CardMemory, Said
from studio.planner.shapes import ModelShape


def refusals(need: Training, shape: ModelShape, cards: Sequence[CardMemory]) -> Iterator[Said]:
    """Yield why this training cannot work whatever the memory, as keys below `trainplan.reason`."""
    if cards and not need.on_cpu and need.num_processes > len(cards):
        yield "cards", {"need": need.num_processes, "have": len(cards)}
    packed = need.quantization_bit is not None or shape.quantization is not None
    if packed and need.finetuning_type != "lora":
        yield "packed", {"finetuning_type": need.finetuning_type}
    if need.precision == "pure_bf16" and need.strategy == "zero3":
        yield "pure_bf16", {}
    if need.offload != "none" and need.strategy == "ddp":
        yield "offload", {"offload": need.offload, "strategy": need.strategy}
    elif need.offload == "all" and need.strategy in ("zero1", "zero2"):
        yield "offload_all", {"strategy": need.strategy}
    if "bf16" in need.precision and not need.on_cpu:
        for card in cards:
            power = cal.compute_capability(card.name)
            if power is not None and power < cal.BFLOAT16_FROM:
                yield "bfloat16", {"card": card.index, "name": card.name}
                return
