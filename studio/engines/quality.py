"""Answers of several models to one question file, and what a judge makes of them."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from studio.core.errors import RecipeInvalid
from studio.core.recipes import parse_yaml
from studio.core.spec import Command, Placement, StopStep
from studio.engines.engine import Engine, EngineConfig, Figure, Progress, knob, resolve_path
from studio.jobs.rundir import RunDir, read_rows

_WORKER = (sys.executable, "-m", "studio.quality_run")
WORK, SUMMARY = "quality.json", "artifacts/quality.json"
"""Input file in the run folder, and the figures the worker writes at the end."""
JUDGE_MODES = ("single", "pairwise")
NEEDED = {
    "single": ("{conversation}",),
    "pairwise": ("{conversation_a}", "{conversation_b}"),
    "reference": ("{reference}",),
}
"""Places that each part of a judge's prompt has to have."""
_PROMPT_KEYS = (*JUDGE_MODES, "reference", "user", "assistant")
_TEMPERATURE = re.compile(r"\s*(.+?)\s*=\s*(\d+(?:\.\d+)?)\s*")


class QualityConfig(EngineConfig):
    """Settings of a comparison. Models are named `ENDPOINT` or `ENDPOINT::MODEL`."""

    questions: str = knob(
        "assets/data/questions-general.jsonl",
        title="Questions",
        help="A JSON Lines file with id, category, turns and, where known, reference. MT-bench's "
        "question file is read as it is.",
        zh=(
            "问题文件",
            "JSON Lines 文件，字段有 id、category、turns，知道答案的还有 reference。"
            "MT-bench 的问题文件可以直接用。",
        ),
        min_length=1,
    )
    answers_from: list[str] = knob(
        [],
        title="Models that answer",
        help="One per line: an endpoint's id, name or address, with ::model behind it where it "
        "serves several.",
        zh=(
            "回答的模型",
            "每行一个：服务的 id、名称或地址；一个服务有多个模型时，后面加 ::模型名。",
        ),
    )
    names: list[str] = knob(
        [],
        title="Names",
        help="What to call them in the table, in the same order. Empty: as the models are called.",
        zh=("名称", "它们在表里叫什么，顺序相同。留空则用模型名。"),
    )
    categories: list[str] = knob(
        [],
        title="Categories",
        help="Only questions of these. Empty: all.",
        zh=("类别", "只问这些类别。留空则全部。"),
    )
    language: Literal["any", "en", "zh"] = knob(
        "any",
        title="Language",
        help="Only questions in this language.",
        zh=("语言", "只问这种语言的问题。"),
    )
    limit: int | None = knob(
        None,
        title="Questions at most",
        help="Taken from each category in turn. Empty: all.",
        zh=("最多问题数", "从各类别轮流取。留空则全部。"),
        ge=1,
    )
    system_prompt: str = knob(
        "",
        title="System prompt",
        help="Stands before every question. Empty: the model's own.",
        zh=("系统提示词", "放在每个问题之前。留空则用模型自己的。"),
    )
    temperature: float = knob(
        0.0,
        title="Temperature",
        help="0 takes the most likely token each time, so that two runs agree.",
        zh=("温度", "0 表示每次取概率最高的 token，两次运行结果相同。"),
        ge=0,
        le=5,
    )
    category_temperature: list[str] = knob(
        ["writing=0.7", "roleplay=0.7", "stem=0.1", "humanities=0.1"],
        title="Temperature by category",
        help="category=temperature, one per line, where it differs: free writing wants some "
        "chance. The values are MT-bench's.",
        zh=(
            "按类别的温度",
            "每行写 类别=温度，只写不同的：写作类需要一些随机性。默认值同 MT-bench。",
        ),
        group="expert",
    )
    max_tokens: int = knob(
        1024,
        title="Answer length",
        help="An answer is cut off after so many tokens.",
        zh=("回答长度上限", "回答超过这么多 token 就截断。"),
        ge=1,
    )
    seed: int | None = knob(
        1234,
        title="Seed",
        help="Sent with every request. Matters where the temperature is above 0.",
        zh=("随机种子", "随每个请求发送，温度大于 0 时有效。"),
        group="expert",
        ge=0,
    )
    num_concurrent: int = knob(
        4,
        title="Requests at once",
        help="How many questions a model, or the judge, is asked at the same time.",
        zh=("并发请求数", "同时向一个模型（或裁判）提多少个问题。"),
        group="server",
        ge=1,
        le=256,
    )
    judge: str = knob(
        "",
        title="Judge",
        help="A strong model that reads the answers, named like those that answer. Empty: none; "
        "people can still vote.",
        zh=(
            "裁判模型",
            "一个能力强的模型来评判回答，写法与回答的模型相同。留空则不用，仍可由人投票。",
        ),
    )
    judge_mode: Literal["single", "pairwise"] = knob(
        "single",
        title="How it judges",
        help="single: each answer gets 1 to 10. pairwise: two answers side by side, in both "
        "orders; when the orders disagree it is a tie.",
        zh=(
            "评判方式",
            "single：给每个回答打 1 到 10 分。pairwise：两个回答并排比较，正反各一次，"
            "两次结果不一致算平局。",
        ),
    )
    judge_prompt: dict[str, dict[str, str]] = knob(
        {},
        title="Judge's prompt",
        help="By language, as the recipes in recipes/quality write it: single, pairwise, "
        "reference. The verdict stands in double brackets: [[7]], [[A]], [[B]], [[C]].",
        zh=(
            "裁判提示词",
            "按语言写，格式见 recipes/quality 里的配方：single、pairwise、reference。"
            "结论写在双方括号里：[[7]]、[[A]]、[[B]]、[[C]]。",
        ),
        group="expert",
    )
    judge_max_tokens: int = knob(
        1024,
        title="Judgement length",
        help="Room for its reasons. A judgement that is cut off before the verdict is unreadable.",
        zh=("评语长度上限", "留给它说明理由的 token 数。还没写结论就被截断的评语无法读取。"),
        group="expert",
        ge=1,
    )
    results: str = knob(
        "",
        title="Go on with",
        help="Name of a folder of results: answers that are there are kept, only the rest is "
        "asked. More models or a judge may be added.",
        zh=("接着做", "已有结果目录的名字：已有的回答保留，只问剩下的，也可以再加模型或裁判。"),
        group="output",
    )

    @field_validator("judge_prompt", mode="before")
    @classmethod
    def _as_text(cls, given: Any) -> Any:
        """Take the prompts as YAML too, as a form sends them."""
        if isinstance(given, str):
            return parse_yaml(given, "judge_prompt") or {}
        return given

    @field_validator("category_temperature")
    @classmethod
    def _is_readable(cls, given: list[str]) -> list[str]:
        for line in given:
            if not _TEMPERATURE.fullmatch(line):
                raise RecipeInvalid(
                    f"category_temperature: {line} is not of the form category=temperature.",
                    hint="Write it like writing=0.7.",
                )
        return given

    @model_validator(mode="after")
    def _has_something_to_do(self) -> Self:
        if not self.answers_from and not self.results:
            raise RecipeInvalid(
                "No model is named that should answer.",
                hint="Set answers_from to one endpoint or more.",
            )
        if self.judge:
            prompts = [p for p in self.judge_prompt.values() if p.get(self.judge_mode, "").strip()]
            if not prompts:
                raise RecipeInvalid(
                    f"A judge is named, and judge_prompt has no {self.judge_mode} text.",
                    hint="Start from the recipe quality/general, which has them.",
                )
        for lang, prompt in self.judge_prompt.items():
            _check_prompt(lang, prompt)
        if self.names and len(self.names) != len(self.answers_from):
            raise RecipeInvalid(
                f"{len(self.answers_from)} models answer and {len(self.names)} names are given.",
                hint="Give one name for each, or none.",
            )
        return self

    def temperatures(self) -> dict[str, float]:
        """Return the temperature of the categories that want another one."""
        found = (_TEMPERATURE.fullmatch(line) for line in self.category_temperature)
        return {match[1]: float(match[2]) for match in found if match}


