"""Settings of a study: its cases, what is measured at each, how often, and what is expected.

A recipe of `recipes/studies/` says them; the engine `study` takes them, `studio.studies` runs them.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from studio.core.errors import RecipeInvalid
from studio.core.recipes import Bilingual
from studio.engines.engine import EngineConfig, knob

Measure = Literal["load", "training", "images", "ask", "run"]
Scalar = bool | int | float | str | None

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


class _Part(BaseModel):
    """A part of a study that people write: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Case(_Part):
    """One thing that is measured: a recipe with some settings changed, or an engine with its own.

    `load`, `images` and `ask` are laid over those of the study, for this case alone.
    """

    recipe: str = ""
    engine: str = ""
    """In place of a recipe: an engine's id; `settings` are all of its settings then."""
    title: Bilingual | None = None
    measure: Measure | None = None
    """None: that of the study."""
    cards: int | list[int] | None = None
    """How many idle cards, or which ones; None: the recipe's."""
    copies: int = Field(1, ge=1, le=64)
    """Above one: so many copies of the server behind one router, on cards of their own."""
    policy: Literal["cache_aware", "consistent_hash", "power_of_two", "round_robin", "random"] = (
        "cache_aware"
    )
    """How the router shares requests out to the copies."""
    settings: dict[str, Any] = Field(default_factory=dict)
    load: dict[str, Any] = Field(default_factory=dict)
    images: dict[str, Any] = Field(default_factory=dict)
    ask: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Case:
        if bool(self.recipe) == bool(self.engine):
            raise RecipeInvalid("A case names a recipe or an engine, one of the two.")
        return self


class Question(_Part):
    """One question of the measure `ask`, and how a right answer is told."""

    ask: str
    picture: str = ""
    """A picture's path, for a model that sees."""
    contains: list[str] = Field(default_factory=list)
    """Every one of these must be in the answer, in upper or lower case."""
    any_of: list[str] = Field(default_factory=list)
    """One of these is enough."""


class AskOptions(_Part):
    """The measure `ask`: serve, ask every question, check the answers, time them."""

    questions: list[Question] = Field(min_length=1)
    max_tokens: int = Field(64, ge=1)
    temperature: float = Field(0.0, ge=0, le=5)
    rounds: int = Field(1, ge=1)
    """How often each question is asked for one row."""
    warmup: bool = True
    """Ask every question once before anything is timed."""


class ImageOptions(_Part):
    """The measure `images`: edits of few and of many steps; seconds per step are the difference."""

    prompt: str = "Replace the sky with a calm evening sky and keep everything else as it is."
    picture: str = ""
    """Path of the picture that is edited; empty draws one."""
    few: int = Field(4, ge=2)
    many: int = Field(12, ge=3)
    true_cfg_scale: float = Field(4.0, ge=1)
    """1 computes each step once, above 1 twice."""
    width: int = Field(1024, ge=64)
    height: int = Field(1024, ge=64)
    seed: int = 7

    @model_validator(mode="after")
    def _ordered(self) -> ImageOptions:
        if self.many <= self.few:
            raise RecipeInvalid("Of the two edits, many must have more steps than few.")
        return self


class Expectation(_Part):
    """What a study is to show: a figure of one case, or its ratio to another case's, and a limit.

    Of the points of case `of` those are taken whose condition holds everything in `at`.
    """

    metric: str
    of: str
    against: str = ""
    """The case it is divided by; empty: the figure itself is compared with the limit."""
    inverse: bool = False
    """True: `against` divided by `of`, for figures of which less is better (memory, seconds)."""
    at: dict[str, Scalar] = Field(default_factory=dict)
    against_at: dict[str, Scalar] = Field(default_factory=dict)
    """Laid over `at` for the points of `against`: half the users on half the cards, say."""
    reduce: Literal["median", "mean", "max", "min"] = "median"
    """How the points of one repeat become one figure, when `at` leaves several."""
    at_least: float | None = None
    at_most: float | None = None
    between: tuple[float, float] | None = None
    bound: float | None = None
    """The most that physics allows of what is to be at least so much; the least otherwise."""
    title: Bilingual | None = None
    possible: Bilingual | None = None
    """What can be had where physics forbids more."""

    @model_validator(mode="after")
    def _one_limit(self) -> Expectation:
        if sum(x is not None for x in (self.at_least, self.at_most, self.between)) != 1:
            raise RecipeInvalid("An expectation has one of at_least, at_most and between.")
        return self


