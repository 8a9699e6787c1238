"""LLaMA-Factory's YAML: written for a run, and saved for `llamafactory-cli train`.

yaml_settings(config, way, root, data_dir)     what train.yaml of a run holds
to_yaml(config, way, root, data_dir)           a file that runs by itself, with everything in it

`training_yaml_read` turns such a file into settings again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.recipes import parse_yaml
from studio.engines import engine
from studio.engines.engine import resolve_path
from studio.engines.launch_files import DEEPSPEED_JSON
from studio.engines.launchers import Way
from studio.engines.training_config import LlamaFactoryTrainConfig

OUTPUT = "artifacts/output"
"""Where the result goes, below the run folder; a fresh one per run, as the engine wants it."""

DRAWN = "artifacts/data"
"""Where pictures are drawn, below the run folder, when `draw_pictures` asks for some."""

OWN = (
    "extra_args",
    "draw_pictures",
    "launcher",
    "num_processes",
    "strategy",
    "offload",
    "offload_nvme_path",
    "deepspeed",
    "use_cpu",
    "report_to",
    "run_name",
)
"""Settings that are no keys of the YAML, or are written in another way."""

ALWAYS = (
    "model_name_or_path",
    "stage",
    "finetuning_type",
    "dataset",
    "template",
    "cutoff_len",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "val_size",
    "train_sampling_strategy",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "logging_steps",
    "bf16",
    "fp16",
    "seed",
)
"""Keys that are written whatever their value; all others only when they differ from the default."""

FIXED: dict[str, Any] = {
    "do_train": True,
    "overwrite_output_dir": True,
    "plot_loss": True,
    "preprocessing_num_workers": 1,
    "include_num_input_tokens_seen": True,
}
_LORA = (
    *("adapter_name_or_path", "lora_rank", "lora_alpha", "lora_target", "lora_dropout"),
    *("use_rslora", "use_dora", "pissa_init", "pissa_iter", "additional_target"),
)
_LORA_ALWAYS = ("lora_rank", "lora_target")
_PREFERENCE = ("pref_loss", "pref_beta", "pref_ftx", "simpo_gamma", "ref_model")
_QUANT = ("quantization_method", "quantization_type", "double_quantization")
_PATHS = ("model_name_or_path", "ref_model", "resume_from_checkpoint")


def yaml_settings(
    config: LlamaFactoryTrainConfig, way: Way, root: str, data_dir: str
) -> dict[str, Any]:
    """Return what train.yaml says. Pure; paths are absolute, or below the run folder."""
    fields = type(config).model_fields
    skipped = {*OWN, *_skipped(config)}
    values: dict[str, Any] = {}
    for name, value in config.model_dump().items():
        usual = fields[name].default
        kept = name in ALWAYS or (name in _LORA_ALWAYS) or value != usual
        if kept and name not in skipped and value not in (None, ""):
            values[name] = value
    for name in _PATHS:
        if name in values:
            values[name] = resolve_path(values[name], root)
    if config.adapter_name_or_path and "adapter_name_or_path" in values:
        parts = config.adapter_name_or_path.split(",")
        values["adapter_name_or_path"] = ",".join(resolve_path(p.strip(), root) for p in parts)
    values["dataset_dir"] = resolve_path(config.dataset_dir, root) or data_dir
    if config.draw_pictures:
        values["dataset_dir"] = DRAWN
    if config.quantization_bit:
        values |= {name: getattr(config, name) for name in _QUANT}
    values["save_strategy"] = "steps" if config.save_steps else "no"
    if evaluates(config):
        values["eval_strategy"] = "steps" if config.eval_steps else "epoch"
        values["per_device_eval_batch_size"] = config.per_device_eval_batch_size
    if way.deepspeed_config and way.launcher != "accelerate":
        values["deepspeed"] = way.deepspeed_config
    if _says_cpu(config, way):
        values["use_cpu"] = True
    return {**values, **_report(config), "output_dir": OUTPUT, **FIXED}


def evaluates(config: LlamaFactoryTrainConfig) -> bool:
    """Tell whether there is anything to evaluate on."""
    return bool(config.eval_dataset or config.val_size)


def to_yaml(
    config: LlamaFactoryTrainConfig,
    way: Way,
    root: str,
    data_dir: str,
    output_dir: str = "output",
) -> str:
    """Return a YAML that `llamafactory-cli train` runs as it is, with a line that says how.

    Paths are absolute, extra arguments are merged, the DeepSpeed config is written out inside.
    """
    values: dict[str, Any] = yaml_settings(config, way, root, data_dir)
    values["output_dir"] = output_dir
    if way.deepspeed and not config.deepspeed:
        values["deepspeed"] = json.loads(way.files()[DEEPSPEED_JSON])
    for word in config.extra_args:
        _merge(values, word)
    lines = [f"# {line}" for line in _how(way)]
    return "\n".join([*lines, engine.to_yaml({**values})])


def _skipped(config: LlamaFactoryTrainConfig) -> Iterator[str]:
    yield from ("dataset_dir", "per_device_eval_batch_size", *_QUANT)
    if config.finetuning_type != "lora":
        yield from _LORA
    if config.finetuning_type != "freeze":
        yield "freeze_trainable_layers"
    if config.stage not in ("dpo", "kto"):
        yield from _PREFERENCE
    if not config.pissa_init:
        yield "pissa_iter"
    if not evaluates(config):
        yield "eval_steps"


def _says_cpu(config: LlamaFactoryTrainConfig, way: Way) -> bool:
    """ZeRO-3 fails with `use_cpu`; bf16 on a CPU is refused without it."""
    if way.ask.own_config:
        return config.use_cpu or (way.on_cpu and config.bf16)
    return way.on_cpu and way.ask.strategy != "zero3"


def _report(config: LlamaFactoryTrainConfig) -> dict[str, Any]:
    """Return the keys of the other program that is told the figures.

    SwanLab goes by LLaMA-Factory's own keys: the callback of transformers 5.6 fails with
    swanlab 0.10. Its mode `local` keeps everything in the folder.
    """
    if config.report_to == "swanlab":
        own = {"swanlab_run_name": config.run_name} if config.run_name else {}
        local = {"swanlab_mode": "local", "swanlab_logdir": "artifacts/swanlab"}
        return {"report_to": "none", "use_swanlab": True, **local, **own}
    name = {"run_name": config.run_name} if config.run_name else {}
    return {"report_to": config.report_to, **name}


def _how(way: Way) -> list[str]:
    if way.ask.strategy == "fsdp2":
        config = way.files()["accelerate.yaml"].splitlines()
        start = "accelerate launch --config_file accelerate.yaml -m llamafactory.launcher x.yaml"
        return [start, "accelerate.yaml:", *(f"  {line}" for line in config)]
    if way.num_processes > 1 or way.deepspeed:
        return [
            f"FORCE_TORCHRUN=1 NPROC_PER_NODE={way.num_processes} llamafactory-cli train x.yaml"
        ]
    return ["llamafactory-cli train x.yaml"]


def _merge(values: dict[str, Any], word: str) -> None:
    """Put a `key=value` word, or `key.below=value`, into the settings."""
    key, sign, value = word.partition("=")
    if not sign:
        raise RecipeInvalid(
            f"{word!r} is not of the form key=value.", hint="Example: max_model_len=2048"
        )
    *above, last = key.split(".")
    for part in above:
        inner = values.get(part)
        values[part] = values = dict(inner) if isinstance(inner, dict) else {}
    values[last] = parse_yaml(value, "the command line")
