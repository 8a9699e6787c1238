"""Studies run to their end in order, fail in part, stop, and go on; nothing is measured twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from studies.fakery import Sitting, chat, training, until

from studio.core.errors import RecipeInvalid, RunBusy
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


def test_rounds_go_through_all_cases_before_the_next(sit: Sit, faked: Studio) -> None:
    sitting = sit(measure="training", cases=TWO, repeats=2)
    assert sitting.ended() is Phase.DONE
    assert ids(sitting) == ["a-r0", "b-r0", "a-r1", "b-r1"]
    point = sitting.record.points()["b-r1"]
    assert point.figures["loss_last"] == 1.0
    assert point.figures["seconds"] >= 0.05
    assert (point.case, point.repeat, point.study) == ("b", 1, sitting.record.name)
    assert point.model == "tiny"
    look = studies.look(faked, sitting.record.name)
    assert (look.phase, look.rows_done, look.rows) == (Phase.DONE, 4, 4)
    assert [len(cell.runs) for cell in look.cells] == [2, 2]
    runs = [faked.jobs.get(run) for cell in look.cells for run in cell.runs]
    assert {run.spec.group for run in runs} == {sitting.record.name}
    about = faked.saved.get(sitting.record.name).about
    assert (about.kind, about.command) == ("study", "python app.py study try")
    assert about.environment["cores"] >= 1


def test_a_failed_case_is_a_row_and_the_study_goes_on(sit: Sit) -> None:
    sitting = sit(measure="training", cases={"bad": training(code=3), **TWO}, repeats=2)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"bad": Phase.FAILED, "a": Phase.DONE, "b": Phase.DONE}
    point = sitting.record.points()["bad-r0"]
    assert (point.status, point.done) == ("failed", False)
    assert "exit code 3" in point.error
    assert "bad-r1" not in ids(sitting), "what failed once is not tried in every round"
    assert sitting.record.rows()[-1]["reason"] == "1 of 3 cases failed: bad"


def test_without_keep_going_the_rest_is_skipped(sit: Sit) -> None:
    cases = {"bad": training(code=3), **TWO}
    sitting = sit(measure="training", cases=cases, repeats=1, keep_going=False)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"bad": Phase.FAILED, "a": Phase.SKIPPED, "b": Phase.SKIPPED}


def test_a_run_that_fails_is_tried_again_as_often_as_allowed(sit: Sit, jobs: Jobs) -> None:
    sitting = sit(measure="training", cases={"bad": training(code=3)}, repeats=1, attempts=3)
    assert sitting.ended() is Phase.FAILED
    assert len(jobs.list(text="bad-r0")) == 3
    assert len(ids(sitting)) == 1


def test_figures_of_too_few_processes_are_refused(sit: Sit) -> None:
    sitting = sit(measure="training", cases={"a": training(processes=2)}, repeats=1)
    assert sitting.ended() is Phase.FAILED
    assert "1 of 2 processes" in sitting.record.points()["a-r0"].error


def test_what_cannot_be_measured_here_is_said_and_no_failure(sit: Sit, fake_cards) -> None:
    fake_cards()
    cases = {"big": {**training(), "cards": 2}, "a": training()}
    sitting = sit(measure="training", cases=cases, repeats=1)
    assert sitting.ended() is Phase.DONE
    assert sitting.phases() == {"big": Phase.NOT_MEASURABLE, "a": Phase.DONE}
    reasons = {row["cell"]: row["reason"] for row in sitting.record.rows()}
    assert reasons["big"] == "needs 2 card(s), and this machine has 0."


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
    settings = {"measure": "training", "repeats": 1, "cases": {**TWO, "c": training(seconds=3)}}
    first = sit(**settings)
    assert first.ended() is Phase.DONE
    name = first.record.name
    points = first.record.folder / "points.jsonl"
    points.write_text(points.read_text().splitlines(keepends=True)[0])  # b and c were never noted
    before = {run.spec.name: run.id for run in jobs.list()}
    jobs.delete(before["c-r0"])
    ask = Launch(engine="fake-training", settings={"seconds": 3}, name="c-r0", group=name)
    living = faked.launch(ask)
    second = sit(**settings, results=name)
    assert second.ended() is Phase.DONE
    assert set(ids(second)) == {"a-r0", "b-r0", "c-r0"}
    runs = {cell.case: cell.runs[-1] for cell in studies.look(faked, name).cells}
    assert runs["c"] == living.id
    assert len(jobs.list(text="b-r0")) == 1, "what had ended well was not run again"
    told = (second.folder / "adopted.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in told] == [living.id]


def test_questions_are_asked_for_each_repeat_of_one_server(sit: Sit, jobs: Jobs) -> None:
    sitting = sit(cases={"talk": chat()}, ask=QUESTIONS, repeats=2)
    assert sitting.ended() is Phase.DONE, sitting.lines
    assert ids(sitting) == ["talk-r0", "talk-r1"]
    point = sitting.record.points()["talk-r1"]
    assert point.figures["score"] == 1
    assert point.figures["completed"] == 1
    assert 0 < point.figures["ttft_p90_ms"] <= point.figures["e2el_p90_ms"]
    assert point.figures["startup_s"] > 0
    assert (point.engine, point.condition["questions"]) == ("ask", 1)
    raw = json.loads((sitting.record.folder / point.raw).read_text())
    assert "1 question(s)" in raw["answers"][0]["answer"]
    (server,) = jobs.list()
    assert server.state is State.STOPPED, "one server for both repeats, and it is gone"


def test_a_wrong_answer_lowers_the_score_and_is_no_failure(sit: Sit) -> None:
    asked = {"questions": [{"ask": "?", "contains": ["Paris"]}, {"ask": "?", "any_of": ["stand"]}]}
    sitting = sit(cases={"talk": chat()}, ask=asked, repeats=1)
    assert sitting.ended() is Phase.DONE
    assert sitting.record.points()["talk-r0"].figures["score"] == 0.5


def test_a_server_that_never_gets_ready_is_ended_in_time(sit: Sit, jobs: Jobs) -> None:
    cases = {"mute": chat(broken=True), "talk": chat()}
    sitting = sit(cases=cases, ask=QUESTIONS, repeats=1, ready_timeout_s=2)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"mute": Phase.FAILED, "talk": Phase.DONE}
    assert "not ready within 2 s" in sitting.record.points()["mute-r0"].error
    assert {run.state for run in jobs.list()} == {State.STOPPED}


def test_a_strangers_card_is_waited_for_and_then_given_up(sit: Sit, fake_cards) -> None:
    fake_cards({"used": 20_000}, {"used": 4})
    cases = {"two": {**training(), "cards": 2}, "one": {**training(), "cards": 1}}
    sitting = sit(measure="training", cases=cases, repeats=1, queue_timeout_s=2)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"two": Phase.FAILED, "one": Phase.DONE}
    assert "card 0 is used by somebody else" in sitting.record.points()["two-r0"].error
    assert any("used by somebody else" in row["reason"] for row in sitting.record.rows())
    point = sitting.record.points()["one-r0"]
    assert (point.cards, point.card_name) == (1, "NVIDIA GeForce RTX 4090")


def test_a_run_longer_than_allowed_is_ended(sit: Sit, jobs: Jobs) -> None:
    cases = {"long": training(seconds=60), "a": training()}
    sitting = sit(measure="training", cases=cases, repeats=1, case_timeout_s=1)
    assert sitting.ended() is Phase.FAILED
    assert "not done within 1 s" in sitting.record.points()["long-r0"].error
    assert not [run for run in jobs.list() if run.state.alive]


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
    cases = {name: {**training(seconds=1.5), "cards": 1} for name in ("a", "b")}
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
    sitting = sit(measure="training", cases={"a": training(), "b": training(seconds=3)}, repeats=1)
    path = sitting.folder / "artifacts/progress.jsonl"
    until(lambda: path.exists() and '"b"' in path.read_text())
    row = json.loads(path.read_text().splitlines()[-1])
    assert (row["done"], row["total"], row["text"]) == (1, 2, "b")
    look = studies.look(faked, sitting.record.name)
    assert look.phase is Phase.INTERRUPTED, "no run of this id lives: a thread plays the runner"
    assert [str(cell.phase) for cell in look.cells] == ["done", "interrupted"]
    sitting.ended()
    assert json.loads(path.read_text().splitlines()[-1])["done"] == 2
