"""Curves, progress and checkpoints of a training, from the files its trainer writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import spec

from studio.engines import training_log
from studio.engines.training_log import checkpoints, figures, points, progress, seconds
from studio.jobs.rundir import RunDir

OUTPUT = "artifacts/output"


class Made:
    """A run folder that is filled as LLaMA-Factory 0.9.5 and transformers 5.6 fill it."""

    def __init__(self, runs: Path, name: str, **config: Any) -> None:
        settings = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, **config}
        told = spec("x").model_copy(update={"config": settings, "ranks": 2, "id": name})
        self.dir = RunDir(runs / name)
        self.dir.create(told)
        self.output = self.dir.folder / OUTPUT
        self.output.mkdir()

    def log(self, step: int, total: int = 10, **row: Any) -> None:
        told = {"current_steps": step, "total_steps": total, **row}
        with open(self.output / "trainer_log.jsonl", "a") as file:
            file.write(json.dumps(told) + "\n")

    def print(self, text: str) -> None:
        with open(self.dir.log, "a") as file:
            file.write(text)

    def step(self, step: int, loss: float, **more: str) -> None:
        """One logged step: the row, and the line between two states of the bar."""
        self.log(step, loss=loss, lr=1e-4, elapsed_time=f"0:00:0{step}", remaining_time="0:00:30")
        inside = "".join(f", '{key}': '{value}'" for key, value in more.items())
        bar = f"\r {step}0%|###       | {step}/10 [00:0{step}<00:09,  1.0s/it]"
        self.print(
            f"{bar}\r                {{'loss': '{loss:.4g}'{inside}, 'epoch': '0.1'}}\n{bar}"
        )

    def state(self, folder: str = "", **told: Any) -> Path:
        path = self.output / folder
        path.mkdir(exist_ok=True)
        (path / "trainer_state.json").write_text(json.dumps(told))
        return path


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path, "01a")


def curve(run: RunDir, name: str) -> list[tuple[float, float]]:
    return [(point.step, point.value) for point in points(run) if point.name == name]


def test_nothing_yet(made: Made) -> None:
    assert list(points(made.dir)) == []
    assert progress(made.dir) is None
    assert checkpoints(made.dir) == [] and figures(made.dir) == {}


def test_curves_of_a_run_under_way(made: Made) -> None:
    """The gradient norm and exact times stand only in what the trainer prints."""
    for step, norm, spent in ((2, "11.8", "4"), (4, "10.46", "6")):
        made.step(
            step, 6.0 / step, grad_norm=norm, train_runtime=spent, train_tokens_per_second="512"
        )
    made.log(4, eval_loss=1.25)
    assert curve(made.dir, "loss") == [(2, 3.0), (4, 1.5)]
    assert curve(made.dir, "eval_loss") == [(4, 1.25)]
    assert curve(made.dir, "grad_norm") == [(2, 11.8), (4, 10.46)]
    assert curve(made.dir, "throughput") == [(2, 512.0), (4, 512.0)]
    # 8 samples a step: 2 a process, gathered twice, 2 processes; 2 steps took 4 s, then 2 s
    assert curve(made.dir, "samples_per_s") == [(2, 4.0), (4, 8.0)]


def test_the_line_that_says_it_twice_is_left_out(made: Made) -> None:
    """LLaMA-Factory prints loss and throughput itself, right before the trainer's own line."""
    for step in (2, 4, 6):
        own = f"callbacks:144 >> {{'loss': {6 / step:.4f}, 'epoch': 0.1, 'throughput': 99.5}}\n"
        made.print(own)
        made.step(step, 6.0 / step, grad_norm=str(step), train_runtime=str(step))
    assert curve(made.dir, "grad_norm") == [(2, 2.0), (4, 4.0), (6, 6.0)]
    assert [row["grad_norm"] for row in training_log.printed(made.dir)] == [2, 4, 6]


def test_rewards_of_a_preference_run(made: Made) -> None:
    chosen = {"rewards/chosen": "0.01", "rewards/rejected": "-0.02", "rewards/margins": "0.03"}
    made.step(2, 0.69, grad_norm="1", **chosen)
    assert curve(made.dir, "rewards/margins") == [(2, 0.03)]
    assert curve(made.dir, "rewards/rejected") == [(2, -0.02)]


def test_a_line_that_is_ahead_of_its_row(made: Made) -> None:
    """The rows are written by a thread of their own, a moment after the line was printed."""
    made.step(2, 3.0, grad_norm="1")
    made.step(4, 2.0, grad_norm="2")
    made.print("{'loss': '1.5', 'grad_norm': '3', 'epoch': '0.2'}\n")
    assert curve(made.dir, "grad_norm") == [(2, 1.0), (4, 2.0)]


