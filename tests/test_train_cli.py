"""The `train` commands, on run folders written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner
from ui import trainings

from studio.cli import app
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import parse_yaml
from studio.core.settings import Settings
from studio.studio import Studio

YAML = "model_name_or_path: Qwen/Qwen2.5-7B-Instruct\ndataset: identity\ntemplate: qwen\nfoo: 3\n"


@pytest.fixture
def studio(settings: Settings) -> Studio:
    return Studio(settings)


def cli(studio: Studio, *words: object) -> str:
    home = ["--home", str(studio.settings.home)]
    answer = CliRunner().invoke(app, ["train", *map(str, words), *home])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer.stdout


def told(studio: Studio, *words: object) -> Any:
    return json.loads(cli(studio, *words, "--json"))


def test_a_yaml_becomes_settings_or_a_recipe(studio: Studio, tmp_path: Path) -> None:
    file = tmp_path / "lora.yaml"
    file.write_text(f"{YAML}output_dir: x\n")
    found = told(studio, "yaml", file)
    assert found["settings"]["extra_args"] == ["foo=3"] and "output_dir" in found["notes"][0]
    text = cli(studio, "yaml", file)
    assert "# output_dir is left out" in text and "template: qwen" in text
    assert "saved llamafactory-train/mine" in cli(studio, "yaml", file, "--save", "mine")
    assert studio.recipes.get("llamafactory-train/mine").settings == found["settings"]


def test_what_cannot_be_read_is_a_sentence(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="cannot be read"):
        cli(studio, "yaml", tmp_path / "none.yaml")
    half = tmp_path / "half.yaml"
    half.write_text("lora_rank: 8\n")
    with pytest.raises(RecipeInvalid, match="model_name_or_path is missing"):
        cli(studio, "yaml", half, "--save", "half")


def test_checkpoints_and_resume(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainings.training(studio, steps=60, eval_every=20, save_every=20)
    rows = told(studio, "checkpoints", run.id)
    assert [row["step"] for row in rows] == [20, 40, 60] and sum(row["best"] for row in rows) == 1
    assert "resumable" in cli(studio, "checkpoints", run.id)
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(
        Studio, "relaunch", lambda self, ident, changes: asked.append(changes) or run
    )
    assert run.id in cli(studio, "resume", run.id, "--from", 40, "--detach")
    assert asked[0]["resume_from_checkpoint"].endswith("checkpoint-40")
    with pytest.raises(NotFound, match="no checkpoint 7"):
        cli(studio, "resume", run.id, "--from", 7)


def test_a_recipe_and_a_run_as_a_yaml_that_runs_by_itself(studio: Studio) -> None:
    text = cli(studio, "export-yaml", "llamafactory/smoke-zero2")
    assert text.startswith("# FORCE_TORCHRUN=1 NPROC_PER_NODE=2")
    found = parse_yaml(text, "it")
    assert found["deepspeed"]["zero_optimization"]["stage"] == 2
    assert Path(found["model_name_or_path"]).is_absolute()
    run = trainings.training(studio, steps=5, lora_rank=32)
    assert parse_yaml(cli(studio, "export-yaml", run.id), "it")["lora_rank"] == 32
    with pytest.raises(NotFound, match="no recipe nothing"):
        cli(studio, "export-yaml", "nothing")
    with pytest.raises(RecipeInvalid, match="not written as a YAML"):
        cli(studio, "export-yaml", "vllm/smoke")
