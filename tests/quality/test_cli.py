"""`quality` on the command line: what a script sees, and a person at the keyboard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script
from quality.stand_in_judge import NAME, judge
from quality.test_run import PROMPTS, bad, good, questions
from typer.testing import CliRunner

from studio.commands.quality import quality_app
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.settings import Settings


def test_a_comparison_is_called_by_its_own_name(settings: Settings) -> None:
    """As in the README: `quality run base-vs-tuned`."""

    def quality(*words: str) -> str:
        argv = ["run", *words, "-m", "http://127.0.0.1:9/v1::m", "--dry-run"]
        argv += ["--home", str(settings.home)]
        return CliRunner().invoke(quality_app, argv, catch_exceptions=False).output

    for name in ("smoke", "quality/smoke"):
        assert "greeting, studio, models" in quality(name)
    with pytest.raises(NotFound, match="no recipe quality/smok"):
        quality("smok")


def test_from_questions_to_the_table(settings: Settings, tmp_path: Path) -> None:
    def quality(*words: str, keys: str = "") -> str:
        argv = [*words, "--home", str(settings.home)]
        found = CliRunner().invoke(quality_app, argv, input=keys, catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    path = questions(tmp_path, 3)
    settled = ("quality", f"questions={path}", f"judge_prompt={json.dumps(PROMPTS)}")
    models = {"good": Script(pieces=good), "bad": Script(pieces=bad), NAME: Script(pieces=judge)}
    with FakeChat(models) as server:
        named = ("-m", f"{server.url}::good", "-m", f"{server.url}::bad")
        dry = json.loads(quality("run", *settled, *named, "--dry-run", "--json"))
        assert (dry["questions"], dry["answers"], dry["judgements"]) == (3, 6, 0)
        told = quality("run", *settled, *named)
        assert "answers of bad: 6/6" in told and "good: completed 3" in told
        name = json.loads(quality("ls", "--json"))[0]["name"]
        assert name.startswith("quality-own_") and f"results {name}" in told
        assert "6/6" in quality("ls")
        told = quality("resume", name, "--judge", f"{server.url}::{NAME}", "judge_mode=pairwise")
        assert f"{NAME} (pairwise): 6 judgements, 0 unreadable, 0 failed" in told
    # 1 the first, u undo, 2 the second, 0 tie, x is no vote, q quit
    told = quality("vote", name, keys="1\nu\n2\nx\n0\nq\n")
    assert "2 of 3 pairs voted on, 0 the same" in told
    assert "good" not in told and "bad" not in told.replace("no idea", "")
    ballot = json.loads(quality("vote", name, "--json"))
    assert ballot["standing"] == {"voted": 2, "of": 3, "same": 0, "missing": 0}
    pair = ballot["ballot"]["pair"]
    quality("vote", name, "--pair", pair, "--choice", "left")
    assert json.loads(quality("vote", name, "--json"))["ballot"] is None
    assert json.loads(quality("vote", name, "--undo", "--json"))["ballot"]["pair"] == pair
    shown = quality("show", name)
    assert "judge stand-in-judge (pairwise): 6 judgements" in shown and "left one won" in shown
    assert "100% [44%, 100%] of 3" in shown
    assert "good: it is right 0" in quality("show", name, "--answers")
    told = json.loads(quality("show", name, "--answers", "--json"))
    assert [model["label"] for model in told["models"]] == ["good", "bad"]
    assert told["answers"][0]["answers"]["bad"]["turns"] == ["no idea"]
    table = json.loads(quality("table", "--json"))
    assert {"judge:win_rate", "votes:win_rate"} <= {column["key"] for column in table["columns"]}
    assert "judge:win_rate" in quality("table", name)
    with pytest.raises(RecipeInvalid, match="both --pair and --choice"):
        quality("vote", name, "--pair", pair)
    with pytest.raises(NotFound):
        quality("show", "nothing")
    with pytest.raises(RecipeInvalid, match="is not a comparison"):
        quality("run", "vllm/smoke")
