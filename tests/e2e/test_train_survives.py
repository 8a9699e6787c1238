"""Trainings outlive the page: `kill -9` in the middle, no browser, two more waiting in the queue.

The cards are played by the fake nvidia-smi; the trainings are real, and compute on the CPU.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio_client import Client

from e2e.conftest import BUILD_S
from e2e.test_browser import page_served
from e2e.training import curve, ended
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

STEPS = 60
FEW = 15
CARD = ("cards=1", "use_cpu=false", "logging_steps=1")


def test_killed_page_loses_nothing(
    real_studio: Studio,
    test_home: Path,
    fake_cards: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three trainings on one card, the page killed during the first: all end as they should.

    The first and the second learn to the end, every step on their curves; the third is killed
    from outside while it trains, and its result says by which signal.
    """
    fake_cards({"used": 4})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LADDER_VARIANT", "cpu")
    built(real_studio)
    with page_served(test_home) as (url, app):
        page = Client(url, verbose=False)
        first, second, third = (launch(page, real_studio, n) for n in (STEPS, FEW, 3000))
        real_studio.jobs.wait(first.id, lambda r: step(real_studio, r) > 3, timeout_s=600)
        assert [state(real_studio, run) for run in (second, third)] == [State.QUEUED] * 2
        os.kill(app.pid, signal.SIGKILL)
        app.wait(30)
        at = step(real_studio, first)
    assert at < STEPS, "the page died in the middle"

    first = ended(real_studio, first)
    assert_whole(real_studio, first, STEPS)
    second = ended(real_studio, second)
    assert_whole(real_studio, second, FEW)
    assert first.ended_at <= second.started_at, "one card, one after the other"

    third = real_studio.jobs.wait(third.id, lambda r: step(real_studio, r) > 3, timeout_s=600)
    assert second.ended_at <= third.started_at
    os.kill(engine_pid(third), signal.SIGKILL)
    third = ended(real_studio, third)
    assert (third.state, third.result["signal"]) == (State.FAILED, "SIGKILL")
    losses = curve(real_studio, third)
    assert list(losses) == list(range(1, len(losses) + 1)) and len(losses) > 3

    with page_served(test_home) as (url, _):
        page = Client(url, verbose=False)
        told = [page.predict(run.id, api_name="/get_run") for run in (first, second, third)]
    assert [run["state"] for run in told] == ["done", "done", "failed"]
    assert [run["exit_code"] for run in told[:2]] == [0, 0]
    assert all(run["cards"] == [0] and run["survivors"] == [] for run in told)


def built(studio: Studio) -> None:
    """Build the environment when the home is fresh, so that a training starts at once."""
    build = studio.preview(studio.ask_for(studio.recipes.get("llamafactory/smoke-lora"))).env_name
    if not studio.envs.status(build).state.usable:
        assert studio.jobs.wait(studio.build_env(build).id, timeout_s=BUILD_S).state is State.DONE


def launch(page: Client, studio: Studio, steps: int) -> Run:
    """Launch a training through the page's own API."""
    words = "\n".join([*CARD, f"max_steps={steps}"])
    return studio.jobs.get(
        page.predict("llamafactory/smoke-lora", words, api_name="/launch_recipe")
    )


def state(studio: Studio, run: Run) -> State:
    return studio.jobs.get(run.id).state


def step(studio: Studio, run: Run) -> int:
    """Return the last step on the curve; 0 before the first."""
    return max(curve(studio, run), default=0)


def assert_whole(studio: Studio, run: Run, steps: int) -> None:
    """Check that a training ended well, with every step on its curve and nothing left behind."""
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    assert (run.result["exit_code"], run.result["signal"]) == (0, None)
    assert list(curve(studio, run)) == list(range(1, steps + 1))
    assert procs.marked(run.id) == []


def engine_pid(run: Run) -> int:
    """Return the process that the supervisor started."""
    return next(row["pid"] for row in run.dir.events() if row["phase"] == "running")