class Quality(Engine[QualityConfig]):
    """`python -m studio.quality_run`, in the studio's own interpreter; endpoints do the work."""

    id = "quality"
    title = "Quality"
    env = None
    Config = QualityConfig

    def command(self, config: QualityConfig, place: Placement) -> Command:
        """Return the worker's command; the settings lie in `quality.json` of the run folder."""
        work = config.model_dump(exclude={"extra_args"}, exclude_defaults=True)
        work["questions"] = resolve_path(config.questions, place.root)
        home = str(Path(place.data_dir).parent)
        return Command(
            argv=(*_WORKER, WORK, "--home", home, *config.extra_args),
            env={"PYTHONPATH": place.root, "PYTHONUTF8": "1"},
            files={WORK: json.dumps(work, ensure_ascii=False, indent=1) + "\n"},
        )

    def check(self, config: QualityConfig, root: Path) -> None:
        """Refuse a question file that is not there, unless the questions are kept already."""
        if not config.results and not Path(resolve_path(config.questions, str(root))).is_file():
            raise RecipeInvalid(
                f"There is no question file {config.questions}.", hint="Check the path."
            )

    def stop(self, config: QualityConfig) -> tuple[StopStep, ...]:
        """What is under way is cut; every answer that is whole is on the disk."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="stop asking"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the worker's own count of answers, then of judgements."""
        rows = read_rows(run.artifacts / "progress.jsonl")
        if not rows:
            return None
        last = rows[-1]
        return Progress(last["done"], max(1, last["total"]), last["text"], last["remaining_s"])

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return `model/metric` with its standard error where there is one."""
        try:
            told = json.loads((run.folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {
            f"{label}/{name}": Figure(*pair)
            for label, figures in told["figures"].items()
            for name, pair in figures.items()
        }


def _check_prompt(lang: str, prompt: dict[str, str]) -> None:
    for key in prompt:
        if key not in _PROMPT_KEYS:
            raise RecipeInvalid(
                f"judge_prompt.{lang}: {key} is not a part of a prompt.",
                hint=f"Parts: {', '.join(_PROMPT_KEYS)}.",
            )
    for part, places in NEEDED.items():
        for place in places:
            if prompt.get(part) and place not in prompt[part]:
                raise RecipeInvalid(
                    f"judge_prompt.{lang}.{part} has no place {place}.",
                    hint="Without it the judge does not see what it shall judge.",
                )
