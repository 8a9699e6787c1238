"""GuideLLM: load tests of any OpenAI-compatible server, by its own client."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.core.spec import StopStep
from studio.engines.bench_fields import LoadConfig, check_prompts
from studio.engines.engine import knob
from studio.engines.load_engine import LoadEngine
from studio.envs.catalog import GUIDELLM


class GuidellmConfig(LoadConfig):
    """Settings of a sweep with `guidellm run`."""

    dataset: Literal["random", "custom"] = knob(
        "random",
        title="Prompts",
        help="random: made-up text of the lengths above. custom: from a file, with lengths of "
        "their own.",
        zh=("提示词来源", "random：按上面的长度生成的文本。custom：来自文件，输入长度由文件决定。"),
    )
    dataset_path: str = knob(
        "",
        title="File of prompts",
        help='custom: JSONL, one {"prompt": "..."} per line.',
        zh=("提示词文件", 'custom：JSONL，每行一个 {"prompt": "..."}。'),
    )
    backend: Literal["auto", "openai", "openai-chat"] = knob(
        "openai-chat",
        title="API",
        help="openai asks /v1/completions, where a prompt has exactly its length; openai-chat "
        "asks /v1/chat/completions, which every server has.",
        zh=(
            "接口",
            "openai 用 /v1/completions，提示词长度精确；openai-chat 用 /v1/chat/completions，"
            "各种服务都有。",
        ),
        group="server",
    )
    ignore_eos: bool = knob(
        True,
        title="Answer to full length",
        help="The server goes on after the end of an answer, so that all have the same length. "
        "Turn it off for servers that refuse ignore_eos, which is vLLM's extension.",
        zh=(
            "忽略结束符",
            "回答到结束符也继续生成，使长度一致。这是 vLLM 的扩展参数，服务拒绝时请关闭。",
        ),
        group="data",
    )
    arrivals: Literal["poisson", "constant"] = knob(
        "poisson",
        title="Arrivals",
        help="With rates: poisson is random as with real users, constant is evenly spaced.",
        zh=("到达方式", "按请求速率测试时：poisson 随机到达，像真实用户；constant 均匀到达。"),
        group="data",
    )
    num_warmups: int = knob(
        2,
        title="Uncounted requests",
        help="Short requests before each point that are not counted.",
        zh=("每个测点的预热请求", "每个测点前先发几个短请求，不计入结果。"),
        group="data",
        ge=0,
        le=8,
    )


class Guidellm(LoadEngine[GuidellmConfig]):
    """`workers/bench_sweep.py` in GuideLLM's environment: `guidellm run` for every point."""

    id = "guidellm"
    title = "GuideLLM load test"
    env = GUIDELLM
    Config = GuidellmConfig

    def check(self, config: GuidellmConfig, root: Path) -> None:
        """Refuse a file of prompts that is missing or is none."""
        if config.dataset == "custom":
            check_prompts(config.dataset_path, config.dataset, root)

    def stop(self, config: GuidellmConfig) -> tuple[StopStep, ...]:
        """The point under way is dropped; those that are done stay."""
        return (StopStep(signal="SIGTERM", to="root", grace_s=20, label="terminate"),)
