"""What makes an edit faster or gives it a style: LoRAs, step caching, compilation, attention."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import nn

from .loading import Loaded

LOG = logging.getLogger("image_edit")
LIGHTNING = "lightning"
LIGHTNING_SHIFT = 3.0
"""Shift that the Lightning LoRAs were distilled with (their model card's scheduler)."""


class BadSetting(ValueError):
    """A setting or a request that this pipeline cannot take; the sentence says why."""


class Adapters:
    """The LoRAs of a run: loaded once, given their strength for each job."""

    def __init__(self, loaded: Loaded, config: Mapping[str, Any]) -> None:
        self._pipe = loaded.pipe
        self._loaded = loaded
        self.lightning = bool(config.get("lightning"))
        self._defaults: dict[str, float] = {}
        self._now: dict[str, float] | None = None
        self._step_cache = False
        if self.lightning:
            self._add(LIGHTNING, Path(config["lightning"]))
            self._pipe.scheduler = lightning_scheduler(self._pipe.scheduler)
        for name, path, scale in map(parse_lora, config.get("loras") or ()):
            self._add(name, path)
            self._defaults[name] = scale

    @property
    def names(self) -> list[str]:
        """Return the styles a job may ask for."""
        return list(self._defaults)

    def use(self, scales: Mapping[str, float]) -> None:
        """Give each LoRA its strength for the next job; BadSetting for one that is not loaded."""
        unknown = [name for name in scales if name not in self._defaults]
        if unknown:
            there = ", ".join(self._defaults) or "none"
            raise BadSetting(f"The LoRA {unknown[0]} is not loaded. Loaded: {there}.")
        if not self._defaults and not self.lightning:
            return
        wanted = {**dict.fromkeys(self._defaults, 0.0), **{k: float(v) for k, v in scales.items()}}
        if not scales:
            wanted = dict(self._defaults)
        if self.lightning:
            wanted[LIGHTNING] = 1.0
        if wanted != self._now:
            on = {name: scale for name, scale in wanted.items() if scale}
            if on:
                self._pipe.enable_lora()
                self._pipe.set_adapters(list(on), list(on.values()))
            else:
                self._pipe.disable_lora()
            self._now = wanted

    def begin(self) -> None:
        """Forget the last picture's steps."""
        if self._step_cache:
            self._pipe.transformer._reset_stateful_cache()

    def cache_steps(self, threshold: float) -> None:
        """Skip the later blocks of a step whose first block hardly changed."""
        from diffusers import FirstBlockCacheConfig  # only when asked for

        if len(set(self._loaded.block_devices)) > 1:
            raise BadSetting("step_cache needs the transformer on one card; this rung splits it.")
        self._pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
        self._step_cache = True

    def _add(self, name: str, path: Path) -> None:
        if not path.exists():
            raise BadSetting(f"There is no LoRA at {path}.")
        folder, file = (path, None) if path.is_dir() else (path.parent, path.name)
        before = {id(p) for p in self._pipe.transformer.parameters()}
        try:
            self._pipe.load_lora_weights(str(folder), weight_name=file, adapter_name=name)
        except (ValueError, KeyError, OSError, RuntimeError) as error:
            raise BadSetting(f"The LoRA {path.name} does not fit this model: {error}") from error
        self._settle(before)

    def _settle(self, before: set[int]) -> None:
        """Put what was added beside each block onto the block's card, in the pipeline's type."""
        transformer = self._pipe.transformer
        devices = self._loaded.block_devices
        for block, device in zip(transformer.transformer_blocks, devices, strict=True):
            _move_new(block, before, device, self._loaded.dtype)
        _move_new(transformer, before, None, self._loaded.dtype)


def _move_new(
    module: nn.Module, before: set[int], device: torch.device | None, dtype: torch.dtype
) -> None:
    for parameter in module.parameters():
        if id(parameter) not in before:
            parameter.data = parameter.data.to(device or parameter.device, dtype)
            parameter.requires_grad_(False)


def lightning_scheduler(scheduler: Any) -> Any:
    """Return the scheduler the Lightning LoRAs want: a fixed shift of 3 at every size."""
    shift = math.log(LIGHTNING_SHIFT)
    return FlowMatchEulerDiscreteScheduler.from_config(
        scheduler.config,
        base_shift=shift,
        max_shift=shift,
        shift=1.0,
        shift_terminal=None,
        use_dynamic_shifting=True,
        time_shift_type="exponential",
    )


def parse_lora(told: str) -> tuple[str, Path, float]:
    """Return name, path and strength of `name=path@0.8` (or a bare path).

    >>> parse_lora("ink=/a/b.safetensors@0.8")
    ('ink', PosixPath('/a/b.safetensors'), 0.8)
    """
    name, equals, rest = told.partition("=")
    if not equals:
        name, rest = "", told
    path, at, scale = rest.rpartition("@")
    try:
        strength = float(scale) if at else 1.0
    except ValueError:
        path, strength = rest, 1.0
    else:
        path = path if at else rest
    return name or Path(path).stem.replace(".", "_"), Path(path), strength


def set_attention(transformer: Any, backend: str) -> None:
    """Choose the attention kernel by diffusers' name for it; BadSetting when it is not there."""
    if backend in ("", "native"):
        return
    try:
        transformer.set_attention_backend(backend)
    except (ImportError, RuntimeError, ValueError) as error:
        raise BadSetting(f"attention {backend} cannot be used: {error}") from error


def compiled(wanted: bool) -> Callable[[nn.Module], None]:
    """Return what prepares a block: regional compilation, or nothing.

    The block's own forward is compiled, not what streams it or carries its inputs, so that one
    compilation serves all blocks; and every length of prompt, since CFG has two.
    """

    def prepare(block: nn.Module) -> None:
        if not wanted:
            return
        inner = torch.compile(block.forward)

        def forward(**kwargs: Any) -> Any:
            _any_length(kwargs["encoder_hidden_states"], 1)
            _any_length(kwargs["image_rotary_emb"][1], 0)
            _any_length(kwargs.get("encoder_hidden_states_mask"), 1)
            return inner(**kwargs)

        block.forward = forward

    return prepare


def _any_length(tensor: torch.Tensor | None, dim: int) -> None:
    """Tell the compiler that a tensor will come with other lengths."""
    if tensor is not None:
        torch._dynamo.maybe_mark_dynamic(tensor, dim)


def effective(config: Mapping[str, Any], loaded: Loaded, adapters: Adapters) -> Sequence[str]:
    """Apply the settings that work on a loaded pipeline; return sentences about them."""
    set_attention(loaded.pipe.transformer, str(config.get("attention") or "native"))
    notes = []
    if config.get("step_cache") == "first-block":
        threshold = float(config.get("step_cache_threshold") or 0.08)
        try:
            adapters.cache_steps(threshold)
        except BadSetting as error:
            notes.append(f"Ignored: {error}")
    return notes