class StudyConfig(EngineConfig):
    """What to run, what to measure, and what is expected."""

    measure: Measure = knob(
        "load",
        title="Measure",
        help=(
            "load: serve and put a load on. training: train and read speed and memory. images: "
            "edit pictures. ask: serve, ask and check the answers. run: only run."
        ),
        zh=(
            "测什么",
            "load：启动服务并压测。training：训练并读取速度与显存。images：编辑图片。"
            "ask：启动服务、提问并检查回答。run：只运行。",
        ),
    )
    cases: dict[str, Case] = knob(
        title="Cases",
        help="What is compared, by name: a recipe, the cards it gets and the settings changed.",
        zh=("对比项", "按名字列出要比较的对象：配方、显卡数和改动的设置。"),
        min_length=1,
    )
    matrix: dict[str, list[Scalar]] = knob(
        {},
        title="Matrix",
        help="A setting and its values; every case is measured with each combination of them.",
        zh=("参数矩阵", "设置项及其取值；每个对比项都会与全部组合各测一次。"),
    )
    common: dict[str, Any] = knob(
        {},
        title="Common settings",
        help="Laid over every case whose engine knows the setting.",
        zh=("共同设置", "叠加到每个认识该设置的对比项上。"),
    )
    load: dict[str, Any] = knob(
        {},
        title="Load",
        help="Settings of the load test (engine vllm-bench): lengths, concurrency, prompts.",
        zh=("压测设置", "压测引擎 vllm-bench 的设置：长度、并发、请求数。"),
    )
    images: dict[str, Any] = knob(
        {},
        title="Images",
        help="The edit that is timed: few and many steps, size, guidance, prompt.",
        zh=("图片设置", "计时用的编辑：少步与多步、尺寸、引导系数、提示词。"),
    )
    ask: dict[str, Any] = knob(
        {},
        title="Questions",
        help="Questions, and what a right answer contains.",
        zh=("提问设置", "问题，以及正确回答应包含的内容。"),
    )
    repeats: int = knob(
        3,
        title="Repeats",
        help=(
            "How often each row is measured, to tell a difference from noise. A server stays up "
            "between repeats; a training is run again."
        ),
        zh=("重复次数", "每行测几遍，用来区分差异和噪声。服务在重复之间保持运行；训练会重跑。"),
        ge=1,
        le=100,
    )
    side_by_side: bool = knob(
        False,
        title="Side by side",
        help=(
            "Runs cases at the same time on disjoint cards. Faster, but they share host, disk and "
            "power, so their figures may differ from those measured alone."
        ),
        zh=(
            "并排运行",
            "在互不重叠的显卡上同时运行多项。更快，但共用主机、磁盘和供电，数值可能与单独测量不同。",
        ),
    )
    keep_going: bool = knob(
        True,
        title="Go on after a failure",
        help="A case that fails is recorded, and the study goes on with the next.",
        zh=("失败后继续", "某项失败会记录下来，然后继续下一项。"),
    )
    plan: bool = knob(
        True,
        title="Plan first",
        help="A case that the planner says does not fit is recorded as such and not started.",
        zh=("先做规划", "规划认为放不下的项只做记录，不启动。"),
    )
    attempts: int = knob(
        1,
        title="Attempts",
        help="How often a run that fails is launched again before its case counts as failed.",
        zh=("尝试次数", "运行失败后最多启动几次，仍失败才记为失败。"),
        ge=1,
        le=5,
    )
    keep_models: bool = knob(
        True,
        title="Keep trained models",
        help=(
            "Off removes the weights that a training left once its row is kept, so that repeats "
            "of large models do not fill the disk. Logs, curves and figures stay."
        ),
        zh=(
            "保留训练出的模型",
            "关闭后，每行测完就删掉这次训练留下的权重，避免大模型重复训练占满磁盘。"
            "日志、曲线和数值都保留。",
        ),
        group="output",
    )
    queue_timeout_s: float = knob(
        3600,
        title="Wait for cards",
        help="Seconds a case waits for idle cards before it counts as failed.",
        zh=("等待显卡", "等待空闲显卡的秒数，超过则该项记为失败。"),
        group="expert",
        gt=0,
    )
    ready_timeout_s: float = knob(
        1800,
        title="Wait for a server",
        help="Seconds a server may take to get ready, counted from its start.",
        zh=("等待服务就绪", "服务从启动到就绪允许的秒数。"),
        group="expert",
        gt=0,
    )
    case_timeout_s: float = knob(
        14400,
        title="Longest run",
        help="Seconds one training or one load test may take once it runs.",
        zh=("单次最长时间", "一次训练或一次压测开始后允许的秒数。"),
        group="expert",
        gt=0,
    )
    chart: str | list[str] = knob(
        "",
        title="Chart",
        help="Name of the chart that is shown first, or a list of names.",
        zh=("图表", "首先展示的图表名，也可以是列表。"),
        group="output",
    )
    expect: list[Expectation] = knob(
        [],
        title="Expectations",
        help="Figures and limits that the verdict is about.",
        zh=("预期", "结论所依据的指标和界限。"),
        group="output",
    )
    results: str = knob(
        "",
        title="Folder to go on with",
        help="Name of a results folder of this study; rows that are there are not measured again.",
        zh=("续做的结果目录", "本研究已有的结果目录名；其中已有的行不会重测。"),
        group="output",
    )

    @field_validator("cases")
    @classmethod
    def _names(cls, cases: dict[str, Case]) -> dict[str, Case]:
        for name in cases:
            if not NAME.fullmatch(name):
                raise RecipeInvalid(
                    f"{name!r} is no name for a case.",
                    hint="Use letters, digits, dots, dashes and underscores, at most 60.",
                )
        return cases

    @field_validator("matrix")
    @classmethod
    def _values(cls, matrix: dict[str, list[Scalar]]) -> dict[str, list[Scalar]]:
        for key, values in matrix.items():
            if not values:
                raise RecipeInvalid(f"The matrix has no values of {key}.")
            if len({repr(value) for value in values}) < len(values):
                raise RecipeInvalid(f"The matrix names a value of {key} twice.")
        return matrix

    @field_validator("results")
    @classmethod
    def _folder(cls, results: str) -> str:
        if results and not re.fullmatch(r"[\w.+-]+", results):
            raise RecipeInvalid("results is the name of a folder of results, not a path.")
        return results

    @model_validator(mode="after")
    def _expected_cases(self) -> StudyConfig:
        for wanted in self.expect:
            for name in filter(None, (wanted.of, wanted.against)):
                if name.partition(" · ")[0] not in self.cases:
                    raise RecipeInvalid(f"An expectation is about {name}, which is no case.")
        return self

    @property
    def charts(self) -> list[str]:
        """Names of the charts that are shown first."""
        return [self.chart] if isinstance(self.chart, str) and self.chart else [*self.chart]
