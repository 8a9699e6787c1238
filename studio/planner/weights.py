"""Weight bytes on every card, laid out over tensor and pipeline parallel ranks as vLLM does.

Query, key, value, gate and up are split by their outputs, o and down by their inputs; the
embedding and the head by vocabulary; norms and the biases of row-parallel layers are on every
card. When there are fewer key heads than cards, each card keeps one whole head. The vision tower
is split the same way (`--mm-encoder-tp-mode weights`, vLLM's default) and is on every pipeline
stage. The stages take runs of layers: the first also the embedding, the last the final norm and
the head.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from studio.planner.shapes import DTYPE_BYTES, ModelShape
from studio.planner.tensors import SAFETENSORS, Tensor

MIB = 2**20
VOCAB_PADDING = 64
"""vLLM's DEFAULT_VOCAB_PADDING_SIZE (model_executor/layers/vocab_parallel_embedding.py)."""
MAX_SPLIT_BYTES = 20 * MIB
"""`max_split_size_mb` that vLLM sets while weights are loaded (v1/worker/gpu_worker.py)."""
FLOATS = {"F32", "F16", "BF16", "F64"}
CAST = {"weight", "bias", "scales"}
"""Kinds of a tensor that a server keeps in its own dtype when they are plain floats."""

COLUMN = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj", "w1", "w3", "qkv", "fc1", "mlp.0"}
ROW = {"o_proj", "down_proj", "w2", "proj", "fc2", "mlp.2"}
FUSED = {
    "q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv",
    "gate_proj": "gate_up", "up_proj": "gate_up", "w1": "gate_up", "w3": "gate_up",
    "down_proj": "down", "w2": "down",
}  # fmt: skip
"""Modules that a server merges into one parameter."""
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
_KIND = re.compile(r"\.(weight\..+|[^.]+)$")


class Place(NamedTuple):
    """Where one tensor goes."""

    part: str
    """embedding, layer, norm, head, vision."""
    layer: int
    """Number of the layer; -1 outside of them."""
    leaf: str
    """Last name of its module, such as q_proj."""
    kind: str
    """What it is of the module: weight, bias, qweight, scales, ..."""
    owner: str
    """Name of the parameter it becomes a piece of."""


@lru_cache(maxsize=2**16)
def place(name: str) -> Place:
    """Tell by its name what a tensor is."""
    found = _KIND.search(name)
    kind = found.group(1) if found else ""
    module = name[: -len(kind) - 1] if kind else name
    leaf = module.rpartition(".")[2]
    if "visual." in name:
        leaf = f"mlp.{leaf}" if "merger" in module and leaf in ("0", "2") else leaf
        return Place("vision", -1, leaf, kind, module)
    if leaf in ("embed_tokens", "lm_head"):
        return Place("head" if leaf == "lm_head" else "embedding", -1, leaf, kind, leaf)
    if inside := _LAYER.search(module):
        path = re.sub(r"experts\.\d+\.", "experts.", inside.group(2))
        owner = path.removesuffix(leaf) + FUSED.get(leaf, leaf)
        return Place("layer", int(inside.group(1)), leaf, kind, f"{inside.group(1)}.{owner}")
    return Place("norm", -1, leaf, kind, module)


