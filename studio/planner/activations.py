"""Memory that a batch needs while it is computed: the peak that an engine measures at its start.

Derived from the largest tensors that live at the same time; elementwise temporaries that a
compiler fuses away are not counted. All figures are bytes on one card.
"""

from __future__ import annotations

from studio.planner import calibration as cal
from studio.planner.shapes import ModelShape, Vision


def peak(
    shape: ModelShape,
    *,
    tokens: int,
    seqs: int,
    each: int,
    tp: int,
    last: bool = True,
    picture: int = 0,
) -> int:
    """Return the activation peak of a batch of `tokens`, of which `seqs` are sampled.

    Through a layer the residual and the hidden state (2 x H) travel beside the wider of attention
    (q, k, v and its output) and MLP (gate and up, and their product: 3 x F / TP). The sampler of
    the `last` pipeline stage holds whole rows of logits, in the model's dtype and in float32. The
    two do not overlap. A picture of `picture` tokens goes through the tower first, and what comes
    out of it waits beside the text. `each` is the bytes of one number.
    """
    carried = 2 * shape.hidden
    attention = 2 * (shape.q_dim + shape.kv_dim) // tp
    layer = tokens * (carried + max(attention, _mlp_width(shape, tp))) * each
    logits = seqs * shape.vocab * (each + cal.LOGIT_BYTES_EXTRA) + tokens * shape.hidden * each
    text = max(layer, logits) if last else layer
    if shape.vision is None or not picture:
        return text
    waiting = picture * shape.hidden * each
    return waiting + max(text, tower_peak(shape.vision, tokens=picture, each=each, tp=tp))


def picture_tokens(shape: ModelShape, max_pixels: int | None) -> int:
    """Return the tokens of the biggest picture the processor lets through; 0 without a tower."""
    if shape.vision is None:
        return 0
    side = shape.vision.patch * shape.vision.merge
    return min(cal.PICTURE_TOKENS, max_pixels // side**2) if max_pixels else cal.PICTURE_TOKENS


def tower_peak(vision: Vision, *, tokens: int, each: int, tp: int) -> int:
    """Return the peak of the vision tower over a picture of `tokens`; it has merge^2 patches each.

    Residual and normalised input (2 x E) beside the wider of attention (qkv, rotated q and k, and
    the output) and MLP. Derived from the source of vLLM 0.32, not yet measured.
    """
    patches = tokens * vision.merge**2
    attention = 6 * vision.hidden // tp
    mlp = (3 if vision.gated else 2) * vision.intermediate // tp
    return patches * (2 * vision.hidden + max(attention, mlp)) * each


def _mlp_width(shape: ModelShape, tp: int) -> int:
    """Return the numbers per token that the widest MLP holds at once."""
    dense = 3 * shape.intermediate // tp
    if shape.experts is None:
        return dense
    mixture = shape.experts
    routed = mixture.per_token * (max(2 * mixture.intermediate // tp, shape.hidden))
    routed += mixture.per_token * mixture.intermediate // tp
    return max(routed, 3 * mixture.shared // tp)
