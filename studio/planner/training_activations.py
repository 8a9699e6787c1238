"""What one training step needs beside weights and states: activations, casts, logits and loss.

Counted from the source of the models in transformers 5.6, by the tensors that live at the same
time. All figures are bytes on one card for one micro-batch.
"""

from __future__ import annotations

from typing import NamedTuple

from studio.core.spec import Training
from studio.planner import activations
from studio.planner import calibration as cal
from studio.planner.shapes import ModelShape
from studio.planner.training_states import ZERO, Counts

PAIRED = {"rm", "dpo"}
"""Stages whose samples are two texts, a chosen and a rejected one."""


class Needs(NamedTuple):
    """What comes and goes within one step."""

    kept: int
    """Saved for the backward pass: with gradient checkpointing the input of every layer."""
    forward: int
    """At work in one layer of the forward pass."""
    backward: int
    """At work in one layer when it is computed again and its gradients are taken."""
    casts: int
    """Half-precision copies of float32 weights that autocast keeps through the forward pass."""
    logits: int
    """Logits, their float32 copy and what the loss needs of them."""
    one_copy: int
    """One float32 copy of the logits."""
    second_gradient: int
    """The gradient of an embedding as the head, before it is added to the other one."""
    head: int
    """What a trained head leaves behind: its cast and gradients in both precisions."""


def tokens_of(need: Training) -> int:
    """Return the tokens of one micro-batch at the most."""
    texts = 2 if need.stage in PAIRED else 1
    return need.per_device_train_batch_size * texts * need.cutoff_len


def needs(need: Training, shape: ModelShape, counts: Counts) -> Needs:
    """Return what one micro-batch needs of one card."""
    tokens, each = tokens_of(need), 4 if need.precision == "fp32" else 2
    autocast = need.strategy not in ZERO and need.precision in ("bf16", "fp16")
    own_casts = autocast and need.strategy != "fsdp2"
    residual = 4 if own_casts and need.finetuning_type == "full" else each
    saved = _saved(need, shape, residual, each)
    if need.gradient_checkpointing:
        kept = counts.trained_layers * shape.hidden * residual
        again = saved
    else:
        kept, again = counts.trained_layers * saved, 0
    lora = need.finetuning_type == "lora"
    lora_casts = 4 * _width(shape) if lora and autocast else 0
    wide = 3 * _width(shape) * each + 3 * shape.hidden * each + lora_casts
    gradients = 3 * _width(shape) * each + lora_casts
    unpacked = _unpacked(need, counts)
    tower = _tower(need, shape, each)
    scores = 0 if need.flash_attn else _scores(need, shape, tokens, each)
    return Needs(
        kept=tokens * kept + tower[0],
        forward=max(tokens * wide + unpacked + scores, tower[1]),
        backward=tokens * (again + gradients) + 2 * unpacked + scores,
        casts=2 * counts.cast if own_casts else 0,
        logits=_logits(need, shape, counts, tokens, each),
        one_copy=0 if need.liger_kernel else tokens * shape.vocab * 4,
        second_gradient=4 * counts.embedding if counts.second_embedding_gradient else 0,
        head=cal.HEAD_BYTES * counts.embedding if need.finetuning_type == "full" else 0,
    )


def _width(shape: ModelShape) -> int:
    """Return the numbers per token of the MLP's inner side."""
    if shape.experts is None:
        return shape.intermediate
    return shape.experts.per_token * shape.experts.intermediate + shape.experts.shared


def _saved(need: Training, shape: ModelShape, residual: int, each: int) -> int:
    """Return the bytes per token that one layer saves for its backward pass.

    Norms save their float32 input (4 H, twice) and the input of what follows; the projections
    theirs; attention q, k and v before and after the rotation, repeated to all heads, and its
    output; the MLP gate, its activation, up and their product. LoRA saves the input of each of
    its matrices once more.
    """
    hidden, wide = shape.hidden, _width(shape)
    size = hidden * (8 + 7 * each + 4 * residual)
    size += each * (5 * shape.q_dim + 4 * shape.kv_dim + 4 * wide)
    if need.finetuning_type == "lora":
        size += each * (5 * hidden + shape.q_dim + wide)
    return size


def _unpacked(need: Training, counts: Counts) -> int:
    """Return the largest weight unpacked, or merged by DoRA, for the time of a product."""
    size = counts.largest * 2 if need.quantization_bit else 0
    return size + (counts.largest * 12 if need.use_dora else 0)


def _scores(need: Training, shape: ModelShape, tokens: int, each: int) -> int:
    """Return the score matrix of one layer, in half precision, float32 and as probabilities."""
    return tokens * shape.heads * need.cutoff_len * (4 + 2 * each)


def _logits(need: Training, shape: ModelShape, counts: Counts, tokens: int, each: int) -> int:
    if need.liger_kernel and need.stage in ("pt", "sft"):
        head = each * counts.embedding if need.finetuning_type == "full" else 0
        return tokens * shape.hidden * (8 + each) + head
    size = cal.LOGIT_BYTES_FP32 if each == 4 else cal.LOGIT_BYTES
    return tokens * shape.vocab * (cal.REWARD_LOGIT_BYTES if need.stage == "rm" else size)


def _tower(need: Training, shape: ModelShape, each: int) -> tuple[int, int]:
    """Return what the vision tower keeps and what it needs at work, for one picture a sample."""
    if shape.vision is None:
        return 0, 0
    side = shape.vision.patch * shape.vision.merge
    tokens = need.per_device_train_batch_size * (need.image_max_pixels // side**2)
    peak = activations.tower_peak(shape.vision, tokens=tokens, each=each, tp=1)
    patches = tokens * shape.vision.merge**2
    kept = 0
    if not need.freeze_vision_tower:
        kept = patches * shape.vision.hidden * shape.vision.depth * each
    return kept + tokens * shape.hidden * each, peak
