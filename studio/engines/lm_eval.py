"""EleutherAI's lm-evaluation-harness: the published benchmarks, or tasks of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from studio.core.errors import RecipeInvalid
from studio.core.spec import Command, Placement, Resources, StopStep
from studio.engines.adapters import check_adapter
from studio.engines.bars import last_bar
from studio.engines.bases import check_base
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Figure,
    Progress,
    check_model_dir,
    engine_env,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.shared_fields import (
    any_base_field,
    asked_api_key_field,
    base_url_field,
    is_address,
    trust_remote_code_field,
)
from studio.envs.catalog import LM_EVAL
from studio.jobs.rundir import RunDir

OUTPUT = "artifacts/output"
COMPLETIONS = {"local-completions": "/completions", "local-chat-completions": "/chat/completions"}
"""Path below an endpoint's /v1 that each API back end wants in its address."""


class LmEvalConfig(EngineConfig):
    """Settings of an evaluation; names are those of `lm_eval run`, model arguments included."""

    model: Literal["hf", "local-chat-completions", "local-completions"] = knob(
        "hf",
        title="Back end",
        help="hf loads a model itself. The others ask a server that runs: chat for tasks that "
        "write answers, completions also for tasks that compare probabilities.",
        zh=(
            "后端",
            "hf 自己加载模型。另外两种向正在运行的服务提问：chat 只能做生成类任务，"
            "completions 还能做比较概率的任务。",
        ),
    )
    pretrained: str = knob(
        title="Model",
        help="hf: a model folder or hub id. A server: the model's name there.",
        zh=("模型", "hf：模型目录或 hub 上的名字。服务：模型在服务里的名称。"),
        min_length=1,
    )
    peft: str = knob(
        "",
        title="Adapter",
        help="hf: folder of a LoRA training, put on the model.",
        zh=("适配器", "hf：LoRA 训练的输出目录，加在模型上。"),
        group="lora",
    )
    base_url: str = base_url_field("")
    api_key: str = asked_api_key_field()
    tokenizer: str = knob(
        "",
        title="Tokenizer",
        help="local-completions: folder or hub id of the model's tokenizer, to count the prompt.",
        zh=("tokenizer", "local-completions：模型 tokenizer 的目录或 hub 名，用来切分提示词。"),
        group="server",
    )
    tasks: str = knob(
        title="Tasks",
        help="Separated by commas. ladder_smoke comes with the studio and needs no network. The "
        "published ones (gsm8k, mmlu, hellaswag, ...) download their data from the hub; a few "
        "that are still a loading script there can no longer be loaded.",
        zh=(
            "任务",
            "用逗号分隔。ladder_smoke 随工作台提供，不用联网。公开任务（gsm8k、mmlu、hellaswag 等）"
            "要从 hub 下载数据；少数在 hub 上仍是加载脚本的数据集已无法加载。",
        ),
        min_length=1,
    )
    include_path: str = knob(
        "assets/tasks",
        title="Tasks of your own",
        help="A folder with task files (YAML). The studio's own lie in assets/tasks.",
        zh=("自定义任务目录", "放任务文件（YAML）的目录。自带的在 assets/tasks。"),
        group="data",
    )
    num_fewshot: int | None = knob(
        None,
        title="Examples in the prompt",
        help="How many solved examples stand before each question. Empty: as the task says.",
        zh=("few-shot 数", "每道题前放几个带答案的例子。留空则按任务的规定。"),
        ge=0,
    )
    limit: int | None = knob(
        None,
        title="Questions at most",
        help="Of each task. For a quick look only; figures of a part cannot be compared.",
        zh=("最多题数", "每个任务取多少题。只用来快速试跑，部分题目的分数不能与别人比较。"),
        ge=1,
    )
    batch_size: str = knob(
        "auto",
        title="Batch",
        help="Questions at a time; auto tries what fits the card. On a CPU say a number.",
        zh=("批大小", "一次几道题；auto 会试出显卡放得下的大小。CPU 上请写数字。"),
        pattern=r"^(auto(:[1-9]\d*)?|[1-9]\d*)$",
    )
    num_concurrent: int = knob(
        8,
        title="Requests at once",
        help="With a server: how many questions it is asked at the same time.",
        zh=("并发请求数", "使用服务时，同时发出多少个请求。"),
        group="server",
        ge=1,
    )
    apply_chat_template: bool = knob(
        True,
        title="Chat template",
        help="On for chat models; off for base models, and to compare with published figures "
        "that were taken without.",
        zh=("使用对话模板", "对话模型打开；基座模型，或要与不用模板的公开分数对比时关闭。"),
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = knob(
        "auto",
        title="Precision",
        help="hf: auto takes what the model was saved in.",
        zh=("精度", "hf：auto 用模型保存时的精度。"),
        group="precision",
    )
    device: Literal["auto", "cpu"] = knob(
        "auto",
        title="Where",
        help="hf: auto takes one card where there is one.",
        zh=("设备", "hf：有显卡时 auto 用一张卡。"),
        group="precision",
    )
    log_samples: bool = knob(
        True,
        title="Keep the answers",
        help="Writes every question and answer beside the figures.",
        zh=("保存回答", "把每道题和回答写在结果旁边。"),
        group="output",
    )
    trust_remote_code: bool = trust_remote_code_field("expert")
    any_base: bool = any_base_field()
    seed: int = knob(
        1234,
        title="Seed",
        help="Chooses the examples in the prompt.",
        zh=("随机种子", "决定 few-shot 抽到哪些例子。"),
        group="expert",
        ge=0,
    )

    @model_validator(mode="after")
    def _back_end_has_what_it_needs(self) -> Self:
        if self.model == "hf":
            return self
        if not is_address(self.base_url):
            raise RecipeInvalid(
                f"model = {self.model} asks a server, and base_url is not the address of one.",
                hint="Write it like http://127.0.0.1:8000/v1.",
            )
        if self.peft:
            raise RecipeInvalid(
                "peft works with model = hf; a server has its adapters on already.",
                hint="Set pretrained to the adapter's name there.",
            )
        if self.model == "local-completions" and not self.tokenizer:
            raise RecipeInvalid(
                "local-completions counts the prompt's tokens itself and needs the tokenizer.",
                hint="Set tokenizer to the model's folder or hub id.",
            )
        if self.model == "local-chat-completions" and not self.apply_chat_template:
            raise RecipeInvalid(
                "A chat server applies the chat template, so it cannot be left out.",
                hint="Set apply_chat_template to true, or model to local-completions.",
            )
        return self


class LmEval(Engine[LmEvalConfig]):
    """`lm_eval run`: metric and standard error of every task."""

    id = "lm-eval"
    title = "lm-evaluation-harness"
    env = LM_EVAL
    Config = LmEvalConfig

    def command(self, config: LmEvalConfig, place: Placement) -> Command:
        """Return `lm_eval run --config eval.yaml`; the YAML is written into the run folder."""
        head = place.interpreter.program("lm_eval", "lm_eval")
        on_cpu = config.device == "cpu" or not place.has_gpu
        settings: dict[str, object] = {
            "model": config.model,
            "model_args": _model_args(config, place.root),
            "tasks": [name.strip() for name in config.tasks.split(",") if name.strip()],
            "batch_size": _batch_size(config, on_cpu),
            "apply_chat_template": config.apply_chat_template,
            "log_samples": config.log_samples,
            "output_path": OUTPUT,
            "seed": config.seed,
        }
        if config.include_path:
            settings["include_path"] = resolve_path(config.include_path, place.root)
        if config.model == "hf":
            settings["device"] = "cpu" if on_cpu else "cuda"
        for name in ("num_fewshot", "limit"):
            if getattr(config, name) is not None:
                settings[name] = getattr(config, name)
        env = {"DO_NOT_TRACK": "1"}
        env |= engine_env(place, "", on_cpu=on_cpu)
        if config.api_key:
            env["OPENAI_API_KEY"] = config.api_key
        return Command(
            argv=(*head, "run", "--config", "eval.yaml", *config.extra_args),
            env=env,
            files={"eval.yaml": to_yaml(settings)},
        )

    def check(self, config: LmEvalConfig, root: Path) -> None:
        """Refuse a missing model, a foreign adapter, and a folder of tasks that is not there."""
        if config.model == "hf":
            check_model_dir(config.pretrained, root)
            if config.peft:
                check_adapter(config.peft.rstrip("/").rpartition("/")[2], config.peft, root)
                check_base(config.peft, config.pretrained, root, any_base=config.any_base)
        if config.include_path:
            folder = Path(resolve_path(config.include_path, str(root)))
            if not folder.is_dir():
                raise RecipeInvalid(
                    f"include_path: there is no folder {folder}.", hint="Check the path."
                )

    def resources(self, config: LmEvalConfig, has_gpu: bool) -> Resources:
        """One card for a model it loads itself, none to ask a server."""
        loads = config.model == "hf" and config.device != "cpu"
        return Resources(num_gpus=1 if has_gpu and loads else 0)

    def stop(self, config: LmEvalConfig) -> tuple[StopStep, ...]:
        """Figures come at the end, so nothing is worth waiting for."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the questions done of the kind it is asking now."""
        bar = last_bar(run.log, r"^(Running|Requesting)")
        if bar is None:
            return None
        return Progress(bar.done, bar.total, f"question {bar.done}/{bar.total}", bar.remaining_s)

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return `task/metric` with its standard error; a filter other than `none` is named too."""
        files = sorted((run.folder / OUTPUT).rglob("results_*.json"))
        if not files:
            return {}
        told: dict[str, Figure] = {}
        for task, rows in json.loads(files[-1].read_text(encoding="utf-8"))["results"].items():
            for key, value in rows.items():
                metric, comma, how = key.partition(",")
                if not comma or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                    continue
                error = rows.get(f"{metric}_stderr,{how}")
                name = f"{task}/{metric}" if how == "none" else f"{task}/{metric} ({how})"
                told[name] = Figure(value, error if isinstance(error, (int, float)) else None)
        return told


def _model_args(config: LmEvalConfig, root: str) -> dict[str, object]:
    if config.model == "hf":
        args: dict[str, object] = {
            "pretrained": resolve_path(config.pretrained, root),
            "dtype": config.dtype,
        }
        if config.peft:
            args["peft"] = resolve_path(config.peft, root)
    else:
        url = config.base_url.rstrip("/")
        path = COMPLETIONS[config.model]
        args = {
            "model": config.pretrained,
            "base_url": url if url.endswith(path) else url + path,
            "num_concurrent": config.num_concurrent,
        }
        if config.tokenizer:
            args["tokenizer"] = resolve_path(config.tokenizer, root)
    if config.trust_remote_code:
        args["trust_remote_code"] = True
    return args


def _batch_size(config: LmEvalConfig, on_cpu: bool) -> int | str:
    """Return the batch; `auto` tries sizes until a card is full, so it is 1 where there is none."""
    if config.batch_size.isdigit():
        return int(config.batch_size)
    return 1 if on_cpu or config.model != "hf" else config.batch_size
