"""lm-evaluation-harness: what is written for it, refused, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from engines.after_training import (
    EVAL,
    GPU,
    TINY,
    adapter,
    config,
    refused,
    written,
)

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.engines.engine import Figure
from studio.jobs.rundir import RunDir


def test_harness_command_for_a_model() -> None:
    command = EVAL.command(config(EVAL, peft="/b", tasks="a, b", limit=10), GPU)
    assert command.argv == ("/envs/it/bin/lm_eval", "run", "--config", "eval.yaml")
    assert yaml.safe_load(command.files["eval.yaml"]) == {
        "model": "hf",
        "model_args": {"pretrained": "/repo/assets/a", "dtype": "auto", "peft": "/b"},
        "tasks": ["a", "b"],
        "batch_size": "auto",
        "apply_chat_template": True,
        "log_samples": True,
        "output_path": "artifacts/output",
        "seed": 1234,
        "include_path": "/repo/assets/tasks",
        "device": "cuda",
        "limit": 10,
    }
    on_cpu = written(EVAL)
    assert (on_cpu["device"], on_cpu["batch_size"]) == ("cpu", 1), "auto tries until a card is full"
    assert EVAL.resources(config(EVAL), has_gpu=True).num_gpus == 1


def test_harness_command_for_a_server() -> None:
    asking = {"model": "local-chat-completions", "base_url": "http://a:8000/v1/", "api_key": "k"}
    command = EVAL.command(config(EVAL, **asking, pretrained="tiny"), GPU)
    told = yaml.safe_load(command.files["eval.yaml"])
    assert told["model_args"] == {
        "model": "tiny",
        "base_url": "http://a:8000/v1/chat/completions",
        "num_concurrent": 8,
    }
    assert "device" not in told and command.env["OPENAI_API_KEY"] == "k"
    assert "k" not in command.files["eval.yaml"].split(), "the key is not written down"
    assert EVAL.resources(config(EVAL, **asking), has_gpu=True).num_gpus == 0
    for settings, says in [
        ({"base_url": "a:8000"}, "base_url is not the address of one"),
        ({"peft": "/b"}, "peft works with model = hf"),
        ({"apply_chat_template": False}, "A chat server applies the chat template"),
        ({"model": "local-completions"}, "needs the tokenizer"),
    ]:
        with pytest.raises(RecipeInvalid, match=says) as caught:
            config(EVAL, **{**asking, **settings})
        assert caught.value.hint
    assert config(EVAL, **{**asking, "model": "local-completions", "tokenizer": "/t"})


def test_harness_refusals(tmp_path: Path) -> None:
    refused(EVAL, "There is no model folder", pretrained="/no/where")
    refused(EVAL, "include_path: there is no folder", pretrained=TINY, include_path="/no/where")
    other = adapter(tmp_path / "other", "Qwen/Qwen2.5-7B-Instruct")
    refused(EVAL, "was trained on Qwen/Qwen2.5-7B-Instruct", pretrained=TINY, peft=str(other))
    EVAL.check(config(EVAL, pretrained=TINY), ROOT)


def test_harness_figures_have_their_errors(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "output" / "__model"
    folder.mkdir(parents=True)
    rows = {
        "name": "gsm8k",
        "alias": "gsm8k",
        "exact_match,strict-match": 0.5,
        "exact_match_stderr,strict-match": 0.01,
        "acc,none": 0.25,
        "acc_stderr,none": "N/A",
    }
    (folder / "results_2026-11-21.json").write_text(json.dumps({"results": {"gsm8k": rows}}))
    assert EVAL.results(RunDir(tmp_path)) == {
        "gsm8k/exact_match (strict-match)": Figure(0.5, 0.01),
        "gsm8k/acc": Figure(0.25, None),
    }
    assert EVAL.results(RunDir(tmp_path / "artifacts")) == {}
