"""LLaMA-Factory as a trainer: `llamafactory-cli train`, on one card, many, or the CPU."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import EnvMissing
from studio.core.settings import ROOT
from studio.core.spec import Command, Interpreter, Placement, Resources, StopStep, Training
from studio.engines import training_log
from studio.engines.dataset_names import with_own_data
from studio.engines.engine import (
    Engine,
    Point,
    Progress,
    engine_env,
    resolve_path,
    to_yaml,
)
from studio.engines.launchers import Way, decide
from studio.engines.training_checks import check_combination, check_disk
from studio.engines.training_config import LlamaFactoryTrainConfig
from studio.engines.training_yaml import DRAWN, yaml_settings
from studio.engines.training_yaml_read import told_by
from studio.envs.catalog import LLAMAFACTORY
from studio.envs.packages import package_version
from studio.jobs.rundir import RunDir

_DRAW = Path(__file__).with_name("workers") / "draw_shapes.py"
_MODULE = ("-m", "llamafactory.launcher")


class LlamaFactoryTrain(Engine[LlamaFactoryTrainConfig]):
    """`llamafactory-cli train`; stops after the current step and saves when asked politely."""

    id = "llamafactory-train"
    title = "LLaMA-Factory"
    env = LLAMAFACTORY
    Config = LlamaFactoryTrainConfig

    def command(self, config: LlamaFactoryTrainConfig, place: Placement) -> Command:
        """Return the launcher with train.yaml, which is written into the run folder."""
        check_combination(config)
        way = decide(config.ask(place.root), place.num_gpus)
        env = {
            "LLAMABOARD_ENABLED": "1",
            "LLAMABOARD_WORKDIR": "artifacts",
            "DO_NOT_TRACK": "1",
            **_offline_reports(config),
        }
        env |= engine_env(place, config.model_name_or_path, on_cpu=way.on_cpu) | way.env(place)
        argv = self._argv(config, way, place)
        if "train" in argv and way.launcher == "torchrun":
            env |= {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": str(way.num_processes)}
        if config.draw_pictures:
            argv = (*_draw_first(config, place), *argv)
        settings = yaml_settings(config, way, place.root, place.data_dir)
        return Command(argv=argv, env=env, files={"train.yaml": to_yaml(settings), **way.files()})

    def at_home(self, config: LlamaFactoryTrainConfig, home: Path) -> LlamaFactoryTrainConfig:
        """Name the studio's own data sets where no folder is named."""
        return with_own_data(config, home)

    def check(self, config: LlamaFactoryTrainConfig, root: Path) -> None:
        """Refuse missing models, checkpoints and configs, wrong templates, unknown data sets."""
        check_combination(config)
        check_disk(config, root)

    def check_env(self, config: LlamaFactoryTrainConfig, interpreter: Interpreter) -> None:
        """Refuse settings whose package is not installed beside LLaMA-Factory."""
        needed = {
            "deepspeed": bool(config.deepspeed)
            or config.strategy.startswith("zero")
            or config.launcher == "deepspeed",
            "bitsandbytes": config.quantization_bit is not None or "8bit" in config.optim,
            "liger-kernel": config.enable_liger_kernel,
            "flash-attn": config.flash_attn == "fa2",
            config.report_to: config.report_to != "none",
        }
        for name, wanted in needed.items():
            if wanted and package_version(interpreter, name) == "":
                raise EnvMissing(
                    f"LLaMA-Factory's environment has no {name}, which these settings need.",
                    hint="Adopt an environment that has it, or change the setting.",
                )

    def resources(self, config: LlamaFactoryTrainConfig, has_gpu: bool) -> Resources:
        """One card per process, one when nobody says; none on the CPU."""
        cards = (config.num_processes or 1) if has_gpu and not config.use_cpu else 0
        return Resources(num_gpus=cards)

    def ranks(self, config: LlamaFactoryTrainConfig, num_gpus: int) -> int:
        """Return how many processes should come up."""
        return config.num_processes or num_gpus or 1

    def training(self, config: LlamaFactoryTrainConfig, num_gpus: int) -> Training:
        """Return what is trained, in the planner's words; raise RecipeInvalid for no way."""
        check_combination(config)
        told = config.training(decide(config.ask(str(ROOT)), num_gpus))
        return told.model_copy(update=_own_strategy(config.deepspeed)) if config.deepspeed else told

    def stop(self, config: LlamaFactoryTrainConfig) -> tuple[StopStep, ...]:
        """SIGABRT lets the trainer finish its step and save; the others do not save."""
        return (
            StopStep(signal="SIGABRT", to="ranks", grace_s=300, label="finish the step and save"),
            StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),
        )

    def points(self, run: RunDir) -> Iterator[Point]:
        """Yield loss, learning rate, gradient norm, speeds and the like."""
        return training_log.points(run)

    def progress(self, run: RunDir) -> Progress | None:
        """Return steps done, of how many, and an estimate of what is left."""
        return training_log.progress(run)

    def _argv(self, config: LlamaFactoryTrainConfig, way: Way, place: Placement) -> tuple[str, ...]:
        """Return the command of a way; LLaMA-Factory's own where it can start that way.

        Its own way to torchrun needs the program on PATH and breaks words at spaces.
        """
        words = ("train.yaml", *config.extra_args)
        cli = place.interpreter.program("llamafactory-cli", "llamafactory.cli")
        spaced = any(" " in word for word in (place.interpreter.python, *words))
        own = place.interpreter.scripts and not spaced
        if way.launcher == "single" or (way.launcher == "torchrun" and own):
            return way.started(place, (*cli, "train", *words))
        return way.argv(place, _MODULE, words)


def _own_strategy(path: str) -> dict[str, Any]:
    """Return what a DeepSpeed config of somebody's own means; nothing when it cannot be read."""
    try:
        text = Path(resolve_path(path, str(ROOT))).read_text(encoding="utf-8")
        strategy, offload, folder = told_by(json.loads(text))
    except (OSError, ValueError, AttributeError):
        return {}
    return {"strategy": strategy, "offload": offload, "offload_nvme": bool(folder)}


def _offline_reports(config: LlamaFactoryTrainConfig) -> dict[str, str]:
    """Keep what other programs write in the run folder, and send nothing anywhere."""
    return {
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": "artifacts/tensorboard"},
        "wandb": {"WANDB_MODE": "offline", "WANDB_DIR": "artifacts"},
        "trackio": {"TRACKIO_DIR": "artifacts/trackio"},
    }.get(config.report_to, {})


def _draw_first(config: LlamaFactoryTrainConfig, place: Placement) -> tuple[str, ...]:
    draw = (place.interpreter.python, str(_DRAW), "--data", DRAWN)
    return (*draw, "--pictures", str(config.draw_pictures), "--")
