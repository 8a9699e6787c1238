"""Cases that need a server: asked while it is up, ended whatever happens."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable

from studies.fakery import Sitting, chat, training, until

from studio.core.spec import State
from studio.jobs.jobs import Jobs
from studio.studies.record import Phase

Sit = Callable[..., Sitting]
TWO = {"a": training(), "b": training(seconds=0.05)}
QUESTIONS = {"questions": [{"ask": "Hello?", "contains": ["STAND-IN", "1 question"]}]}


def ids(sitting: Sitting) -> list[str]:
    return list(sitting.record.points())


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
    sitting = sit(cases=cases, ask=QUESTIONS, repeats=1, ready_timeout_s=1)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"mute": Phase.FAILED, "talk": Phase.DONE}
    assert "not ready within 1 s" in sitting.record.points()["mute-r0"].error
    assert {run.state for run in jobs.list()} == {State.STOPPED}


def test_a_stop_cuts_an_answer_that_never_ends(sit: Sit, jobs: Jobs) -> None:
    sitting = sit(cases={"silent": chat(silent=True)}, ask=QUESTIONS, repeats=1)
    until(lambda: sitting.said("silent: measuring"))
    sitting.runner.halt()
    assert sitting.ended(15) is Phase.STOPPED
    assert sitting.phases() == {"silent": Phase.STOPPED}
    assert [run.state for run in jobs.list()] == [State.STOPPED]


def test_a_server_that_dies_between_questions_is_a_failure(sit: Sit, jobs: Jobs) -> None:
    sitting = sit(cases={"silent": chat(silent=True)}, ask=QUESTIONS, repeats=1)
    until(lambda: sitting.said("silent: measuring"))
    os.kill(jobs.list()[0].dir.supervisor().pid, signal.SIGTERM)
    assert sitting.ended() is Phase.FAILED
    assert "No question was answered" in sitting.record.points()["silent-r0"].error
