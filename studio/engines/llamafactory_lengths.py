"""Token lengths of a data set, counted by LLaMA-Factory's own template and tokenizer code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from studio.core.spec import Command, Placement, Resources, StopStep
from studio.engines.dataset_names import check_own_datasets, with_own_data
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Progress,
    check_model_dir,
    engine_env,
    knob,
    resolve_path,
)
from studio.engines.shared_fields import dataset_dir_field
from studio.engines.templates import check_template
from studio.envs.catalog import LLAMAFACTORY
from studio.jobs.rundir import RunDir, read_rows

RESULT = "artifacts/lengths.json"
_WORKER = Path(__file__).with_name("workers") / "token_lengths.py"


class LlamaFactoryLengthsConfig(EngineConfig):
    """What is counted; names are those of LLaMA-Factory's YAML."""

    model_name_or_path: str = knob(
        title="Model",
        help="Folder or hub id whose tokenizer is used; its weights are not read.",
        zh=("模型", "用它的 tokenizer；不读取权重。可以是目录或 hub 上的名字。"),
        min_length=1,
    )
    template: str = knob(
        title="Template",
        help="How a conversation becomes a prompt: the one the training will use.",
        zh=("对话模板", "对话如何拼成提示词，要和训练时一致。"),
    )
    dataset: str = knob(
        title="Data sets",
        help="Names from dataset_info.json, separated by commas.",
        zh=("数据集", "dataset_info.json 里的名字，用逗号分隔。"),
        min_length=1,
    )
    dataset_dir: str = dataset_dir_field()
    cutoff_len: int = knob(
        2048,
        title="Length limit",
        help="What training would cut samples to, in tokens.",
        zh=("截断长度", "训练时样本会被截断到多少 token。"),
        ge=16,
    )
    stage: Literal["pt", "sft", "rm", "dpo", "kto"] = knob(
        "sft",
        title="Stage",
        help="Decides which columns are read and what counts as an answer.",
        zh=("训练阶段", "决定读哪些列、哪部分算回答。"),
    )
    max_samples: int | None = knob(
        None,
        title="Most samples",
        help="Counts only so many of each data set, from its beginning. Empty: all.",
        zh=("最多样本数", "每个数据集只统计开头这么多条。留空则全部统计。"),
        ge=1,
    )
    image_max_pixels: int = knob(
        589824,
        title="Largest picture",
        help="Larger pictures are scaled down to so many pixels, which decides their tokens.",
        zh=("图片最大像素", "更大的图片会缩小到这么多像素，影响图片占多少 token。"),
        group="vision",
        ge=784,
    )


class LlamaFactoryLengths(Engine[LlamaFactoryLengthsConfig]):
    """`workers/token_lengths.py` in LLaMA-Factory's environment; no card, no weights."""

    id = "llamafactory-lengths"
    title = "Token lengths"
    env = LLAMAFACTORY
    Config = LlamaFactoryLengthsConfig

    def command(self, config: LlamaFactoryLengthsConfig, place: Placement) -> Command:
        """Return the worker's command; its settings lie in `lengths.json` of the run folder."""
        settings = config.model_dump(exclude={"extra_args"})
        settings["model_name_or_path"] = resolve_path(config.model_name_or_path, place.root)
        settings["dataset_dir"] = resolve_path(config.dataset_dir, place.root) or place.data_dir
        env = {"DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""}
        return Command(
            argv=(place.interpreter.python, str(_WORKER), "lengths.json", *config.extra_args),
            env=env | engine_env(place, config.model_name_or_path, on_cpu=True),
            files={"lengths.json": json.dumps(settings, ensure_ascii=False, indent=1) + "\n"},
        )

    def at_home(self, config: LlamaFactoryLengthsConfig, home: Path) -> LlamaFactoryLengthsConfig:
        """Return the settings with the studio's own data sets where no folder is named."""
        return with_own_data(config, home)

    def check(self, config: LlamaFactoryLengthsConfig, root: Path) -> None:
        """Refuse a missing model, a wrong template and unknown data sets."""
        check_model_dir(config.model_name_or_path, root, weights=False)
        check_template(config.template, config.model_name_or_path, root)
        check_own_datasets(config.dataset, config.dataset_dir, root)

    def resources(self, config: LlamaFactoryLengthsConfig, has_gpu: bool) -> Resources:
        """No card: tokenizers run on the CPU."""
        return Resources()

    def stop(self, config: LlamaFactoryLengthsConfig) -> tuple[StopStep, ...]:
        """Figures come at the end, so nothing is worth waiting for."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Return the samples done, of how many, where the file's length was known."""
        rows = read_rows(run.artifacts / "progress.jsonl")
        return Progress(rows[-1]["done"], max(1, rows[-1]["total"])) if rows else None


def lengths(run: RunDir) -> dict[str, Any] | None:
    """Return a run's result: count, mean, p50, p90, p99, max, bins, longest, refused, ..."""
    try:
        return json.loads((run.folder / RESULT).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
