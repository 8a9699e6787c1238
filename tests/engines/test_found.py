"""What lies on this machine already is offered, and what a training left can be served."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.settings import ROOT
from studio.engines.found import local_adapters, local_models, served_from
from studio.engines.vllm_config import VllmConfig


def _made(home: Path, run: str, **files: str) -> Path:
    folder = home / "runs" / run / "artifacts" / "output"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("_json", ".json").replace("_st", ".safetensors")).write_text(text)
    return folder


def test_models_of_the_studio_of_runs_and_of_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "hf/hub/models--Qwen--Qwen2.5-7B-Instruct/snapshots").mkdir(parents=True)
    tuned = _made(tmp_path, "01", config_json="{}", model_st="x")
    found = local_models(ROOT, tmp_path)
    assert "assets/models/tiny-qwen2.5" in found
    assert str(tuned) in found and "Qwen/Qwen2.5-7B-Instruct" in found


def test_adapters_newest_first(tmp_path: Path) -> None:
    old = _made(tmp_path, "01", adapter_config_json="{}")
    new = _made(tmp_path, "02", adapter_config_json="{}")
    assert local_adapters(tmp_path) == [str(new), str(old)]


def test_a_trained_model_is_served_as_it_is(tmp_path: Path) -> None:
    folder = _made(tmp_path, "01", config_json="{}", model_st="x")
    assert served_from(folder) == {"model": str(folder)}
    assert served_from(tmp_path) is None


def test_an_adapter_hangs_on_its_base(tmp_path: Path) -> None:
    told = json.dumps({"base_model_name_or_path": "Qwen/Qwen2.5-7B-Instruct", "r": 24})
    folder = _made(tmp_path, "01", adapter_config_json=told)
    settings = served_from(folder)
    assert settings is not None and settings["max_lora_rank"] == 32
    config = VllmConfig.model_validate(settings)
    assert config.adapters == ("tuned",) or dict(config.adapters)
