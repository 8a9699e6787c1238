"""The pipeline's parts, each put where its rung wants it, never more than that in host memory.

The networks are built without memory and filled tensor by tensor (`weights.py`): straight to the
card, into the slots' host memory, or not at all (the CPU computes from the mapped files).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import torch.nn.functional as F
from accelerate import init_empty_weights
from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
from torch import nn
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from .cards import give_back
from .dealing import Border, cross
from .narrow import FP8, narrow_linears
from .processor import load_processor
from .rungs import CPU, Layout, Placing, Storage
from .streaming import Chain, Leaves, spread
from .weights import Dummy, Files, Source, fill

LOG = logging.getLogger("image_edit")
PIPELINES = ("QwenImageEditPlusPipeline", "QwenImageEditPipeline")


@dataclass
class Loaded:
    """A pipeline ready to edit, and what an edit has to know about where its parts are."""

    pipe: Any
    layout: Layout
    dtype: torch.dtype
    text_device: torch.device
    text_chain: Chain | None = None
    chains: list[Chain] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Sentences about how it lies, and about settings this rung cannot take."""
    block_devices: list[torch.device] = field(default_factory=list)
    """The card each block of the transformer computes on."""


@dataclass(frozen=True)
class Plan:
    """What to load and how."""

    folder: Path
    layout: Layout
    dtype: torch.dtype
    dummy: bool = False
    gguf: Path | None = None
    prepare: Callable[[nn.Module], None] = lambda block: None
    """What is done to a block before it is streamed or crossed: regional compilation."""

    def source(self, component: str) -> Source:
        """Return where a component's weights come from."""
        if self.dummy:
            return Dummy(self.layout.device, self.dtype)
        return Files(self.folder / component)

    def config(self, component: str) -> dict[str, Any]:
        """Return a component's config.json."""
        return json.loads((self.folder / component / "config.json").read_text(encoding="utf-8"))


def load(plan: Plan) -> Loaded:
    """Build the pipeline of `plan.folder` on its rung."""
    kind = pipeline_class(plan.folder)
    device = plan.layout.device
    vae = _vae(plan)
    text_encoder, fit_text = _text_encoder(plan)
    placed = _transformer(plan)
    text_device, text_chain, text_note = fit_text()
    pipe = _at(kind, device)(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(
            plan.folder, subfolder="scheduler"
        ),
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=AutoTokenizer.from_pretrained(plan.folder / "tokenizer"),
        processor=load_processor(plan.folder),
        transformer=placed.transformer,
    )
    pipe.set_progress_bar_config(disable=True)
    give_back(collect=True)
    return Loaded(
        pipe,
        plan.layout,
        plan.dtype,
        text_device,
        text_chain,
        placed.chains,
        [placed.note, text_note],
        placed.devices,
    )


def pipeline_class(folder: Path) -> Any:
    """Return the pipeline class that model_index.json names; ValueError for one we cannot run."""
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    name = index.get("_class_name", "")
    if name not in PIPELINES:
        raise ValueError(f"{folder} is a {name or 'model without a class'}, not {PIPELINES}.")
    return getattr(diffusers, name)


def _at(kind: Any, device: torch.device) -> Any:
    """Return `kind` with latents on `device`, wherever its parts rest."""
    return type(kind.__name__, (kind,), {"_execution_device": property(lambda _: device)})


def _vae(plan: Plan) -> Any:
    if plan.dummy:
        vae = AutoencoderKLQwenImage.from_config(plan.config("vae")).to(plan.dtype)
    else:
        vae = _from_folder(AutoencoderKLQwenImage, plan.folder / "vae", plan.dtype)
    return vae.to(plan.layout.device).eval().requires_grad_(False)


