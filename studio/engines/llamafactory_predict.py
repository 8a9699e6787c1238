"""LLaMA-Factory's evaluation: answers with BLEU and ROUGE, or the loss, on data of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from studio.core.errors import EnvMissing
from studio.core.spec import Command, Interpreter, Placement, Resources, StopStep
from studio.engines.adapters import check_adapter
from studio.engines.bars import last_bar
from studio.engines.bases import check_base
from studio.engines.dataset_names import check_own_datasets, with_own_data
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
from studio.engines.shared_fields import any_base_field, dataset_dir_field, model_field
from studio.engines.templates import check_template
from studio.envs.catalog import LLAMAFACTORY
from studio.envs.packages import package_version
from studio.jobs.rundir import RunDir

OUTPUT = "artifacts/output"
FIGURES = ("bleu-4", "rouge-1", "rouge-2", "rouge-l", "loss", "samples_per_second", "runtime")
"""What is told of a result, without LLaMA-Factory's `predict_` or `eval_` in front."""
SCORERS = ("jieba", "nltk", "rouge-chinese")
"""Packages that BLEU and ROUGE are counted with."""


class LlamaFactoryPredictConfig(EngineConfig):
    """Settings of an evaluation; names are those of LLaMA-Factory's YAML, `mode` is our own."""

    model_name_or_path: str = model_field()
    adapter_name_or_path: str = knob(
        "",
        title="Adapter",
        help="Folder of a LoRA training. Empty: the model as it is, to compare with.",
        zh=("适配器", "LoRA 训练的输出目录。留空则评估模型本身，可用来对比。"),
    )
    template: str = knob(
        title="Template",
        help="How a conversation becomes a prompt: the one the training used.",
        zh=("对话模板", "对话如何拼成提示词，要和训练时一致。"),
    )
    eval_dataset: str = knob(
        title="Data sets",
        help="Names from dataset_info.json, separated by commas. Take data the training has not "
        "seen.",
        zh=("评估数据集", "dataset_info.json 里的名字，用逗号分隔。要用训练没见过的数据。"),
        min_length=1,
    )
    dataset_dir: str = dataset_dir_field()
    mode: Literal["generate", "loss"] = knob(
        "generate",
        title="What is measured",
        help="generate writes every answer and scores it with BLEU-4 and ROUGE; loss only reads "
        "the given answers, which is many times faster.",
        zh=(
            "评估方式",
            "generate 逐条生成回答，用 BLEU-4 和 ROUGE 打分；loss 只计算给定答案的损失，快很多。",
        ),
    )
    max_samples: int | None = knob(
        None,
        title="Samples at most",
        help="Of each data set. Empty takes all.",
        zh=("最多样本数", "每个数据集取多少条。留空则全部。"),
        ge=1,
    )
    cutoff_len: int = knob(
        2048,
        title="Length limit",
        help="Longer prompts are cut to so many tokens.",
        zh=("截断长度", "超过的提示词会被截断（token 数）。"),
        group="data",
        ge=16,
    )
    per_device_eval_batch_size: int = knob(
        1,
        title="Batch per card",
        help="Samples at a time. More is faster and takes more memory.",
        zh=("每卡批大小", "一次处理的样本数。越大越快，也越占显存。"),
        ge=1,
    )
    max_new_tokens: int = knob(
        512,
        title="Answer length",
        help="An answer is cut off after so many tokens.",
        zh=("回答长度上限", "回答超过这么多 token 就截断。"),
        ge=1,
    )
    do_sample: bool = knob(
        False,
        title="Sample",
        help="Off takes the most likely token each time, so that two runs agree.",
        zh=("随机采样", "关闭时每次取概率最高的 token，两次运行结果相同。"),
    )
    temperature: float = knob(
        0.95,
        title="Temperature",
        help="With sampling: higher is more varied.",
        zh=("温度", "随机采样时有效，越高越多样。"),
        gt=0,
    )
    bf16: bool = knob(
        False,
        title="bf16",
        help="Half the memory of fp32 on cards from Ampere on. Slow on CPUs without AMX.",
        zh=("bf16", "Ampere 及以后的卡上显存减半。没有 AMX 的 CPU 上很慢。"),
        group="precision",
    )
    use_cpu: bool = knob(
        False,
        title="On the CPU",
        help="Evaluates without cards, for tiny models.",
        zh=("用 CPU", "不用显卡评估，只适合很小的模型。"),
        group="precision",
    )
    any_base: bool = any_base_field()
    seed: int = knob(
        42,
        title="Seed",
        help="Matters with sampling.",
        zh=("随机种子", "随机采样时有效。"),
        group="expert",
        ge=0,
    )


