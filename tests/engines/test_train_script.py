"""A script of one's own: its command, what is checked, and curves from whatever it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import spec

from studio.core.errors import RecipeInvalid
from studio.core.spec import Interpreter, Placement
from studio.engines.train_script import TrainScript
from studio.jobs.rundir import RunDir

ENGINE = TrainScript()
BIN = "/envs/lf/bin"
CPU = Placement(interpreter=Interpreter(name="lf", python=f"{BIN}/python"), root="/repo")


def config(**changes: Any) -> Any:
    return ENGINE.Config.model_validate({"script": "./train.py", **changes})


def test_under_accelerate() -> None:
    asked = config(num_processes=2, script_args=["--steps", "4"], gradient_accumulation_steps=2)
    made = ENGINE.command(asked, CPU)
    assert made.argv == (
        *(f"{BIN}/accelerate", "launch", "--config_file", "accelerate.yaml"),
        *("/repo/train.py", "--steps", "4"),
    )
    assert list(made.files) == ["accelerate.yaml"]
    assert made.env["ACCELERATE_GRADIENT_ACCUMULATION_STEPS"] == "2"
    assert made.env["OMP_NUM_THREADS"] == "1"


def test_an_interpreter_of_ones_own_needs_no_console_scripts() -> None:
    made = ENGINE.command(config(python="/conda/bin/python"), CPU)
    assert made.argv[:3] == ("/conda/bin/python", "-m", "accelerate.commands.launch")


@pytest.mark.parametrize("launcher", ["single", "torchrun", "deepspeed"])
def test_every_launcher_ends_in_the_script(launcher: str) -> None:
    count = None if launcher == "single" else 2
    made = ENGINE.command(config(launcher=launcher, num_processes=count), CPU)
    assert made.argv[-1] == "/repo/train.py"


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(RecipeInvalid, match="silently float32"):
        ENGINE.command(config(mixed_precision="fp16"), CPU)


def test_the_disk(tmp_path: Path) -> None:
    with pytest.raises(RecipeInvalid, match="There is no script"):
        ENGINE.check(config(), tmp_path)
    (tmp_path / "train.py").mkdir()
    with pytest.raises(RecipeInvalid, match="is a folder"):
        ENGINE.check(config(), tmp_path)
    (tmp_path / "train.py").rmdir()
    (tmp_path / "train.py").touch()
    ENGINE.check(config(), tmp_path)
    ENGINE.check(config(script="train.py"), tmp_path)
    with pytest.raises(RecipeInvalid, match="There is no Python"):
        ENGINE.check(config(python="/nowhere/python"), tmp_path)


# what it prints ---------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    made = RunDir(tmp_path / "01a")
    made.create(spec("x"))
    return made


def curve(run: RunDir, name: str) -> list[tuple[float, float]]:
    return [(point.step, point.value) for point in ENGINE.points(run) if point.name == name]


def test_json_lines(run: RunDir) -> None:
    rows = [{"step": n, "total_steps": 40, "loss": 4.0 / n, "lr": 0.01, "ok": True} for n in (2, 4)]
    run.log.write_text("starting\n" + "".join(json.dumps(row) + "\n" for row in rows) + '{"half": ')
    assert curve(run, "loss") == [(2, 2.0), (4, 1.0)]
    assert {point.name for point in ENGINE.points(run)} == {"loss", "lr"}
    assert ENGINE.progress(run)[:2] == (4, 40)


def test_lines_of_a_hugging_face_trainer(run: RunDir) -> None:
    """They name no step; the bar before them does."""
    text = ""
    for step, loss in ((5, "3.1"), (10, "2.2")):
        bar = f"\r 50%|#####     | {step}/20 [00:05<00:05,  1.0it/s]"
        row = f"{{'loss': '{loss}', 'grad_norm': 1.5, 'learning_rate': '1e-05', 'epoch': '0.5'}}"
        text += f"{bar}\r{row}\n{bar}"
    run.log.write_text(text)
    assert curve(run, "loss") == [(5, 3.1), (10, 2.2)]
    assert curve(run, "lr") == [(5, 1e-5), (10, 1e-5)]
    assert curve(run, "epoch") == []
    assert ENGINE.progress(run)[:2] == (10, 20)


def test_a_saved_state_comes_first_and_what_was_printed_later_goes_on(run: RunDir) -> None:
    state = run.artifacts / "out/checkpoint-4"
    state.mkdir(parents=True)
    history = [{"step": 2, "loss": 2.0}, {"step": 4, "loss": 1.0}, {"step": 4, "eval_loss": 1.5}]
    (state / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    run.log.write_text('{"step": 4, "loss": 1.01}\n{"step": 6, "loss": 0.5}\n')
    assert curve(run, "loss") == [(2, 2.0), (4, 1.0), (6, 0.5)]
    assert curve(run, "eval_loss") == [(4, 1.5)]


def test_other_dicts_in_a_log_are_no_curves(run: RunDir) -> None:
    run.log.write_text(
        "{'lr': 3}\n{'a': [1, 2]}\n{1, 2}\n{'loss': nothing}\n{\"id2label\": \"x\"}\n"
    )
    assert list(ENGINE.points(run)) == []
    assert ENGINE.progress(run) is None


def test_a_name_that_is_no_number_is_left_out(run: RunDir) -> None:
    run.log.write_text('{"step": 1, "loss": "nan", "phase": "warm", "acc": "0.5"}\n')
    names = {point.name for point in ENGINE.points(run)}
    assert names == {"loss", "acc"}
