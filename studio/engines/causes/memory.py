"""Memory: shared memory, the disk, the card, and the KV cache on it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import OUT_OF_MEMORY, cause
from studio.engines.causes.fix import (
    BATCHED_TOKENS,
    HIGHEST_SHARE,
    SEQUENCES,
    Fix,
    fixed_cache,
    forget_cache_size,
    halve_dtype,
    key_of,
    lower,
    more_cards,
    one_card,
    quantize,
    take_share,
    value_of,
)
from studio.engines.causes.training import for_disk, for_training

LEAST_SHARE = 0.2
"""With less of a card free than this, a smaller share is no way out."""


def for_weights(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Make the weights smaller, or put less of them on each card."""
    yield from halve_dtype(spec)
    yield from quantize(spec)
    yield from more_cards(spec)


def for_profiling(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Compute fewer tokens at once: what does not fit is the work of one step."""
    yield from lower(spec, "max_num_batched_tokens", BATCHED_TOKENS, at_least=512)
    yield from lower(spec, "max_num_seqs", SEQUENCES, at_least=8)
    yield from quantize(spec)
    yield from more_cards(spec)


def for_cache(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take less of the card for the KV cache."""
    yield from forget_cache_size(spec)
    yield from take_share(spec, (value_of(spec, "gpu_memory_utilization") or 0.9) - 0.05)
    yield from more_cards(spec)


def for_graphs(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Capture no CUDA graphs, or smaller ones, or leave more room for them."""
    key = key_of(spec, "enforce_eager")
    if key:
        says = Bilingual(
            en="Leave the CUDA graphs out: starts sooner, answers somewhat slower.",
            zh="不用 CUDA graph：启动更快，回答稍慢。",
        )
        yield Fix(says=says, changes={key: True})
    yield from lower(spec, "max_num_seqs", SEQUENCES, at_least=8)
    yield from take_share(spec, (value_of(spec, "gpu_memory_utilization") or 0.9) - 0.05)
    yield from more_cards(spec)


def for_serving(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Leave more of the card free for the work itself, or do less of it at once."""
    yield from take_share(spec, (value_of(spec, "gpu_memory_utilization") or 0.9) - 0.05)
    yield from lower(spec, "max_num_seqs", SEQUENCES, at_least=8)
    yield from lower(spec, "max_num_batched_tokens", BATCHED_TOKENS, at_least=512)
    yield from more_cards(spec)


def for_no_blocks(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Give the engine a larger share, or make what is in it smaller."""
    if not spec.resources.num_gpus:
        yield from fixed_cache(spec)
        return
    yield from take_share(spec, HIGHEST_SHARE)
    yield from quantize(spec)
    yield from more_cards(spec)
    yield from lower(spec, "max_num_batched_tokens", BATCHED_TOKENS, at_least=512)


def for_cache_length(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Shorten to what vLLM itself worked out, or make the cache as large as it asks for."""
    need = re.search(r"\(([\d.]+) GiB KV cache is needed", log)
    have = re.search(r"available KV cache memory \(([\d.]+) GiB\)", log)
    fits = re.search(r"estimated maximum model length is (\d+)", log)
    key = key_of(spec, "max_model_len")
    if key and fits:
        length = _round_down(int(fits[1]))
        says = Bilingual(
            en=f"Shorten the context; {fits[1]} tokens would fit.",
            zh=f"缩短上下文长度；最多放得下 {fits[1]} 个 token。",
        )
        yield Fix(says=says, changes={key: length})
    missing = float(need[1]) - float(have[1]) if need and have else None
    if spec.config.get("kv_cache_memory_bytes"):
        if need:
            says = Bilingual(
                en=f"Make the KV cache the {need[1]} GiB that one request needs.",
                zh=f"把 KV cache 加大到一条请求所需的 {need[1]} GiB。",
            )
            wanted = math.ceil((float(need[1]) + 0.01) * 2**30 / 2**20) * 2**20
            yield Fix(says=says, changes={"kv_cache_memory_bytes": wanted})
    elif missing is not None:
        total = re.search(r"[\d.]+/([\d.]+) GiB\)", log)
        share = value_of(spec, "gpu_memory_utilization") or 0.9
        wanted_share = share + (missing / float(total[1]) + 0.01 if total else 0.05)
        if share < wanted_share <= HIGHEST_SHARE + 0.02:
            yield from take_share(spec, math.ceil(wanted_share * 100) / 100)
    if missing is not None and spec.config.get("kv_cache_dtype") == "auto":
        assert need and have
        if 2 * float(have[1]) > float(need[1]):
            says = Bilingual(
                en="Keep the KV cache in 8 bits: twice the tokens, slightly less exact.",
                zh="KV cache 用 8 bit 存放：token 数翻倍，精度略降。",
            )
            yield Fix(says=says, changes={"kv_cache_dtype": "fp8"})
    yield from more_cards(spec)


def for_taken_memory(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Ask for what is free, a little less; or go to cards that nobody uses."""
    amounts = re.search(r"\(([\d.]+)/([\d.]+) GiB\)", found.string[found.start() :])
    if amounts and spec.resources.num_gpus:
        free = float(amounts[1]) / float(amounts[2])
        if free >= LEAST_SHARE:
            yield from take_share(spec, math.floor((free - 0.02) * 100) / 100)
    yield from fixed_cache(spec)
    if spec.resources.gpu_ids is not None:
        says = Bilingual(en="Take any idle cards.", zh="换成任意空闲的卡。")
        yield Fix(says=says, changes={"cards": len(spec.resources.gpu_ids)})


def _round_down(tokens: int) -> int:
    """Return a round number of tokens at or below: 12345 becomes 12288."""
    step = 256 if tokens >= 512 else 16
    return max(16, tokens // step * step)


MEMORY = (
    cause(
        "shared-memory",
        r"[Bb]us error|SIGBUS|insufficient shared memory|creating shared memory segment[^\n]*|"
        r"/dev/shm[^\n]*(full|too small|No space)",
        (
            "Shared memory (/dev/shm) is too small, as in a container with default settings.",
            "共享内存（/dev/shm）太小，容器的默认设置常常如此。",
        ),
        (
            "Start the container with --ipc=host, or with --shm-size=10g.",
            "启动容器时加 --ipc=host，或 --shm-size=10g。",
        ),
        one_card,
    ),
    cause(
        "disk-full",
        r"No space left on device|ENOSPC|Disk quota exceeded",
        ("The disk is full.", "磁盘满了。"),
        (
            "Delete old runs or checkpoints, or move the home to a larger disk with --home.",
            "删除旧的运行或 checkpoint，或用 --home 换到更大的磁盘。",
        ),
        for_disk,
    ),
    cause(
        "no-cache-blocks",
        r"No available memory for the cache blocks|Cannot auto-fit max_model_len: not enough|"
        r"requested memory for kv \(-|Not enough memory to allocate KV cache|"
        r"Not enough memory\. Please try to increase --mem-fraction-static",
        (
            "The weights fit, and nothing of the engine's share is left for the KV cache.",
            "权重放得下，但分配到的份额里没有留给 KV cache 的空间。",
        ),
        (
            "Give the engine a larger share, make the weights smaller, or use more cards.",
            "提高显存占用比例，或用量化让权重变小，或多用几张卡。",
        ),
        for_no_blocks,
    ),
    cause(
        "kv-cache",
        r"To serve at least one request with the model's max seq len.*|"
        r"larger than the available KV cache memory|larger than the maximum number of tokens that "
        r"can be stored in KV cache",
        (
            "The KV cache is too small for even one request of the full context length.",
            "KV cache 连一条满长度的请求都放不下。",
        ),
        (
            "In this order: a shorter context, a larger share of the card, an 8-bit KV cache, "
            "more cards.",
            "按顺序试：缩短上下文长度、提高显存占用比例、KV cache 用 8 bit、多用几张卡。",
        ),
        for_cache_length,
    ),
    cause(
        "memory-taken",
        r"Free memory on device[^\n]*on startup is less than desired|"
        r"Available memory on node[^\n]*(is less than desired|less than requested)",
        (
            "Less memory is free than the engine was told to take: somebody else uses it.",
            "空闲内存少于设定的占用量：有别的程序在用。",
        ),
        (
            "The Machine tab shows who holds the cards. End that program, take another card, or "
            "ask for less.",
            "“机器”页能看到谁占着卡。结束那个程序，或换一张卡，或少占一些。",
        ),
        for_taken_memory,
    ),
    cause(
        "memory-changed",
        r"Error in memory profiling",
        (
            "Another program gave memory back while vLLM was measuring, so its sums do not add up.",
            "vLLM 测量显存时，别的程序正好释放了显存，结果对不上。",
        ),
        (
            "Launch it again when the other program has ended.",
            "等另一个程序结束后，再启动一次。",
        ),
    ),
    cause(
        "oom-warm-up",
        r"CUDA out of memory occurred when warming up \w+ with \d+ dummy requests",
        (
            "The card ran out of memory while trying the largest batch of requests.",
            "按最大并发请求数预热时显存不够。",
        ),
        (
            "Allow fewer requests at once, or take a smaller share of the card.",
            "减少并发请求数，或降低显存占用比例。",
        ),
        for_serving,
    ),
    cause(
        "oom-weights",
        OUT_OF_MEMORY,
        ("The card ran out of memory while loading the weights.", "加载权重时显存不够。"),
        (
            "A shorter context does not help here: make the weights smaller (quantization), or "
            "split them over more cards. See in the Machine tab that nobody else uses the card.",
            "此时缩短上下文没有用：用量化让权重变小，或切到更多卡上。另外看看“机器”页里是否有人占着卡。",
        ),
        for_weights,
        stage="weights",
    ),
    cause(
        "oom-profiling",
        OUT_OF_MEMORY,
        (
            "The weights fit, and the card ran out of memory in the first trial step.",
            "权重放得下，但试算第一步时显存不够。",
        ),
        (
            "Compute fewer tokens at once, make the weights smaller, or use more cards.",
            "减少一次计算的 token 数，或用量化让权重变小，或多用几张卡。",
        ),
        for_profiling,
        stage="profiling",
    ),
    cause(
        "oom-cache",
        OUT_OF_MEMORY,
        (
            "The card ran out of memory while the KV cache was laid out.",
            "分配 KV cache 时显存不够。",
        ),
        (
            "Somebody took memory in between, or the cache was given a size of its own: take less.",
            "可能中途有人占了显存，或手动指定的 KV cache 太大：少占一些。",
        ),
        for_cache,
        stage="cache",
    ),
    cause(
        "oom-graphs",
        OUT_OF_MEMORY,
        (
            "The card ran out of memory while CUDA graphs were captured.",
            "捕获 CUDA graph 时显存不够。",
        ),
        (
            "CUDA graphs need memory beside the share: leave them out, capture fewer, or take a "
            "smaller share.",
            "CUDA graph 需要占用比例之外的显存：不用它，或减少并发请求数，或降低占用比例。",
        ),
        for_graphs,
        stage="graphs",
    ),
    cause(
        "oom-serving",
        OUT_OF_MEMORY,
        (
            "The server was up, and the card ran out of memory under load.",
            "服务已经起来，但在负载下显存不够。",
        ),
        (
            "Leave more of the card free, or do less at once: fewer requests, fewer tokens a step.",
            "给显存多留些余量，或同时少做一些：更少的请求、每步更少的 token。",
        ),
        for_serving,
        stage="serving",
    ),
    cause(
        "gpu-memory",
        OUT_OF_MEMORY,
        ("The card ran out of memory.", "显存不够。"),
        (
            "In this order: an idle card, batch 1, a shorter length, LoRA, a quantized model, "
            "ZeRO, offload, more cards.",
            "按顺序试：换空闲的卡、batch 设为 1、缩短长度、LoRA、量化、ZeRO、卸载、多用几张卡。",
        ),
        for_training,
    ),
)
