"""How many numbers and bytes an image-edit model has, by its configs and by its files.

Standard library only: the planner reads it in the studio's environment, the pipe in diffusers'.
The arithmetic follows the classes of diffusers 0.42 and transformers 5 and is exact; where weight
files lie beside a config, their bytes are counted as well.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIPELINES = ("QwenImageEditPlusPipeline", "QwenImageEditPipeline")
"""Classes of model_index.json that edit pictures."""
PARTS = ("transformer", "text_encoder", "vae")
DTYPE_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}

TEXT_ENCODER = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
    "num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064,
    "tie_word_embeddings": False,
    "vision_config": {
        "depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "out_hidden_size": 3584,
        "patch_size": 14, "temporal_patch_size": 2, "in_channels": 3, "spatial_merge_size": 2,
    },
}  # fmt: skip
"""Qwen2.5-VL-7B as published: what every Qwen-Image-Edit carries; planned for hub ids."""


@dataclass(frozen=True)
class Part:
    """One of the pipeline's networks. Counts are of numbers, not of bytes."""

    params: int
    blocks: int
    """Layers that are alike and can be moved one by one."""
    block_params: int
    """Numbers of the largest of them."""
    leaf_params: int
    """Numbers of the largest single layer: what sequential offload has to hold at once."""
    dropped_params: int = 0
    """Numbers of a head that an edit never uses and the loader leaves out."""
    kept_params: int = 0
    """Numbers of a block that keep their precision when matrices are stored in fewer bits."""
    file_bytes: int = 0
    """Bytes of its weight files; 0 when there are none here."""

    @property
    def used_params(self) -> int:
        """Numbers that are loaded."""
        return self.params - self.dropped_params


@dataclass(frozen=True)
class Sizes:
    """What a whole editor is made of."""

    transformer: Part
    text_encoder: Part
    vae: Part
    hidden: int = 3072
    """Width of the transformer's stream."""
    heads: int = 24
    """Heads of its attention."""
    patch: int = 2
    """Latents per side that become one token."""
    vae_scale: int = 8
    """Pixels per side that become one latent."""
    pipeline: str = PIPELINES[0]
    gguf_bytes: int = 0
    """Bytes of the GGUF file the transformer comes from; 0 without one."""

    @property
    def params(self) -> int:
        """Numbers of all networks, heads that are never used included."""
        return self.transformer.params + self.text_encoder.params + self.vae.params

    @property
    def disk_bytes(self) -> int:
        """Bytes that are read from the disk; as published (two per number) without files here."""
        parts = (self.transformer, self.text_encoder, self.vae)
        told = [part.file_bytes or 2 * part.params for part in parts]
        if self.gguf_bytes:
            told[0] = self.gguf_bytes
        return sum(told)


def read_sizes(folder: str | Path, *, gguf: str | Path = "") -> Sizes:
    """Return the sizes of a model folder in diffusers' layout.

    Raises FileNotFoundError without a model_index.json or a config it names, ValueError when one
    of them is no JSON object.
    """
    home = Path(folder)
    index = _json(home / "model_index.json")
    configs = {part: _json(home / part / "config.json") for part in PARTS}
    files = {part: _weights(home / part) for part in PARTS}
    return sizes_of(
        configs["transformer"],
        configs["text_encoder"],
        configs["vae"],
        pipeline=str(index.get("_class_name", "")),
        files=files,
        gguf_bytes=Path(gguf).stat().st_size if gguf else 0,
    )


def published(*, gguf_bytes: int = 0) -> Sizes:
    """Return the sizes of Qwen-Image-Edit as published, for a hub id that is not here yet."""
    return sizes_of({}, TEXT_ENCODER, {}, gguf_bytes=gguf_bytes)


def sizes_of(
    transformer: Mapping[str, Any],
    text_encoder: Mapping[str, Any],
    vae: Mapping[str, Any],
    *,
    pipeline: str = PIPELINES[0],
    files: Mapping[str, int] | None = None,
    gguf_bytes: int = 0,
) -> Sizes:
    """Return the sizes of three configs; what a config leaves out has diffusers' default."""
    told = files or {}
    return Sizes(
        transformer=transformer_part(transformer, told.get("transformer", 0)),
        text_encoder=text_encoder_part(text_encoder, told.get("text_encoder", 0)),
        vae=vae_part(vae, told.get("vae", 0)),
        hidden=_width(transformer),
        heads=int(transformer.get("num_attention_heads", 24)),
        patch=int(transformer.get("patch_size", 2)),
        vae_scale=2 ** len(vae.get("temperal_downsample", (False, True, True))),
        pipeline=pipeline,
        gguf_bytes=gguf_bytes,
    )


def transformer_part(config: Mapping[str, Any], file_bytes: int = 0) -> Part:
    """Count QwenImageTransformer2DModel: double-stream blocks, AdaLN modulation in each."""
    width, text = _width(config), int(config.get("joint_attention_dim", 3584))
    head = int(config.get("attention_head_dim", 128))
    inside, layers = int(config.get("in_channels", 64)), int(config.get("num_layers", 60))
    out = int(config.get("out_channels") or inside) if "out_channels" in config else 16
    patch = int(config.get("patch_size", 2))
    attention = 8 * _linear(width, width) + 4 * head
    feed = _linear(width, 4 * width) + _linear(4 * width, width)
    block = 2 * _linear(width, 6 * width) + attention + 2 * feed
    rest = _linear(256, width) + _linear(width, width) + text  # timestep embedding, txt_norm
    rest += _linear(inside, width) + _linear(text, width)
    rest += _linear(width, 2 * width) + _linear(width, patch * patch * out)
    if config.get("use_additional_t_cond"):
        rest += 2 * width
    return Part(
        params=layers * block + rest,
        blocks=layers,
        block_params=block,
        leaf_params=_linear(width, 6 * width),
        kept_params=block - 36 * width**2,
        file_bytes=file_bytes,
    )


