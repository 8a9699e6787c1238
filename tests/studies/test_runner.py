"""Studies run to their end in order, and fail in part without ending."""

from __future__ import annotations

from collections.abc import Callable

from studies.fakery import Sitting, training

from studio.jobs.jobs import Jobs
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


def test_weights_are_removed_only_when_they_are_not_kept(sit: Sit, jobs: Jobs) -> None:
    for keep in (True, False):
        cases = {"a": training(weights=True)}
        sitting = sit(measure="training", cases=cases, repeats=1, keep_models=keep)
        assert sitting.ended() is Phase.DONE
        artifacts = jobs.list()[0].dir.artifacts
        assert (artifacts / "output/model.safetensors").exists() is keep
        assert (artifacts / "curve.txt").exists()


def test_what_cannot_be_measured_here_is_said_and_no_failure(sit: Sit, fake_cards) -> None:
    fake_cards()
    cases = {"big": {**training(), "cards": 2}, "a": training()}
    sitting = sit(measure="training", cases=cases, repeats=1)
    assert sitting.ended() is Phase.DONE
    assert sitting.phases() == {"big": Phase.NOT_MEASURABLE, "a": Phase.DONE}
    reasons = {row["cell"]: row["reason"] for row in sitting.record.rows()}
    assert reasons["big"] == "needs 2 card(s), and this machine has 0."


def test_a_strangers_card_is_waited_for_and_then_given_up(sit: Sit, fake_cards) -> None:
    fake_cards({"used": 20_000}, {"used": 4})
    cases = {"two": {**training(), "cards": 2}, "one": {**training(), "cards": 1}}
    sitting = sit(measure="training", cases=cases, repeats=1, queue_timeout_s=1.2)
    assert sitting.ended() is Phase.FAILED
    assert sitting.phases() == {"two": Phase.FAILED, "one": Phase.DONE}
    assert "card 0 is used by somebody else" in sitting.record.points()["two-r0"].error
    assert any("used by somebody else" in row["reason"] for row in sitting.record.rows())
    point = sitting.record.points()["one-r0"]
    assert (point.cards, point.card_name) == (1, "Fake RTX 4090")


def test_a_run_longer_than_allowed_is_ended(sit: Sit, jobs: Jobs) -> None:
    cases = {"long": training(seconds=60), "a": training()}
    sitting = sit(measure="training", cases=cases, repeats=1, case_timeout_s=1)
    assert sitting.ended() is Phase.FAILED
    assert "not done within 1 s" in sitting.record.points()["long-r0"].error
    assert not [run for run in jobs.list() if run.state.alive]
