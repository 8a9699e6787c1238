"""Random weights of a true shape: how many, where to, and what may not be overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.random_model import SHAPES, RandomModel, RandomModelConfig, parameters

PLACE = Placement(interpreter=Interpreter(name="x", python="/env/bin/python"), root="/root")


@pytest.mark.parametrize(
    ("shape", "published"),
    [
        ("qwen2.5-0.5b", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-7b", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("llama-3-8b", 8_030_261_248),
    ],
)
def test_parameters_are_the_published_ones(shape: str, published: int) -> None:
    counted = parameters(json.loads((SHAPES / f"{shape}.json").read_text()))
    assert counted == pytest.approx(published, rel=1e-3)


def test_every_shape_offered_has_its_file() -> None:
    offered = RandomModelConfig.model_fields["shape"].annotation.__args__  # pyright: ignore
    assert all((SHAPES / f"{name}.json").is_file() for name in offered)


def test_command_names_shape_tokenizer_and_folder() -> None:
    config = RandomModelConfig(shape="qwen2.5-7b", out="/models/seven", weights=False)
    argv = RandomModel().command(config, PLACE).argv
    assert argv[0] == "/env/bin/python"
    assert argv[2:] == (
        *("--config", str(SHAPES / "qwen2.5-7b.json")),
        *("--tokenizer", str(ROOT / "assets/models/tiny-qwen2.5")),
        *("--out", "/models/seven", "--seed", "0", "--no-weights"),
    )


def test_disk_for_the_weights_is_asked_for() -> None:
    room = RandomModel().room(RandomModelConfig(shape="qwen2.5-7b"), ROOT, True)
    assert room is not None and room.disk_bytes == pytest.approx(15.23e9, rel=1e-2)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(RecipeInvalid, match="something else lies there"):
        RandomModel().check(RandomModelConfig(out=str(tmp_path)), ROOT)
    (tmp_path / "RANDOM_WEIGHTS.md").write_text("")
    RandomModel().check(RandomModelConfig(out=str(tmp_path)), ROOT)
