"""vLLM's own load generator, `vllm bench serve`, over a grid of lengths and loads."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from studio.core.errors import RecipeInvalid
from studio.core.spec import StopStep
from studio.engines.bench_fields import LoadConfig, check_prompts
from studio.engines.engine import knob
from studio.engines.load_engine import LoadEngine
from studio.envs.catalog import VLLM


class VllmBenchConfig(LoadConfig):
    """Settings of a sweep; names are those of `vllm bench serve` where it has them."""

    dataset: Literal["random", "sharegpt", "custom", "random-mm"] = knob(
        "random",
        title="Prompts",
        help="random: tokens without meaning, of exactly the lengths above. random-mm: the same "
        "with random pictures. sharegpt and custom: from a file, with lengths of their own.",
        zh=(
            "提示词来源",
            "random：无意义的 token，长度与上面完全一致。random-mm：再加随机图片。"
            "sharegpt 和 custom：来自文件，输入长度由文件决定。",
        ),
    )
    dataset_path: str = knob(
        "",
        title="File of prompts",
        help='custom: JSONL, one {"prompt": "..."} per line. sharegpt: a JSON list of '
        "conversations.",
        zh=(
            "提示词文件",
            'custom：JSONL，每行一个 {"prompt": "..."}。'
            "sharegpt：由 conversations 组成的 JSON 列表。",
        ),
    )
    backend: Literal["auto", "openai", "openai-chat", "vllm"] = knob(
        "auto",
        title="API",
        help="openai and vllm ask /v1/completions, where a prompt has exactly its length; "
        "openai-chat asks /v1/chat/completions. auto takes chat for pictures only.",
        zh=(
            "接口",
            "openai 和 vllm 用 /v1/completions，提示词长度精确；openai-chat 用 "
            "/v1/chat/completions。auto 只在有图片时用对话接口。",
        ),
        group="server",
    )
    images: int = knob(
        1,
        title="Pictures per request",
        help="random-mm: how many pictures every request carries.",
        zh=("每个请求的图片数", "random-mm：每个请求带几张图片。"),
        group="vision",
        ge=1,
        le=64,
    )
    image_width: int = knob(
        512,
        title="Width of pictures",
        help="random-mm: in pixels.",
        zh=("图片宽度", "random-mm：像素。"),
        group="vision",
        ge=16,
        le=8192,
    )
    image_height: int = knob(
        512,
        title="Height of pictures",
        help="random-mm: in pixels.",
        zh=("图片高度", "random-mm：像素。"),
        group="vision",
        ge=16,
        le=8192,
    )
    ignore_eos: bool = knob(
        True,
        title="Answer to full length",
        help="The server goes on after the end of an answer, so that all have the same length. "
        "vLLM's own extension; random prompts always use it.",
        zh=(
            "忽略结束符",
            "回答到结束符也继续生成，使长度一致。这是 vLLM 的扩展参数，随机提示词总是打开。",
        ),
        group="data",
    )
    temperature: float | None = knob(
        0.0,
        title="Temperature",
        help="0 draws the likeliest token. Empty: the server's own default.",
        zh=("temperature", "0 总取概率最大的 token。留空则用服务的默认值。"),
        group="data",
        ge=0,
        le=5,
    )
    random_prefix_len: int = knob(
        0,
        title="Shared beginning",
        help="random: so many tokens of the prompt are the same for all requests of a point; they "
        "count as prompt length. To see what a prefix cache is worth.",
        zh=(
            "公共前缀长度",
            "random：同一测点的所有请求共享开头这么多 token（计入输入长度）。"
            "用来看前缀缓存的效果。",
        ),
        group="data",
        ge=0,
    )
    random_range_ratio: float = knob(
        0.0,
        title="Spread of lengths",
        help="random: lengths vary by this share around the ones given; 0 keeps them exact.",
        zh=("长度波动", "random：长度在给定值上下按这个比例变化；0 表示固定。"),
        group="data",
        ge=0,
        lt=1,
    )
    burstiness: float = knob(
        1.0,
        title="Burstiness",
        help="With rates: 1 is a Poisson process; below 1 requests come in bursts, above more "
        "evenly.",
        zh=("突发程度", "按请求速率测试时：1 为泊松到达；小于 1 更集中，大于 1 更均匀。"),
        group="data",
        gt=0,
    )
    warmup: bool = knob(
        True,
        title="Warm up",
        help="The largest load of the first lengths runs once before anything is counted.",
        zh=("预热", "正式测之前，先跑一遍第一组长度的最大负载，不计入结果。"),
        group="data",
    )
    num_warmups: int = knob(
        2,
        title="Uncounted requests",
        help="Requests before each point that are not counted, with prompts of their own.",
        zh=("每个测点的预热请求", "每个测点前先发几个不计入的请求，提示词另取。"),
        group="data",
        ge=0,
    )
    reset_prefix_cache: bool = knob(
        True,
        title="Empty the prefix cache",
        help="Before each point, where the server can (vLLM with VLLM_SERVER_DEV_MODE=1).",
        zh=("清空前缀缓存", "每个测点前清空，前提是服务支持（vLLM 需 VLLM_SERVER_DEV_MODE=1）。"),
        group="data",
    )
    trust_remote_code: bool = knob(
        False,
        title="Trust the tokenizer's code",
        help="Runs Python that comes with the tokenizer. Only for models you trust.",
        zh=("信任 tokenizer 自带代码", "会执行 tokenizer 目录里的 Python 代码，只对可信模型打开。"),
        group="expert",
    )

    @model_validator(mode="after")
    def _what_the_prompts_need(self) -> Self:
        if self.dataset == "random-mm" and self.backend in ("openai", "vllm"):
            raise RecipeInvalid(
                f"backend = {self.backend} sends text alone, and dataset = random-mm has pictures.",
                hint="Set backend to auto or openai-chat.",
            )
        if self.random_prefix_len and self.random_prefix_len >= min(self.input_len):
            raise RecipeInvalid(
                f"random_prefix_len = {self.random_prefix_len} leaves nothing of a prompt of "
                f"{min(self.input_len)} tokens.",
                hint="Use longer prompts, or a shorter beginning.",
            )
        return self


class VllmBench(LoadEngine[VllmBenchConfig]):
    """`workers/bench_sweep.py` in vLLM's environment: its load generator, point after point."""

    id = "vllm-bench"
    title = "vLLM load test"
    env = VLLM
    Config = VllmBenchConfig

    def check(self, config: VllmBenchConfig, root: Path) -> None:
        """Refuse a file of prompts that is missing or is none."""
        if config.dataset in ("sharegpt", "custom"):
            check_prompts(config.dataset_path, config.dataset, root)

    def stop(self, config: VllmBenchConfig) -> tuple[StopStep, ...]:
        """The point under way is dropped; those that are done stay."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=20, label="terminate"),)
