"""The machine: driver, cards that cannot talk, shared and host memory, the environment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import cause
from studio.engines.causes.fix import Fix, one_card


def for_refused(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Leave a limit that is too low to the engine."""
    low = re.search(r"(\w+) \(\d+\) must be (greater than or equal to|>=|at least)", found[0])
    if low and spec.config.get(low[1]):
        says = Bilingual(en="Leave it to the engine.", zh="交给引擎决定。")
        yield Fix(says=says, changes={low[1]: None})


MACHINE = (
    cause(
        "kernel-image",
        r"no kernel image is available for execution|is not compatible with the current PyTorch",
        (
            "The environment was built for other cards than this one.",
            "环境里的 CUDA 程序不是为这种卡编译的。",
        ),
        (
            "A new card needs a newer engine, a very old one an older: build or adopt another "
            "environment in the Machine tab.",
            "新卡需要更新的引擎版本，老卡需要旧版本：在“机器”页重新构建或改用别的环境。",
        ),
    ),
    cause(
        "driver",
        r"CUDA driver version is insufficient|NVIDIA driver on your system is too old|"
        r"Found no NVIDIA driver|libcuda\.so[^\n]*cannot open|unsupported PTX|"
        r"no CUDA-capable device is detected",
        (
            "The card's driver is missing, or too old for the environment's CUDA.",
            "缺少显卡驱动，或驱动太旧，与环境里的 CUDA 不匹配。",
        ),
        (
            "Update the driver, adopt an environment built for an older CUDA, or build the CPU "
            "variant.",
            "升级驱动，或改用为旧版 CUDA 构建的环境，或构建 CPU 版本。",
        ),
    ),
    cause(
        "nccl",
        r"NCCL error|ncclSystemError|ncclUnhandledCudaError|ncclInternalError|ncclRemoteError",
        ("The cards cannot talk to each other (NCCL).", "多卡通信失败（NCCL）。"),
        (
            "Set NCCL_P2P_DISABLE=1 before the studio starts (4090s have no P2P); in a container, "
            "use --ipc=host. NCCL_DEBUG=INFO tells more.",
            "启动前设置 NCCL_P2P_DISABLE=1（4090 不支持 P2P）；容器里请加 --ipc=host。"
            "设置 NCCL_DEBUG=INFO 可看到详情。",
        ),
        one_card,
    ),
    cause(
        "network",
        r"error sending request for url|dns error|Failed to fetch|tcp connect error",
        ("The package registry cannot be reached.", "连不上软件包仓库。"),
        (
            "Check the network, proxy and the index in pip's configuration, then build again.",
            "检查网络、代理和 pip 配置里的源，然后重新构建。",
        ),
    ),
    cause(
        "module",
        r"ModuleNotFoundError: No module named|ImportError: ",
        ("The engine's environment lacks a package.", "引擎环境里缺少软件包。"),
        (
            "Repair the environment in the Machine tab, or adopt another interpreter.",
            "在“机器”页修复环境，或改用别的 Python 解释器。",
        ),
    ),
    cause(
        "host-memory",
        r"exit ?code:? -9\b|Signal 9 \(SIGKILL\)|DefaultCPUAllocator: [^\n]*allocate memory|"
        r"MemoryError|Cannot allocate memory|^Killed\b",
        (
            "The engine was killed from outside (SIGKILL), most often because host memory ran out.",
            "引擎被外部强制结束（SIGKILL），最常见的原因是内存不足。",
        ),
        (
            "Look at the peak memory below and at `dmesg`; use a smaller model or close other "
            "programs.",
            "看下方的内存峰值和 `dmesg`；换更小的模型，或关掉其他程序。",
        ),
    ),
    cause(
        "refused",
        r"Value error, [^\n]*",
        ("The engine refuses a setting.", "引擎不接受某个设置。"),
        (
            "The line says which one, and what it would take. Empty settings take the engine's "
            "own default.",
            "报错里写明了是哪一个、应该怎么改。留空则使用引擎的默认值。",
        ),
        for_refused,
    ),
    cause(
        "engine-died",
        r"died unexpectedly|EngineDeadError|Engine core initialization failed",
        (
            "A worker of the engine died, and the server left with it (vLLM then says exit code "
            "0).",
            "引擎的工作进程意外退出，服务随之结束（此时 vLLM 的退出码仍是 0）。",
        ),
        (
            "The first error above these lines names the reason, if it had time to say one. A "
            "worker that goes without a word was often killed for memory: look at `dmesg`.",
            "这些行之前的第一条报错就是原因。如果什么都没说就退出，"
            "多半是内存不足被系统杀掉：看看 `dmesg`。",
        ),
        symptom=True,
    ),
)
