"""Comparisons as runs: launched, killed, resumed, stopped; keys stay out of every file."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat.sse_server import FakeChat, Script
from quality.conftest import answer, contestant, question
from quality.stand_in_judge import NAME, judge

from studio.bench.saved import About
from studio.commands.quality import results_of
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.quality.folder import Folder
from studio.studio import Launch, Studio

KEY = "s3cret-key-of-somebody"
PROMPTS = {
    "en": {
        "single": "{reference}\n<conversation>\n{conversation}\n</conversation>",
        "pairwise": "{reference}\n<assistant_a>\n{conversation_a}\n</assistant_a>\n"
        "<assistant_b>\n{conversation_b}\n</assistant_b>",
        "reference": "<reference>\n{reference}\n</reference>",
    }
}


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    made = Studio(settings)
    yield made
    for run in made.jobs.list():
        if run.state.alive:
            made.jobs.stop(run.id, now=True)
            made.jobs.wait(run.id, timeout_s=30)
        assert procs.marked(run.id) == []


def good(body: dict) -> list[str]:
    return [f"it is right {body['messages'][-1]['content'].split()[1]}"]


def bad(body: dict) -> list[str]:
    return ["no ", "idea"]


def questions(folder: Path, num: int = 6) -> Path:
    path = folder / "questions-own.jsonl"
    rows = [{"id": k, "turns": [f"what {k} ?"], "reference": [f"right {k}"]} for k in range(num)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def launch(studio: Studio, server: FakeChat, path: Path, *models: str, **settings: Any) -> Run:
    given = {
        "questions": str(path),
        "answers_from": [f"{server.url}::{model}" for model in models],
        "num_concurrent": 2,
        **settings,
    }
    return studio.launch(Launch(engine="quality", settings=given, name="quality"))


def done(studio: Studio, run: Run) -> str:
    """Wait for the end of a run and return its folder of results."""
    run = studio.jobs.wait(run.id, timeout_s=60)
    assert run.state is State.DONE, run.dir.log.read_text()
    return results_of(run.dir)


def test_a_whole_comparison_with_a_judge_and_no_key_in_any_file(
    studio: Studio, tmp_path: Path
) -> None:
    models = {"good": Script(pieces=good), "bad": Script(pieces=bad), NAME: Script(pieces=judge)}
    with FakeChat(models, key=KEY) as server:
        studio.external.add(server.url, KEY)
        run = launch(
            studio,
            server,
            questions(tmp_path),
            *("good", "bad"),
            judge=f"{server.url}::{NAME}",
            judge_mode="pairwise",
            judge_prompt=PROMPTS,
        )
        name = done(studio, run)
        # a second mode goes on in the same folder: no answer is asked for again
        before = len(server.requests)
        again = {**studio.quality.resuming(name), "judge_mode": "single"}
        second = studio.launch(Launch(engine="quality", settings=again, name="quality"))
        assert done(studio, second) == name
        assert len(server.requests) == before + 12
    results = studio.quality.get(name)
    assert results.about.kind == "quality" and results.about.run == run.id
    assert results.about.environment["python"] and results.title("zh") == "good 对 bad · own"
    told = shlex.split(results.about.command)
    assert told[:5] == ["python", "app.py", "quality", "run", "quality"]
    assert f'answers_from=["{server.url}::good", "{server.url}::bad"]' in told
    found = studio.quality.overview(name)
    good_one, bad_one = found.models
    assert (good_one.judged.wins, bad_one.judged.losses) == (6, 6)
    assert good_one.score and good_one.score.mean == 9 and bad_one.score and bad_one.score.mean == 2
    assert {j.mode: (j.num, j.unreadable) for j in found.judged} == {
        "pairwise": (12, 0),
        "single": (12, 0),
    }
    assert found.judged[1].bias.rate == 0.5, "each order was shown once"
    points = {point.model: point for point in results.points}
    assert len(points) == 2 and points["good"].figures["win_rate"] == 1
    assert points["good"].figures["score"] == 9 and points["good"].condition["dataset"]
    figures = studio.results(second.id)
    assert figures["good/score"].value == 9 and figures["good/score"].stderr == 0
    progress = studio.progress(second.id)
    assert progress is not None and progress.text == f"judgements of {NAME}"
    for folder in (results.folder, run.dir.folder, second.dir.folder):
        for path in folder.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_killed_and_resumed_it_asks_only_what_is_missing(studio: Studio, tmp_path: Path) -> None:
    slow = {"good": Script(pieces=good, first_s=0.15), "bad": Script(pieces=bad, first_s=0.15)}
    with FakeChat(slow) as server:
        run = launch(studio, server, questions(tmp_path, 9), "good", "bad", names=["a", "b"])
        until = time.monotonic() + 30
        while not (name := results_of(run.dir)) or len(_answers(studio, name)) < 5:
            assert time.monotonic() < until, run.dir.log.read_text()
            time.sleep(0.02)
        for process in procs.marked(run.id):
            os.kill(process.pid, signal.SIGKILL)
        assert not studio.jobs.wait(run.id, timeout_s=30).state.alive
        kept = _answers(studio, name)
        assert 5 <= len(kept) < 18
        at_kill = len(server.requests)
        with pytest.raises(RecipeInvalid, match="names are given"):
            settings = {**studio.quality.resuming(name), "names": ["a"]}
            studio.launch(Launch(engine="quality", settings=settings))
        again = Launch(engine="quality", settings=studio.quality.resuming(name), name="quality")
        # what the first run sent and never got is the only thing that is sent twice
        assert done(studio, studio.launch(again)) == name
        assert len(server.requests) - at_kill == 18 - len(kept)
    after = _answers(studio, name)
    assert len(after) == 18 and kept.items() <= after.items()
    assert [model.label for model in studio.quality.overview(name).models] == ["a", "b"]
    assert len(list((studio.settings.home / "bench").iterdir())) == 1


def _answers(studio: Studio, name: str) -> dict[tuple[str, str], Any]:
    return studio.quality.folder(name).answers()


def test_a_stop_is_polite_and_quick(studio: Studio, tmp_path: Path) -> None:
    with FakeChat({"m": Script(pieces=["word "] * 600, rate=2)}) as server:
        run = launch(studio, server, questions(tmp_path), "m")
        until = time.monotonic() + 30
        while not server.requests:
            assert time.monotonic() < until, run.dir.log.read_text()
            time.sleep(0.02)
        studio.jobs.stop(run.id)
        run = studio.jobs.wait(run.id, timeout_s=9)
    assert run.state is State.STOPPED and run.result and run.result["exit_code"] == 143
    assert "quality resume" in run.dir.log.read_text()
    assert _answers(studio, results_of(run.dir)) == {}


def test_a_model_added_later_joins_the_comparison(studio: Studio, tmp_path: Path) -> None:
    path = questions(tmp_path)
    with FakeChat({"good": Script(pieces=good)}) as server:
        name = done(studio, launch(studio, server, path, "good"))
    path.unlink()  # the folder has the questions
    with FakeChat({"bad": Script(pieces=bad)}) as server:
        # the first server is gone, and is not needed: it has answered everything
        settings = studio.quality.resuming(name)
        words = [*settings["answers_from"], server.url]
        settings |= {"answers_from": words, "names": [*settings["names"], "late"]}
        asking = studio.quality.asking(studio.validate("quality", settings)[1])  # type: ignore
        assert (asking.questions, asking.answers) == (6, 6)
        assert done(studio, studio.launch(Launch(engine="quality", settings=settings))) == name
    found = studio.quality.overview(name)
    assert [(m.label, m.answered) for m in found.models] == [("good", 6), ("late", 6)]
    assert studio.quality.standing(name).of == 6


def test_voting_brings_the_points_up_to_date_and_looking_spoils_nothing(studio: Studio) -> None:
    desk = studio.quality
    folder = Folder(studio.saved.begin(About(kind="quality", name="quality-own")))
    name = folder.path.name
    folder.keep_questions([question(f"q{k}") for k in range(3)])
    for label, text in (("good", "it is right"), ("bad", "no idea")):
        folder.add(contestant(label))
        for k in range(3):
            folder.add(answer(f"q{k}", label, f"{text} {k}"))
    assert all(row.blind and not row.answers for row in desk.side_by_side(name))
    assert set(desk.side_by_side(name, unblind=True)[0].answers) == {"good", "bad"}
    while (ballot := desk.ballot(name)) is not None:
        left = "left" if ballot.left[0].startswith("it is") else "right"
        standing = desk.vote(name, ballot.pair, left)
        assert set(desk.revealed(name, ballot.pair).values()) == {"good", "bad"}
        shown = [row for row in desk.side_by_side(name) if not row.blind]
        assert len(shown) == standing.voted
    points = {point.model: point.figures for point in desk.get(name).points}
    assert points["good"]["win_rate"] == 1 and points["bad"]["win_rate"] == 0
    found = desk.table([name])
    assert found.best("votes:win_rate") == "good"
    assert desk.may_send(name, "answers.jsonl") and not desk.may_send(name, "votes.json")
    assert desk.undo(name) is not None and desk.standing(name).voted == 2
    assert not desk.may_send(name, "answers.jsonl") and desk.may_send(name, "points.jsonl")


def test_what_cannot_be_asked_is_said_in_one_sentence(studio: Studio, tmp_path: Path) -> None:
    settings = {"questions": str(questions(tmp_path)), "answers_from": ["nobody"]}
    run = studio.launch(Launch(engine="quality", settings=settings, name="quality"))
    run = studio.jobs.wait(run.id, timeout_s=60)
    assert run.state is State.FAILED and run.result and run.result["exit_code"] == 3
    assert "No endpoint called nobody answers now." in run.dir.log.read_text()
    assert "Traceback" not in run.dir.log.read_text()
    assert not (studio.settings.home / "bench").exists()


def test_settings_that_cannot_be_used_are_refused_before_a_launch(studio: Studio) -> None:
    def refused(match: str, **settings: Any) -> None:
        with pytest.raises(RecipeInvalid, match=match):
            studio.launch(Launch(engine="quality", settings=settings))

    refused("No model is named")
    refused("There is no question file", answers_from=["x"], questions="/none.jsonl")
    refused("has no single text", answers_from=["x"], judge="y")
    refused("has no place {conversation}", answers_from=["x"], judge_prompt={"en": {"single": "?"}})
    refused("is not a part of a prompt", answers_from=["x"], judge_prompt={"en": {"solo": "?"}})
    refused("not of the form", answers_from=["x"], category_temperature=["math"])
    refused("names are given", answers_from=["x"], names=["a", "b"])
    with pytest.raises(NotFound, match="no results called"):
        studio.quality.resuming("quality-none")
    assert studio.jobs.list() == []


def test_a_form_may_send_the_prompt_as_text(studio: Studio) -> None:
    text = "en: {single: 'Judge {conversation}'}"
    config = studio.validate("quality", {"answers_from": ["x"], "judge_prompt": text})[1]
    assert config.model_dump()["judge_prompt"] == {"en": {"single": "Judge {conversation}"}}


def test_the_recipes_choose_questions_that_are_there(studio: Studio) -> None:
    for recipe in studio.recipes.list("quality"):
        if recipe.path and recipe.path.is_relative_to(ROOT):
            config = studio.validate("quality", recipe.settings)[1]
            asking = studio.quality.asking(config)  # type: ignore[arg-type]
            assert asking.answers == asking.questions * len(recipe.settings["answers_from"])
