"""vLLM's settings against what lies on the disk: models, adapters, other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from engines.test_vllm import config

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.spec import Interpreter
from studio.engines.vllm import Vllm


def adapter(folder: Path, rank: int = 8, base: str = "Qwen/Qwen2.5-7B-Instruct") -> Path:
    folder.mkdir(parents=True)
    told = {"r": rank, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def not_there(root: Path, **settings: Any) -> str:
    with pytest.raises(RecipeInvalid) as caught:
        Vllm().check(config(**settings), root)
    return str(caught.value)


def test_a_lora_training_as_a_model_is_sent_to_where_it_belongs(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "artifacts" / "output")
    said = not_there(tmp_path, model=str(folder))
    assert "holds a LoRA adapter for Qwen/Qwen2.5-7B-Instruct, not a whole model" in said
    assert f"Set model to Qwen/Qwen2.5-7B-Instruct, enable_lora to true, and add mine={folder}" in (
        said
    )


def test_a_whole_model_from_a_training_is_a_path_like_any_other(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "output"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"")
    Vllm().check(config(model=str(folder)), tmp_path)


def test_adapters_are_looked_at(tmp_path: Path) -> None:
    adapter(tmp_path / "law", rank=64)
    (tmp_path / "empty").mkdir()

    def hung(path: str, **more: Any) -> str:
        return not_there(tmp_path, enable_lora=True, lora_modules=[f"law={path}"], **more)

    assert "there is no folder" in hung("./nowhere")
    assert "Write ./empty for the folder" in hung("empty")
    assert "has no adapter_config.json" in hung("./empty")
    assert "has rank 64, which is more than 16. Set max_lora_rank to 64." in hung("./law")
    fine = config(enable_lora=True, lora_modules=["law=./law", "a=org/hub"], max_lora_rank=64)
    Vllm().check(fine, tmp_path)


def test_other_files_are_looked_at(tmp_path: Path) -> None:
    assert "chat_template: there is no" in not_there(tmp_path, chat_template="./none.jinja")
    assert "tokenizer: there is no" in not_there(tmp_path, tokenizer="./none")
    assert "There is no model folder" in not_there(
        tmp_path, speculative_method="draft_model", speculative_model="./none"
    )
    (tmp_path / "chat.jinja").write_text("{{ messages }}")
    Vllm().check(config(chat_template="./chat.jinja"), tmp_path)


def test_bitsandbytes_needs_a_plugin_since_028(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    (site / "vllm-0.33.0.dist-info").mkdir(parents=True)
    here = Interpreter(name="vllm", python=str(tmp_path / "bin" / "python"))
    chosen = config(quantization="bitsandbytes")
    with pytest.raises(EnvMissing, match="only with vllm-bnb-plugin"):
        Vllm().check_env(chosen, here)
    Vllm().check_env(config(), here)
    (site / "vllm_bnb_plugin-0.0.3.dist-info").mkdir()
    Vllm().check_env(chosen, here)
    (site / "vllm-0.33.0.dist-info").rename(site / "vllm-0.26.0.dist-info")
    (site / "vllm_bnb_plugin-0.0.3.dist-info").rmdir()
    Vllm().check_env(chosen, here)
