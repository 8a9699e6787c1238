"""LLaMA-Factory's YAML read back: anybody's file as settings of a training.

from_yaml(text)      settings, and notes on what became of the rest
told_by(config)      what a DeepSpeed config means as strategy and offload
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import ValidationError

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings, parse_yaml
from studio.engines.training_config import LlamaFactoryTrainConfig

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
