"""Why a run failed, in a sentence, with the lines that prove it and what to do.

Each cause is a pattern looked for in the end of the log, most telling first. A cause that is not
known here is said to be unknown, never guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.core.recipes import Bilingual
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.logs import CHUNK_BYTES, clean, read_from

_ERROR_LINE = re.compile(r"(error|exception|traceback|fatal|failed|killed)", re.I)


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A known way to fail: what the log says, what it means, what helps."""

    key: str
    pattern: str
    says: Bilingual
    advice: Bilingual


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A cause, found or not, with its evidence."""

    says: Bilingual
    advice: Bilingual
    lines: list[str]
    key: str = ""


def _cause(key: str, pattern: str, en: str, zh: str, do_en: str, do_zh: str) -> Cause:
    return Cause(
        key=key, pattern=pattern, says=Bilingual(en=en, zh=zh), advice=Bilingual(en=do_en, zh=do_zh)
    )


CAUSES = (
    _cause(
        "disk-full",
        r"No space left on device|ENOSPC|Disk quota exceeded",
        "The disk is full.",
        "磁盘满了。",
        "Delete old runs or checkpoints, or move the home to a larger disk with --home.",
        "删除旧的运行或 checkpoint，或用 --home 换到更大的磁盘。",
    ),
    _cause(
        "gpu-memory",
        r"CUDA out of memory|OutOfMemoryError|HIP out of memory|CUBLAS_STATUS_ALLOC_FAILED",
        "The card ran out of memory.",
        "显存不够。",
        "In this order: an idle card, a shorter length, batch 1, a smaller or quantized model, "
        "more cards.",
        "按顺序试：换空闲的卡、缩短长度、batch 设为 1、换更小或量化的模型、多用几张卡。",
    ),
    _cause(
        "kv-cache",
        r"No available memory for the cache blocks|larger than the available KV cache memory",
        "The weights fit, and no memory is left for the KV cache.",
        "权重放得下，但没有显存留给 KV cache。",
        "Shorten max_model_len, raise gpu_memory_utilization, or use more cards.",
        "减小 max_model_len，提高 gpu_memory_utilization，或多用几张卡。",
    ),
    _cause(
        "port",
        r"Address already in use|Errno 98|error while attempting to bind on address",
        "Another program listens on the port.",
        "端口被别的程序占用。",
        "Leave the port empty to take the next free one, and launch again.",
        "端口留空（自动取空闲端口），再启动一次。",
    ),
    _cause(
        "heads",
        r"must be divisible by tensor parallel size|attention heads .* divisible",
        "The attention heads cannot be divided by the number of cards.",
        "注意力头数不能被卡数整除。",
        "Set tensor_parallel_size to a divisor of the number of heads, such as 1, 2 or 4.",
        "把 tensor_parallel_size 设成头数的约数，例如 1、2、4。",
    ),
    _cause(
        "context",
        r"User-specified max_model_len .* is greater than the derived max_model_len",
        "The context length is larger than the model allows.",
        "上下文长度超过了模型的上限。",
        "Lower max_model_len, or leave it empty to take the model's own.",
        "减小 max_model_len，或留空使用模型自己的上限。",
    ),
    _cause(
        "tokenizer",
        r"Can't load tokenizer|Couldn't instantiate the backend tokenizer|tokenizer.*not found",
        "The tokenizer cannot be loaded.",
        "无法加载 tokenizer。",
        "Check that the model folder holds tokenizer.json or tokenizer.model; repeat the download.",
        "确认模型目录里有 tokenizer.json 或 tokenizer.model；可重新下载补全。",
    ),
    _cause(
        "hub",
        r"LocalEntryNotFoundError|Cannot find the requested files|couldn't connect to|"
        r"Max retries exceeded|offline mode is enabled|OfflineModeIsEnabled",
        "The model is not on this machine and the hub cannot be reached.",
        "本机没有这个模型，也连不上 hub。",
        "Give a local folder, set HF_ENDPOINT to a mirror, or unset HF_HUB_OFFLINE.",
        "改用本地目录，或把 HF_ENDPOINT 设为镜像，或取消 HF_HUB_OFFLINE。",
    ),
    _cause(
        "model-files",
        r"is not a local folder and is not a valid model identifier|No such file or directory: "
        r"'[^']*(config\.json|safetensors)|does not appear to have a file named",
        "The model's files are missing or incomplete.",
        "模型文件缺失或不完整。",
        "Check the path and that every shard is there; repeating a download resumes it.",
        "检查路径和所有分片是否齐全；重复下载会续传。",
    ),
    _cause(
        "module",
        r"ModuleNotFoundError: No module named|ImportError: ",
        "The engine's environment lacks a package.",
        "引擎环境里缺少软件包。",
        "Repair the environment in the Machine tab, or adopt another interpreter.",
        "在“机器”页修复环境，或改用别的 Python 解释器。",
    ),
    _cause(
        "network",
        r"error sending request for url|dns error|Failed to fetch|tcp connect error",
        "The package registry cannot be reached.",
        "连不上软件包仓库。",
        "Check the network, proxy and the index in pip's configuration, then build again.",
        "检查网络、代理和 pip 配置里的源，然后重新构建。",
    ),
    _cause(
        "cuda",
        r"CUDA driver version is insufficient|no kernel image is available|"
        r"Found no NVIDIA driver|libcuda\.so",
        "The card's driver and the environment do not fit together.",
        "显卡驱动与环境不匹配。",
        "Update the driver, or build the environment in its CPU variant.",
        "升级驱动，或把环境构建为 CPU 版本。",
    ),
    _cause(
        "nccl",
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError",
        "The cards cannot talk to each other (NCCL).",
        "多卡通信失败（NCCL）。",
        "Try NCCL_P2P_DISABLE=1 in the environment; in a container, use --ipc=host.",
        "试试设置环境变量 NCCL_P2P_DISABLE=1；容器里请加 --ipc=host。",
    ),
)

_KILLED = _cause(
    "host-memory",
    "",
    "The engine was killed from outside (SIGKILL), most often because host memory ran out.",
    "引擎被外部强制结束（SIGKILL），最常见的原因是内存不足。",
    "Look at the peak memory below and at `dmesg`; use a smaller model or close other programs.",
    "看下方的内存峰值和 `dmesg`；换更小的模型，或关掉其他程序。",
)
_UNKNOWN = _cause(
    "",
    "",
    "The engine ended in a way the studio has no name for.",
    "引擎以未知的方式结束。",
    "The last lines of the log usually say why.",
    "日志的最后几行通常会说明原因。",
)
_LOST = _cause(
    "lost",
    "",
    "The supervisor of this run disappeared (killed, or the machine restarted), so nobody saw "
    "how it ended. What it left behind was ended.",
    "这次运行的监督进程消失了（被杀或机器重启），没人知道它怎么结束的。残留进程已清理。",
    "Look at the log, then launch it again.",
    "看看日志，然后重新启动。",
)


def explain(run: Run) -> Explanation | None:
    """Return why a run failed or was lost; None for every other state."""
    if run.state not in (State.FAILED, State.LOST):
        return None
    lines = clean(read_from(run.dir.log, -CHUNK_BYTES).text).splitlines()
    text = "\n".join(lines)
    if run.state is State.LOST:
        return _told(_LOST, _last(lines))
    for cause in CAUSES:
        found = re.search(cause.pattern, text, re.I)
        if found:
            return _told(cause, _around(lines, cause.pattern))
    result = run.result or {}
    killed = result.get("signal") == "SIGKILL" and not result.get("killed_by")
    if killed or re.search(r"exit code -9|Killed\b", text):
        return _told(_KILLED, _last(lines))
    return _told(_UNKNOWN, _last(lines))


def _told(cause: Cause, lines: list[str]) -> Explanation:
    return Explanation(says=cause.says, advice=cause.advice, lines=lines, key=cause.key)


def _around(lines: list[str], pattern: str, count: int = 4) -> list[str]:
    hits = [line for line in lines if re.search(pattern, line, re.I)]
    return [line.strip()[:400] for line in hits[-count:]]


def _last(lines: list[str], count: int = 8) -> list[str]:
    """Return the last lines that sound like an error, else simply the last ones."""
    said = [line for line in lines if line.strip() and not line.startswith("[studio]")]
    errors = [line for line in said if _ERROR_LINE.search(line)]
    return [line.rstrip()[:400] for line in (errors or said)[-count:]]
