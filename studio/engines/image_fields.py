"""Settings of the image editor: the ladder, its memory, speed, LoRAs and what requests may ask."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, field_validator

from studio.core.errors import RecipeInvalid
from studio.engines.engine import ServerConfig, knob
from studio.engines.shared_fields import as_number

MODEL = "Qwen/Qwen-Image-Edit-2511"
MEGAPIXEL = 1024 * 1024


class Style(NamedTuple):
    """One LoRA that requests may name."""

    name: str
    path: str
    scale: float


def style_of(text: str) -> Style:
    """Take `name=path` or `name=path@0.8` apart; raise RecipeInvalid for anything else."""
    name, _, rest = text.partition("=")
    path, _, scale = rest.rpartition("@") if "@" in rest else (rest, "", "1")
    try:
        number = float(scale)
    except ValueError:
        path, number = rest, 1.0
    if not name.strip() or not path.strip():
        raise RecipeInvalid(
            f"A LoRA is written name=path, and {text!r} is not.",
            hint="For example: ink=/loras/ink.safetensors@0.8",
        )
    return Style(name.strip(), path.strip(), number)


class ModelFields(ServerConfig):
    """What is loaded, and on which rung."""

    model: str = knob(
        MODEL,
        title="Model",
        help="A Qwen-Image-Edit folder in diffusers' layout, or a hub id. 2509 and 2511 take up to "
        "three pictures, the first release one.",
        zh=(
            "模型",
            "diffusers 格式的 Qwen-Image-Edit 目录，或 hub 上的名字。2509 和 2511 最多三张图，"
            "最初的版本只支持一张。",
        ),
        min_length=1,
    )
    rung: Literal[
        "auto", "whole", "resident", "split", "fp8", "int8", "nf4", "groups", "leaf", "cpu",
        "cpu-fp8",
    ] = knob(
        "auto",
        title="Rung",
        help="How the model is held. auto takes the best one that fits and falls to the next after "
        "an out-of-memory; any other is kept.",
        zh=(
            "运行方式",
            "模型怎么放。auto 选放得下的最好一档，显存不够时自动降一档；选其他则固定不变。",
        ),
    )  # fmt: skip
    device: Literal["auto", "cuda", "cpu"] = knob(
        "auto",
        title="Where",
        help="auto uses cards where there are any; cuda never falls to the CPU.",
        zh=("设备", "有卡时 auto 用卡；cuda 则不会降到 CPU。"),
    )
    dtype: Literal["bfloat16", "float16", "float32"] = knob(
        "bfloat16",
        title="Data type",
        help="bfloat16 as published. float16 for cards before Ampere; float32 doubles the memory.",
        zh=("数据类型", "发布的权重是 bfloat16。Ampere 之前的卡用 float16；float32 内存翻倍。"),
    )
    num_inference_steps: int = knob(
        40,
        title="Steps",
        help="What a request gets that names no number. Time grows with it; 4 or 8 with Lightning.",
        zh=("步数", "请求没写时的默认值。耗时与步数成正比；用 Lightning 时为 4 或 8。"),
        ge=2,
        le=200,
    )
    true_cfg_scale: float = knob(
        4.0,
        title="True CFG",
        help="How closely the picture follows the prompt. Above 1 every step computes twice; 1 "
        "switches it off.",
        zh=("True CFG", "图片贴近提示词的程度。大于 1 时每步算两遍；1 表示关闭。"),
        ge=1,
        le=20,
    )
    load_format: Literal["auto", "dummy"] = knob(
        "auto",
        title="Weights",
        help="dummy makes random weights of the true shape, to try a machine before 58 GB are "
        "downloaded: real memory and speed, noise for pictures.",
        zh=(
            "权重",
            "dummy 用真实结构的随机权重，下载 58 GB 之前先试机器：显存和速度是真的，图是噪声。",
        ),
        group="expert",
    )


class MemoryFields(ModelFields):
    """What keeps it inside the machine."""

    max_card_memory_gib: float | None = knob(
        None,
        title="Card memory (GiB)",
        help="At most so much of each card. Empty: all that is free.",
        zh=("显存上限（GiB）", "每张卡最多用这么多。留空则用全部空闲显存。"),
        group="memory",
        gt=0,
    )
    max_host_memory_gib: float | None = knob(
        None,
        title="Host memory (GiB)",
        help="At most so much memory of the machine. Empty: all that is free, within a container's "
        "limit.",
        zh=("内存上限（GiB）", "最多用这么多内存。留空则用全部空闲内存（不超过容器限制）。"),
        group="memory",
        gt=0,
    )
    vae_tiling: Literal["auto", "always", "never"] = knob(
        "auto",
        title="VAE in tiles",
        help="Encodes and decodes piece by piece: saves some GiB, alters pixels slightly. auto "
        "does it when memory is short.",
        zh=("VAE 分块", "分块编解码：省几 GiB 显存，像素略有差异。auto 只在不够时启用。"),
        group="memory",
    )
    reference_pixels: int = knob(
        MEGAPIXEL,
        title="Reference size (pixels)",
        help="Pictures that are given are resized to this area. Smaller is faster and loses "
        "detail.",
        zh=("参考图大小（像素）", "输入图片会缩放到这个面积。越小越快，细节越少。"),
        group="vision",
        ge=64 * 64,
        le=4 * MEGAPIXEL,
    )
    condition_pixels: int = knob(
        384 * 384,
        title="Size for the text encoder (pixels)",
        help="The area at which the text encoder sees the pictures.",
        zh=("给文本编码器的图片大小（像素）", "文本编码器看到的图片面积。"),
        group="vision",
        ge=56 * 56,
        le=MEGAPIXEL,
    )
    default_pixels: int = knob(
        MEGAPIXEL,
        title="Usual picture (pixels)",
        help="The area of a result when a request names no size, in the shape of its first "
        "picture. The model was trained at about one megapixel; smaller is faster.",
        zh=(
            "默认输出（像素）",
            "请求没写尺寸时结果的面积，形状跟第一张图。模型按约一百万像素训练，越小越快。",
        ),
        group="vision",
        ge=64 * 64,
        le=4 * MEGAPIXEL,
    )
    max_pixels: int = knob(
        2 * MEGAPIXEL,
        title="Largest picture (pixels)",
        help="Requests for larger ones are refused. The model was trained at about one megapixel.",
        zh=("最大输出（像素）", "更大的请求会被拒绝。模型按约一百万像素训练。"),
        group="vision",
        ge=64 * 64,
        le=16 * MEGAPIXEL,
    )
    allow_quantized: bool = knob(
        True,
        title="Allow rounded weights",
        help="Lets auto store the transformer in 8 or 4 bits. Off: only exact rungs, slower on "
        "small cards.",
        zh=(
            "允许量化",
            "允许 auto 把 transformer 存成 8 或 4 bit。关闭则只用原精度，小卡上更慢。",
        ),
        group="quant",
    )
    gguf: str = knob(
        "",
        title="GGUF transformer",
        help="A .gguf file, here or as owner/repository/file on the hub. Everything else comes "
        "from the model.",
        zh=(
            "GGUF transformer",
            "一个 .gguf 文件，本地路径或 hub 上的“作者/仓库/文件”。其余部分仍来自模型。",
        ),
        group="quant",
    )


class SpeedFields(MemoryFields):
    """What makes it faster than the plain pipeline."""

    lightning: str = knob(
        "",
        title="Lightning LoRA",
        help="A distilled LoRA for 4 or 8 steps without CFG: 10 to 20 times fewer passes. A file "
        "here, or owner/repository/file on the hub.",
        zh=(
            "Lightning LoRA",
            "蒸馏 LoRA，4 或 8 步、不用 CFG，前向次数少 10 到 20 倍。"
            "本地文件，或 hub 上的“作者/仓库/文件”。",
        ),
        group="speed",
    )
    lightning_steps: Annotated[Literal[4, 8], BeforeValidator(as_number)] = knob(
        4,
        title="Lightning steps",
        help="The number the LoRA was made for.",
        zh=("Lightning 步数", "与 LoRA 对应的步数。"),
        group="speed",
    )
    cfg_mode: Literal["auto", "sequential", "batched"] = knob(
        "auto",
        title="CFG passes",
        help="batched computes both passes of a step at once: more memory, faster where weights "
        "are streamed. auto takes what is faster.",
        zh=(
            "CFG 计算方式",
            "batched 把每步的两遍合成一次：显存多一些，权重走内存时更快。auto 选更快的。",
        ),
        group="speed",
    )
    fp8_compute: bool | None = knob(
        None,
        title="Compute in fp8",
        help="With the rung fp8: matrix products in fp8 too, slightly different pictures. Empty: "
        "on cards that can (Ada, Hopper and later).",
        zh=(
            "fp8 计算",
            "配合 fp8 档：矩阵乘法也用 fp8，图片略有不同。"
            "留空：显卡支持时启用（Ada、Hopper 及以后）。",
        ),
        group="speed",
    )
    step_cache: Literal["none", "first-block"] = knob(
        "none",
        title="Step cache",
        help="first-block skips a step's blocks when the first one hardly changed.",
        zh=("步间缓存", "first-block：第一个 block 变化很小时跳过其余 block。"),
        group="speed",
    )
    step_cache_threshold: float = knob(
        0.08,
        title="Step cache threshold",
        help="Higher skips more steps and departs further from the exact picture.",
        zh=("步间缓存阈值", "越高跳过越多，离精确结果越远。"),
        group="speed",
        gt=0,
        le=1,
    )
    prompt_cache: int = knob(
        32,
        title="Kept prompts",
        help="So many encoded prompts and pictures are kept for the next edit of the same.",
        zh=("缓存条数", "保留这么多条编码过的提示词和图片，再次编辑时直接用。"),
        group="speed",
        ge=0,
        le=1024,
    )
    compile: bool = knob(
        False,
        title="Compile",
        help="torch.compile of the repeated blocks: 6 to 10 s at the first edit on an H200, then a "
        "fifth to two fifths faster. On cards that hold the transformer.",
        zh=(
            "编译",
            "对重复的 block 做 torch.compile：H200 上首次多等 6 到 10 秒，之后快两成到四成。"
            "transformer 需整个放在卡上。",
        ),
        group="speed",
    )
    attention: Literal["native", "_native_cudnn", "flash", "_flash_3", "sage"] = knob(
        "native",
        title="Attention",
        help="Back end of diffusers; flash and sage need their packages in the environment.",
        zh=("注意力实现", "diffusers 的后端；flash 和 sage 需要环境里装有对应的包。"),
        group="speed",
    )
    loras: list[str] = knob(
        [],
        title="LoRAs",
        help="Styles that requests may name: name=path, or name=path@0.8 for another strength.",
        zh=("LoRA", "请求里可以点名的风格：名字=路径，或 名字=路径@0.8 指定强度。"),
        group="lora",
    )

    @field_validator("loras")
    @classmethod
    def _written_well(cls, texts: list[str]) -> list[str]:
        names = [style_of(text).name for text in texts]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise RecipeInvalid(f"Two LoRAs are called {twice}.", hint="Give one another name.")
        return texts


class ImageEditConfig(SpeedFields):
    """Settings of the image editor. What `image.json` says to the worker, under the same names."""

    served_model_name: str = knob(
        "",
        title="Served name",
        help="The name clients ask for. Empty: the model's last part.",
        zh=("对外名称", "客户端请求时使用的名字。留空则用模型名的最后一段。"),
        group="server",
    )
    max_queue: int = knob(
        64,
        title="Longest queue",
        help="Further requests are told to come back later.",
        zh=("最长排队", "超出的请求会被告知稍后再试。"),
        group="server",
        ge=1,
        le=10_000,
    )
    num_threads: int | None = knob(
        None,
        title="CPU threads",
        help="Threads for what is computed on the CPU. Empty: one per core.",
        zh=("CPU 线程数", "在 CPU 上计算时用的线程数。留空则每个核一个。"),
        group="expert",
        ge=1,
    )

    @property
    def name(self) -> str:
        """The name clients ask for."""
        return self.served_model_name or self.model.rstrip("/").rpartition("/")[2]

    @property
    def styles(self) -> list[Style]:
        """The LoRAs, taken apart."""
        return [style_of(text) for text in self.loras]

    @property
    def steps(self) -> int:
        """Steps of a request that names none."""
        return self.lightning_steps if self.lightning else self.num_inference_steps

    @property
    def cfg(self) -> bool:
        """Whether such a request computes every step twice."""
        return not self.lightning and self.true_cfg_scale > 1
