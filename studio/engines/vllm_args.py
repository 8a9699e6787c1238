"""The words of `vllm serve` for a config: every setting that differs from vLLM's own default."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from studio.core.spec import Placement
from studio.engines.engine import resolve_path
from studio.engines.flags import Flags
from studio.engines.vllm_config import VllmConfig

Words = tuple[str, ...]

CPU_SLOTS = 4
"""Adapter slots on a CPU when adapters come while it runs. The last slot has to stay empty: vLLM
0.32's CPU kernels (`lora/ops/torch_ops`) give a base request that shares a batch with an adapter's
the weights of the last slot. With one slot 81 of 96 base answers were the adapter's, with four
none (tiny model, 2026-11-21)."""

QUIET = ("--disable-access-log-for-endpoints", "/health,/metrics")
"""Keeps the studio's own questions, one every two seconds, out of the run's log."""
HEAD = ("model", "host", "port", "served_model_name")
"""Settings that are always said, first."""
ELSEWHERE = (
    *("api_key", "hot_lora"),  # in the environment
    *("num_speculative_tokens", "prompt_lookup_max", "speculative_model"),  # with the method
    *("limit_videos", "max_pixels"),  # with limit_images and min_pixels
    "extra_args",
)
"""Settings that have no words of their own."""


def arguments(config: VllmConfig, place: Placement) -> list[str]:
    """Return what follows `vllm`, spelled as the version in that environment knows it.

    Raises RecipeInvalid for a setting, or an extra argument, that this version does not have.
    """
    flags = Flags.of("vLLM", place)
    words = ["serve", resolve_path(config.model, place.root)]
    words += ["--host", config.host, "--port", str(place.port)]
    words += ["--served-model-name", config.name]
    for setting in VllmConfig.model_fields:
        if setting not in (*HEAD, *ELSEWHERE):
            spellings = list(_spellings(config, place, setting))
            words += flags.spell(setting, *spellings) if spellings else ()
    if QUIET[0] in (place.flags or ()) and QUIET[0] not in config.extra_args:
        words += QUIET
    flags.check(config.extra_args)
    return [*words, *config.extra_args]


def _spellings(config: VllmConfig, place: Placement, setting: str) -> Iterator[Words]:
    """Yield how a setting can be said, the best way first; nothing when it is at the default."""
    own = _OWN_WAY.get(setting)
    if own is not None:
        yield from own(config, place)
        return
    value = getattr(config, setting)
    if value == VllmConfig.model_fields[setting].default:
        return
    flag = "--" + setting.replace("_", "-")
    if value is True:
        yield (flag,)
    elif value is False:
        yield (flag.replace("--", "--no-", 1),)
        yield (flag.replace("--enable-", "--disable-", 1),)  # listed so since 0.33
    else:
        yield (flag, f"{value:g}" if isinstance(value, float) else str(value))


def _memory_share(config: VllmConfig, place: Placement) -> Iterator[Words]:
    if place.has_gpu:
        yield ("--gpu-memory-utilization", str(config.gpu_memory_utilization))


def _speculation(config: VllmConfig, place: Placement) -> Iterator[Words]:
    if config.speculative_method == "off":
        return
    said: dict[str, Any] = {"method": config.speculative_method}
    if config.draft:
        said["model"] = resolve_path(config.draft, place.root)
    said["num_speculative_tokens"] = config.num_speculative_tokens
    if config.prompt_lookup_max is not None:
        said["prompt_lookup_max"] = config.prompt_lookup_max
    yield ("--speculative-config", json.dumps(said, ensure_ascii=False))


def _pictures(config: VllmConfig, place: Placement) -> Iterator[Words]:
    asked = {"image": config.limit_images, "video": config.limit_videos}
    limits = {kind: most for kind, most in asked.items() if most is not None}
    if limits:
        yield ("--limit-mm-per-prompt", json.dumps(limits))


def _pixels(config: VllmConfig, place: Placement) -> Iterator[Words]:
    asked = {"min_pixels": config.min_pixels, "max_pixels": config.max_pixels}
    limits = {edge: area for edge, area in asked.items() if area is not None}
    if limits:
        yield ("--mm-processor-kwargs", json.dumps(limits))


def _adapters(config: VllmConfig, place: Placement) -> Iterator[Words]:
    hung = [f"{name}={resolve_path(p, place.root)}" for name, p in config.adapters.items()]
    if hung:
        yield ("--lora-modules", *hung)


def _slots(config: VllmConfig, place: Placement) -> Iterator[Words]:
    slots = config.max_loras
    if config.enable_lora and not place.has_gpu:
        slots = max(slots, len(config.adapters) + 1, CPU_SLOTS if config.hot_lora else 0)
    if slots != VllmConfig.model_fields["max_loras"].default:
        yield ("--max-loras", str(slots))


def _structured(config: VllmConfig, place: Placement) -> Iterator[Words]:
    backend = config.structured_outputs_backend
    if backend != "auto":
        yield ("--structured-outputs-config", json.dumps({"backend": backend}))
        yield ("--guided-decoding-backend", backend)  # until 0.11


def _path(setting: str) -> Callable[[VllmConfig, Placement], Iterator[Words]]:
    """Return the way of a setting whose value may be a path of the recipe."""

    def said(config: VllmConfig, place: Placement) -> Iterator[Words]:
        value = getattr(config, setting)
        if value != VllmConfig.model_fields[setting].default:
            yield ("--" + setting.replace("_", "-"), resolve_path(value, place.root))

    return said


_OWN_WAY: dict[str, Callable[[VllmConfig, Placement], Iterator[Words]]] = {
    "gpu_memory_utilization": _memory_share,
    "speculative_method": _speculation,
    "limit_images": _pictures,
    "min_pixels": _pixels,
    "lora_modules": _adapters,
    "max_loras": _slots,
    "structured_outputs_backend": _structured,
    "chat_template": _path("chat_template"),
    "generation_config": _path("generation_config"),
    "tokenizer": _path("tokenizer"),
}
