"""What LLaMA-Factory would refuse minutes later, after loading everything: settings and files.

What the launchers cannot do is refused by `launchers.decide`.
"""

from __future__ import annotations

import json
from pathlib import Path

from studio.core.errors import RecipeInvalid
from studio.engines import training_log
from studio.engines.dataset_names import check_datasets, table
from studio.engines.engine import check_model_dir, is_local, resolve_path
from studio.engines.templates import check_template
from studio.engines.training_config import LlamaFactoryTrainConfig
from studio.engines.training_yaml import evaluates

DRAWN_DATASET = "shapes"
REWARDED = ("rm", "dpo")
"""Stages that learn from pairs of a better and a worse answer."""

DEQUANTIZED = ("mxfp4", "fp8")
"""Formats that LLaMA-Factory turns back into bf16 while it loads."""


def check_combination(config: LlamaFactoryTrainConfig) -> None:
    """Raise RecipeInvalid for settings that do not go together; looks at no disk."""
    if config.stage == "ppo":
        raise RecipeInvalid(
            "LLaMA-Factory 0.9.5 cannot run PPO: its trainer needs trl <= 0.9.6, and everything "
            "else of this release needs a newer one.",
            hint="Learn preferences by dpo or kto instead.",
        )
    if config.bf16 and config.fp16:
        raise RecipeInvalid("bf16 and fp16 are both on.", hint="Turn one of them off.")
    if config.pure_bf16 and config.fp16:
        raise RecipeInvalid("pure_bf16 and fp16 are both on.", hint="Turn one of them off.")
    lora = config.finetuning_type == "lora"
    only = ("use_dora", "use_rslora", "pissa_init", "adapter_name_or_path")
    for name in only:
        if getattr(config, name) and not lora:
            raise RecipeInvalid(
                f"{name} belongs to LoRA, and finetuning_type is {config.finetuning_type}.",
                hint=f"Set finetuning_type to lora, or leave {name} out.",
            )
    referenced = config.stage == "dpo" and config.pref_loss not in ("orpo", "simpo")
    if config.pissa_init and (config.stage == "kto" or referenced):
        raise RecipeInvalid(
            "LLaMA-Factory refuses PiSSA where a reference model is needed.",
            hint="Turn pissa_init off, or set pref_loss to orpo or simpo.",
        )
    if config.finetuning_type == "freeze" and config.freeze_trainable_layers == 0:
        raise RecipeInvalid(
            "freeze_trainable_layers is 0: nothing would be trained.",
            hint="2 trains the last two layers, -2 the first two.",
        )
    if config.warmup_ratio and config.warmup_steps:
        raise RecipeInvalid(
            "warmup_ratio and warmup_steps are both set.", hint="Leave one of them at 0."
        )
    _check_best(config)


def check_disk(config: LlamaFactoryTrainConfig, root: Path) -> None:
    """Raise RecipeInvalid for missing files, a template that does not fit, unknown data sets."""
    if config.train_from_scratch and is_local(config.model_name_or_path):
        folder = Path(resolve_path(config.model_name_or_path, str(root)))
        if not (folder / "config.json").is_file():
            raise RecipeInvalid(f"{folder} has no config.json to build a model from.")
    else:
        check_model_dir(config.model_name_or_path, root)
    check_template(config.template, config.model_name_or_path, root)
    _check_quantized(config, root)
    if config.ref_model:
        check_model_dir(config.ref_model, root)
    _check_files(config, str(root))
    if config.draw_pictures:
        if config.dataset != DRAWN_DATASET:
            raise RecipeInvalid(
                f"Pictures are drawn as the data set {DRAWN_DATASET!r}, not {config.dataset!r}.",
                hint=f"Set dataset to {DRAWN_DATASET}, or draw_pictures to 0.",
            )
    elif config.dataset_dir:
        folder = Path(resolve_path(config.dataset_dir, str(root)))
        _check_datasets(config.dataset, folder, config.stage)
        if config.eval_dataset:
            _check_datasets(config.eval_dataset, folder, config.stage)


