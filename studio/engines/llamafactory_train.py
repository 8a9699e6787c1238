"""LLaMA-Factory as a trainer: `llamafactory-cli train`, one process on one card or the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from studio.core.errors import RecipeInvalid
from studio.core.recipes import did_you_mean
from studio.core.spec import Command, Placement, Resources, StopStep
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Point,
    Progress,
    check_model_dir,
    engine_env,
    is_local,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.templates import check_template
from studio.envs.catalog import LLAMAFACTORY
from studio.jobs.rundir import RunDir, read_rows

OUTPUT = "artifacts/output"
"""Where the result goes, below the run folder; a fresh one per run, as the engine wants it."""

DRAWN = "artifacts/data"
"""Where pictures are drawn, below the run folder, when `draw_pictures` asks for some."""

DRAWN_DATASET = "shapes"

_DRAW = Path(__file__).with_name("workers") / "draw_shapes.py"

_CURVES = ("loss", "eval_loss", "lr", "accuracy", "throughput")


class LlamaFactoryTrainConfig(EngineConfig):
    """Settings of a training; names are those of LLaMA-Factory's YAML."""

    model_name_or_path: str = knob(
        title="Model",
        help="A model folder, or a hub id such as Qwen/Qwen2.5-7B-Instruct.",
        zh=("模型", "模型目录，或 hub 上的名字，例如 Qwen/Qwen2.5-7B-Instruct。"),
        min_length=1,
    )
    stage: Literal["pt", "sft"] = knob(
        "sft",
        title="Stage",
        help="pt continues pre-training on plain text; sft learns from questions and answers.",
        zh=("训练阶段", "pt 用纯文本继续预训练；sft 从问答中学习。"),
    )
    finetuning_type: Literal["full", "freeze", "lora"] = knob(
        "lora",
        title="What is trained",
        help="lora trains small added matrices; freeze the last layers; full everything.",
        zh=("微调方式", "lora 只训练新增的小矩阵；freeze 训练最后几层；full 训练全部参数。"),
    )
    dataset: str = knob(
        title="Data sets",
        help="Names from dataset_info.json, separated by commas.",
        zh=("数据集", "dataset_info.json 里的名字，用逗号分隔。"),
        min_length=1,
    )
    dataset_dir: str = knob(
        "assets/data",
        title="Data folder",
        help="The folder with dataset_info.json.",
        zh=("数据目录", "dataset_info.json 所在目录。"),
    )
    template: str = knob(
        title="Template",
        help="How a conversation becomes a prompt. The wrong one makes the model talk nonsense.",
        zh=("对话模板", "对话如何拼成提示词。选错模板，模型会答非所问。"),
    )
    cutoff_len: int = knob(
        2048,
        title="Length limit",
        help="Longer samples are cut to so many tokens. Memory grows with it.",
        zh=("截断长度", "超过的样本会被截断（token 数）。越长越占显存。"),
        ge=16,
    )
    per_device_train_batch_size: int = knob(
        1,
        title="Batch per card",
        help="Samples per card and step. Start at 1; memory grows with it.",
        zh=("每卡批大小", "每张卡每步的样本数。先用 1；越大越占显存。"),
        ge=1,
    )
    gradient_accumulation_steps: int = knob(
        1,
        title="Accumulation",
        help="Steps gathered before an update: a larger batch without more memory.",
        zh=("梯度累积", "累积多少步再更新一次：不多占显存也能用更大的批。"),
        ge=1,
    )
    learning_rate: float = knob(
        1e-4,
        title="Learning rate",
        help="1e-4 suits LoRA, 1e-5 full training of large models.",
        zh=("学习率", "LoRA 常用 1e-4，大模型全参训练常用 1e-5。"),
        gt=0,
    )
    num_train_epochs: float = knob(
        3.0,
        title="Epochs",
        help="How often every sample is seen.",
        zh=("训练轮数", "每条样本被看到的次数。"),
        gt=0,
    )
    max_steps: int = knob(
        -1,
        title="Most steps",
        help="Ends after so many updates, whatever the epochs say. -1: no limit.",
        zh=("最大步数", "到这么多步就结束，不管轮数。-1 表示不限。"),
        ge=-1,
    )
    lora_rank: int = knob(
        8,
        title="LoRA rank",
        help="Size of the added matrices; 8 to 64 are usual.",
        zh=("LoRA rank", "新增矩阵的秩，常用 8 到 64。"),
        group="lora",
        ge=1,
    )
    lora_alpha: int | None = knob(
        None,
        title="LoRA alpha",
        help="Strength of the added matrices. Empty: twice the rank.",
        zh=("LoRA alpha", "新增矩阵的强度。留空为 rank 的两倍。"),
        group="lora",
        ge=1,
    )
    lora_target: str = knob(
        "all",
        title="LoRA layers",
        help="all puts matrices on every linear layer.",
        zh=("LoRA 作用层", "all 表示所有线性层。"),
        group="lora",
    )
    train_from_scratch: bool = knob(
        False,
        title="From nothing",
        help="Ignores the weights and starts from random ones; for models of your own.",
        zh=("从零训练", "忽略已有权重，随机初始化。只用于自己造的小模型。"),
        group="expert",
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = knob(
        "cosine",
        title="Schedule",
        help="How the learning rate falls.",
        zh=("学习率调度", "学习率下降的方式。"),
        group="optimizer",
    )
    warmup_steps: int = knob(
        0,
        title="Warm-up steps",
        help="Steps in which the learning rate rises from zero.",
        zh=("预热步数", "学习率从零升到设定值的步数。"),
        group="optimizer",
        ge=0,
    )
    weight_decay: float = knob(
        0.0,
        title="Weight decay",
        help="Pulls weights towards zero; 0.01 to 0.1 against overfitting.",
        zh=("权重衰减", "把权重拉向零；0.01 到 0.1 可减轻过拟合。"),
        group="optimizer",
        ge=0,
    )
    train_sampling_strategy: Literal["random", "sequential", "group_by_length"] = knob(
        "random",
        title="Sample order",
        help="group_by_length puts samples of like length together: less padding, faster.",
        zh=("采样顺序", "group_by_length 把长度相近的样本放在一起：填充更少，更快。"),
        group="data",
    )
    val_size: float = knob(
        0.0,
        title="Held out",
        help="Share of the data kept for evaluation; 0 keeps none.",
        zh=("验证集比例", "留出多少数据做验证；0 表示不留。"),
        group="data",
        ge=0,
        lt=1,
    )
    eval_steps: int | None = knob(
        None,
        title="Evaluate every",
        help="Steps between evaluations on the held-out share.",
        zh=("验证间隔", "每多少步在验证集上评估一次。"),
        group="data",
        ge=1,
    )
    logging_steps: int = knob(
        5,
        title="Log every",
        help="Steps between two points of the curve.",
        zh=("记录间隔", "曲线上两点之间的步数。"),
        group="saving",
        ge=1,
    )
    save_steps: int | None = knob(
        None,
        title="Checkpoint every",
        help="Steps between checkpoints. Empty: only the final result is saved.",
        zh=("保存间隔", "每多少步存一个 checkpoint。留空则只保存最终结果。"),
        group="saving",
        ge=1,
    )
    bf16: bool = knob(
        False,
        title="bf16",
        help="Half the memory of fp32 on cards from Ampere on. Slow on CPUs without AMX.",
        zh=("bf16", "Ampere 及以后的卡上显存减半。没有 AMX 的 CPU 上很慢。"),
        group="precision",
    )
    fp16: bool = knob(
        False,
        title="fp16",
        help="For V100 and older cards. On a CPU it changes nothing.",
        zh=("fp16", "给 V100 等旧卡用。CPU 上不起作用。"),
        group="precision",
    )
    use_cpu: bool = knob(
        False,
        title="On the CPU",
        help="Trains without cards, for tiny models.",
        zh=("用 CPU", "不用显卡训练，只适合很小的模型。"),
        group="precision",
    )
    freeze_vision_tower: bool = knob(
        True,
        title="Keep the vision tower",
        help="Vision models: leaves the part that sees as it is. Off only for models of your own.",
        zh=("冻结视觉塔", "视觉模型：不训练看图的部分。只有自己造的小模型才关掉。"),
        group="vision",
    )
    freeze_multi_modal_projector: bool = knob(
        True,
        title="Keep the projector",
        help="Vision models: leaves the layer between picture and text as it is.",
        zh=("冻结投影层", "视觉模型：不训练连接图像与文本的那一层。"),
        group="vision",
    )
    image_max_pixels: int = knob(
        589824,
        title="Largest picture",
        help="Larger pictures are scaled down to so many pixels (768 x 768). Memory grows with it.",
        zh=("图片最大像素", "更大的图片会缩小到这么多像素（768 x 768）。越大越占显存。"),
        group="vision",
        ge=784,
    )
    draw_pictures: int = knob(
        0,
        title="Pictures to draw",
        help="Draws so many pictures of coloured shapes first, as the only data set: shapes.",
        zh=("先画多少张图", "训练前先画这么多张彩色图形，作为唯一的数据集 shapes。"),
        group="vision",
        ge=0,
    )
    seed: int = knob(
        42,
        title="Seed",
        help="The same seed and settings give the same run on the same machine.",
        zh=("随机种子", "同一机器、同样设置和种子，结果相同。"),
        group="expert",
        ge=0,
    )


_ALWAYS = {
    "do_train": True,
    "output_dir": OUTPUT,
    "overwrite_output_dir": True,
    "plot_loss": True,
    "report_to": "none",
    "preprocessing_num_workers": 1,
    "include_num_input_tokens_seen": True,
}
_LORA_ONLY = ("lora_rank", "lora_alpha", "lora_target")
_VISION = ("freeze_vision_tower", "freeze_multi_modal_projector", "image_max_pixels")


class LlamaFactoryTrain(Engine[LlamaFactoryTrainConfig]):
    """`llamafactory-cli train`; stops after the current step and saves when asked politely."""

    id = "llamafactory-train"
    title = "LLaMA-Factory"
    env = LLAMAFACTORY
    Config = LlamaFactoryTrainConfig

    def command(self, config: LlamaFactoryTrainConfig, place: Placement) -> Command:
        """Return `llamafactory-cli train train.yaml`; the YAML is written into the run folder."""
        head = place.interpreter.program("llamafactory-cli", "llamafactory.cli")
        env = {
            "LLAMABOARD_ENABLED": "1",
            "LLAMABOARD_WORKDIR": "artifacts",
            "DO_NOT_TRACK": "1",
        }
        env |= engine_env(place, config.model_name_or_path, on_cpu=config.use_cpu)
        if config.draw_pictures:
            head = (*_draw_first(config, place), *head)
        return Command(
            argv=(*head, "train", "train.yaml", *config.extra_args),
            env=env,
            files={"train.yaml": to_yaml(self._yaml(config, place.root))},
        )

    def check(self, config: LlamaFactoryTrainConfig, root: Path) -> None:
        """Refuse a missing model, a template that does not fit, and unknown data sets."""
        if config.train_from_scratch and is_local(config.model_name_or_path):
            folder = Path(resolve_path(config.model_name_or_path, str(root)))
            if not (folder / "config.json").is_file():
                raise RecipeInvalid(f"{folder} has no config.json to build a model from.")
        else:
            check_model_dir(config.model_name_or_path, root)
        check_template(config.template, config.model_name_or_path, root)
        if config.draw_pictures and config.dataset != DRAWN_DATASET:
            raise RecipeInvalid(
                f"Pictures are drawn as the data set {DRAWN_DATASET!r}, not {config.dataset!r}.",
                hint=f"Set dataset to {DRAWN_DATASET}, or draw_pictures to 0.",
            )
        if not config.draw_pictures:
            _check_datasets(config.dataset, Path(resolve_path(config.dataset_dir, str(root))))

    def resources(self, config: LlamaFactoryTrainConfig, has_gpu: bool) -> Resources:
        """One card, or none on the CPU."""
        return Resources(num_gpus=1 if has_gpu and not config.use_cpu else 0)

    def stop(self, config: LlamaFactoryTrainConfig) -> tuple[StopStep, ...]:
        """SIGABRT lets the trainer finish its step and save; the others do not save."""
        return (
            StopStep(signal="SIGABRT", to="ranks", grace_s=60, label="finish the step and save"),
            StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),
        )

    def points(self, run: RunDir) -> Iterator[Point]:
        """Yield loss, learning rate and the like from the trainer's own log."""
        for row in read_rows(run.folder / OUTPUT / "trainer_log.jsonl"):
            for name in _CURVES:
                if isinstance(row.get(name), (int, float)):
                    yield Point(name, row["current_steps"], row[name])

    def progress(self, run: RunDir) -> Progress | None:
        """Return steps done, of how many, and the trainer's own estimate of what is left."""
        rows = read_rows(run.folder / OUTPUT / "trainer_log.jsonl")
        if not rows:
            return None
        last = rows[-1]
        done, total = last["current_steps"], last["total_steps"]
        return Progress(done, total, f"step {done}/{total}", _seconds(last.get("remaining_time")))

    def _yaml(self, config: LlamaFactoryTrainConfig, root: str) -> dict[str, Any]:
        skipped = {"extra_args", "draw_pictures"}
        skipped |= {*(_LORA_ONLY if config.finetuning_type != "lora" else ())}
        usual = type(config).model_fields
        skipped |= {name for name in _VISION if getattr(config, name) == usual[name].default}
        values = {
            name: value
            for name, value in config.model_dump().items()
            if name not in skipped and value is not None
        }
        for name in ("model_name_or_path", "dataset_dir"):
            values[name] = resolve_path(values[name], root)
        if config.draw_pictures:
            values["dataset_dir"] = DRAWN
        values["save_strategy"] = "steps" if config.save_steps else "no"
        if config.eval_steps:
            values["eval_strategy"] = "steps"
        if not config.train_from_scratch:
            del values["train_from_scratch"]
        return {**values, **_ALWAYS}


