"""LLaMA-Factory's export: merge adapters into their base, or cut a model into other shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.spec import Command, Interpreter, Placement, Resources, StopStep
from studio.engines.adapters import check_adapter, check_whole_model
from studio.engines.bars import last_bar
from studio.engines.bases import check_base
from studio.engines.engine import (
    Engine,
    EngineConfig,
    Progress,
    Room,
    engine_env,
    is_local,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.shared_fields import trust_remote_code_field
from studio.engines.templates import check_template
from studio.engines.weights import stored, weights_bytes
from studio.envs.catalog import LLAMAFACTORY
from studio.envs.packages import package_version
from studio.jobs.rundir import RunDir

OUTPUT = "artifacts/output"
"""Where the merged model goes, below the run folder."""

BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
"""Bytes per number of each `infer_dtype`."""

WEIGHTS_SHARE, BESIDE_BYTES = 1.1, 2**30
"""Memory of a merge: so much of the weights, and so much besides.

LLaMA-Factory 0.9.5, 1.17 billion parameters, LoRA on all linear layers, on a CPU, 2026-11-21:
resident memory peaked at 2.86 GiB for 2.18 GiB of bfloat16 and at 5.59 for 4.36 of float32.
"""
DISK_BESIDE_BYTES = 256 * 2**20
"""Tokenizer, Modelfile, logs, and some air."""


class LlamaFactoryExportConfig(EngineConfig):
    """Settings of an export; names are those of LLaMA-Factory's YAML."""

    model_name_or_path: str = knob(
        title="Model",
        help="The model the adapter was trained on: a folder, or a hub id.",
        zh=("模型", "训练适配器时用的基座：目录，或 hub 上的名字。"),
        min_length=1,
    )
    adapter_name_or_path: str = knob(
        "",
        title="Adapter",
        help="Folder of a LoRA training; several, separated by commas, are merged one after the "
        "other. Empty: the model is only cut into new shards.",
        zh=(
            "适配器",
            "LoRA 训练的输出目录；多个用逗号分隔，依次合并。留空则只重新切分模型文件。",
        ),
    )
    template: str = knob(
        "qwen",
        title="Template",
        help="Conversation template of the model; it is written into Ollama's Modelfile.",
        zh=("对话模板", "模型的对话模板，会写进 Ollama 的 Modelfile。"),
    )
    infer_dtype: Literal["auto", "bfloat16", "float16", "float32"] = knob(
        "auto",
        title="Precision of the result",
        help="auto keeps the model's own; a float32 model becomes bfloat16 where there is a card.",
        zh=("结果精度", "auto 保持模型原有精度；有显卡时 float32 模型会转成 bfloat16。"),
    )
    export_size: int = knob(
        5,
        title="Shard size (GB)",
        help="Largest weight file. Smaller ones are easier to copy.",
        zh=("分片大小（GB）", "单个权重文件的上限。小一些便于拷贝。"),
        ge=1,
    )
    export_device: Literal["cpu", "auto"] = knob(
        "cpu",
        title="Where",
        help="cpu needs no card and as much memory as the weights; auto takes one card.",
        zh=("在哪里合并", "cpu 不占显卡，内存要放得下全部权重；auto 占一张卡。"),
    )
    export_legacy_format: bool = knob(
        False,
        title="Old .bin files",
        help="Writes pytorch_model.bin instead of safetensors. Needs transformers older than 5.",
        zh=(
            "旧的 .bin 格式",
            "写 pytorch_model.bin 而不是 safetensors。需要 5 以前的 transformers。",
        ),
        group="expert",
    )
    any_base: bool = knob(
        False,
        title="Trust the base",
        help="Merges although the adapter names another base: the same weights in another place.",
        zh=("不核对基座名称", "适配器记录的基座名称不同也照样合并：同一份权重换了位置时用。"),
        group="expert",
    )
    trust_remote_code: bool = trust_remote_code_field("expert")

    @property
    def adapters(self) -> list[str]:
        """The adapters in the order they are merged."""
        return [part.strip() for part in self.adapter_name_or_path.split(",") if part.strip()]


