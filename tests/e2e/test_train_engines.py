"""Trainings of the tiny models by the real engine on the CPU, in one process each."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import answer, endpoint_of, ready, stopped
from e2e.training import curve, ended, falls, output, rows_of, trained
from studio.core.spec import Endpoint, State
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.jobs.rundir import read_rows
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

STEPS = 20


@pytest.fixture(scope="module")
def lora(real_studio: Studio) -> Run:
    """One LoRA training that keeps a checkpoint half-way; others go on from there."""
    changes = {"logging_steps": 1, "save_steps": STEPS // 2, "max_steps": STEPS}
    return trained(real_studio, "llamafactory/smoke-lora", changes)


def test_lora_learns(real_studio: Studio, lora: Run) -> None:
    losses = curve(real_studio, lora)
    assert list(losses) == list(range(1, STEPS + 1)), "every logged step is there"
    assert falls(losses, 0.6), losses
    assert (output(lora) / "adapter_model.safetensors").stat().st_size > 2**14
    rates = curve(real_studio, lora, "lr")
    assert len(rates) == STEPS
    assert rates[1] < max(rates.values()) > rates[STEPS], "it warms up, and comes down again"
    assert len(curve(real_studio, lora, "grad_norm")) == STEPS
    assert real_studio.progress(lora.id)[:2] == (STEPS, STEPS)


def test_resumed_run_equals_the_uninterrupted_one(real_studio: Studio, lora: Run) -> None:
    """Bit by bit: the same losses, step by step, and the same adapter in the end."""
    middle = output(lora) / f"checkpoint-{STEPS // 2}"
    again = real_studio.relaunch(lora.id, {"resume_from_checkpoint": str(middle)})
    again = ended(real_studio, again)
    assert again.state is State.DONE, explain(again)
    assert steps_done(again) == list(range(STEPS // 2 + 1, STEPS + 1)), "half was not done again"
    assert curve(real_studio, again) == curve(real_studio, lora)
    one, two = (output(run) / "adapter_model.safetensors" for run in (lora, again))
    assert one.read_bytes() == two.read_bytes()


def test_cooperative_stop_leaves_what_can_be_used(real_studio: Studio) -> None:
    """It finishes its step and saves; a checkpoint from before takes it up again."""
    changes = {"max_steps": 3000, "logging_steps": 1, "save_steps": 5}
    run = real_studio.launch_recipe("llamafactory/smoke-lora", changes)
    _until(lambda: (output(run) / "checkpoint-5/trainer_state.json").exists(), 600)
    ended_by_us = stopped(real_studio, run)
    assert ended_by_us.result["exit_code"] == 0, "it finished its step and saved"
    assert (output(run) / "adapter_model.safetensors").exists()
    saved = max(int(path.name.split("-")[1]) for path in output(run).glob("checkpoint-*"))
    newest = output(run) / f"checkpoint-{saved}"
    more = {"resume_from_checkpoint": str(newest), "max_steps": saved + 3}
    again = ended(real_studio, real_studio.relaunch(run.id, more))
    assert again.state is State.DONE, explain(again)
    assert steps_done(again) == [saved + 1, saved + 2, saved + 3]


def test_early_stop_keeps_the_best(real_studio: Studio) -> None:
    """Evaluated on what it knew before, it only gets worse: new facts push the old ones out."""
    told = {"eval_dataset": "smoke_zh_en", "per_device_eval_batch_size": 50, "eval_steps": 5}
    best = {"load_best_model_at_end": True, "early_stopping_steps": 2, "save_steps": 5}
    run = trained(real_studio, "llamafactory/smoke-lora", {"max_steps": 100, **told, **best})
    evaluated = curve(real_studio, run, "eval_loss")
    lowest = min(evaluated, key=lambda step: evaluated[step])
    assert max(evaluated) == lowest + 2 * 5 < 100, f"two no better, then the end: {evaluated}"
    kept = output(run) / "adapter_model.safetensors"
    saved = output(run) / f"checkpoint-{lowest}/adapter_model.safetensors"
    assert kept.read_bytes() == saved.read_bytes()


def test_full_training_learns(real_studio: Studio) -> None:
    run = trained(real_studio, "llamafactory/smoke-full")
    assert falls(curve(real_studio, run), 0.6), curve(real_studio, run)
    assert (output(run) / "model.safetensors").stat().st_size > 2**20
    assert not (output(run) / "adapter_config.json").exists()


def test_qlora_in_four_bits_learns(real_studio: Studio) -> None:
    run = trained(real_studio, "llamafactory/smoke-qlora")
    assert "Quantizing model to 4 bit with bitsandbytes" in run.dir.log.read_text()
    assert falls(curve(real_studio, run), 0.7), curve(real_studio, run)
    assert (output(run) / "adapter_model.safetensors").exists()


def test_dpo_learns_which_answer_is_better(real_studio: Studio) -> None:
    run = trained(real_studio, "llamafactory/smoke-dpo")
    right = list(curve(real_studio, run, "rewards/accuracies").values())
    margins = list(curve(real_studio, run, "rewards/margins").values())
    assert right[-1] > 0.9, right
    assert margins[-1] > margins[0] + 0.1, margins
    assert falls(curve(real_studio, run), 0.9)


@pytest.mark.parametrize("stage, to", [("kto", 1.0), ("rm", 0.9), ("pt", 0.9)])
def test_other_stages_learn(real_studio: Studio, stage: str, to: float) -> None:
    run = trained(real_studio, f"llamafactory/smoke-{stage}")
    assert run.spec.config["stage"] == stage
    assert falls(curve(real_studio, run), to), curve(real_studio, run)
    assert any(output(run).glob("*.safetensors"))


def test_vision_lora_learns(real_studio: Studio) -> None:
    run = trained(real_studio, "llamafactory/smoke-vl-lora")
    assert falls(curve(real_studio, run), 0.7), curve(real_studio, run)
    adapter = json.loads((output(run) / "adapter_config.json").read_text())
    assert "tiny-qwen2-vl" in adapter["base_model_name_or_path"]


@pytest.fixture(scope="module")
def taught(real_studio: Studio) -> Iterator[Endpoint]:
    """The tiny model and the same with what it was just taught, behind one vLLM server."""
    run = trained(real_studio, "llamafactory/smoke-new-facts")
    hung = {"enable_lora": True, "max_lora_rank": 16, "lora_modules": [f"taught={output(run)}"]}
    server = ready(real_studio, real_studio.launch_recipe("vllm/smoke", hung))
    yield endpoint_of(real_studio, server)
    stopped(real_studio, server)


def test_new_questions_are_answered_after_the_training(taught: Endpoint) -> None:
    facts = rows_of("smoke_new_facts")
    assert not any(said(taught, "tiny-qwen2.5", facts)), "before: it knows none of them"
    assert sum(said(taught, "taught", facts)) >= 0.9 * len(facts)


def test_what_it_knew_before_is_not_forgotten(taught: Endpoint) -> None:
    known = rows_of("smoke_zh_en")[::6]
    assert sum(said(taught, "taught", known)) >= 0.9 * len(known)


def steps_done(run: Run) -> list[int]:
    """Return the steps that this very run did, by the trainer's own log."""
    rows = read_rows(output(run) / "trainer_log.jsonl")
    return [row["current_steps"] for row in rows if "loss" in row]


def said(endpoint: Endpoint, model: str, rows: list[dict[str, str]]) -> list[bool]:
    """Ask every question; tell for each whether the answer came word for word."""
    asked = endpoint.model_copy(update={"models": (model,)})
    with ThreadPoolExecutor(8) as pool:
        texts = pool.map(lambda row: answer(asked, row["instruction"], max_tokens=64)[0], rows)
        return [text == row["output"] for text, row in zip(texts, rows, strict=True)]


def _until(condition, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
