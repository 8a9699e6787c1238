"""What a model is made of, read from its config.json: sizes, heads, vision tower, quantization.

Only the architectures listed in `KNOWN` are planned, because only for them every tensor is known
(`tensors.py`); anything else is `CannotPlan`, never a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.errors import StudioError

QWEN2_LIKE = {"qwen2", "qwen2_moe", "qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text"}
QK_NORM = {"qwen3", "qwen3_moe"}
KNOWN = QWEN2_LIKE | QK_NORM | {"llama", "mistral", "mixtral"}
DTYPE_BYTES = {"float32": 4, "float": 4, "float16": 2, "half": 2, "bfloat16": 2}


class CannotPlan(StudioError):
    """A model whose memory cannot be worked out exactly."""

    exit_code = 2


@dataclass(frozen=True, kw_only=True)
class Vision:
    """The tower that reads pictures (Qwen2-VL, Qwen2.5-VL)."""

    depth: int
    hidden: int
    intermediate: int
    heads: int
    patch: int
    merge: int
    temporal: int
    channels: int
    out: int
    """Width of the language model it feeds."""
    gated: bool
    """True for Qwen2.5-VL: RMSNorm and a gated MLP; False for Qwen2-VL: LayerNorm, fc1 and fc2."""


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The mixture that takes the MLP's place in `layers`."""

    count: int
    per_token: int
    intermediate: int
    shared: int
    """Width of the shared expert (Qwen2-MoE); 0 for none."""
    layers: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """How the linear layers of the text model are packed in the files."""

    method: str
    """awq, gptq, fp8, bitsandbytes, compressed-tensors."""
    bits: int
    group: int
    """Inputs that share a scale; 0: one scale per output channel, -1: one for the tensor."""
    zeros: bool = False
    act_order: bool = False
    block: tuple[int, int] | None = None
    """Rows and columns that share a scale (block FP8)."""
    static: bool = False
    """True when an activation scale lies beside every weight."""
    skip: tuple[str, ...] = ()
    """Modules that stay as they are, by a part of their name."""


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Everything the planner knows of a model; counts are exact for the known architectures."""

    model_type: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    """True when the head is the embedding."""
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool
    dtype: str
    """What the config.json says: bfloat16, float16 or float32."""
    max_positions: int
    """Context length the server takes by default and refuses to exceed."""
    rope_rows: int
    """Rows of the cosine and sine table the server keeps."""
    rotary_dim: int
    sliding_window: int | None
    """Tokens every layer looks back at; None when any layer sees everything."""
    vision: Vision | None = None
    experts: Experts | None = None
    quantization: Quantization | None = None

    @property
    def q_dim(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key heads together."""
        return self.kv_heads * self.head_dim

    def kv_bytes_per_token(self, bytes_each: int, *, tp: int = 1, layers: int | None = None) -> int:
        """Return 2 x layers x max(1, kv_heads / TP) x head_dim x bytes, for one card."""
        depth = self.layers if layers is None else layers
        return 2 * depth * max(1, self.kv_heads // tp) * self.head_dim * bytes_each


def read_shape(folder: Path) -> ModelShape:
    """Read config.json (and the tokenizer's length limit) of a model folder.

    Raises CannotPlan when it is missing, no JSON, or of an architecture that is not known.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotPlan(
            f"{folder} has no readable config.json ({type(error).__name__}).",
            hint="Without it nothing can be worked out before the launch.",
        ) from None
    limit, files = _tokenizer_limit(folder), any(folder.glob("*.safetensors"))
    return shape_of(config, tokenizer_limit=limit, files=files)


def shape_of(
    config: dict[str, Any], *, tokenizer_limit: int | None = None, files: bool = False
) -> ModelShape:
    """Turn the content of a config.json into a shape; flat and nested vision models alike.

    With `files` the weights are there to be counted, so that any packing will do. Raises
    CannotPlan for an architecture, or without files a packing, whose bytes are not known exactly.
    """
    text = {**config, **(config.get("text_config") or {})}
    kind = str(config.get("model_type", "") or "")
    inner = str(text.get("model_type", "") or kind)
    if kind not in KNOWN or inner not in KNOWN:
        raise CannotPlan(
            f"The memory of a {inner or kind or 'nameless'} model cannot be worked out here.",
            hint="It may be launched all the same; the engine itself says whether it fits.",
        )
    try:
        return _shape(kind, text, config, tokenizer_limit, files)
    except (KeyError, TypeError, ZeroDivisionError, ValueError) as error:
        raise CannotPlan(
            f"The config.json lacks what a {kind} model has ({error}).",
            hint="Compare it with the one the model was published with.",
        ) from None


def _shape(
    kind: str, text: dict, config: dict, tokenizer_limit: int | None, files: bool
) -> ModelShape:
    heads, hidden = int(text["num_attention_heads"]), int(text["hidden_size"])
    head_dim = int(text.get("head_dim") or hidden // heads)
    qwen2 = kind in QWEN2_LIKE
    bias = bool(text.get("attention_bias", False))
    positions, rope_rows = _positions(text)
    if tokenizer_limit is not None:
        positions = min(positions, tokenizer_limit)
    return ModelShape(
        model_type=kind,
        hidden=hidden,
        intermediate=int(text["intermediate_size"]),
        layers=int(text["num_hidden_layers"]),
        heads=heads,
        kv_heads=int(text.get("num_key_value_heads") or heads),
        head_dim=head_dim,
        vocab=int(text["vocab_size"]),
        tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False))),
        qkv_bias=qwen2 or bias,
        o_bias=bias and not qwen2,
        mlp_bias=bool(text.get("mlp_bias", False)),
        qk_norm=kind in QK_NORM,
        dtype=_dtype(text),
        max_positions=positions,
        rope_rows=rope_rows,
        rotary_dim=int(head_dim * float(text.get("partial_rotary_factor") or 1)),
        sliding_window=_window(kind, text),
        vision=_vision(kind, config.get("vision_config"), hidden),
        experts=_experts(text),
        quantization=_packing(config.get("quantization_config"), files),
    )


def _dtype(text: dict) -> str:
    name = str(text.get("dtype") or text.get("torch_dtype") or "float32").removeprefix("torch.")
    return name if name in DTYPE_BYTES else "bfloat16"


def _positions(text: dict) -> tuple[int, int]:
    """Return the longest context and the rows of the rotary table, as vLLM derives them.

    Linear and dynamic scaling stretch the context; YaRN and Llama 3 leave it as written (YaRN's
    table is stretched); Qwen-VL's mrope keeps four times the rows.
    """
    longest = int(text.get("max_position_embeddings") or 2048)
    rope = text.get("rope_scaling") or text.get("rope_parameters") or {}
    how = str(rope.get("rope_type") or rope.get("type") or "default")
    factor = float(rope.get("factor") or 1)
    if rope.get("mrope_section"):
        return longest, longest * 4
    if how == "yarn":
        original = int(rope.get("original_max_position_embeddings") or longest)
        return longest, int(original * factor)
    if how in ("linear", "dynamic"):
        return int(longest * factor), int(longest * factor)
    return longest, longest


def _window(kind: str, text: dict) -> int | None:
    """Return the window when every layer has one: Mistral's; Qwen's only when switched on."""
    window = text.get("sliding_window")
    if not window or kind == "llama":
        return None
    if kind not in ("mistral", "mixtral"):
        full_below = int(text.get("max_window_layers") or 0)
        if not text.get("use_sliding_window", False) or full_below > 0:
            return None
    return int(window)


def _vision(kind: str, tower: dict | None, hidden: int) -> Vision | None:
    if kind not in ("qwen2_vl", "qwen2_5_vl"):
        return None
    if tower is None:
        raise KeyError("vision_config")
    gated = kind == "qwen2_5_vl"
    width = int(tower["hidden_size"] if gated else tower["embed_dim"])
    inner = int(tower["intermediate_size"]) if gated else int(width * tower.get("mlp_ratio", 4))
    out = tower.get("out_hidden_size") if gated else tower.get("hidden_size")
    return Vision(
        depth=int(tower["depth"]),
        hidden=width,
        intermediate=inner,
        heads=int(tower["num_heads"]),
        patch=int(tower.get("patch_size", 14)),
        merge=int(tower.get("spatial_merge_size", 2)),
        temporal=int(tower.get("temporal_patch_size", 2)),
        channels=int(tower.get("in_chans") or tower.get("in_channels") or 3),
        out=int(out or hidden),
        gated=gated,
    )


def _experts(text: dict) -> Experts | None:
    count = int(text.get("num_local_experts") or text.get("num_experts") or 0)
    if not count:
        return None
    dense, step = set(text.get("mlp_only_layers") or ()), int(text.get("decoder_sparse_step") or 1)
    layers = (n for n in range(int(text["num_hidden_layers"])) if n not in dense)
    return Experts(
        count=count,
        per_token=int(text["num_experts_per_tok"]),
        intermediate=int(text.get("moe_intermediate_size") or text["intermediate_size"]),
        shared=int(text.get("shared_expert_intermediate_size") or 0),
        layers=frozenset(n for n in layers if (n + 1) % step == 0),
    )


def _packing(packed: dict[str, Any] | None, files: bool) -> Quantization | None:
    try:
        return quantization_of(packed)
    except CannotPlan:
        if not files or packed is None:
            raise
        return Quantization(method=str(packed.get("quant_method", "")).lower(), bits=0, group=0)


def quantization_of(packed: dict[str, Any] | None) -> Quantization | None:
    """Read a `quantization_config`; None when the weights are not packed.

    Raises CannotPlan for a packing whose bytes are not known here.
    """
    if not packed:
        return None
    method = str(packed.get("quant_method", "")).lower()
    bits, group = int(packed.get("bits") or 4), int(packed.get("group_size") or 128)
    skip = tuple(packed.get("modules_to_not_convert") or packed.get("ignored_layers") or ())
    if method in ("awq", "gptq"):
        return Quantization(
            method=method,
            bits=bits,
            group=0 if group < 0 else group,
            zeros=True,
            act_order=method == "gptq",
            skip=skip,
        )
    if method == "fp8":
        block = packed.get("weight_block_size")
        return Quantization(
            method=method,
            bits=8,
            group=-1,
            block=(int(block[0]), int(block[1])) if block else None,
            static=packed.get("activation_scheme") == "static",
            skip=skip,
        )
    if method == "bitsandbytes":
        four = bool(packed.get("load_in_4bit") or packed.get("_load_in_4bit"))
        skip = tuple(packed.get("llm_int8_skip_modules") or ())
        return Quantization(method=method, bits=4 if four else 8, group=64, skip=skip)
    if method == "compressed-tensors":
        return _compressed(packed)
    raise CannotPlan(
        f"Weights packed as {method or 'an unnamed method'} cannot be planned.",
        hint="It may be launched all the same; the engine itself says whether it fits.",
    )


def _compressed(packed: dict[str, Any]) -> Quantization:
    """Read llm-compressor's packing when one rule holds for every linear layer."""
    groups = list((packed.get("config_groups") or {}).values())
    weights = groups[0].get("weights") if len(groups) == 1 else None
    if not weights:
        raise CannotPlan(
            "Weights packed by several rules (compressed-tensors) cannot be planned.",
            hint="It may be launched all the same; the engine itself says whether it fits.",
        )
    per_group = weights.get("strategy") == "group"
    inputs = groups[0].get("input_activations") or {}
    return Quantization(
        method="compressed-tensors",
        bits=int(weights.get("num_bits") or 8),
        group=int(weights.get("group_size") or 128)
        if per_group
        else (-1 if weights.get("strategy") == "tensor" else 0),
        zeros=not weights.get("symmetric", True),
        static=bool(inputs) and not inputs.get("dynamic", True),
        skip=tuple(packed.get("ignore") or ()),
    )


def _tokenizer_limit(folder: Path) -> int | None:
    """Return the tokenizer's own limit, which vLLM respects; None when it has none."""
    try:
        limit = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get(
            "model_max_length"
        )
    except (OSError, ValueError):
        return None
    return int(limit) if isinstance(limit, (int, float)) and 0 < limit < 1e9 else None
