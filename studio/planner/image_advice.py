"""What helps when no rung fits, and what else is to be known about an image editor's plan.

Only what was worked out again and fits is advised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from studio.core.spec import Imaging
from studio.engines.workers.image_edit import calibration as image_cal
from studio.engines.workers.image_edit.ladder import Ask, NoRung, Work, choose, rungs
from studio.engines.workers.image_edit.machine import Machine, this_machine
from studio.engines.workers.image_edit.sizes import Sizes
from studio.planner.image_result import ImagePlan
from studio.planner.result import Advice, CardMemory, Said

LIMITS = ("max_card_memory_gib", "max_host_memory_gib")
SMALL_REFERENCE = 512 * 512
SLOW_S = 600.0
"""Seconds of a picture from which faster ways are named."""
MOST_ADVICE = 3


def asking(need: Imaging) -> Ask:
    """Return the worker's question for what a launch will load."""
    return Ask(
        rung=need.rung,
        device=need.device,
        dtype=need.dtype,
        allow_quantized=need.allow_quantized,
        work=Work(
            width=need.width,
            height=need.height,
            references=need.references,
            reference_pixels=need.reference_pixels,
            condition_pixels=need.condition_pixels,
            steps=need.num_inference_steps,
            cfg=need.cfg,
            cfg_mode=need.cfg_mode,
        ),
        vae_tiling=need.vae_tiling,
        fp8_compute=need.fp8_compute,
        compiled=need.compile,
        dummy=need.dummy_weights,
    )


def advise(need: Imaging, sizes: Sizes, machine: Machine) -> Iterator[Advice]:
    """Yield single changes with which something fits; each was worked out again."""
    candidates: list[dict[str, Any]] = []
    if need.rung != "auto":
        candidates.append({"rung": "auto"})
    if not need.allow_quantized:
        candidates.append({"allow_quantized": True})
    if need.vae_tiling == "never":
        candidates.append({"vae_tiling": "auto"})
    if need.dtype == "float32":
        candidates.append({"dtype": "bfloat16"})
    if need.device == "cuda":
        candidates.append({"device": "auto"})
    candidates += [{name: None} for name in LIMITS if getattr(need, name) is not None]
    if need.reference_pixels > SMALL_REFERENCE:
        candidates.append({"reference_pixels": SMALL_REFERENCE})
    offered = 0
    for changes in candidates:
        changed = need.model_copy(update=changes)
        try:
            ladder = rungs(sizes, _unlimited(machine, changes), asking(changed))
            fits = choose(ladder, asking(changed)).fits
        except NoRung:
            fits = False
        if fits and offered < MOST_ADVICE:
            offered += 1
            ((key, value),) = changes.items()
            spoken = {"value": "auto" if value is None else value}
            yield Advice(key=f"image_{key}", values=spoken, changes=changes)


def _unlimited(machine: Machine, changes: dict[str, Any]) -> Machine:
    """Return the machine without a limit that a change takes away."""
    if "max_host_memory_gib" in changes:
        return replace(machine, host_available_bytes=this_machine().host_available_bytes)
    if "max_card_memory_gib" in changes:
        full = (replace(card, free_bytes=card.total_bytes) for card in machine.cards)
        return replace(machine, cards=tuple(full))
    return machine


def notes_of(
    plan: ImagePlan, cards: Sequence[CardMemory], *, here: bool, spare: int
) -> Iterator[Said]:
    """Yield where sizes and seconds come from, and what would be faster."""
    if not here:
        yield "published", {}
    first = plan.first
    if first is None:
        return
    unknown = next((card.name for card in cards if image_cal.speed_of(card.name) is None), "")
    if first.measured:
        yield "image_measured", {}
    elif first.name in ("cpu", "cpu-fp8"):
        yield "image_cpu", {}
    elif unknown:
        yield "image_card_unknown", {"name": unknown}
    else:
        yield "image_expected", {}
    if first.picture_s > SLOW_S:
        yield "image_slow", {"minutes": round(first.picture_s / 60)}
    if spare and first.name not in ("whole", "cpu", "cpu-fp8"):
        yield "image_spare", {"count": spare}
