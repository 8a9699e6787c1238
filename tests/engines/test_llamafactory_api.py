"""LLaMA-Factory's server: what its YAML says, and which back ends can be had."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.recipes import check_settings, read_recipe
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import GROUPS
from studio.engines.llamafactory_api import LlamaFactoryApi, LlamaFactoryApiConfig

PLACE = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"), port=8001, root="/repo"
)


def config(**settings: Any) -> LlamaFactoryApiConfig:
    base = {"model_name_or_path": "org/model", "template": "qwen", **settings}
    return check_settings(LlamaFactoryApiConfig, base, "settings of LLaMA-Factory API")


def written(**settings: Any) -> dict[str, Any]:
    """Return what is in the YAML beyond what is always there."""
    command = LlamaFactoryApi().command(config(**settings), PLACE)
    always = {"model_name_or_path", "template", "infer_backend", "infer_dtype"}
    told = yaml.safe_load(command.files["api.yaml"])
    assert always <= set(told)
    return {name: value for name, value in told.items() if name not in always}


def test_only_what_differs_is_written() -> None:
    assert written() == {}
    assert written(
        infer_backend="vllm",
        vllm_maxlen=2048,
        vllm_gpu_util=0.8,
        vllm_enforce_eager=True,
        vllm_max_lora_rank=64,
        vllm_config='{"max_num_seqs": 32}',
        trust_remote_code=True,
    ) == {
        "vllm_maxlen": 2048,
        "vllm_gpu_util": 0.8,
        "vllm_enforce_eager": True,
        "vllm_max_lora_rank": 64,
        "vllm_config": '{"max_num_seqs": 32}',
        "trust_remote_code": True,
    }
    assert written(quantization_bit="8") == {"quantization_bit": 8}, "as a form sends it"
    assert written(quantization_bit=4, image_max_pixels=262144) == {
        "quantization_bit": 4,
        "image_max_pixels": 262144,
    }


def test_several_adapters_each_with_its_path() -> None:
    told = written(adapter_name_or_path="assets/a, /b ,org/c")
    assert told == {"adapter_name_or_path": "/repo/assets/a,/b,org/c"}


def test_the_shipped_recipe() -> None:
    recipe = read_recipe(ROOT / "recipes/llamafactory/qwen2.5-7b-api.yaml")
    command = LlamaFactoryApi().command(
        check_settings(LlamaFactoryApiConfig, recipe.settings, recipe.name), PLACE
    )
    assert yaml.safe_load(command.files["api.yaml"]) == {
        "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
        "template": "qwen",
        "infer_backend": "huggingface",
        "infer_dtype": "bfloat16",
    }


def test_settings_that_do_not_go_together() -> None:
    for settings, says in [
        ({"infer_backend": "vllm", "quantization_bit": 4}, "works with infer_backend = hugg"),
        ({"infer_backend": "vllm", "adapter_name_or_path": "/a,/b"}, "takes one adapter"),
        ({"quantization_bit": 4, "adapter_name_or_path": "/a,/b"}, "takes one adapter"),
        ({"vllm_config": "max_num_seqs=3"}, "not a JSON object"),
    ]:
        with pytest.raises(RecipeInvalid, match=says) as caught:
            config(**settings)
        assert caught.value.hint


def test_a_back_end_that_is_not_there_is_told_before_the_start(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    (site / "llamafactory-0.9.5.dist-info").mkdir(parents=True)
    here = Interpreter(name="llamafactory", python=str(tmp_path / "bin" / "python"))
    with pytest.raises(EnvMissing, match="has no vllm, which infer_backend needs"):
        LlamaFactoryApi().check_env(config(infer_backend="vllm"), here)
    LlamaFactoryApi().check_env(config(), here)
    overlay = tmp_path / "overlay"
    (overlay / "vllm-0.11.0.dist-info").mkdir(parents=True)
    beside = here.model_copy(update={"pythonpath": (str(overlay),)})
    LlamaFactoryApi().check_env(config(infer_backend="vllm"), beside)
    nowhere = Interpreter(name="it", python=str(tmp_path / "elsewhere" / "bin" / "python"))
    LlamaFactoryApi().check_env(config(infer_backend="vllm"), nowhere)


def test_adapters_are_looked_at(tmp_path: Path) -> None:
    model, lora = tmp_path / "model", tmp_path / "lora"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "qwen2"}')
    (model / "model.safetensors").write_bytes(b"")
    chosen = config(
        model_name_or_path=str(model), adapter_name_or_path=str(lora), infer_backend="vllm"
    )
    with pytest.raises(RecipeInvalid, match="Adapter lora: there is no folder"):
        LlamaFactoryApi().check(chosen, tmp_path)
    lora.mkdir()
    (lora / "adapter_config.json").write_text(json.dumps({"r": 64}))
    (lora / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(RecipeInvalid, match="Set vllm_max_lora_rank to 64"):
        LlamaFactoryApi().check(chosen, tmp_path)
    with pytest.raises(RecipeInvalid, match="adapter_name_or_path to"):
        LlamaFactoryApi().check(config(model_name_or_path=str(lora)), tmp_path)


def test_what_the_planner_is_told() -> None:
    told = LlamaFactoryApi().serving(config(quantization_bit=4))
    assert (told.backend, told.quantization, told.max_model_len) == ("hf", "bitsandbytes", None)
    told = LlamaFactoryApi().serving(config(infer_backend="vllm"))
    assert (told.backend, told.max_model_len, told.gpu_memory_utilization) == ("vllm", 4096, 0.7)
    fields = LlamaFactoryApiConfig.model_fields.values()
    assert {info.json_schema_extra["group"] for info in fields} <= set(GROUPS)