def _from_folder(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    return kind.from_pretrained(folder, dtype=dtype)


# --- transformer ----------------------------------------------------------------------------------


@dataclass
class _Placed:
    """The transformer in place."""

    transformer: Any
    devices: list[torch.device]
    """Where each block computes."""
    note: str
    chains: list[Chain] = field(default_factory=list)


def _transformer(plan: Plan) -> _Placed:
    """Build the transformer and give it its weights where its rung wants them."""
    one = plan.layout
    if plan.gguf is not None:
        transformer, filler = _from_gguf(plan)
    else:
        transformer, filler = _empty_transformer(plan)
    blocks = list(transformer.transformer_blocks)
    rest = [child for name, child in transformer.named_children() if name != "transformer_blocks"]
    if one.transformer is Placing.HOST:
        for part in (*rest, *blocks):
            filler(part, CPU)
        return _Placed(transformer, [CPU] * len(blocks), "The transformer computes on the CPU.")
    if one.transformer is Placing.LEAF:
        leaves = Leaves(one.device)
        for part in (*rest, *blocks):
            filler(part, CPU)
            leaves.add(part)
        note = "Every layer is fetched alone, without streams."
        return _Placed(transformer, [one.device] * len(blocks), note)
    tail = {id(transformer.norm_out), id(transformer.proj_out)}
    for part in rest:
        filler(part, one.devices[-1] if id(part) in tail else one.device)
    placed = _deal(plan, transformer, blocks, filler)
    if len(one.devices) > 1:
        _cross_borders(transformer, blocks, placed.devices)
    return placed


def _deal(
    plan: Plan,
    transformer: Any,
    blocks: list[nn.Module],
    filler: Callable[[nn.Module, torch.device], None],
) -> _Placed:
    """Fill the blocks onto their cards; those that find no room are streamed."""
    placed, first, told = _Placed(transformer, [], ""), 0, []
    for share in plan.layout.shares:
        streamed = spread(share.blocks, share.blocks - share.resident)
        chain = Chain(share.device)
        for index, block in enumerate(blocks[first : first + share.blocks]):
            filler(block, CPU if index in streamed else share.device)
            plan.prepare(block)
            if index in streamed:
                chain.add(block)
        if len(chain):
            placed.chains.append(chain)
        placed.devices += [share.device] * share.blocks
        told.append(f"{share.resident} of {share.blocks}")
        first += share.blocks
    placed.note = f"Blocks resting on the card: {', '.join(told)}. The others are streamed."
    return placed


def _cross_borders(transformer: Any, blocks: list[nn.Module], devices: list[torch.device]) -> None:
    """Let each block and the output layers take their inputs from another card."""
    borders = {device: Border(device) for device in devices}
    for index, (block, device) in enumerate(zip(blocks, devices, strict=True)):
        first = index > 0 and devices[index - 1] != device
        cross(block, borders[device], first=first)
    cross(transformer.norm_out, borders[devices[-1]])
    cross(transformer.proj_out, borders[devices[-1]])


def _empty_transformer(plan: Plan) -> tuple[Any, Callable[[nn.Module, torch.device], None]]:
    """Return the transformer without weights, and what gives them to one of its parts."""
    one = plan.layout
    with init_empty_weights(include_buffers=False):
        transformer = QwenImageTransformer2DModel.from_config(plan.config("transformer"))
        for block in transformer.transformer_blocks:
            _narrow(block, plan)
    transformer.eval()
    source = plan.source("transformer")
    prefixes = {id(part): name + "." for name, part in transformer.named_modules() if name}
    return transformer, lambda part, home: fill(
        part, source, prefix=prefixes[id(part)], dtype=plan.dtype, home=home, work=one.device
    )


def _narrow(block: nn.Module, plan: Plan) -> None:
    storage = plan.layout.storage
    if storage is Storage.FP8:
        narrow_linears(block, FP8, fp8_product=plan.layout.fp8_product)
    elif storage is Storage.INT8:
        narrow_linears(block, torch.int8)
    elif storage is Storage.NF4:
        _four_bits(block, plan.dtype)


def _four_bits(block: nn.Module, dtype: torch.dtype) -> None:
    """Replace the linear layers of `block` by bitsandbytes' NF4 ones."""
    from bitsandbytes.nn import Linear4bit  # only this rung has it

    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                narrow = Linear4bit(
                    child.in_features,
                    child.out_features,
                    bias=child.bias is not None,
                    compute_dtype=dtype,
                    quant_type="nf4",
                )
                setattr(parent, name, narrow)


def _from_gguf(plan: Plan) -> tuple[Any, Callable[[nn.Module, torch.device], None]]:
    """Return the transformer of a GGUF file, in host memory, and what moves one of its parts."""
    from diffusers import GGUFQuantizationConfig  # needs the package gguf

    transformer = QwenImageTransformer2DModel.from_single_file(
        str(plan.gguf),
        quantization_config=GGUFQuantizationConfig(compute_dtype=plan.dtype),
        config=str(plan.folder),
        subfolder="transformer",
        dtype=plan.dtype,
    )
    transformer.eval().requires_grad_(False)
    return transformer, lambda part, home: part.to(home)


# --- text encoder ---------------------------------------------------------------------------------

FitText = Callable[[], tuple[torch.device, Chain | None, str]]


def _text_encoder(plan: Plan) -> tuple[Any, FitText]:
    """Return the text encoder, and what puts its weights where there is room at the end."""
    config = Qwen2_5_VLConfig.from_pretrained(plan.folder / "text_encoder")
    with init_empty_weights(include_buffers=False):
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.eval()
    # The pipeline takes hidden states; the head is 1.09 GB and its logits for nothing.
    model.lm_head = nn.Identity()
    source = plan.source("text_encoder")

    def put(home: torch.device) -> None:
        fill(model, source, dtype=plan.dtype, home=home, work=home)

    def fit() -> tuple[torch.device, Chain | None, str]:
        one = plan.layout
        if one.text is Placing.HOST:
            put(CPU)
            return CPU, None, "The text encoder computes on the CPU."
        if one.text is Placing.CARD:
            put(one.text_device)
            return one.text_device, None, f"The text encoder rests on {one.text_device}."
        return one.device, _visiting_text(plan, model, source), "The text encoder is streamed."

    return model, fit


def _visiting_text(plan: Plan, model: Any, source: Source) -> Chain | None:
    """Fill the text encoder so that its layers visit the card and its embedding stays at home."""
    device = plan.layout.device
    visual, language = model.model.visual, model.model.language_model
    layers = [*visual.blocks, *language.layers]
    names = {id(part): name + "." for name, part in model.named_modules() if name}

    def put(part: nn.Module, home: torch.device) -> None:
        fill(part, source, prefix=names[id(part)], dtype=plan.dtype, home=home, work=device)

    put(language.embed_tokens, CPU)
    _embed_at_home(language.embed_tokens, device)
    if plan.layout.text is Placing.LEAF:
        leaves = Leaves(device)
        for part in layers:
            put(part, CPU)
            leaves.add(part)
        chain = None
    else:
        chain = Chain(device)
        for part in layers:
            put(part, CPU)
            chain.add(part)
    fill(model, source, dtype=plan.dtype, home=device, work=device)
    return chain


def _embed_at_home(embedding: nn.Embedding, device: torch.device) -> None:
    """Look words up in host memory: 1.09 GB less on the card, for some kilobytes a prompt."""
    weight = embedding.weight

    def forward(ids: torch.Tensor) -> torch.Tensor:
        return F.embedding(ids.cpu(), weight).to(device)

    embedding.forward = forward


def dtype_of(name: str) -> torch.dtype:
    """Return the torch type of a setting's word."""
    kinds: Mapping[str, torch.dtype] = {
        "bfloat16": torch.bfloat16,
        "float16": torch.float16,
        "float32": torch.float32,
    }
    return kinds[name]
