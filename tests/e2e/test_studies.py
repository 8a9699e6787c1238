"""Studies with real engines: one process against two, killed in the middle; a load on real vLLM."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.training import TEARDOWN
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studies import studies
from studio.studies.record import Phase, Record
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1500)]

STUDY_S = 1200


def until(condition: Callable[[], bool], timeout_s: float) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


def ended(studio: Studio, run: Run) -> Run:
    run = studio.jobs.wait(run.id, timeout_s=STUDY_S)
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    assert run.result["survivors"] == []
    return run


def under_way(studio: Studio, run: Run) -> Record | None:
    name = studies.folder_of(studio, run)
    return Record(studio.saved.get(name).folder) if name else None


@pytest.fixture(scope="module")
def killed(real_studio: Studio) -> Iterator[tuple[Run, str, dict[str, str]]]:
    """A study whose runner was killed while its second case trained; what it had launched by then.

    Yields its run, the name of its results, and the runs of its cases by name.
    """
    changes = {"repeats": 1, "attempts": 2, "max_steps": 40}
    run = real_studio.launch(studies.study_ask(real_studio, "smoke-processes", changes))

    def second_trains() -> bool:
        assert real_studio.jobs.get(run.id).state.alive, run.dir.log.read_text()[-3000:]
        record = under_way(real_studio, run)
        if record is None or "one-r0" not in record.points():
            return False
        two = next((r for r in real_studio.jobs.list(text="two-r0") if r.state.alive), None)
        return two is not None and "train_runtime" not in two.dir.log.read_text(errors="replace")

    until(second_trains, STUDY_S)
    root = next(row["pid"] for row in run.dir.events() if row["phase"] == "running")
    os.kill(root, signal.SIGKILL)
    run = real_studio.jobs.wait(run.id, timeout_s=60)
    name = studies.folder_of(real_studio, run)
    yield run, name, {one: real_studio.jobs.list(text=f"{one}-r0")[0].id for one in ("one", "two")}


def test_the_case_under_way_outlives_its_runner(
    real_studio: Studio, killed: tuple[Run, str, dict[str, str]]
) -> None:
    run, name, runs = killed
    assert (run.state, run.reason) == (State.FAILED, "ended by SIGKILL")
    assert procs.marked(run.id) == []
    assert real_studio.jobs.get(runs["two"]).state.alive, "the training goes on without the study"
    look = studies.look(real_studio, name)
    assert look.phase is Phase.INTERRUPTED
    one, two = look.cells
    assert one.phase is Phase.DONE
    assert two.phase in (Phase.INTERRUPTED, Phase.PENDING), "pending if it was not yet noted"


def test_resumed_it_keeps_its_rows_and_takes_the_training_over(
    real_studio: Studio, killed: tuple[Run, str, dict[str, str]]
) -> None:
    _, name, runs = killed
    kept = Record(real_studio.saved.get(name).folder).points()["one-r0"]
    again = ended(real_studio, real_studio.launch(studies.resume_ask(real_studio, name)))
    look = studies.look(real_studio, name)
    assert (look.phase, look.rows_done, look.run) == (Phase.DONE, 2, again.id)
    points = Record(real_studio.saved.get(name).folder).points()
    assert points["one-r0"] == kept, "what was measured before the kill is what is there"
    assert real_studio.jobs.get(runs["one"]).state is State.DONE
    two = real_studio.jobs.get(runs["two"])
    if TEARDOWN not in two.dir.log.read_text(errors="replace"):
        assert two.state is State.DONE
        adopted = (again.dir.folder / "adopted.jsonl").read_text()
        assert [json.loads(line)["run"] for line in adopted.splitlines()] == [two.id]
    assert points["two-r0"].condition["num_processes"] == 2
    for point in points.values():
        assert point.figures["samples_per_s"] > 1
        assert point.figures["loss_last"] < point.figures["loss_first"]
    losses = [points[f"{case}-r0"].figures["loss_last"] for case in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=0.1), "DDP: the same training"


def test_speeds_are_those_of_the_trainers_own_log(
    real_studio: Studio, killed: tuple[Run, str, dict[str, str]]
) -> None:
    """Worked out again from `trainer_log.jsonl`, which our reader does not use."""
    _, name, runs = killed
    point = Record(real_studio.saved.get(name).folder).points()["one-r0"]
    run = real_studio.jobs.get(runs["one"])
    log = next(run.dir.artifacts.rglob("trainer_log.jsonl")).read_text().splitlines()
    rows = [json.loads(line) for line in log]
    clock = [
        (
            row["current_steps"],
            sum(int(x) * 60**n for n, x in enumerate(row["elapsed_time"].split(":")[::-1])),
        )
        for row in rows
        if "loss" in row
    ]
    (first, begun), (last, over) = next(at for at in clock if at[0] >= 10), clock[-1]
    assert over > begun, "its clock has whole seconds"
    slow, fast = ((last - first) * 8 / (over - begun + way) for way in (1.01, -1.01))
    assert slow <= point.figures["samples_per_s"] <= (fast if fast > 0 else float("inf"))


def test_verdict_journal_and_report_are_there(
    real_studio: Studio, killed: tuple[Run, str, dict[str, str]]
) -> None:
    name = killed[1]
    folder: Path = real_studio.saved.get(name).folder
    told = json.loads((folder / "verdict.json").read_text())
    assert told["met"] + told["not_met"] == 3, "everything expected could be measured"
    assert "smoke-processes" in (folder / "journal.md").read_text()
    assert "<html" in (folder / "report.html").read_text()[:2000].lower()


def test_stopped_in_the_middle_nothing_lives_on(real_studio: Studio) -> None:
    changes = {"repeats": 1, "max_steps": 3000}
    run = real_studio.launch(studies.study_ask(real_studio, "smoke-processes", changes))
    until(lambda: bool(real_studio.jobs.list(text="one-r0", states=[State.RUNNING])), 60)
    training = real_studio.jobs.list(text="one-r0", states=[State.RUNNING])[0]
    real_studio.jobs.stop(run.id)
    run = real_studio.jobs.wait(run.id, timeout_s=180)
    assert run.state is State.STOPPED
    training = real_studio.jobs.get(training.id)
    assert not training.state.alive
    assert procs.marked(training.id) == procs.marked(run.id) == []
    look = studies.look(real_studio, studies.folder_of(real_studio, run))
    assert look.phase is Phase.STOPPED
    assert [cell.phase for cell in look.cells] == [Phase.STOPPED, Phase.PENDING]


def test_a_load_on_real_vllm_has_its_points_beside_the_study(real_studio: Studio) -> None:
    changes = {
        "repeats": 1,
        "load": {
            "input_len": [16],
            "output_len": [8],
            "concurrency": [1, 2],
            "num_prompts": 4,
            "warmup": False,
        },
    }
    run = ended(
        real_studio, real_studio.launch(studies.study_ask(real_studio, "smoke-load", changes))
    )
    name = studies.folder_of(real_studio, run)
    look = studies.look(real_studio, name)
    (cell,) = look.cells
    assert (cell.phase, cell.rows_done, cell.rows) == (Phase.DONE, 3, 3)
    load = real_studio.saved.get(cell.results)
    assert (load.about.study, load.about.case) == (name, cell.name)
    assert {point.condition["concurrency"] for point in load.points} == {1, 2}
    (row,) = real_studio.saved.get(name).points
    assert row.figures["startup_s"] > 1
    assert row.figures["peak_host_gib"] > 0.2
    assert len(studies.points(real_studio, name)) == 3
    assert not [r for r in real_studio.jobs.list() if r.state.alive]