class LlamaFactoryExport(Engine[LlamaFactoryExportConfig]):
    """`llamafactory-cli export`: a whole model that every server can load."""

    id = "llamafactory-export"
    title = "LLaMA-Factory export"
    env = LLAMAFACTORY
    Config = LlamaFactoryExportConfig

    def command(self, config: LlamaFactoryExportConfig, place: Placement) -> Command:
        """Return `llamafactory-cli export export.yaml`; the YAML is written into the run folder."""
        head = place.interpreter.program("llamafactory-cli", "llamafactory.cli")
        settings: dict[str, object] = {
            "model_name_or_path": resolve_path(config.model_name_or_path, place.root),
            "template": config.template,
            "export_dir": OUTPUT,
            "export_size": config.export_size,
            "export_device": config.export_device,
            "export_legacy_format": config.export_legacy_format,
            "infer_dtype": config.infer_dtype,
        }
        if config.adapters:
            paths = [resolve_path(path, place.root) for path in config.adapters]
            settings["adapter_name_or_path"] = ",".join(paths)
        if config.trust_remote_code:
            settings["trust_remote_code"] = True
        env = {"DO_NOT_TRACK": "1"}
        env |= engine_env(place, config.model_name_or_path, on_cpu=False)
        return Command(
            argv=(*head, "export", "export.yaml", *config.extra_args),
            env=env,
            files={"export.yaml": to_yaml(settings)},
        )

    def check(self, config: LlamaFactoryExportConfig, root: Path) -> None:
        """Refuse what is no model, and adapters that are none or belong to another model."""
        check_whole_model(config.model_name_or_path, root)
        for path in config.adapters:
            check_adapter(path.rstrip("/").rpartition("/")[2], path, root)
            check_base(path, config.model_name_or_path, root, any_base=config.any_base)
        check_template(config.template, config.model_name_or_path, root)
        if config.adapters and _quantized(config.model_name_or_path, root):
            raise RecipeInvalid(
                f"{config.model_name_or_path} is quantized, and an adapter cannot be merged into "
                "quantized weights.",
                hint="Merge into the model it was quantized from, then quantize the result.",
            )

    def check_env(self, config: LlamaFactoryExportConfig, interpreter: Interpreter) -> None:
        """Refuse .bin files where transformers no longer writes them."""
        version = package_version(interpreter, "transformers") or ""
        major = version.partition(".")[0]
        if config.export_legacy_format and major.isdigit() and int(major) >= 5:
            raise EnvMissing(
                f"transformers {version} writes safetensors only, so export_legacy_format would "
                "do nothing.",
                hint="Leave it off; every current server reads safetensors.",
            )

    def resources(self, config: LlamaFactoryExportConfig, has_gpu: bool) -> Resources:
        """No card on the CPU, else one."""
        return Resources(num_gpus=1 if has_gpu and config.export_device == "auto" else 0)

    def room(self, config: LlamaFactoryExportConfig, root: Path, has_gpu: bool) -> Room | None:
        """The weights once on the disk; on the CPU also in memory."""
        size = merged_bytes(config, root)
        if size is None:
            return None
        on_card = config.export_device == "auto" and has_gpu
        memory = 0 if on_card else int(size * WEIGHTS_SHARE) + BESIDE_BYTES
        return Room(disk_bytes=size + DISK_BESIDE_BYTES, memory_bytes=memory)

    def stop(self, config: LlamaFactoryExportConfig) -> tuple[StopStep, ...]:
        """Nothing is worth saving half."""
        return (StopStep(signal="SIGTERM", to="group", grace_s=10, label="terminate"),)

    def progress(self, run: RunDir) -> Progress | None:
        """Loading is the first half, writing the second; merging lies between."""
        bar = last_bar(run.log, "^(Loading weights|Loading checkpoint|Writing model)")
        if bar is None:
            return None
        share = 50 * bar.done / bar.total
        if bar.what.startswith("Writing"):
            return Progress(50 + share, 100, f"writing file {bar.done}/{bar.total}")
        return Progress(share, 100, f"loading weights {bar.done}/{bar.total}")


def merged_bytes(config: LlamaFactoryExportConfig, root: Path) -> int | None:
    """Return the bytes of the result at most; None for a model that is not on this machine."""
    if not is_local(config.model_name_or_path):
        return None
    folder = Path(resolve_path(config.model_name_or_path, str(root)))
    tensors = stored(folder).values()
    if not tensors:
        return weights_bytes(folder) or None
    if config.infer_dtype == "auto":
        return sum(tensor.bytes for tensor in tensors)
    return sum(tensor.numel for tensor in tensors) * BYTES[config.infer_dtype]


def _quantized(model: str, root: Path) -> bool:
    try:
        text = (Path(resolve_path(model, str(root))) / "config.json").read_text(encoding="utf-8")
        return "quantization_config" in json.loads(text)
    except (OSError, ValueError):
        return False
