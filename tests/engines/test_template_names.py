"""Templates by the names people type; the cases are LLaMA-Factory 0.9.5's own model groups."""

from __future__ import annotations

import pytest

from studio.core.settings import ROOT
from studio.engines.template_names import BY_NAME, template_by_name, templates_for
from studio.engines.templates import TEMPLATES


@pytest.mark.parametrize(
    ("model", "template"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("Qwen/Qwen2-VL-7B-Instruct", "qwen2_vl"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "qwen2_vl"),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3_nothink"),
        ("Qwen/Qwen3-VL-8B-Thinking", "qwen3_vl"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "deepseekr1"),
        ("deepseek-ai/DeepSeek-Coder-V2-Base", "deepseek"),
        ("deepseek-ai/DeepSeek-V3", "deepseek3"),
        ("meta-llama/Meta-Llama-3-8B", "llama3"),
        ("meta-llama/Llama-3.2-11B-Vision", "mllama"),
        ("meta-llama/Llama-2-7b-hf", "llama2"),
        ("huggyllama/llama-30b", ""),
        ("google/gemma-2b-it", "gemma"),
        ("google/gemma-2-9b", "gemma2"),
        ("google/gemma-3-270m", "gemma2"),
        ("google/medgemma-4b-it", "gemma3"),
        ("mistralai/Mistral-7B-v0.1", "mistral"),
        ("mistralai/Ministral-3-8B-Base-2512", "ministral3"),
        ("01-ai/Yi-6B", "yi"),
        ("/models/Qwen2.5-14B-Instruct/", "qwen"),
        ("someone/my-own-model", ""),
    ],
)
def test_by_name(model: str, template: str) -> None:
    assert template_by_name(model) == template


def test_a_folder_is_told_by_its_config_first() -> None:
    found = templates_for("assets/models/tiny-qwen2.5", ROOT)
    assert found[0] == "qwen" and "chatml" in found
    assert templates_for("assets/models/tiny-qwen2-vl", ROOT) == ("qwen2_vl",)
    assert templates_for("/nowhere/Qwen3-8B", ROOT) == ("qwen3",), "its name is all there is"
    assert templates_for("", ROOT) == ()


def test_every_template_named_exists() -> None:
    assert {template for _, template in BY_NAME} <= set(TEMPLATES)
