"""A verdict is a banner that somebody understands who has not read the recipe."""

from __future__ import annotations

import re

import pytest
from ui import study_seeds

from studio.studies.record import Phase
from studio.studio import Studio
from studio.ui.study.look import Seen, StudyLooks
from studio.ui.study.verdict import hopes_html, verdict_rows, verdicts_html
from studio.ui.verdicts.banner import counts


def seen_of(studio: Studio, name: str) -> Seen:
    seen = StudyLooks(studio).find(name)
    assert seen is not None
    return seen


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_met_and_not_met_say_value_interval_and_what_is_possible(studio: Studio) -> None:
    seen = seen_of(studio, study_seeds.study(studio))
    told = words(verdicts_html("en", seen))
    assert "Two processes train 1.8 times as fast as one" in told
    assert "1.25×" in told and "expected at least 1.80×" in told and "95 % between" in told
    assert "What is possible." in told and "twice the cores" in told
    assert "900 tok/s" in told and "expected at least 100 tok/s" in told
    assert words(counts("en", seen.verdicts)) == "2 met 1 not met"
    chinese = words(verdicts_html("zh", seen))
    assert "未达到预期" in chinese and "能做到的" in chinese and "95% 区间" in chinese


@pytest.mark.parametrize(("lang", "text"), [("en", "cannot be measured"), ("zh", "无法测量")])
def test_what_cannot_be_measured_says_why(studio: Studio, lang: str, text: str) -> None:
    why = "needs 2 card(s), and this machine has 1."
    phases = {"two": (Phase.NOT_MEASURABLE, why)}
    seen = seen_of(studio, study_seeds.study(studio, phases=phases))
    told = words(verdicts_html(lang, seen))
    assert text in told
    states = [row["state"] for row in verdict_rows(lang, seen)]
    assert states == ["not_measurable", "not_measurable", "met"]


def test_one_repeat_admits_that_it_knows_no_spread(studio: Studio) -> None:
    def once(cell):
        return list(study_seeds.trained(cell))[:1]

    told = words(verdicts_html("en", seen_of(studio, study_seeds.study(studio, points=once))))
    assert "One repeat only" in told and "95 %" not in told


def test_what_is_expected_is_said_before_anything_was_measured(studio: Studio) -> None:
    recipe = studio.recipes.get("studies/smoke-processes")
    told = words(hopes_html("en", recipe))
    assert "1.8 times as fast" in told and "at least 1.80×" in told
    assert "between 0.900× and 1.10×" in told
