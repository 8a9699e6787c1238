"""Launches that arithmetic alone can refuse, before a card is touched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from studio.core.spec import Serving
from studio.planner import calibration as cal
from studio.planner.models import IN_FLIGHT
from studio.planner.result import CardMemory, Said
from studio.planner.shapes import ModelShape
from studio.planner.weights import padded_vocab

SAME = {"awq": "awq", "gptq": "gptq", "fp8": "fp8", "bitsandbytes": "bitsandbytes"}
"""vLLM's names of a packing by their beginning (awq_marlin, gptq_marlin, ...)."""


def refusals(shape: ModelShape, need: Serving, cards: Sequence[CardMemory]) -> Iterator[Said]:
    """Yield why this launch cannot work whatever the memory, as keys below `plan.reason`."""
    yield from _ranks(shape, need, cards)
    if need.max_model_len is not None and need.max_model_len > shape.max_positions:
        yield (
            "positions",
            {"max_model_len": need.max_model_len, "most": shape.max_positions},
        )
    yield from _packing(shape, need)
    yield from _capability(shape, need, cards)


def _ranks(shape: ModelShape, need: Serving, cards: Sequence[CardMemory]) -> Iterator[Said]:
    tp, pp = need.tensor_parallel_size, need.pipeline_parallel_size
    wanted = 1 if need.backend == "hf" else tp * pp * need.data_parallel_size
    if cards and wanted > len(cards):
        yield "cards", {"need": wanted, "have": len(cards)}
    if shape.heads % tp:
        yield "heads", {"heads": shape.heads, "tensor_parallel_size": tp}
    elif shape.kv_heads % tp and tp % shape.kv_heads:
        yield "kv_heads", {"heads": shape.kv_heads, "tensor_parallel_size": tp}
    elif shape.vision is not None and shape.vision.heads % tp:
        yield "vision_heads", {"heads": shape.vision.heads, "tensor_parallel_size": tp}
    elif _widest(shape) % tp or padded_vocab(shape.vocab) % tp:
        yield "width", {"width": _widest(shape), "tensor_parallel_size": tp}
    elif _cuts_a_group(shape, tp):
        yield "group", {"width": _widest(shape), "tensor_parallel_size": tp}
    if pp > shape.layers:
        yield "layers", {"layers": shape.layers, "pipeline_parallel_size": pp}


def _packing(shape: ModelShape, need: Serving) -> Iterator[Said]:
    """A packing that was asked for has to be in the files, or be one the server can do itself."""
    asked = next((kind for kind in SAME if (need.quantization or "").startswith(kind)), None)
    have = shape.quantization.method if shape.quantization else None
    if asked is None or asked == have:
        return
    if have is None and asked not in IN_FLIGHT:
        yield "quantization_missing", {"quantization": asked}
    elif have is not None:
        yield "quantization_other", {"quantization": asked, "have": have}


def _capability(shape: ModelShape, need: Serving, cards: Sequence[CardMemory]) -> Iterator[Said]:
    method = shape.quantization.method if shape.quantization else need.quantization
    for card in cards:
        power = cal.compute_capability(card.name)
        if power is None:
            continue
        if need.dtype == "bfloat16" and power < cal.BFLOAT16_FROM:
            yield "bfloat16", {"card": card.index, "name": card.name}
            return
        if method and power < cal.PACKED_FROM.get(method, 0):
            yield "quantization_card", {"quantization": method, "name": card.name}
            return


def _widest(shape: ModelShape) -> int:
    return shape.experts.intermediate if shape.experts else shape.intermediate


def _cuts_a_group(shape: ModelShape, tp: int) -> bool:
    """Tell whether the inputs of one card end inside a group of AWQ or GPTQ."""
    packing = shape.quantization
    if packing is None or packing.group <= 0 or packing.method == "bitsandbytes":
        return False
    return (_widest(shape) // tp) % packing.group != 0 or (shape.q_dim // tp) % packing.group != 0
