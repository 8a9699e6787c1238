"""Figures of finished trainings, from what real ones left (see recorded/README.md)."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import spec

from studio.core.settings import Settings
from studio.core.spec import State
from studio.engines.engine import Point
from studio.jobs.jobs import Run
from studio.jobs.rundir import RunDir
from studio.studies.figures import Logged, run_figures, speeds, training_figures
from studio.studio import Studio

RECORDED = Path(__file__).with_name("recorded")
H200: dict[str, Any] = json.loads((RECORDED / "h200.json").read_text())
CPU: dict[str, Any] = json.loads((RECORDED / "cpu.json").read_text())
GIB = 2**30


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(Settings(home=tmp_path / "home"))


def made(folder: Path, told: dict[str, Any]) -> Run:
    """Lay a recorded training out as a run folder."""
    name = "01m7zrecorded00000"
    own = spec("x").model_copy(
        update={"config": told["config"], "ranks": told["ranks"], "id": name}
    )
    run = RunDir(folder / name)
    run.create(own)
    output = run.artifacts / "output"
    output.mkdir()
    run.log.write_text("".join(f"\r 5%|\n   {line}\n" for line in told.get("lines", ())))
    if "state" in told:
        (output / "trainer_state.json").write_text(json.dumps(told["state"]))
    return Run(spec=own, state=State.DONE, dir=run, result=told["result"])


@pytest.mark.parametrize("name", H200)
def test_speed_equals_that_of_another_clock(studio: Studio, tmp_path: Path, name: str) -> None:
    """The script beside those runs watched the log and had its own clock: within 0.3 %."""
    told = H200[name]
    found = training_figures(studio, made(tmp_path, told))
    assert found["samples_per_s"] == pytest.approx(told["samples_per_s"], rel=0.003)
    assert found["tokens_per_s"] == pytest.approx(found["samples_per_s"] * 1024)
    batch = told["config"]["per_device_train_batch_size"] * told["ranks"]
    assert found["step_s"] == pytest.approx(batch / found["samples_per_s"], rel=0.05)


def test_peaks_and_losses_of_a_training_on_two_cards(studio: Studio, tmp_path: Path) -> None:
    """What docs/evidence/train.md says of DDP: 32,833 MiB by NVIDIA's tool, loss 10.83 to 0.249."""
    found = training_figures(studio, made(tmp_path, H200["ddp"]))
    assert found["peak_card_gib"] * 1024 == pytest.approx(32833, rel=0.001)
    assert found["peak_host_gib"] == pytest.approx(8.94, abs=0.01)
    assert (found["loss_first"], found["loss_last"]) == (10.83, 0.2494)
    assert found["seconds"] == pytest.approx(56.5, abs=0.1)


def test_the_trainers_state_is_read_where_there_is_one(studio: Studio, tmp_path: Path) -> None:
    """Ten steps: the first three are left out, and the figures are those of the state's rows."""
    told = CPU["smoke-torchrun"]
    found = training_figures(studio, made(tmp_path, told))
    rows = {row["step"]: row for row in told["state"]["log_history"] if "loss" in row}
    seconds = rows[10]["train_runtime"] - rows[3]["train_runtime"]
    assert found["samples_per_s"] == pytest.approx(7 * 4 * 2 / seconds)
    tokens = rows[10]["num_input_tokens_seen"] - rows[3]["num_input_tokens_seen"]
    assert found["tokens_per_s"] == pytest.approx(tokens / seconds)
    assert found["loss_first"] == rows[1]["loss"] and found["loss_last"] == rows[10]["loss"]
    assert "peak_card_gib" not in found and found["peak_host_gib"] == 1715619840 / GIB
    whole = told["train_results"]["train_samples_per_second"]
    assert found["samples_per_s"] == pytest.approx(whole, rel=0.2)


def test_the_state_of_most_steps_counts(studio: Studio, tmp_path: Path) -> None:
    """A checkpoint's state lies beside the result's."""
    told = CPU["smoke-lora"]
    run = made(tmp_path, told)
    before = run.dir.artifacts / "output" / "checkpoint-10"
    before.mkdir()
    early = {**told["state"], "global_step": 10, "log_history": told["state"]["log_history"][:10]}
    (before / "trainer_state.json").write_text(json.dumps(early))
    (before.parent / "checkpoint-15").mkdir()
    (before.parent / "checkpoint-15" / "trainer_state.json").write_text("{torn")
    found = training_figures(studio, run)
    assert found["loss_last"] == told["state"]["log_history"][19]["loss"]


def test_what_was_not_seen_is_left_out(tmp_path: Path) -> None:
    run = made(tmp_path, {**CPU["smoke-lora"], "state": {}, "result": None})
    nothing: Any = SimpleNamespace(points=lambda run_id: [])
    assert training_figures(nothing, run) == {}
    assert run_figures(run) == {}


def test_a_script_has_what_its_curves_tell(tmp_path: Path) -> None:
    """A script of one's own prints rows; the first third of its speeds is left out."""
    rates = [5.0, 50.0, 60.0, 61.0, 59.0, 60.0]
    points = [Point("samples_per_s", n, rate) for n, rate in enumerate(rates)]
    points += [Point("loss", n, 9.0 - n) for n in range(6)]
    told = {**CPU["smoke-lora"]}
    told.pop("state")
    stand_in: Any = SimpleNamespace(points=lambda run_id: points)
    found = training_figures(stand_in, made(tmp_path, told))
    assert (found["samples_per_s"], found["loss_first"], found["loss_last"]) == (60, 9, 4)


def rows(*steps: int, pace: float = 0.5, tokens: int = 100) -> list[Logged]:
    return [Logged(step, step * pace, step * tokens, 1.0) for step in steps]


def test_the_warm_up_is_left_out() -> None:
    """Five slow steps at the start, then two a second."""
    logged = [Logged(5, 60.0, 500, 9.0)]
    logged += [Logged(s, 60 + (s - 5) / 2, s * 100, 1.0) for s in (10, 15, 20, 25, 30)]
    assert speeds(logged, 4) == pytest.approx(
        {"samples_per_s": 8, "tokens_per_s": 200, "step_s": 0.5}
    )


def test_too_short_a_training_has_no_speed() -> None:
    assert speeds(rows(10), 4) == {}
    assert speeds([Logged(1, None, None, 1.0), Logged(2, None, None, 1.0)], 4) == {}
    assert speeds([Logged(1, 0.0, 0, 1.0), Logged(2, 0.0, 0, 1.0)], 4) == {}


def test_without_token_counts_there_is_no_rate_of_tokens() -> None:
    logged = [row._replace(tokens=None) for row in rows(10, 20, 30)]
    assert speeds(logged, 4) == {"samples_per_s": 8, "step_s": 0.5}


def test_one_slow_step_does_not_move_the_median() -> None:
    """An evaluation or a checkpoint between two log lines."""
    logged = rows(10, 20, 30, 40, 50)
    late = [row._replace(seconds=(row.seconds or 0) + 100 * (row.step >= 40)) for row in logged]
    assert speeds(late, 4)["step_s"] == 0.5
