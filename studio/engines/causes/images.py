"""The image editor: no rung fits, no card, a package for four bits, a model that edits nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from studio.core.recipes import Bilingual
from studio.core.spec import RunSpec
from studio.engines.causes.cause import cause
from studio.engines.causes.fix import Fix

SMALL_REFERENCE = 512 * 512


def for_no_rung(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take away what keeps rungs out, then ask for less."""
    yield from _changed(
        spec,
        (
            ({"rung": "auto"}, "Let the ladder choose.", "自动选择运行方式。"),
            ({"allow_quantized": True}, "Allow rounded weights.", "允许量化。"),
            ({"max_card_memory_gib": None}, "Use all of the card.", "去掉显存上限。"),
            ({"max_host_memory_gib": None}, "Use all host memory.", "去掉内存上限。"),
            ({"device": "auto"}, "Let it fall to the CPU.", "允许降到 CPU。"),
        ),
    )
    if spec.config.get("vae_tiling") == "never":
        says = Bilingual(en="Let the VAE work in tiles.", zh="VAE 分块编解码。")
        yield Fix(says=says, changes={"vae_tiling": "auto"})
    if spec.config.get("dtype") == "float32":
        says = Bilingual(en="Half the bytes per weight.", zh="每个权重的字节数减半。")
        yield Fix(says=says, changes={"dtype": "bfloat16"})
    if (spec.config.get("reference_pixels") or 0) > SMALL_REFERENCE:
        says = Bilingual(en="Smaller references.", zh="缩小参考图。")
        yield Fix(says=says, changes={"reference_pixels": SMALL_REFERENCE})


def for_four_bits(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Take a rung that needs no further package."""
    yield from _changed(spec, (({"rung": "auto"}, "Let the ladder choose.", "自动选择运行方式。"),))


def for_no_card(spec: RunSpec, log: str, found: re.Match[str]) -> Iterator[Fix]:
    """Go without a card."""
    changes: dict[str, Any] = {"rung": "auto", "device": "auto"}
    if any(spec.config.get(key) != value for key, value in changes.items()):
        says = Bilingual(en="Let it take the CPU; slow.", zh="改用 CPU，会很慢。")
        yield Fix(says=says, changes=changes)


def _changed(spec: RunSpec, offers: tuple[tuple[dict[str, Any], str, str], ...]) -> Iterator[Fix]:
    """Offer what the run does not have already."""
    for changes, en, zh in offers:
        if any(key in spec.config and spec.config[key] != changes[key] for key in changes):
            yield Fix(says=Bilingual(en=en, zh=zh), changes=changes)


IMAGES = (
    cause(
        "image-model",
        r"is (a|an) [^\n]*, not \('QwenImageEdit[^\n]*",
        (
            "The model is no Qwen-Image-Edit: it cannot edit pictures here.",
            "这个模型不是 Qwen-Image-Edit，不能用来编辑图片。",
        ),
        (
            "Take Qwen/Qwen-Image-Edit-2511, 2509, or the first release. Qwen-Image alone makes "
            "pictures from text.",
            "换成 Qwen/Qwen-Image-Edit-2511、2509 或最初的版本。Qwen-Image 只能由文字生成图片。",
        ),
    ),
    cause(
        "image-four-bits",
        r"No module named 'bitsandbytes'|bitsandbytes[^\n]*(not installed|is required)[^\n]*",
        (
            "The rung nf4 needs bitsandbytes, which the environment has not got.",
            "nf4 这一档需要 bitsandbytes，当前环境里没有。",
        ),
        (
            "Repair the environment in the Machine tab, or take another rung.",
            "在“机器”页修复环境，或换一档。",
        ),
        for_four_bits,
    ),
    cause(
        "image-no-card",
        r"Rung [\w-]+ cannot be taken\. It needs (a|two) cards?[^\n]*",
        (
            "The rung that was asked for needs more cards than there are.",
            "指定的运行方式需要的卡比现有的多。",
        ),
        (
            "Without any card: is the environment the CUDA variant, and does the Machine tab show "
            "the card? Else take another rung.",
            "一张卡都没有时：看看环境是不是 CUDA 版本、“机器”页里有没有卡。否则换一档。",
        ),
        for_no_card,
    ),
    cause(
        "image-host-memory",
        r"rung cpu-fp8: It needs [\d.]+ GiB of host memory[^\n]*(?=\n(?:[^\n]*\n){0,40}?"
        r"[^\n]*No rung of the ladder)",
        (
            "No rung fits, and host memory is too small even for the smallest one.",
            "没有一档放得下，内存连最省的一档也不够。",
        ),
        (
            "Close what else holds memory, raise the container's limit, or take a machine with "
            "32 GiB or more. With a card, smaller steps below may do.",
            "关掉占内存的程序，提高容器的内存上限，或换 32 GiB 以上内存的机器。"
            "有显卡时可试下面的做法。",
        ),
        for_no_rung,
    ),
    cause(
        "image-no-rung",
        r"No rung of the ladder (fits|has the memory)[^\n]*|Rung [\w-]+ cannot be taken\.[^\n]*",
        (
            "No rung of the ladder can be taken on this machine with these settings.",
            "按当前设置，没有一档能在本机运行。",
        ),
        (
            "The lines above say for every rung what is missing. Free memory on the cards or the "
            "host, or take away what keeps rungs out.",
            "上面几行写明了每一档缺什么。释放显存或内存，或去掉限制了选择的设置。",
        ),
        for_no_rung,
    ),
    cause(
        "image-killed",
        r"The image pipeline cannot be started: it ended signal 9[^\n]*",
        (
            "The pipeline was killed from outside three times (SIGKILL), most often because host "
            "memory ran out.",
            "图片编辑进程三次被外部强制结束（SIGKILL），最常见的原因是内存不足。",
        ),
        (
            "Set max_host_memory_gib to what it may really use: the ladder then keeps below.",
            "把 max_host_memory_gib 设为真正可用的内存，程序会控制在以内。",
        ),
    ),
)
"""What the front says when it ends, most telling first."""
