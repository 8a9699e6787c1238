"""LLaMA-Factory's export: what is merged, what is refused, and the room it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from engines.after_training import (
    CPU,
    EXPORT,
    TINY,
    adapter,
    config,
    refused,
    written,
)

from studio.core.errors import EnvMissing
from studio.core.settings import ROOT
from studio.core.spec import Interpreter


def test_merge_command() -> None:
    command = EXPORT.command(config(EXPORT, adapter_name_or_path="/b, assets/c"), CPU)
    assert command.argv == ("/envs/it/bin/llamafactory-cli", "export", "export.yaml")
    assert yaml.safe_load(command.files["export.yaml"]) == {
        "model_name_or_path": "/repo/assets/a",
        "adapter_name_or_path": "/b,/repo/assets/c",
        "template": "qwen",
        "export_dir": "artifacts/output",
        "export_size": 5,
        "export_device": "cpu",
        "export_legacy_format": False,
        "infer_dtype": "auto",
    }
    assert "adapter_name_or_path" not in written(EXPORT), "only new shards"
    assert EXPORT.resources(config(EXPORT), has_gpu=True).num_gpus == 0
    assert EXPORT.resources(config(EXPORT, export_device="auto"), has_gpu=True).num_gpus == 1


def test_merge_wants_the_base_the_adapter_was_trained_on(tmp_path: Path) -> None:
    own = adapter(tmp_path / "own", str(ROOT / TINY))
    moved = adapter(tmp_path / "moved", "/elsewhere/tiny-qwen2.5")
    cached = adapter(tmp_path / "cached", "Qwen/tiny-qwen2.5")
    for folder in (own, moved, cached):
        EXPORT.check(
            config(EXPORT, model_name_or_path=TINY, adapter_name_or_path=str(folder)), ROOT
        )
    other = adapter(tmp_path / "other", "Qwen/Qwen2.5-7B-Instruct")
    mine: dict[str, Any] = {"model_name_or_path": TINY, "adapter_name_or_path": str(other)}
    refused(EXPORT, "was trained on Qwen/Qwen2.5-7B-Instruct, not on assets/models/tiny", **mine)
    EXPORT.check(config(EXPORT, **mine, any_base=True), ROOT)
    wide = adapter(tmp_path / "wide", str(ROOT / TINY), inputs=3584)
    mine["adapter_name_or_path"] = str(wide)
    refused(EXPORT, "q_proj has 256 x 256 there, and the adapter wants 3584", **mine)
    alien = adapter(tmp_path / "alien", str(ROOT / TINY), module="query_key_value")
    refused(EXPORT, "none of its layers is there", **{**mine, "adapter_name_or_path": str(alien)})
    refused(EXPORT, "holds a LoRA adapter for", model_name_or_path=str(own))
    refused(EXPORT, "there is no folder", **{**mine, "adapter_name_or_path": "/no/where"})


def test_merge_into_quantized_weights_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "tiny-qwen2.5"
    model.mkdir()
    told = json.loads((ROOT / TINY / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**told, "quantization_config": {}}))
    (model / "model.safetensors").symlink_to(ROOT / TINY / "model.safetensors")
    own = adapter(tmp_path / "own", str(ROOT / TINY))
    refused(EXPORT, "is quantized", model_name_or_path=str(model), adapter_name_or_path=str(own))


def test_merge_needs_room() -> None:
    numbers, gib = 1_706_240, 2**30
    tiny = {"model_name_or_path": TINY}
    stored = EXPORT.room(config(EXPORT, **tiny), ROOT, False)
    whole = EXPORT.room(config(EXPORT, **tiny, infer_dtype="float32"), ROOT, False)
    half = EXPORT.room(config(EXPORT, **tiny, infer_dtype="bfloat16"), ROOT, False)
    assert stored == whole and whole is not None and half is not None
    assert whole.disk_bytes - half.disk_bytes == 2 * numbers
    assert gib < whole.memory_bytes < 1.01 * gib
    on_card = EXPORT.room(config(EXPORT, **tiny, export_device="auto"), ROOT, True)
    assert on_card is not None and on_card.memory_bytes == 0
    assert EXPORT.room(config(EXPORT, model_name_or_path="Qwen/Qwen2.5-7B"), ROOT, False) is None


def test_old_files_need_an_old_transformers(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    here = Interpreter(name="llamafactory", python=str(tmp_path / "bin" / "python"))
    old = config(EXPORT, export_legacy_format=True)
    (site / "transformers-4.57.1.dist-info").mkdir(parents=True)
    EXPORT.check_env(old, here)
    (site / "transformers-4.57.1.dist-info").rename(site / "transformers-5.6.0.dist-info")
    with pytest.raises(EnvMissing, match=r"transformers 5\.6\.0 writes safetensors only"):
        EXPORT.check_env(old, here)
    EXPORT.check_env(config(EXPORT), here)
