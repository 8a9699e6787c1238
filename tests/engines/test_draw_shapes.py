"""Pictures and conversations of the tiny vision model, and the training that begins with them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.llamafactory_train import LlamaFactoryTrain

WORKER = ROOT / "studio/engines/workers/draw_shapes.py"
CPU = Placement(interpreter=Interpreter(name="e", python="/e/bin/python"), root=str(ROOT))
VISION = {
    "model_name_or_path": "assets/models/tiny-qwen2-vl",
    "template": "qwen2_vl",
    "finetuning_type": "full",
    "train_from_scratch": True,
}


def run_worker(folder: Path, *then: str) -> str:
    argv = [sys.executable, str(WORKER), "--data", str(folder), "--pictures", "40", *then]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def test_every_conversation_has_its_pictures(tmp_path: Path) -> None:
    run_worker(tmp_path)
    info = json.loads((tmp_path / "dataset_info.json").read_text())["shapes"]
    talks = json.loads((tmp_path / info["file_name"]).read_text())
    named = []
    for talk in talks:
        said = "".join(turn["content"] for turn in talk["messages"])
        assert said.count("<image>") == len(talk["images"])
        assert [turn["role"] for turn in talk["messages"][:2]] == ["user", "assistant"]
        named += talk["images"]
    assert set(named) == {f"pictures/{number:05}.png" for number in range(40)}
    assert len(named) == 5 * 40, "the first lessons, then everything four times"
    assert Image.open(tmp_path / named[0]).mode == "RGB"


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    run_worker(tmp_path / "a")
    run_worker(tmp_path / "b")
    files = [path for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 42
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_it_becomes_the_command_that_follows(tmp_path: Path) -> None:
    said = run_worker(tmp_path, "--", "printf", "%s|", "train", "--flag=1")
    assert said.endswith("train|--flag=1|")


def test_no_training_picture_is_held_out(load_shapes) -> None:
    rng = random.Random(3)
    for held_out in (False, True):
        for _ in range(300):
            drawing = load_shapes.draw(rng, held_out=held_out)
            assert (drawing.x + drawing.y + drawing.radius) % 2 == held_out


@pytest.fixture
def load_shapes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(WORKER.parent))
    monkeypatch.delitem(sys.modules, "shape_pictures", raising=False)
    import shape_pictures

    return shape_pictures


def test_training_draws_first_and_reads_what_was_drawn() -> None:
    settings = {**VISION, "dataset": "shapes", "draw_pictures": 12, "freeze_vision_tower": False}
    config = check_settings(LlamaFactoryTrain.Config, settings, "settings")
    command = LlamaFactoryTrain().command(config, CPU)
    drawing = ("/e/bin/python", str(WORKER), "--data", "artifacts/data", "--pictures", "12", "--")
    assert command.argv == (*drawing, "/e/bin/llamafactory-cli", "train", "train.yaml")
    written = yaml.safe_load(command.files["train.yaml"])
    assert (written["dataset"], written["dataset_dir"]) == ("shapes", "artifacts/data")
    assert written["freeze_vision_tower"] is False
    assert "freeze_multi_modal_projector" not in written, "what is usual is not said"
    assert "draw_pictures" not in written


def test_drawn_pictures_are_one_data_set() -> None:
    settings = {**VISION, "dataset": "smoke_zh_en", "draw_pictures": 12}
    config = check_settings(LlamaFactoryTrain.Config, settings, "settings")
    with pytest.raises(RecipeInvalid, match="shapes"):
        LlamaFactoryTrain().check(config, ROOT)
