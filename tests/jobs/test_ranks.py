"""How many training processes really came up, and what is said when it were fewer."""

from __future__ import annotations

from conftest import spec

from studio.core.spec import State
from studio.engines.engine import Progress
from studio.jobs.jobs import Jobs, Run
from studio.ui.runs import view as runview

HALF = Progress(5, 10, "step 5/10", 9.0)


def ended(jobs: Jobs, came_up: int, asked_for: int) -> Run:
    asked = spec("ranks", came_up, 2.2, ranks=asked_for)
    return jobs.wait(jobs.submit(asked).id, timeout_s=120)


def test_each_sample_counts_the_topmost_ranks(jobs: Jobs) -> None:
    run = ended(jobs, 2, 2)
    rows = run.dir.metrics()
    assert {(row["ranks"], row["world"]) for row in rows} >= {(2, 2)}
    assert max(row["ranks"] for row in rows) == 2, "a rank's own children are not counted"
    assert run.ranks_seen == 2
    assert run.summary()["ranks_seen"] == 2
    assert "2 of 2" in runview.head("en", run, None)
    assert runview.ranks_note("en", run, None) == ""


def test_fewer_are_told(jobs: Jobs) -> None:
    run = ended(jobs, 1, 2)
    assert run.ranks_seen == 1
    assert "1 of 2" in runview.head("en", run, None)
    assert "1/2" in runview.head("zh", run, None)
    assert "l-tone-warn" in runview.ranks_note("zh", run, None)


def test_one_process_without_a_launcher_is_one(jobs: Jobs) -> None:
    """Accelerate starts one plain process when it cannot start two; it has no rank."""
    asked = spec("leave", 0, ranks=2)
    run = jobs.wait(jobs.submit(asked).id, timeout_s=120)
    assert run.ranks_seen == 1
    assert "Only 1 of 2" in runview.ranks_note("en", run, None)


def test_what_is_no_training_has_no_ranks(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 0)).id, timeout_s=120)
    assert run.ranks_seen == 0
    assert "ranks" not in run.summary()
    assert not any("ranks" in row for row in run.dir.metrics())


def test_processes_may_still_be_starting(jobs: Jobs) -> None:
    run = jobs.submit(spec("obey", ranks=2))
    try:
        now = jobs.get(run.id)
        assert runview.ranks_note("en", now, None) == ""
    finally:
        jobs.stop(run.id)
        jobs.wait(run.id, timeout_s=120)


def test_a_failed_run_tells_only_what_was_seen(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 3, ranks=2)).id, timeout_s=120)
    assert run.state is State.FAILED
    assert runview.ranks_note("en", run, HALF) == ""
