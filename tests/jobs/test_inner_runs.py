"""A run that launches runs: they outlive its crash, end with its stop, and are never its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable

from conftest import spec, wait_log

from studio.core.settings import Settings
from studio.core.spec import State, StopStep
from studio.jobs.jobs import Jobs, Run
from studio.jobs.shim import procs

POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)


def launched(jobs: Jobs, settings: Settings, *names: str) -> tuple[Run, list[Run]]:
    """Start a run that launches others; return it and them, all up."""
    outer = jobs.submit(spec("launch", settings.home, *names, stop=POLITE))
    wait_log(outer, "all launched")
    words = outer.dir.log.read_text().split()
    told = [at + 1 for at, word in enumerate(words) if word == "launched"]
    inner = [jobs.get(words[at]) for at in told[: len(names)]]
    assert [run.spec.name for run in inner] == list(names)
    for run in inner:
        wait_log(run, "up")
    return outer, inner


def root_of(run: Run) -> int:
    """Return the pid of a run's first process."""
    return next(row["pid"] for row in run.dir.events() if row["phase"] == "running")


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_inner_run_outlives_the_kill_of_the_process_that_launched_it(jobs, settings) -> None:
    outer, (inner, workers) = launched(jobs, settings, "obey", "workers")
    os.kill(root_of(outer), signal.SIGKILL)
    ended = jobs.wait(outer.id, timeout_s=120)
    assert (ended.state, ended.reason) == (State.FAILED, "ended by SIGKILL")
    assert ended.result["survivors"] == []
    assert procs.marked(outer.id) == []
    assert jobs.get(inner.id).state is State.RUNNING
    assert len(procs.marked(workers.id)) == 3
    for run in (inner, workers):
        jobs.stop(run.id)
        assert jobs.wait(run.id, timeout_s=120).state is State.STOPPED


def test_inner_run_outlives_the_kill_of_the_outer_supervisor(jobs, settings) -> None:
    outer, (inner,) = launched(jobs, settings, "obey")
    os.kill(outer.dir.supervisor().pid, signal.SIGKILL)
    until(lambda: not outer.dir.supervisor().alive)
    assert jobs.get(outer.id).state is State.LOST, "the look that finds it lost sweeps its mark"
    assert procs.marked(outer.id) == []
    assert jobs.get(inner.id).state is State.RUNNING
    jobs.stop(inner.id)
    assert jobs.wait(inner.id, timeout_s=120).result["exit_code"] == 0


def test_end_of_an_inner_run_leaves_the_outer_one_alone(jobs, settings) -> None:
    outer, (inner,) = launched(jobs, settings, "workers")
    jobs.stop(inner.id, now=True)
    assert jobs.wait(inner.id, timeout_s=120).result["survivors"] == []
    assert jobs.get(outer.id).state is State.RUNNING
    jobs.stop(outer.id)
    assert jobs.wait(outer.id, timeout_s=120).state is State.STOPPED


def test_killed_inner_supervisor_is_lost_and_its_workers_are_not_the_outer_runs(
    jobs, settings
) -> None:
    """Its orphans come to the outer supervisor, which has to leave them to their own sweep."""
    outer, (inner,) = launched(jobs, settings, "workers")
    os.kill(inner.dir.supervisor().pid, signal.SIGKILL)
    until(lambda: not inner.dir.supervisor().alive)
    left = procs.marked(inner.id)
    below = {one.pid for one in procs.descendants(outer.dir.supervisor().pid, outer.id)}
    assert not below & {one.pid for one in left}
    assert jobs.get(inner.id).state is State.LOST
    assert procs.marked(inner.id) == []
    assert jobs.get(outer.id).state is State.RUNNING
    jobs.stop(outer.id)
    jobs.wait(outer.id, timeout_s=120)


def test_stop_of_the_outer_run_ends_what_it_launched_politely(jobs, settings) -> None:
    outer, (inner, workers) = launched(jobs, settings, "obey", "workers")
    jobs.stop(outer.id)
    assert jobs.wait(outer.id, timeout_s=120).state is State.STOPPED
    for run in (inner, workers):
        ended = jobs.get(run.id)
        assert ended.state is State.STOPPED, "it had ended before the outer run said so"
        assert procs.marked(run.id) == []
    assert jobs.get(inner.id).result["killed_by"] == "SIGTERM"
    assert f"stop run {inner.id}, which this one launched" in outer.dir.log.read_text()


def test_stop_now_reaches_the_inner_runs(jobs, settings) -> None:
    patient = tuple(step.model_copy(update={"grace_s": 300.0}) for step in POLITE)
    outer, (inner,) = launched(jobs, settings, "ignore")
    stubborn = jobs.submit(spec("ignore", stop=patient))
    wait_log(stubborn, "up")
    row = json.dumps({"run": stubborn.id}) + "\n"
    (outer.dir.folder / "adopted.jsonl").write_text(row)
    began = time.monotonic()
    jobs.stop(outer.id, now=True)
    assert jobs.wait(outer.id, timeout_s=120).state is State.STOPPED
    assert time.monotonic() - began < 100
    assert jobs.get(inner.id).result["signal"] == "SIGKILL"
    assert jobs.get(stubborn.id).result["signal"] == "SIGKILL", "a run it took over ends as well"


def test_memory_of_an_inner_run_is_not_counted_twice(jobs, settings) -> None:
    outer, (inner,) = launched(jobs, settings, "workers")
    until(lambda: len(outer.dir.metrics()) > 2 and len(inner.dir.metrics()) > 2)
    assert {row["processes"] for row in outer.dir.metrics()} == {1}
    assert inner.dir.metrics()[-1]["processes"] == 3
    jobs.stop(outer.id, now=True)
    jobs.wait(outer.id, timeout_s=120)
