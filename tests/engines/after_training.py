"""What the tests of the engines after a training share: the least settings, and small files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import Engine
from studio.engines.llamafactory_export import LlamaFactoryExport
from studio.engines.llamafactory_predict import LlamaFactoryPredict
from studio.engines.llm_compressor import LlmCompressor
from studio.engines.lm_eval import LmEval

TINY = "assets/models/tiny-qwen2.5"
CPU = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
    root="/repo",
    data_dir="/home/studio/data",
)
GPU = CPU.model_copy(update={"has_gpu": True, "num_gpus": 1})
EXPORT, PREDICT, EVAL, QUANT = (
    LlamaFactoryExport(),
    LlamaFactoryPredict(),
    LmEval(),
    LlmCompressor(),
)
ENOUGH: dict[str, dict[str, Any]] = {
    EXPORT.id: {"model_name_or_path": "assets/a"},
    PREDICT.id: {"model_name_or_path": "assets/a", "template": "qwen", "eval_dataset": "faq"},
    EVAL.id: {"pretrained": "assets/a", "tasks": "ladder_smoke"},
    QUANT.id: {"model_name_or_path": "assets/a", "dataset": "faq"},
}


def config(engine: Engine, **settings: Any) -> Any:
    return check_settings(engine.Config, {**ENOUGH[engine.id], **settings}, "settings")


def written(engine: Engine, place: Placement = CPU, **settings: Any) -> dict[str, Any]:
    """Return what the file beside the command says; JSON is YAML too."""
    files = engine.command(config(engine, **settings), place).files
    assert len(files) == 1
    return yaml.safe_load(next(iter(files.values())))


def refused(engine: Engine, says: str, root: Path = ROOT, **settings: Any) -> None:
    with pytest.raises(RecipeInvalid, match=says) as caught:
        engine.check(config(engine, **settings), root)
    assert caught.value.hint


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a safetensors file of float32 zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(end))


def adapter(folder: Path, base: str, *, inputs: int = 256, module: str = "q_proj") -> Path:
    """Write an adapter of rank 2 on one layer of the tiny model."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": base, "r": 2})
    )
    name = f"base_model.model.model.layers.0.self_attn.{module}"
    shapes = {f"{name}.lora_A.weight": (2, inputs), f"{name}.lora_B.weight": (256, 2)}
    write_weights(folder / "adapter_model.safetensors", shapes)
    return folder