def _check_best(config: LlamaFactoryTrainConfig) -> None:
    if config.early_stopping_steps and not config.load_best_model_at_end:
        raise RecipeInvalid(
            "early_stopping_steps needs load_best_model_at_end.",
            hint="Turn load_best_model_at_end on.",
        )
    if not config.load_best_model_at_end:
        return
    if config.stage == "rm":
        raise RecipeInvalid(
            "LLaMA-Factory does not support load_best_model_at_end for a reward model.",
            hint="Turn load_best_model_at_end off.",
        )
    if not evaluates(config):
        raise RecipeInvalid(
            "load_best_model_at_end has nothing to evaluate on.",
            hint="Set val_size to 0.1, or name an eval_dataset.",
        )
    if not config.eval_steps or not config.save_steps or config.save_steps % config.eval_steps:
        raise RecipeInvalid(
            "load_best_model_at_end needs eval_steps, and save_steps a multiple of it.",
            hint="Set both to the same number of steps.",
        )


def _check_quantized(config: LlamaFactoryTrainConfig, root: Path) -> None:
    """Refuse what LLaMA-Factory refuses of a model whose weights are saved quantized."""
    if not is_local(config.model_name_or_path):
        return
    folder = Path(resolve_path(config.model_name_or_path, str(root)))
    try:
        told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    method = (told.get("quantization_config") or {}).get("quant_method", "")
    if not method or method in DEQUANTIZED:
        return
    if config.finetuning_type != "lora" or config.pissa_init:
        raise RecipeInvalid(
            f"{folder} is quantized ({method}): only plain LoRA can be trained on it.",
            hint="Set finetuning_type to lora and pissa_init off, or take the unquantized model.",
        )
    if config.strategy in ("zero3", "fsdp2"):
        raise RecipeInvalid(
            f"{folder} is quantized ({method}), and {config.strategy} cannot share such weights "
            "out.",
            hint="Set strategy to ddp or zero2, or take the unquantized model with "
            "quantization_bit 4.",
        )


def _check_files(config: LlamaFactoryTrainConfig, root: str) -> None:
    """Look for the files and folders that settings name."""
    for name in filter(None, (part.strip() for part in config.adapter_name_or_path.split(","))):
        folder = Path(resolve_path(name, root))
        if is_local(name) and not (folder / "adapter_config.json").is_file():
            raise RecipeInvalid(
                f"{folder} holds no LoRA adapter: it has no adapter_config.json.",
                hint="Name the output folder of a LoRA training.",
            )
    if config.resume_from_checkpoint:
        folder = Path(resolve_path(config.resume_from_checkpoint, root))
        if not (folder / "trainer_state.json").is_file():
            raise RecipeInvalid(
                f"{folder} is no checkpoint: it has no trainer_state.json.",
                hint="Name a checkpoint-N folder in the output of a run.",
            )
        if not training_log.resumable(folder):
            raise RecipeInvalid(
                f"{folder} has no optimizer states, so a run cannot go on from it.",
                hint="Save checkpoints with save_only_model off; to start from its weights, name "
                "it as the model or the adapter.",
            )
    if config.deepspeed:
        _check_json(Path(resolve_path(config.deepspeed, root)))
    if config.offload_nvme_path:
        folder = Path(resolve_path(config.offload_nvme_path, root))
        if not folder.is_dir():
            raise RecipeInvalid(
                f"There is no folder {folder} to offload to.", hint="Make it on a fast disk."
            )


def _check_json(path: Path) -> None:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeInvalid(
            f"There is no DeepSpeed config {path}.",
            hint="Leave deepspeed empty and set strategy: the studio writes the config.",
        ) from error
    except ValueError as error:
        raise RecipeInvalid(f"{path} is not JSON: {error}.") from error


def _check_datasets(names: str, folder: Path, stage: str) -> None:
    check_datasets(names, folder)
    known = table(folder)
    for name in (part.strip() for part in names.split(",")):
        paired = bool(known[name].get("ranking"))
        if paired != (stage in REWARDED):
            raise RecipeInvalid(
                f"{name} holds pairs of answers, which {stage} does not take."
                if paired
                else f"{stage} needs pairs of a better and a worse answer, and {name} has none.",
                hint="Choose a data set that fits the stage; the Data tab says what each is.",
            )