def text_encoder_part(config: Mapping[str, Any], file_bytes: int = 0) -> Part:
    """Count Qwen2.5-VL; its lm_head is never used by an edit, which reads hidden states."""
    text = {**config, **(config.get("text_config") or {})}
    hidden, inner = int(text["hidden_size"]), int(text["intermediate_size"])
    layers, vocab = int(text["num_hidden_layers"]), int(text["vocab_size"])
    heads = int(text["num_attention_heads"])
    kv_heads = int(text.get("num_key_value_heads") or heads)
    head = int(text.get("head_dim") or hidden // heads)
    query, kv = heads * head, kv_heads * head
    layer = _linear(hidden, query) + 2 * _linear(hidden, kv) + query * hidden
    layer += 3 * hidden * inner + 2 * hidden
    tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    embedding = vocab * hidden
    lm_head = 0 if tied else embedding
    tower = _vision(config.get("vision_config") or {}, hidden)
    return Part(
        params=layers * layer + hidden + embedding + lm_head + tower,
        blocks=layers,
        block_params=layer,
        leaf_params=max(embedding, hidden * inner),
        dropped_params=lm_head,
        file_bytes=file_bytes,
    )


def _vision(config: Mapping[str, Any], hidden: int) -> int:
    width, inner = int(config.get("hidden_size", 1280)), int(config.get("intermediate_size", 3420))
    patch, time = int(config.get("patch_size", 14)), int(config.get("temporal_patch_size", 2))
    channels = int(config.get("in_channels") or config.get("in_chans") or 3)
    block = 2 * width + _linear(width, 3 * width) + _linear(width, width)
    block += 2 * _linear(width, inner) + _linear(inner, width)
    merged = width * int(config.get("spatial_merge_size", 2)) ** 2
    out = int(config.get("out_hidden_size") or hidden)
    merger = width + _linear(merged, merged) + _linear(merged, out)
    return int(config.get("depth", 32)) * block + channels * time * patch * patch * width + merger


def vae_part(config: Mapping[str, Any], file_bytes: int = 0) -> Part:
    """Count AutoencoderKLQwenImage: causal 3D convolutions, one attention in each middle."""
    base, latent = int(config.get("base_dim", 96)), int(config.get("z_dim", 16))
    mult = [int(m) for m in config.get("dim_mult", (1, 2, 4, 4))]
    times = list(config.get("temperal_downsample", (False, True, True)))
    repeats, colours = int(config.get("num_res_blocks", 2)), int(config.get("input_channels", 3))
    encoder = _encoder(base, mult, times, repeats, colours, 2 * latent)
    decoder = _decoder(base, mult, times[::-1], repeats, colours, latent)
    ends = _conv(2 * latent, 2 * latent, 1) + _conv(latent, latent, 1)
    widest = base * mult[-1]
    return Part(
        params=encoder + decoder + ends,
        blocks=1,
        block_params=encoder + decoder + ends,
        leaf_params=_conv(widest, widest, 27),
        file_bytes=file_bytes,
    )


def _encoder(
    base: int, mult: list[int], times: list[bool], repeats: int, colours: int, out: int
) -> int:
    dims = [base * m for m in (1, *mult)]
    count = _conv(colours, dims[0], 27)
    for level, (before, after) in enumerate(itertools.pairwise(dims)):
        count += _residual(before, after) + (repeats - 1) * _residual(after, after)
        if level < len(mult) - 1:
            count += _conv(after, after, 9) + (_conv(after, after, 3) if times[level] else 0)
    return count + _middle(dims[-1]) + dims[-1] + _conv(dims[-1], out, 27)


def _decoder(
    base: int, mult: list[int], times: list[bool], repeats: int, colours: int, latent: int
) -> int:
    dims = [base * m for m in (mult[-1], *mult[::-1])]
    count = _conv(latent, dims[0], 27) + _middle(dims[0])
    for level, (before, after) in enumerate(itertools.pairwise(dims)):
        if level > 0:
            before //= 2
        count += _residual(before, after) + repeats * _residual(after, after)
        if level < len(mult) - 1:
            count += _conv(after, after // 2, 9)
            count += _conv(after, 2 * after, 3) if times[level] else 0
    return count + dims[-1] + _conv(dims[-1], colours, 27)


def _residual(before: int, after: int) -> int:
    shortcut = _conv(before, after, 1) if before != after else 0
    return before + _conv(before, after, 27) + after + _conv(after, after, 27) + shortcut


def _middle(width: int) -> int:
    attention = width + _conv(width, 3 * width, 1) + _conv(width, width, 1)
    return 2 * _residual(width, width) + attention


def _conv(before: int, after: int, taps: int) -> int:
    return before * after * taps + after


def _linear(before: int, after: int) -> int:
    return before * after + after


def _width(config: Mapping[str, Any]) -> int:
    heads = int(config.get("num_attention_heads", 24))
    return heads * int(config.get("attention_head_dim", 128))


def _weights(folder: Path) -> int:
    """Return the bytes of the weight files a loader takes; an index says which."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = set(_json(index).get("weight_map", {}).values())
        files = [folder / name for name in names]
        return sum(path.stat().st_size for path in files if path.is_file())
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _json(path: Path) -> dict[str, Any]:
    told = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(told, dict):
        raise ValueError(f"{path} is no JSON object")
    return told