def stages(layers: int, pp: int) -> list[range]:
    """Return the layers of every pipeline stage, as vLLM's get_pp_indices deals them out.

    What does not divide goes to the stages before the last, the last of those first.
    """
    sizes = [layers // pp] * pp
    for i in range(2, layers % pp + 2):
        sizes[-i] += 1
    starts = [sum(sizes[:n]) for n in range(pp)]
    return [range(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def card_weights(
    tensors: Sequence[Tensor],
    shape: ModelShape,
    *,
    dtype: str,
    tp: int = 1,
    pp: int = 1,
    on_card: bool = True,
) -> list[int]:
    """Return the weight bytes of one card of every pipeline stage.

    `dtype` is what the server computes in; `on_card` adds what PyTorch's allocator rounds up
    (`allocated`). Without it the figure is the plain sum, as in host memory.
    """
    result = []
    for number, layers in enumerate(stages(shape.layers, pp)):
        here = [t for t in tensors if _is_here(place(t.name), layers, number, pp, shape.tied)]
        sizes = [*parameter_bytes(here, shape, dtype=dtype, tp=tp), rotary_bytes(shape, dtype)]
        result.append(allocated(sizes) if on_card else sum(sizes))
    return result


def parameter_bytes(
    tensors: Iterable[Tensor], shape: ModelShape, *, dtype: str, tp: int
) -> list[int]:
    """Return the bytes of every parameter one of `tp` cards holds, merged as the server does."""
    owners: dict[tuple[str, str], int] = defaultdict(int)
    for tensor in tensors:
        at = place(tensor.name)
        part, whole = share(tensor, at, shape, tp)
        owners[at.owner, at.kind] += _bytes(tensor, at, dtype) * part // whole
    return list(owners.values())


def share(tensor: Tensor, at: Place, shape: ModelShape, tp: int) -> tuple[int, int]:
    """Return which part of a tensor one of `tp` cards holds, as a fraction."""
    whole, split = (1, 1), (1, tp)
    if tp == 1 or tensor.numel == 1:
        return whole
    if at.part in ("embedding", "head"):
        return split
    if at.leaf in ("k_proj", "v_proj") and at.part == "layer":
        split = (max(1, shape.kv_heads // tp), shape.kv_heads)
    if at.leaf in COLUMN:
        return whole if at.kind in ("g_idx", "weight_shape") else split
    if at.leaf in ROW:
        per_output = at.kind == "weight_scale" and tensor.shape[-1] == 1
        return whole if at.kind in ("bias", "weight_shape") or per_output else split
    return whole


def rotary_bytes(shape: ModelShape, dtype: str) -> int:
    """Return the size of the cosine and sine table, which all layers share."""
    return shape.rope_rows * shape.rotary_dim * DTYPE_BYTES[dtype]


def padded_vocab(vocab: int) -> int:
    """Return the rows of embedding and head after padding to 64; TP has to divide them."""
    return -(-vocab // VOCAB_PADDING) * VOCAB_PADDING


def allocated(sizes: Iterable[int]) -> int:
    """Return what PyTorch's caching allocator counts for these parameters on a card.

    Up to 1 MiB it rounds to 512 bytes. From 10 MiB on, a block is got from the driver in steps of
    2 MiB, and the rest stays with the parameter when it is below 1 MiB or when the block is too
    big to be split (`MAX_SPLIT_BYTES`). That, and the rotary table, is why vLLM 0.26 reported
    14.29 GiB for Qwen2.5-7B on one card and 7.16 GiB on each of two, with 14.19 GiB of parameters.
    """
    return sum(_block(size) for size in sizes if size)


def _block(size: int) -> int:
    exact = -(-size // 512) * 512
    if size < 10 * MIB:
        return exact
    block = -(-size // (2 * MIB)) * 2 * MIB
    return block if exact >= MAX_SPLIT_BYTES or block - exact <= MIB else exact


def _bytes(tensor: Tensor, at: Place, dtype: str) -> int:
    """Return the size of a tensor once the server holds it: in its dtype, vocabulary padded."""
    size = tensor.bytes
    if tensor.dtype in FLOATS and at.kind in CAST and tensor.dtype != SAFETENSORS[dtype]:
        size = tensor.numel * DTYPE_BYTES[dtype]
    if at.part in ("embedding", "head") and at.kind == "weight":
        size = size // tensor.shape[0] * padded_vocab(tensor.shape[0])
    return size


def _is_here(at: Place, layers: range, stage: int, pp: int, tied: bool) -> bool:
    """Tell whether a tensor is on a pipeline stage; a tied head is the embedding once more."""
    first, last = stage == 0, stage == pp - 1
    match at.part:
        case "layer":
            return at.layer in layers
        case "embedding":
            return first or (last and tied)
        case "head":
            return last and not tied
        case "norm":
            return last
        case _:
            return True