def test_a_log_of_which_only_the_end_is_read(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (2, 4, 6, 8):
        made.step(step, 8.0 / step, grad_norm=str(step))
    monkeypatch.setattr(training_log, "MOST_LOG_BYTES", 400)
    assert curve(made.dir, "grad_norm") == [(6, 6.0), (8, 8.0)]
    history = [{"step": s, "loss": 8.0 / s, "grad_norm": s} for s in (2, 4)]
    made.state("checkpoint-4", log_history=history)
    assert curve(made.dir, "grad_norm") == [(2, 2.0), (4, 4.0), (6, 6.0), (8, 8.0)]


def test_the_saved_state_is_preferred(made: Made) -> None:
    made.step(2, 3.0, grad_norm="1.2")
    made.state(
        log_history=[{"step": 2, "loss": 3.0, "grad_norm": 1.23456}, {"step": 2, "train_loss": 3}]
    )
    assert curve(made.dir, "grad_norm") == [(2, 1.23456)]


def test_without_token_counts_the_trainers_own_throughput_is_taken(made: Made) -> None:
    made.log(2, loss=1.0, throughput=100.5)
    assert curve(made.dir, "throughput") == [(2, 100.5)]


def test_progress(made: Made) -> None:
    made.step(4, 2.0)
    assert progress(made.dir) == (4, 10, "step 4/10", 30.0)


def test_a_resumed_run_shows_its_ancestors_curves(made: Made, tmp_path: Path) -> None:
    for step in (2, 4, 6):
        made.step(step, 6.0 / step, grad_norm="1")
    again = Made(tmp_path, "01b", resume_from_checkpoint=f"{made.output}/checkpoint-4")
    again.step(6, 0.9, grad_norm="2")
    third = Made(tmp_path, "01c", resume_from_checkpoint=f"{again.output}/checkpoint-6/")
    third.step(8, 0.8, grad_norm="3", train_runtime="4")
    assert curve(again.dir, "loss") == [(2, 3.0), (4, 1.5), (6, 0.9)]
    assert curve(third.dir, "loss") == [(2, 3.0), (4, 1.5), (6, 0.9), (8, 0.8)]
    history = [{"step": s, "loss": 1.0, "grad_norm": s} for s in (2, 4, 6, 8)]
    third.state(log_history=history)
    assert curve(third.dir, "grad_norm") == [(2, 1.0), (4, 1.0), (6, 2.0), (8, 8.0)]
    (third.output / "trainer_state.json").unlink()
    # two steps of 8 samples in 4 s; the trainer counts seconds from where it went on
    assert curve(third.dir, "samples_per_s") == [(8, 4.0)]


def test_the_time_left_of_a_resumed_run_counts_its_own_steps(tmp_path: Path) -> None:
    again = Made(tmp_path, "01b", resume_from_checkpoint="/elsewhere/checkpoint-4")
    again.step(6, 0.9)  # 6 s for 2 steps, 4 left; the trainer would say 30 s
    assert progress(again.dir).remaining_s == 12.0
    assert curve(again.dir, "loss") == [(6, 0.9)], "a checkpoint from elsewhere has no curves here"


def test_a_run_that_names_itself_ends(tmp_path: Path) -> None:
    loop = Made(tmp_path, "01b", resume_from_checkpoint=f"{tmp_path}/01b/{OUTPUT}/checkpoint-4")
    loop.step(6, 0.9)
    assert len(list(points(loop.dir))) <= 60


def test_checkpoints(made: Made) -> None:
    made.log(4, eval_loss=1.5)
    made.log(8, eval_loss=1.25)
    best = f"{OUTPUT}/checkpoint-8"
    first = made.state("checkpoint-4", best_model_checkpoint=f"{OUTPUT}/checkpoint-4")
    (first / "optimizer.pt").write_bytes(b"x" * 1000)
    made.state("checkpoint-8", best_model_checkpoint=best)
    (made.output / "checkpoint-12").mkdir()
    (made.output / "checkpoint-last").mkdir()
    four, eight = checkpoints(made.dir)
    assert (four.step, four.eval_loss, four.best, four.resumable) == (4, 1.5, False, True)
    assert (eight.step, eight.eval_loss, eight.best, eight.resumable) == (8, 1.25, True, False)
    assert four.bytes > 1000 and four.path.name == "checkpoint-4"


def test_zero_states_are_optimizer_states(made: Made) -> None:
    (made.state("checkpoint-4") / "global_step4").mkdir()
    assert checkpoints(made.dir)[0].resumable


def test_closing_figures(made: Made) -> None:
    (made.output / "all_results.json").write_text('{"train_loss": 1.5, "epoch": 3, "note": "x"}')
    assert figures(made.dir) == {"train_loss": 1.5, "epoch": 3}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:01:03", 63),
        ("1 day, 0:00:01", 86401),
        ("2 days, 1:00:00", 176400),
        ("", None),
        ("x", None),
    ],
)
def test_seconds(text: str, expected: float | None) -> None:
    assert seconds(text) == expected
