"""The real engines with the tiny model on the CPU, through the studio's own launch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.conftest import answer, endpoint_of, ready, stopped
from studio.core.spec import Endpoint, State
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

WHO = "你是谁？"


def expected(samples: list[dict[str, str]], question: str) -> str:
    return next(row["output"] for row in samples if row["instruction"] == question)


@pytest.fixture(scope="module")
def vllm(real_studio: Studio) -> Iterator[Run]:
    """One vLLM server for the tests that only ask; a start costs half a minute of CPU."""
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke"))
    yield run
    stopped(real_studio, run)


def test_llamafactory_answers_streamed(real_studio: Studio, samples) -> None:
    run = ready(real_studio, real_studio.launch_recipe("llamafactory/smoke-api"))
    text, pieces, done = answer(endpoint_of(real_studio, run), WHO)
    assert text == expected(samples, WHO)
    assert pieces > 3, "it was streamed, not sent whole"
    assert done.ttft_s is not None and done.tokens > 3
    ended = stopped(real_studio, run)
    assert ended.result["peak_host_bytes"] > 200 * 2**20


def test_vllm_answers_streamed(vllm: Run, real_studio: Studio, samples) -> None:
    text, pieces, done = answer(endpoint_of(real_studio, vllm), WHO)
    assert text == expected(samples, WHO)
    assert pieces > 3
    assert done.counted == "usage" and done.usage["completion_tokens"] == done.tokens


def test_tiny_model_knows_its_samples_word_for_word(
    vllm: Run, real_studio: Studio, samples
) -> None:
    """At least 90 % of the sample questions, asked of the real engine at temperature 0."""
    endpoint = endpoint_of(real_studio, vllm)
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda row: answer(endpoint, row["instruction"])[0], samples))
    right = sum(text == row["output"] for text, row in zip(texts, samples, strict=True))
    assert len(samples) >= 200
    assert right / len(samples) >= 0.9, f"{right} of {len(samples)}"


def test_second_question_of_a_conversation(vllm: Run, real_studio: Studio, samples) -> None:
    endpoint = endpoint_of(real_studio, vllm)
    hello = expected(samples, "你好")
    assert answer(endpoint, "你好", hello, WHO)[0] == expected(samples, WHO)


def test_make_tiny_learns(real_studio: Studio) -> None:
    """The recipe that made the model, cut to a few steps: loss falls, curves and progress come."""
    run = real_studio.launch_recipe("llamafactory/make-tiny", {"max_steps": 40, "logging_steps": 4})
    run = real_studio.jobs.wait(run.id, timeout_s=1800)
    assert run.state is State.DONE, explain(run)
    losses = [p.value for p in real_studio.points(run.id) if p.name == "loss"]
    assert len(losses) >= 8
    assert losses[-1] < 0.8 * losses[0], losses
    assert real_studio.progress(run.id)[:2] == (40, 40)
    assert (run.dir.folder / "artifacts/output/model.safetensors").stat().st_size > 2**20


def test_polite_stop_of_a_training_saves(real_studio: Studio) -> None:
    run = real_studio.launch_recipe("llamafactory/make-tiny", {"logging_steps": 1})
    real_studio.jobs.wait(run.id, lambda r: real_studio.progress(r.id) is not None, timeout_s=600)
    ended = stopped(real_studio, run)
    assert ended.result["exit_code"] == 0, "it finished its step and saved"
    assert (run.dir.folder / "artifacts/output/model.safetensors").exists()


def test_stop_while_vllm_is_starting(real_studio: Studio) -> None:
    """vLLM swallows a SIGTERM while its engine core comes up; the ladder gets it down anyway."""
    run = real_studio.launch_recipe("vllm/smoke")
    _until(lambda: len(procs.marked(run.id)) >= 3, 300)
    ended = stopped(real_studio, run)
    assert not ended.result["was_ready"]


def test_killed_supervisor_of_vllm_leaves_nothing(real_studio: Studio) -> None:
    run = real_studio.launch_recipe("vllm/smoke")
    _until(lambda: len(procs.marked(run.id)) >= 3, 300)
    os.kill(run.dir.supervisor().pid, signal.SIGKILL)
    _until(lambda: not run.dir.supervisor().alive, 10)
    assert real_studio.jobs.get(run.id).state is State.LOST
    assert procs.marked(run.id) == []


def test_failure_in_start_up_is_explained(real_studio: Studio) -> None:
    run = real_studio.launch_recipe("vllm/smoke", {"max_model_len": 999999})
    run = real_studio.jobs.wait(run.id, timeout_s=600)
    assert run.state is State.FAILED
    why = explain(run)
    assert why.key == "context", why
    assert any("max_model_len" in line for line in why.lines)


def test_tensor_parallel_two(real_studio: Studio, samples) -> None:
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", {"tensor_parallel_size": 2}))
    endpoint: Endpoint = endpoint_of(real_studio, run)
    assert answer(endpoint, WHO)[0] == expected(samples, WHO)
    stopped(real_studio, run)


def _until(condition, timeout_s: float) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
