"""LLaMA-Factory's YAML: written for a run, saved for `llamafactory-cli train`, and read back.

yaml_settings(config, way, root, data_dir)     what train.yaml of a run holds
to_yaml(config, way, root, data_dir)           a file that runs by itself, with everything in it
from_yaml(text)                                settings and notes from anybody's YAML
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings, parse_yaml
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


class FromYaml(NamedTuple):
    """Settings for `llamafactory-train`, and what was done with the rest, one sentence each."""

    settings: dict[str, Any]
    notes: list[str]


def from_yaml(text: str) -> FromYaml:
    """Turn a LLaMA-Factory YAML into settings; raise RecipeInvalid for what is no training.

    Fields become settings, everything else `extra_args`; what the studio sets by itself is left
    out with a note. Required settings may be missing; the launch asks for them.
    """
    given = parse_yaml(text, "the YAML")
    if not isinstance(given, dict) or not given:
        raise RecipeInvalid(
            "This is not a YAML of LLaMA-Factory: it has no `name: value` lines.",
            hint="Paste the file that `llamafactory-cli train` is given.",
        )
    _refuse_others(given)
    reader = _Reader()
    for key, value in given.items():
        if value is not None:
            reader.take(str(key), value)
    return reader.result()


def told_by(config: dict[str, Any]) -> tuple[str, str, str]:
    """Return the strategy, offload and disk folder that a DeepSpeed config means."""
    zero = config.get("zero_optimization") or {}
    stage = zero.get("stage", 0)
    params, states = zero.get("offload_param") or {}, zero.get("offload_optimizer") or {}
    offload = "all" if params.get("device", "none") != "none" else "none"
    if offload == "none" and states.get("device", "none") != "none":
        offload = "optimizer"
    folder = str(states.get("nvme_path") or params.get("nvme_path") or "")
    return (f"zero{stage}" if stage else "ddp"), offload, folder


# writing ----------------------------------------------------------------------------------------


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


# reading ----------------------------------------------------------------------------------------

_FIELDS = frozenset(LlamaFactoryTrainConfig.model_fields)
_OURS = (
    *("output_dir", "overwrite_output_dir", "do_train", "plot_loss", "logging_dir"),
    *("logging_strategy", "include_num_input_tokens_seen", "swanlab_mode", "swanlab_logdir"),
)
_WIDER = {
    *("optim", "lr_scheduler_type", "finetuning_type", "flash_attn", "report_to"),
    *("quantization_bit", "quantization_method", "quantization_type"),
}
"""Fields for which LLaMA-Factory takes more than the form offers; the rest is extra_args."""
_DS_NAME = re.compile(r"z(?:ero)?[_-]?([0-3])", re.I)


class _Reader:
    """Collects settings, extra arguments and notes while keys are taken one by one."""

    title = "LLaMA-Factory"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.extra: list[str] = []
        self.notes: list[str] = []

    def take(self, key: str, value: Any) -> None:
        """Put one key where it belongs."""
        own = getattr(self, f"take_{key}", None)
        if own is not None:
            own(value)
        elif key in _OURS:
            self._note(f"{key} is left out: the studio sets it for every run.")
        elif key in _FIELDS and key != "extra_args":
            self._field(key, ",".join(map(str, value)) if isinstance(value, list) else value)
        else:
            self._more(key, value)

    def result(self) -> FromYaml:
        """Check the types and return what was found."""
        wrong: set[str] = set()
        try:
            LlamaFactoryTrainConfig.model_validate(self.settings)
        except ValidationError as error:
            faults = [item for item in error.errors() if item["type"] != "missing"]
            wrong = {str(item["loc"][0]) for item in faults if item["loc"]}
        for key in sorted(wrong & _WIDER):
            value = self.settings.pop(key)
            self._more(key, value)
        left = {key: value for key, value in self.settings.items() if key in wrong}
        if left:
            needed = {"model_name_or_path": "x", "dataset": "x", "template": "x"}
            where = f"settings of {self.title}"
            check_settings(LlamaFactoryTrainConfig, {**needed, **left}, where)
        if self.extra:
            self.settings["extra_args"] = self.extra
        return FromYaml(self.settings, self.notes)

    def _note(self, text: str) -> None:
        self.notes.append(text)

    def _field(self, key: str, value: Any) -> None:
        self.settings[key] = value

    def _more(self, key: str, value: Any) -> None:
        self.extra += [f"{name}={_word(inner)}" for name, inner in _flat(key, value)]

    def take_dataset_dir(self, value: Any) -> None:
        """Keep a folder, unless it is the one of LLaMA-Factory's own source."""
        if str(value) in ("data", "./data"):
            self._note(
                "dataset_dir is left out: it names the data folder of LLaMA-Factory's own source. "
                "The data sets are looked for among the studio's."
            )
        else:
            self.settings["dataset_dir"] = value

    def take_deepspeed(self, value: Any) -> None:
        """Turn a config inside, or one known by its name, into strategy and offload."""
        if isinstance(value, dict):
            strategy, offload, folder = told_by(value)
        else:
            path = str(value)
            name = path.rpartition("/")[2]
            stage = _DS_NAME.search(name)
            if path.startswith(("/", "~")) or stage is None:
                self.settings["deepspeed"] = path
                return
            strategy = f"zero{stage[1]}" if stage[1] != "0" else "ddp"
            aside = {"zero3": "all"}.get(strategy, "optimizer")
            offload, folder = (aside if "offload" in name else "none"), ""
        found = {"strategy": strategy, "offload": offload, "offload_nvme_path": folder}
        if not isinstance(value, dict):
            self._note(f"deepspeed: {value} became the strategy {found['strategy']}.")
        usual = LlamaFactoryTrainConfig.model_fields
        self.settings |= {k: v for k, v in found.items() if v != usual[k].default}

    def take_save_strategy(self, value: Any) -> None:
        """Save no checkpoints, or by steps; another way becomes an extra argument."""
        if value in (False, "no"):
            self.settings["save_steps"] = None
        elif value != "steps":
            self._more("save_strategy", value)

    def take_eval_strategy(self, value: Any) -> None:
        """Evaluate by steps or epochs; another way becomes an extra argument."""
        if value in (False, "no"):
            self._more("eval_strategy", "no")
        elif value != "steps":
            self.settings["eval_steps"] = None
            if value != "epoch":
                self._more("eval_strategy", value)

    def take_save_steps(self, value: Any) -> None:
        """Keep the steps between checkpoints, unless none are saved."""
        if "save_steps" not in self.settings:
            self.settings["save_steps"] = value

    def take_eval_steps(self, value: Any) -> None:
        """Keep the steps between evaluations, unless it is done by epochs."""
        if "eval_steps" not in self.settings:
            self.settings["eval_steps"] = value

    def take_warmup_steps(self, value: Any) -> None:
        """Take a share below one for what it is."""
        share = isinstance(value, float) and 0 < value < 1
        self.settings["warmup_ratio" if share else "warmup_steps"] = value

    def take_quantization_method(self, value: Any) -> None:
        """Take the older name of bitsandbytes."""
        self.settings["quantization_method"] = "bnb" if value == "bitsandbytes" else value

    def take_report_to(self, value: Any) -> None:
        """Keep the first program that is told; SwanLab, told in a way of its own, stays."""
        if self.settings.get("report_to") == "swanlab":
            return
        named = value if isinstance(value, list) else [value]
        self.settings["report_to"] = str(named[0]) if named else "none"
        if len(named) > 1:
            self._note(f"report_to: only {named[0]} is kept.")

    def take_swanlab_run_name(self, value: Any) -> None:
        """Name the run, whichever program is told."""
        self.settings["run_name"] = str(value)

    def take_use_swanlab(self, value: Any) -> None:
        """Report to SwanLab."""
        if value:
            self.settings["report_to"] = "swanlab"


def _refuse_others(given: dict[str, Any]) -> None:
    if "engine" in given and "settings" in given:
        raise RecipeInvalid(
            "This is a recipe of the studio, not a YAML of LLaMA-Factory.",
            hint="Launch it by its path: `run x.yaml`.",
        )
    if given.get("export_dir"):
        raise RecipeInvalid(
            "This YAML merges and exports a model; it is no training.",
            hint="Use the engine llamafactory-export.",
        )
    if given.get("do_predict") or given.get("do_train") is False:
        raise RecipeInvalid(
            "This YAML evaluates a model; it is no training.",
            hint="Use the engine llamafactory-predict.",
        )


def _flat(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}", inner)
    else:
        yield key, value


def _word(value: Any) -> str:
    """Return a value as the command line of LLaMA-Factory (OmegaConf) reads it back."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z_/.][\w/.:@-]*", value)
        reserved = value.lower() in ("true", "false", "yes", "no", "on", "off", "null")
        return value if plain and not reserved else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)
