"""A relaunch that may work, and the settings that such relaunches change again and again.

A setting is only named when the run's engine has it: the frozen settings hold every field of its
config, so their keys are the engine's own spelling (`max_model_len` of vLLM is `vllm_maxlen` of
LLaMA-Factory).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec

SPELLINGS = {
    "max_model_len": ("max_model_len", "vllm_maxlen", "sglang_maxlen", "context_length"),
    "gpu_memory_utilization": (
        "gpu_memory_utilization",
        "vllm_gpu_util",
        "sglang_mem_fraction",
        "mem_fraction_static",
    ),
    "tensor_parallel_size": ("tensor_parallel_size", "sglang_tp_size", "tp_size"),
    "enforce_eager": ("enforce_eager", "vllm_enforce_eager", "disable_cuda_graph"),
    "max_num_seqs": ("max_num_seqs", "max_running_requests"),
    "max_num_batched_tokens": ("max_num_batched_tokens", "chunked_prefill_size"),
    "max_lora_rank": ("max_lora_rank", "vllm_max_lora_rank"),
    "dtype": ("dtype", "infer_dtype"),
}
"""How the engines call the same thing."""

HIGHEST_SHARE = 0.95
"""Above this the driver and the CUDA graphs have no room left."""
SEQUENCES = 256
"""What `max_num_seqs` is when nobody says; vLLM takes more only on cards of 70 GiB and above."""
BATCHED_TOKENS = 8192
"""What `max_num_batched_tokens` is for a server when nobody says."""
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The only values vLLM takes for `max_lora_rank`."""


@dataclass(frozen=True, kw_only=True)
class Fix:
    """A relaunch that may work: what it does, in both languages, and the settings it changes.

    `changes` are what `Studio.relaunch` takes; `cards` may be among them.
    """

    says: Bilingual
    changes: dict[str, Any]


Fixer = Callable[[RunSpec, str, re.Match[str]], Iterator[Fix]]


def nothing(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """No setting helps: something outside the run has to change first."""
    yield from ()


def key_of(spec: RunSpec, meaning: str) -> str | None:
    """Return how the run's engine calls a setting; None when it has none such."""
    return next((name for name in SPELLINGS[meaning] if name in spec.config), None)


def value_of(spec: RunSpec, meaning: str) -> Any:
    """Return what the run had for a setting; None too when its engine has none such."""
    key = key_of(spec, meaning)
    return spec.config[key] if key else None


def take_share(spec: RunSpec, wanted: float) -> Iterator[Fix]:
    """Take another share of the card; only where cards are used and it is a change."""
    key, share = key_of(spec, "gpu_memory_utilization"), round(wanted, 2)
    if not key or not spec.resources.num_gpus or not 0 < share <= 1 or share == spec.config[key]:
        return
    if spec.config.get("kv_cache_memory_bytes"):
        return
    more = spec.config[key] is not None and share > spec.config[key]
    says = (
        Bilingual(en="Let it take more of the card.", zh="允许占用更多显存。")
        if more
        else Bilingual(en="Take less of the card.", zh="少占一些显存。")
    )
    yield Fix(says=says, changes={key: share})


def lower(spec: RunSpec, meaning: str, default: int, *, at_least: int) -> Iterator[Fix]:
    """Halve a limit, or half its default."""
    key = key_of(spec, meaning)
    if not key:
        return
    now = spec.config[key] or default
    if now // 2 >= at_least:
        says = Bilingual(en=f"Do less at once: half of {now}.", zh=f"同时少做一些：{now} 的一半。")
        yield Fix(says=says, changes={key: now // 2})


def forget_cache_size(spec: RunSpec) -> Iterator[Fix]:
    """Give up a size of the KV cache that a person chose; only where cards are used."""
    if spec.config.get("kv_cache_memory_bytes") and spec.resources.num_gpus:
        says = Bilingual(
            en="Let vLLM work out the size of the KV cache.", zh="让 vLLM 自己计算 KV cache 大小。"
        )
        yield Fix(says=says, changes={"kv_cache_memory_bytes": None})


def fixed_cache(spec: RunSpec) -> Iterator[Fix]:
    """Give the KV cache a size of its own; only on a CPU, where a share means the whole memory."""
    if "kv_cache_memory_bytes" in spec.config and not spec.resources.num_gpus:
        says = Bilingual(
            en="Give the KV cache 1 GiB instead of a share of the memory.",
            zh="KV cache 固定为 1 GiB，而不是按内存比例。",
        )
        yield Fix(says=says, changes={"kv_cache_memory_bytes": 2**30})


def halve_dtype(spec: RunSpec) -> Iterator[Fix]:
    """Go from float32 to the model's own format."""
    key = key_of(spec, "dtype")
    if key and spec.config[key] == "float32":
        says = Bilingual(en="Half the bytes per weight.", zh="每个权重的字节数减半。")
        yield Fix(says=says, changes={key: "auto"})


def quantize(spec: RunSpec) -> Iterator[Fix]:
    """Quantize while loading, where nothing is quantized yet; the methods need a card."""
    if not spec.resources.num_gpus:
        return
    if "quantization" in spec.config and not spec.config["quantization"]:
        says = Bilingual(
            en="Round the weights to 8 bits while loading: half the memory; from Ampere on.",
            zh="加载时把权重量化到 8 bit：显存减半；需 Ampere 及以后的卡。",
        )
        yield Fix(says=says, changes={"quantization": "fp8"})
    small = spec.config.get("finetuning_type", "lora") == "lora"
    if small and "quantization_bit" in spec.config and not spec.config["quantization_bit"]:
        says = Bilingual(
            en="Round the weights to 4 bits while loading (needs bitsandbytes).",
            zh="加载时把权重量化到 4 bit（需要 bitsandbytes）。",
        )
        yield Fix(says=says, changes={"quantization_bit": 4})


def more_cards(spec: RunSpec) -> Iterator[Fix]:
    """Split every layer over twice as many cards."""
    key = key_of(spec, "tensor_parallel_size")
    if not key or not spec.resources.num_gpus:
        return
    size = 2 * (spec.config[key] or 1)
    says = Bilingual(
        en=f"Split it over {size} cards: about half of the weights on each.",
        zh=f"切到 {size} 张卡上：每张卡约放一半权重。",
    )
    yield Fix(says=says, changes={key: size, **cards_for(spec, size)})


def one_card(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Do without talk between the cards, if the model fits one."""
    key = key_of(spec, "tensor_parallel_size")
    if key and spec.config[key] > 1:
        says = Bilingual(
            en="Use one card, if the model fits it.", zh="只用一张卡（前提是模型放得下）。"
        )
        yield Fix(says=says, changes={key: 1, **cards_for(spec, 1)})


def cards_for(spec: RunSpec, tensor_parallel_size: int) -> dict[str, Any]:
    """Return the cards a changed split needs; pinned ones are kept as long as they are enough."""
    if not spec.resources.num_gpus:
        return {}
    before = value_of(spec, "tensor_parallel_size") or 1
    need = max(1, spec.resources.num_gpus // before) * tensor_parallel_size
    pinned = spec.resources.gpu_ids
    return {"cards": list(pinned[:need]) if pinned and len(pinned) >= need else need}
