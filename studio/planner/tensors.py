"""Every tensor of a known model by name, dtype and shape, worked out from its shape alone.

The names are those of the published checkpoints, so that what is worked out here and what is read
from safetensors headers (`headers.py`) go the same way from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from studio.planner.shapes import ModelShape, Quantization, Vision

BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16,
    "I16": 16, "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F4": 4,
}  # fmt: skip
"""Bits of one element by safetensors dtype."""
SAFETENSORS = {
    "bfloat16": "BF16",
    "float16": "F16",
    "half": "F16",
    "float32": "F32",
    "float": "F32",
}
_TOWER_LINEAR = {"qkv", "proj", "fc1", "fc2", "0", "2"}
COMPONENTS = ("embedding", "attention", "mlp", "norms", "head", "vision")


class Tensor(NamedTuple):
    """One tensor of a checkpoint."""

    name: str
    dtype: str
    """As safetensors writes it: BF16, F8_E4M3, I32, ..."""
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return self.numel * BITS[self.dtype] // 8


def tensors_of(shape: ModelShape, *, packed: bool = True) -> list[Tensor]:
    """Return the tensors of a checkpoint of this shape; `packed=False` leaves out quantization."""
    plain = [Tensor(name, SAFETENSORS[shape.dtype], size) for name, size in _all(shape)]
    if packed and shape.quantization is not None:
        return pack(plain, shape.quantization)
    return plain


def pack(tensors: list[Tensor], how: Quantization, *, tower: bool = False) -> list[Tensor]:
    """Return the tensors with the text model's linear weights packed, and the tower's if asked.

    Published checkpoints leave the tower alone; a server that packs while loading does not.
    """
    out: list[Tensor] = []
    for tensor in tensors:
        out.extend(_packed(tensor, how) if _packable(tensor, how, tower) else (tensor,))
    return out


def parameters(shape: ModelShape) -> dict[str, int]:
    """Return the exact number of parameters by component, before any packing."""
    counts: dict[str, int] = dict.fromkeys(COMPONENTS, 0)
    for name, size in _all(shape):
        counts[component(name)] += prod(size)
    return counts


def component(name: str) -> str:
    """Return which of `COMPONENTS` a tensor belongs to."""
    if "visual." in name:
        return "vision"
    if "embed_tokens" in name:
        return "embedding"
    if name.startswith("lm_head"):
        return "head"
    if "norm" in name.rpartition("layers.")[2]:
        return "norms"
    return "attention" if "self_attn" in name else "mlp"


def _all(shape: ModelShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    if shape.vision is not None:
        yield from _tower(shape.vision)
    yield "model.embed_tokens.weight", (shape.vocab, shape.hidden)
    for n in range(shape.layers):
        yield from _attention(shape, f"model.layers.{n}.")
        yield from _mlp(shape, n)
        yield f"model.layers.{n}.input_layernorm.weight", (shape.hidden,)
        yield f"model.layers.{n}.post_attention_layernorm.weight", (shape.hidden,)
    yield "model.norm.weight", (shape.hidden,)
    if not shape.tied:
        yield "lm_head.weight", (shape.vocab, shape.hidden)


def _attention(shape: ModelShape, at: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    wide = {"q_proj": shape.q_dim, "k_proj": shape.kv_dim, "v_proj": shape.kv_dim}
    for leaf, out in wide.items():
        yield f"{at}self_attn.{leaf}.weight", (out, shape.hidden)
        if shape.qkv_bias:
            yield f"{at}self_attn.{leaf}.bias", (out,)
    yield f"{at}self_attn.o_proj.weight", (shape.hidden, shape.q_dim)
    if shape.o_bias:
        yield f"{at}self_attn.o_proj.bias", (shape.hidden,)
    if shape.qk_norm:
        yield f"{at}self_attn.q_norm.weight", (shape.head_dim,)
        yield f"{at}self_attn.k_norm.weight", (shape.head_dim,)


def _mlp(shape: ModelShape, n: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    at, experts = f"model.layers.{n}.mlp.", shape.experts
    if experts is None or n not in experts.layers:
        yield from _gated(at, shape.hidden, shape.intermediate, bias=shape.mlp_bias)
        return
    if shape.model_type == "mixtral":
        at = f"model.layers.{n}.block_sparse_moe."
        yield f"{at}gate.weight", (experts.count, shape.hidden)
        for one in range(experts.count):
            for leaf in ("w1", "w3"):
                yield f"{at}experts.{one}.{leaf}.weight", (experts.intermediate, shape.hidden)
            yield f"{at}experts.{one}.w2.weight", (shape.hidden, experts.intermediate)
        return
    yield f"{at}gate.weight", (experts.count, shape.hidden)
    for one in range(experts.count):
        yield from _gated(f"{at}experts.{one}.", shape.hidden, experts.intermediate)
    if experts.shared:
        yield from _gated(f"{at}shared_expert.", shape.hidden, experts.shared)
        yield f"{at}shared_expert_gate.weight", (1, shape.hidden)


def _gated(
    at: str, hidden: int, inner: int, *, bias: bool = False
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for leaf, out, into in (
        ("gate", inner, hidden),
        ("up", inner, hidden),
        ("down", hidden, inner),
    ):
        yield f"{at}{leaf}_proj.weight", (out, into)
        if bias:
            yield f"{at}{leaf}_proj.bias", (out,)


def _tower(vision: Vision) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, merged = vision.hidden, vision.hidden * vision.merge**2
    patch = (vision.channels, vision.temporal, vision.patch, vision.patch)
    yield "visual.patch_embed.proj.weight", (width, *patch)
    for n in range(vision.depth):
        at = f"visual.blocks.{n}."
        yield from _norm(f"{at}norm1", width, vision.gated)
        yield from _norm(f"{at}norm2", width, vision.gated)
        yield from _linear(f"{at}attn.qkv", 3 * width, width)
        yield from _linear(f"{at}attn.proj", width, width)
        if vision.gated:
            yield from _gated(f"{at}mlp.", width, vision.intermediate, bias=True)
        else:
            yield from _linear(f"{at}mlp.fc1", vision.intermediate, width)
            yield from _linear(f"{at}mlp.fc2", width, vision.intermediate)
    yield from _norm("visual.merger.ln_q", width, vision.gated)
    yield from _linear("visual.merger.mlp.0", merged, merged)
    yield from _linear("visual.merger.mlp.2", vision.out, merged)


def _norm(at: str, width: int, rms: bool) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.weight", (width,)
    if not rms:
        yield f"{at}.bias", (width,)


def _linear(at: str, out: int, into: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}.weight", (out, into)
    yield f"{at}.bias", (out,)


def _packable(tensor: Tensor, how: Quantization, tower: bool) -> bool:
    """Tell a linear weight; embedding, head, router and norms stay as they are."""
    name = tensor.name
    if not name.endswith(".weight"):
        return False
    leaf = name.split(".")[-2]
    if "visual." in name:
        return tower and (leaf in _TOWER_LINEAR or leaf.endswith("_proj")) and "patch" not in name
    linear = leaf.endswith("_proj") or leaf in ("w1", "w2", "w3")
    module = name.removesuffix(".weight")
    return linear and not any(part in module for part in how.skip if not part.startswith("re:"))


def _packed(tensor: Tensor, how: Quantization) -> Iterator[Tensor]:
    """Yield what one linear weight `[out, in]` becomes in the files.

    AWQ and GPTQ pack `32 / bits` numbers into an I32, with one scale and one zero point for every
    `group` inputs; GPTQ adds the order of the inputs. FP8 has one F32 scale per tensor, per output
    channel or per block. bitsandbytes' nf4 has one F32 scale for 64 numbers: 4.5 bits each.
    """
    at, (out, into) = tensor.name.removesuffix("weight"), tensor.shape
    per_word, groups = 32 // how.bits, -(-into // how.group) if how.group > 0 else 1
    if how.method == "awq":
        yield Tensor(f"{at}qweight", "I32", (into, out // per_word))
        yield Tensor(f"{at}qzeros", "I32", (groups, out // per_word))
        yield Tensor(f"{at}scales", tensor.dtype, (groups, out))
    elif how.method == "gptq":
        yield Tensor(f"{at}qweight", "I32", (into // per_word, out))
        yield Tensor(f"{at}qzeros", "I32", (groups, out // per_word))
        yield Tensor(f"{at}scales", tensor.dtype, (groups, out))
        yield Tensor(f"{at}g_idx", "I32", (into,))
    elif how.method == "bitsandbytes" and how.bits == 4:
        yield Tensor(f"{at}weight", "U8", (out * into // 2, 1))
        yield Tensor(f"{at}weight.absmax", "F32", (out * into // 64,))
    elif how.method == "bitsandbytes":
        yield Tensor(f"{at}weight", "I8", (out, into))
        yield Tensor(f"{at}SCB", "F32", (out,))
    elif how.bits == 4:
        yield Tensor(f"{at}weight_packed", "I32", (out, into // per_word))
        yield Tensor(f"{at}weight_scale", tensor.dtype, (out, groups))
        if how.zeros:
            yield Tensor(f"{at}weight_zero_point", "I32", (out // per_word, groups))
    else:
        dtype = "F8_E4M3" if how.method == "fp8" else "I8"
        yield Tensor(f"{at}weight", dtype, (out, into))
        yield from _scales(at, how, out, into)


def _scales(at: str, how: Quantization, out: int, into: int) -> Iterator[Tensor]:
    if how.block is not None:
        rows, columns = how.block
        yield Tensor(f"{at}weight_scale_inv", "F32", (-(-out // rows), -(-into // columns)))
    else:
        yield Tensor(f"{at}weight_scale", "F32", (1,) if how.group < 0 else (out, 1))
    if how.static:
        yield Tensor(f"{at}input_scale", "F32", (1,))
