"""Studies stop, crash and go on: nothing is measured twice, nothing lives on."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from studies.fakery import Sitting, training, until

from studio.bench.saved import About
from studio.core.errors import NotFound, RecipeInvalid, RunBusy
from studio.core.spec import State
from studio.jobs.jobs import Jobs
from studio.launch import Launch
from studio.studies import studies
from studio.studies.record import Phase
from studio.studio import Studio

Sit = Callable[..., Sitting]
TWO = {"a": training(), "b": training(seconds=0.05)}
QUESTIONS = {"questions": [{"ask": "Hello?", "contains": ["STAND-IN", "1 question"]}]}


def ids(sitting: Sitting) -> list[str]:
    return list(sitting.record.points())


def test_stop_in_the_middle_then_resume(sit: Sit, faked: Studio, jobs: Jobs) -> None:
    settings = {"measure": "training", "repeats": 1}
    settings["cases"] = {"a": training(), "slow": training(seconds=60), "c": training()}
    first = sit(**settings)
    until(lambda: first.said("slow: measuring"))
    first.runner.halt()
    assert first.ended() is Phase.STOPPED
    assert not [run for run in jobs.list() if run.state.alive], "nothing of it lives on"
    assert ids(first) == ["a-r0"]
    assert first.phases() == {"a": Phase.DONE, "slow": Phase.STOPPED}
    kept = first.record.points()["a-r0"]
    with pytest.raises(RecipeInvalid, match="begun with other settings"):
        sit(**{**settings, "repeats": 2}, results=first.record.name)
    again = {**settings, "results": first.record.name}
    second = sit(**again)
    until(lambda: second.said("slow: measuring"))
    slow = next(run for run in jobs.list(text="slow") if run.state.alive)
    with pytest.raises(RunBusy, match="works on"):
        busy(faked, first, second, settings)
    jobs.stop(slow.id)
    assert second.ended() is Phase.FAILED
    assert second.record.points()["a-r0"] == kept, "the row that was there is the one that is there"
    assert set(ids(second)) == {"a-r0", "slow-r0", "c-r0"}


def busy(faked: Studio, first: Sitting, second: Sitting, settings: dict[str, Any]) -> None:
    """Begin a third sitting while the run of the second is said to be alive."""
    faked.jobs.get = lambda run: type("R", (), {"state": State.RUNNING})()  # type: ignore
    try:
        Sitting(faked, second.folder.parent, {**settings, "results": first.record.name})
    finally:
        del faked.jobs.__dict__["get"]


def test_a_runner_after_a_crash_takes_over_what_lives(sit: Sit, faked: Studio, jobs: Jobs) -> None:
    """The runner dies without a word: one run goes on and is waited for, one ended and counts."""
    settings = {"measure": "training", "repeats": 1, "cases": {**TWO, "c": training(seconds=1.5)}}
    first = sit(**settings)
    assert first.ended() is Phase.DONE
    name = first.record.name
    points = first.record.folder / "points.jsonl"
    points.write_text(points.read_text().splitlines(keepends=True)[0])  # b and c were never noted
    before = {run.spec.name: run.id for run in jobs.list()}
    jobs.delete(before["c-r0"])
    ask = Launch(engine="fake-training", settings={"seconds": 1.5}, name="c-r0", group=name)
    living = faked.launch(ask)
    second = sit(**settings, results=name)
    assert second.ended() is Phase.DONE
    assert set(ids(second)) == {"a-r0", "b-r0", "c-r0"}
    runs = {cell.case: cell.runs[-1] for cell in studies.look(faked, name).cells}
    assert runs["c"] == living.id
    assert len(jobs.list(text="b-r0")) == 1, "what had ended well was not run again"
    told = (second.folder / "adopted.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in told] == [living.id]


def spans(jobs: Jobs) -> dict[str, tuple[float, float]]:
    """Return when each run's program began and ended, by its own words."""
    found = {}
    for run in jobs.list():
        words = run.dir.log.read_text().split()
        at = [float(words[words.index(word) + 1]) for word in ("began", "ended")]
        found[run.spec.name] = (at[0], at[1])
    return found


def overlap(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def test_side_by_side_on_cards_of_their_own(sit: Sit, jobs: Jobs, fake_cards) -> None:
    fake_cards({"used": 4}, {"used": 4})
    cases = {name: {**training(seconds=1), "cards": 1} for name in ("a", "b")}
    cases["both"] = {**training(seconds=0.2), "cards": 2}
    sitting = sit(measure="training", cases=cases, repeats=1, side_by_side=True)
    assert sitting.ended() is Phase.DONE
    at = spans(jobs)
    assert overlap(at["a-r0"], at["b-r0"])
    assert not overlap(at["a-r0"], at["both-r0"])
    assert not overlap(at["b-r0"], at["both-r0"])


def test_one_after_the_other_by_default(sit: Sit, jobs: Jobs) -> None:
    cases = {name: training(seconds=0.3) for name in ("a", "b", "c")}
    assert sit(measure="training", cases=cases, repeats=1).ended() is Phase.DONE
    at = sorted(spans(jobs).values())
    assert all(first[1] <= second[0] for first, second in pairwise(at))


def test_progress_tells_rows_and_the_case_under_way(sit: Sit, faked: Studio) -> None:
    sitting = sit(
        measure="training", cases={"a": training(), "b": training(seconds=1.5)}, repeats=1
    )
    path = sitting.folder / "artifacts/progress.jsonl"
    until(lambda: path.exists() and '"b"' in path.read_text())
    row = json.loads(path.read_text().splitlines()[-1])
    assert (row["done"], row["total"], row["text"]) == (1, 2, "b")
    look = studies.look(faked, sitting.record.name)
    assert look.phase is Phase.ELSEWHERE, "there is no run of this id: a thread plays the runner"
    assert [str(cell.phase) for cell in look.cells] == ["done", "elsewhere"]
    sitting.ended()
    assert json.loads(path.read_text().splitlines()[-1])["done"] == 2


def test_of_two_resumes_at_once_one_goes_on(sit: Sit, faked: Studio) -> None:
    settings = {"measure": "training", "repeats": 1, "cases": TWO}
    first = sit(**settings)
    first.ended()
    old = first.record.last_run()
    again = {**settings, "results": first.record.name}
    claimed = Sitting(faked, first.folder.parent, again)
    assert claimed.record.last_run() != old, "it is claimed before anything is measured"
    with pytest.raises(RunBusy, match="works on"):
        busy(faked, first, claimed, settings)


@pytest.mark.parametrize("question", ["[]", '{"v":', '{"settings": {}, "cells": [5]}'])
def test_a_half_written_study_does_not_hide_the_others(
    sit: Sit, faked: Studio, question: str
) -> None:
    whole = sit(measure="training", repeats=1, cases=TWO)
    whole.ended()
    (whole.record.folder / "state.jsonl").open("a").write('{"cell": "a", "phase": "x"}\n{"cel')
    odd = faked.saved.begin(About(kind="study", name="odd", created_at=1.0))
    (odd / "study.json").write_text(question)
    assert [look.name for look in studies.looks(faked)] == [whole.record.name]
    assert studies.looks(faked)[0].phase is Phase.DONE
    with pytest.raises(NotFound):
        studies.resume_ask(faked, odd.name)