def _draw_first(config: LlamaFactoryTrainConfig, place: Placement) -> tuple[str, ...]:
    draw = (place.interpreter.python, str(_DRAW), "--data", DRAWN)
    return (*draw, "--pictures", str(config.draw_pictures), "--")


def _check_datasets(names: str, folder: Path) -> None:
    info = folder / "dataset_info.json"
    try:
        known = list(json.loads(info.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise RecipeInvalid(
            f"{folder} has no dataset_info.json.", hint="Set dataset_dir to the folder that has it."
        ) from error
    except ValueError as error:
        raise RecipeInvalid(f"{info} is not JSON: {error}.") from error
    for name in (part.strip() for part in names.split(",")):
        if name not in known:
            raise RecipeInvalid(
                f"{info} has no data set {name!r}.",
                hint=did_you_mean(name, known) or f"It has: {', '.join(known)}.",
            )


def _seconds(text: str | None) -> float | None:
    """Turn LLaMA-Factory's `1:02:03` or `1 day, 0:00:01` into seconds."""
    if not text:
        return None
    days, _, clock = text.rpartition(", ")
    try:
        hours, minutes, seconds = (float(part) for part in clock.split(":"))
        whole_days = float(days.split()[0]) if days else 0.0
    except (ValueError, IndexError):
        return None
    return whole_days * 86400 + hours * 3600 + minutes * 60 + seconds
