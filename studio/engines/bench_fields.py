"""Settings that every load test has: whom it asks, the grid, the prompts, the limits."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from studio.core.errors import RecipeInvalid
from studio.engines.engine import EngineConfig, knob, resolve_path
from studio.engines.shared_fields import asked_api_key_field, base_url_field, is_address
from studio.engines.workers.bench.grid import CONCURRENCY

Length = Annotated[int, Field(ge=1, le=1_000_000)]
Rate = Annotated[float, Field(gt=0, le=100_000)]
"""Requests a second."""


MOST_POINTS = 10_000
"""More points than this are a slip of the hand: at a second each they take three hours."""
MOST_REQUESTS = 1_000_000
"""Of one point. Its prompts are made before it begins and lie in memory."""


def _table(given: Any) -> Any:
    """Read a table that a form sends as text."""
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given) if given.strip() else {}
    except ValueError:
        raise ValueError("this is not JSON") from None


def _several(given: Any) -> Any:
    """Read one number, or numbers with commas, as people type them after `=`."""
    if isinstance(given, int | float):
        return [given]
    return given.replace(",", " ").split() if isinstance(given, str) else given


Lengths = Annotated[list[Length], BeforeValidator(_several)]
Rates = Annotated[list[Rate], BeforeValidator(_several)]
Table = Annotated[dict[str, Any], BeforeValidator(_table)]


class LoadConfig(EngineConfig):
    """Whom to ask, how many at once, how long, how often; what an answer may take."""

    model_config = ConfigDict(allow_inf_nan=False)

    base_url: str = base_url_field(min_length=1)
    model: str = knob(
        "",
        title="Model",
        help="The model's name at the server. Empty: the first it offers.",
        zh=("模型", "模型在服务里的名称。留空则用服务提供的第一个。"),
    )
    tokenizer: str = knob(
        "",
        title="Tokenizer",
        help="Folder or hub id of the model's tokenizer: prompts get their length in its tokens. "
        "Empty: the folder the server names, else the model's name.",
        zh=(
            "tokenizer",
            "模型 tokenizer 的目录或 hub 名，提示词长度按它来数。"
            "留空则用服务给出的目录，再不行就用模型名。",
        ),
    )
    api_key: str = asked_api_key_field()
    input_len: Lengths = knob(
        [512],
        title="Prompt lengths",
        help="Tokens of a prompt; every length is measured with every other column of the grid.",
        zh=("输入长度", "提示词的 token 数，可写多个；与其余各项逐一组合。"),
        min_length=1,
    )
    output_len: Lengths = knob(
        [128],
        title="Answer lengths",
        help="Tokens of an answer. Random prompts are always answered to this length.",
        zh=("输出长度", "回答的 token 数，可写多个。随机提示词总会生成到这个长度。"),
        min_length=1,
    )
    concurrency: Lengths = knob(
        [],
        title="Users at once",
        help="Each user sends the next request when the answer is there. Empty: 1, 4 and 16, "
        "unless rates are given.",
        zh=("并发数", "每个用户收到回答后立刻发下一个请求。留空且没写请求速率时，取 1、4、16。"),
    )
    request_rate: Rates = knob(
        [],
        title="Requests per second",
        help="Instead of users: requests come at this rate on average, whether or not earlier "
        "ones are answered.",
        zh=("请求速率（个/秒）", "代替并发数：请求按这个平均速率到来，不管前面的是否已经答完。"),
    )
    repeats: int = knob(
        3,
        title="Repeats",
        help="How often the whole grid is measured; the spread between repeats says which "
        "differences are real. At least 3 for a verdict.",
        zh=("重复次数", "整个网格测几遍；靠各遍之间的波动判断差异是否真实。要下结论至少 3 遍。"),
        ge=1,
        le=100,
    )
    prompts_per_user: int = knob(
        8,
        title="Requests per user",
        help="A point sends this many requests for each user at once. More are steadier and take "
        "longer.",
        zh=("每用户请求数", "每个测点按并发数乘以它发送请求。越多越稳，也越久。"),
        group="data",
        ge=1,
    )
    min_prompts: int = knob(
        16,
        title="Fewest requests",
        help="A point sends at least so many, so that few users make percentiles too.",
        zh=("最少请求数", "每个测点至少发这么多请求，并发少时分位数也有意义。"),
        group="data",
        ge=1,
    )
    rate_seconds: float = knob(
        30.0,
        title="Seconds at a rate",
        help="With rates: for how long requests are sent at each.",
        zh=("每个速率持续（秒）", "按请求速率测试时，每个速率持续发送多少秒。"),
        group="data",
        gt=0,
    )
    num_prompts: int | None = knob(
        None,
        title="Requests of a point",
        help="Overrides the three above. Empty: they decide.",
        zh=("每个测点的请求数", "直接指定，代替上面三项。留空则由它们决定。"),
        group="data",
        ge=1,
    )
    seed: int | None = knob(
        None,
        title="Seed",
        help="Decides the prompts; every point has its own. Empty: 0 for the first sweep of a "
        "server, then 1, 2, ..., so that no prompt is found in its prefix cache.",
        zh=(
            "随机种子",
            "决定提示词，每个测点各不相同。留空：对同一服务第一次测用 0，之后依次 1、2……"
            "这样不会命中它的前缀缓存。",
        ),
        group="data",
        ge=0,
    )
    slo_ttft_ms: float | None = knob(
        None,
        title="First token within (ms)",
        help="Goodput counts the requests that keep all limits given here. Empty: no limit.",
        zh=("TTFT 上限（ms）", "goodput 只统计满足全部上限的请求。留空则不限。"),
        gt=0,
    )
    slo_tpot_ms: float | None = knob(
        None,
        title="Time per token within (ms)",
        help="50 ms are 20 tokens a second for each user. Empty: no limit.",
        zh=("TPOT 上限（ms）", "50 ms 即每个用户每秒 20 个 token。留空则不限。"),
        gt=0,
    )
    slo_e2el_ms: float | None = knob(
        None,
        title="Whole answer within (ms)",
        help="From sending the request to its last token. Empty: no limit.",
        zh=("端到端时延上限（ms）", "从发出请求到最后一个 token。留空则不限。"),
        gt=0,
    )
    metrics_urls: list[str] = knob(
        [],
        title="Figures of the servers",
        help="Where servers tell Prometheus their queue and KV cache; behind a router one for "
        "each copy. Empty: /metrics of the server itself.",
        zh=(
            "服务指标地址",
            "服务向 Prometheus 报告队列和 KV cache 的地址；有路由器时每个副本一个。"
            "留空则用服务自身的 /metrics。",
        ),
        group="server",
    )
    measure_cards: list[Annotated[int, Field(ge=0)]] = knob(
        [],
        title="Cards to measure",
        help="Indices of the server's cards on this machine: their memory and energy are read "
        "while a point runs. NVIDIA alone.",
        zh=("测量哪些显卡", "服务所用显卡在本机的编号：测点运行时读取显存和能耗，仅 NVIDIA。"),
        group="server",
    )
    server: Table = knob(
        {},
        title="Server's settings",
        help="What is known of the server, kept with the results. Filled in by the studio.",
        zh=("服务信息", "关于被测服务的已知信息，随结果保存。由工作台填写。"),
        group="expert",
    )
    server_run: str = knob(
        "",
        title="Server's run",
        help="Id of the run that is measured. Filled in by the studio.",
        zh=("服务的运行编号", "被测服务的运行编号，由工作台填写。"),
        group="expert",
    )
    study: str = knob(
        "",
        title="Study",
        help="Name of the study this belongs to. Filled in by studies.",
        zh=("所属研究", "所属研究的名称，由研究填写。"),
        group="expert",
    )
    case: str = knob(
        "",
        title="Case",
        help="Name of the study's case. Filled in by studies.",
        zh=("研究中的情形", "研究里这一情形的名称，由研究填写。"),
        group="expert",
    )
    results: str = knob(
        "",
        title="Results to go on with",
        help="Folder of results of an earlier sweep: points that are done are kept, the others "
        "are measured. Empty: a new folder.",
        zh=("继续已有结果", "之前某次测试的结果目录：已完成的测点保留，其余继续测。留空则新建。"),
        group="expert",
    )

    @model_validator(mode="after")
    def _one_kind_of_pressure(self) -> Self:
        if not is_address(self.base_url):
            raise RecipeInvalid(
                f"base_url = {self.base_url!r} is not the address of a server.",
                hint="Write it like http://127.0.0.1:8000/v1.",
            )
        if self.concurrency and self.request_rate:
            raise RecipeInvalid(
                "concurrency and request_rate cannot both be given: either users wait for their "
                "answers, or requests come at a rate.",
                hint="Leave one of them empty.",
            )
        return self

    @model_validator(mode="after")
    def _no_more_than_can_be_measured(self) -> Self:
        loads = len(self.request_rate) or len(self.concurrency) or len(CONCURRENCY)
        points = len(self.input_len) * len(self.output_len) * loads * self.repeats
        if points > MOST_POINTS:
            raise RecipeInvalid(
                f"This grid has {points:,} points; {MOST_POINTS:,} are the most.",
                hint="Every length is measured with every load, and all of it as often as repeats "
                "says: leave some out.",
            )
        asked = self.num_prompts or max(
            self.min_prompts,
            self.prompts_per_user * max(self.concurrency, default=1),
            math.ceil(self.rate_seconds * max(self.request_rate, default=0)),
        )
        if asked > MOST_REQUESTS:
            raise RecipeInvalid(
                f"A point of this grid sends {asked:,} requests; {MOST_REQUESTS:,} are the most.",
                hint="Lower num_prompts, prompts_per_user, min_prompts, rate_seconds, or the load.",
            )
        return self


def check_prompts(path: str, kind: str, root: Path) -> None:
    """Raise RecipeInvalid unless a file of prompts can be read as what it is said to be.

    `custom` is JSONL with `prompt` in every row, `sharegpt` a JSON list of `conversations`. Only
    the beginning is looked at: the files may be large.
    """
    if not path:
        raise RecipeInvalid(
            f"dataset = {kind} takes its prompts from a file, and dataset_path names none.",
            hint="Set dataset_path, or dataset to random.",
        )
    file = Path(resolve_path(path, str(root)))
    if not file.is_absolute():
        file = root / file
    if not file.is_file():
        raise RecipeInvalid(f"dataset_path: there is no file {file}.", hint="Check the path.")
    with file.open(encoding="utf-8", errors="replace") as lines:
        if kind == "sharegpt":
            if '"conversations"' not in lines.read(1 << 20):
                raise RecipeInvalid(
                    f"{file} is not in ShareGPT's format: no conversations in it.",
                    hint='It should be a JSON list of {"conversations": [{"value": ...}, ...]}.',
                )
            return
        first = next((line for line in lines if line.strip()), "")
    if file.suffix != ".jsonl" or not _has_prompt(first):
        raise RecipeInvalid(
            f"{file} is not a file of prompts: its first line has no prompt.",
            hint='Write one {"prompt": "..."} per line, and name the file .jsonl.',
        )


def _has_prompt(line: str) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    return isinstance(row, dict) and isinstance(row.get("prompt"), str)
