"""Memory that a server sets aside for LoRA adapters when it starts, whether they come or not."""

from __future__ import annotations

from studio.planner.shapes import ModelShape


def lora_bytes(shape: ModelShape, *, slots: int, rank: int, each: int, tp: int, layers: int) -> int:
    """Return the bytes of `slots` empty adapters of the highest `rank` on one card.

    For every linear layer vLLM keeps A `[rank, in]` and B `[out, rank]`, q, k, v, gate and up each
    on their own. Split layers split B (by outputs) or A (by inputs); the other half is whole on
    every card (vLLM 0.32, lora/layers). With tp=1 this is rank x the sum of (in + out), the
    formula for LoRA on all linear layers.
    """
    q, kv = shape.q_dim // tp, max(1, shape.kv_heads // tp) * shape.head_dim
    ffn = shape.intermediate // tp
    column = (shape.hidden + q) + 2 * (shape.hidden + kv) + 2 * (shape.hidden + ffn)
    row = (q + shape.hidden) + (ffn + shape.hidden)
    return slots * layers * rank * (column + row) * each