class LlamaFactoryPredict(Engine[LlamaFactoryPredictConfig]):
    """`llamafactory-cli train` with `do_predict` or `do_eval` instead of a training."""

    id = "llamafactory-predict"
    title = "LLaMA-Factory evaluation"
    env = LLAMAFACTORY
    Config = LlamaFactoryPredictConfig

    def command(self, config: LlamaFactoryPredictConfig, place: Placement) -> Command:
        """Return `llamafactory-cli train predict.yaml`; the YAML lies in the run folder."""
        head = place.interpreter.program("llamafactory-cli", "llamafactory.cli")
        env = {"DO_NOT_TRACK": "1"}
        env |= engine_env(place, config.model_name_or_path, on_cpu=config.use_cpu)
        return Command(
            argv=(*head, "train", "predict.yaml", *config.extra_args),
            env=env,
            files={"predict.yaml": to_yaml(_yaml(config, place))},
        )

    def at_home(self, config: LlamaFactoryPredictConfig, home: Path) -> LlamaFactoryPredictConfig:
        """Return the settings with the studio's own data sets where no folder is named."""
        return with_own_data(config, home)

    def check(self, config: LlamaFactoryPredictConfig, root: Path) -> None:
        """Refuse a missing model, a foreign adapter, a wrong template and unknown data sets."""
        check_model_dir(config.model_name_or_path, root)
        path = config.adapter_name_or_path
        if path:
            check_adapter(path.rstrip("/").rpartition("/")[2], path, root)
            check_base(path, config.model_name_or_path, root, any_base=config.any_base)
        check_template(config.template, config.model_name_or_path, root)
        check_own_datasets(config.eval_dataset, config.dataset_dir, root)

    def check_env(self, config: LlamaFactoryPredictConfig, interpreter: Interpreter) -> None:
        """Refuse scores where the packages that count them are missing."""
        missing = [name for name in SCORERS if package_version(interpreter, name) == ""]
        if config.mode == "generate" and missing:
            raise EnvMissing(
                f"LLaMA-Factory's environment has no {' '.join(missing)}, which BLEU and ROUGE "
                "need.",
                hint="Build the environment again, or set mode to loss.",
            )

    def resources(self, config: LlamaFactoryPredictConfig, has_gpu: bool) -> Resources:
        """One card, or none on the CPU."""
        return Resources(num_gpus=1 if has_gpu and not config.use_cpu else 0)

    def stop(self, config: LlamaFactoryPredictConfig) -> tuple[StopStep, ...]:
        """Scores come at the end, so nothing is worth waiting for."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the batches done, from the bar that evaluation draws without words."""
        bar = last_bar(run.log, "^$")
        if bar is None:
            return None
        return Progress(bar.done, bar.total, f"batch {bar.done}/{bar.total}", bar.remaining_s)

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return BLEU-4 and ROUGE in percent, or the loss, with samples per second."""
        told: dict[str, Figure] = {}
        for kind in ("predict", "eval"):
            try:
                rows = json.loads((run.folder / OUTPUT / f"{kind}_results.json").read_text())
            except (OSError, ValueError):
                continue
            for name in FIGURES:
                value = rows.get(f"{kind}_{name}")
                if isinstance(value, (int, float)):
                    told[name] = Figure(value)
        return told


def _yaml(config: LlamaFactoryPredictConfig, place: Placement) -> dict[str, object]:
    own = {"extra_args", "mode", "any_base", "adapter_name_or_path", "dataset_dir"}
    generating = ("max_new_tokens", "do_sample", "temperature")
    if config.mode == "loss":
        own |= {*generating}
    elif not config.do_sample:
        own |= {"temperature"}
    settings = {
        name: value
        for name, value in config.model_dump().items()
        if name not in own and value is not None
    }
    settings["model_name_or_path"] = resolve_path(config.model_name_or_path, place.root)
    settings["dataset_dir"] = resolve_path(config.dataset_dir, place.root) or place.data_dir
    if config.adapter_name_or_path:
        settings["adapter_name_or_path"] = resolve_path(config.adapter_name_or_path, place.root)
    doing = (
        {"do_predict": True, "predict_with_generate": True}
        if config.mode == "generate"
        else {"do_eval": True}
    )
    return {
        **settings,
        **doing,
        "stage": "sft",
        "finetuning_type": "lora",
        "output_dir": OUTPUT,
        "report_to": "none",
        "preprocessing_num_workers": 1,
    }
