"""`study` on the command line: list, dry run, short form, show, verdict, and words for mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.bench.point import Point
from studio.bench.saved import About
from studio.commands.study import study_app
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.settings import Settings
from studio.studies.record import Phase, Record
from studio.studio import Studio

CELLS = [
    {"name": name, "slug": name, "case": name, "measure": "training", "rows": 2, "title": None}
    for name in ("one", "two")
]


@pytest.fixture
def begun(settings: Settings) -> str:
    """A study whose runner is gone: one case measured, one refused by this machine."""
    studio = Studio(settings)
    record = Record(studio.saved.begin(About(kind="study", name="try", run="0" * 18)))
    cases = {name: {"recipe": "llamafactory/smoke-full"} for name in ("one", "two")}
    expect = [
        {"metric": "samples_per_s", "of": "one", "at_least": 10},
        {"metric": "samples_per_s", "of": "two", "against": "one", "at_least": 1.8},
    ]
    settings_ = {"measure": "training", "cases": cases, "expect": expect}
    record.freeze({"recipe": "", "title": None, "settings": settings_, "cells": CELLS})
    record.note("", Phase.MEASURING, run="0" * 18)
    record.note("one", Phase.MEASURING, run="1" * 18, repeat=0)
    for repeat, speed in enumerate((20.0, 20.5)):
        figures = {"samples_per_s": speed}
        record.add(Point(id=f"one-r{repeat}", case="one", repeat=repeat, figures=figures))
    record.note("one", Phase.DONE)
    record.note("two", Phase.NOT_MEASURABLE, "needs 2 card(s), and this machine has 0.")
    return record.name


def said(settings: Settings, *words: str, code: int = 0) -> str:
    argv = [*words, "--home", str(settings.home)]
    found = CliRunner().invoke(study_app, argv, catch_exceptions=False)
    assert found.exit_code == code, found.output
    return found.output


def test_the_list_tells_what_can_be_measured_here(settings: Settings, begun: str) -> None:
    told = json.loads(said(settings, "ls", "--json"))
    known = {row["name"]: row for row in told["studies"]}
    assert known["smoke-processes"]["here"] == "2 of 2"
    assert known["one-tp2-replicas-7b"]["here"] == "0 of 3", "this machine shows no cards"
    assert "needs 2 card(s)" in known["one-tp2-replicas-7b"]["reasons"][1]
    assert [row["name"] for row in told["begun"]] == [begun]
    assert begun in said(settings, "ls")


def test_a_dry_run_by_the_short_form(settings: Settings) -> None:
    told = said(settings, "smoke-processes", "repeats=1", "max_steps=5", "--dry-run")
    rows = [line.split() for line in told.splitlines()]
    assert rows[0][:2] == ["case", "measure"]
    assert [row[0] for row in rows[1:]] == ["one", "two"]
    assert all(row[-1] == "yes" for row in rows[1:])
    told = json.loads(said(settings, "smoke-processes", "max_steps=5", "--dry-run", "--json"))
    assert [cell["condition"]["max_steps"] for cell in told] == [5, 5]


def test_words_for_mistakes(settings: Settings) -> None:
    with pytest.raises(NotFound, match="no study 'smoke-proceses'") as wrong:
        said(settings, "run", "smoke-proceses")
    assert wrong.value.hint == "Did you mean smoke-processes?"
    with pytest.raises(NotFound) as wrong:
        said(settings, "run", "")
    assert "study ls" in wrong.value.hint
    with pytest.raises(RecipeInvalid, match="Did you mean max_steps"):
        said(settings, "run", "smoke-processes", "max_step=5", "--dry-run")
    with pytest.raises(NotFound, match="no results called nothing"):
        said(settings, "resume", "nothing")


def test_show_and_verdict_of_a_study_whose_run_is_not_here(settings: Settings, begun: str) -> None:
    told = json.loads(said(settings, "show", "try", "--json"))
    assert (told["phase"], told["rows_done"], told["rows"]) == ("elsewhere", 2, 4)
    assert [cell["phase"] for cell in told["cells"]] == ["done", "not_measurable"]
    assert told["cells"][0]["runs"] == ["1" * 18]
    text = said(settings, "show", begun)
    assert f"go on with: python app.py study resume {begun}" in text
    met, unknown = json.loads(said(settings, "verdict", "try", "--json"))
    assert (met["state"], met["sureness"]) == ("met", "clearly")
    assert (unknown["state"], unknown["why"]) == ("not_measurable", "not_here")
    assert "needs 2 card(s)" in said(settings, "verdict", "try")
    assert "需要 2 张卡" in said(settings, "verdict", "try", "--lang", "zh")


def test_report_and_journal_are_written_beside_the_rows(settings: Settings, begun: str) -> None:
    for word, name in (("report", "report.html"), ("journal", "journal.md")):
        path = Path(said(settings, word, begun).strip())
        assert path == settings.home / "bench" / begun / name
        assert path.stat().st_size > 500
