"""What a study's form says becomes settings, and the line for a terminal says the same."""

from __future__ import annotations

import html
import json
import re
import shlex

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.recipes import parse_overrides
from studio.studies import studies
from studio.studio import Studio
from studio.ui.study import settings as form

PROCESSES, GRID = "studies/smoke-processes", "studies/smoke-load"


@pytest.mark.parametrize("name", ["text", "1", "true", "[a]", "a: b", "~/models", "1e-4", "0x10"])
def test_a_value_is_read_back_as_it_was(name: str) -> None:
    for value in (name, [name, 1], True, None, 1.5):
        assert parse_overrides([f"x={form.said(value)}"])["x"] == value


def test_an_untouched_form_asks_for_the_recipe(studio: Studio) -> None:
    for recipe in form.study_recipes(studio):
        typed = fields(form.study_form("en", recipe, None))
        settings = form.settings_of(recipe, typed)
        _, asked = studio.validate("study", settings)
        _, shipped = studio.validate("study", recipe.settings)
        assert asked == shipped, recipe.name
        assert form.study_line(recipe, settings).split()[3:] == [form.short(recipe.name)]


def fields(text: str) -> dict[str, object]:
    """Return what a browser collects: fields whose value differs from their default."""
    found: dict[str, object] = {}
    for part in text.split('<div class="l-field ')[1:]:
        name, kind, default = (
            html.unescape(re.search(rf'data-{key}="([^"]*)"', part)[1])  # type: ignore[index]
            for key in ("name", "kind", "default")
        )
        value = read(part, kind)
        if value != json.loads(default) and value not in ("", None):
            found[name] = value
    return found


def read(part: str, kind: str) -> object:
    if kind == "lines":
        text = re.search(r"<textarea[^>]*>(.*?)</textarea>", part, re.DOTALL)
        return html.unescape(text[1]).splitlines() if text else []
    if kind == "switch":
        return " checked" in part.split("</div>", 1)[1].split(">", 1)[0]
    text = re.search(r'<input[^>]*value="([^"]*)"', part)
    value = html.unescape(text[1]) if text else ""
    if kind in ("integer", "number") and value:
        return float(value) if kind == "number" else int(value)
    return value


def test_cases_that_are_left_out_take_their_expectations_along(studio: Studio) -> None:
    recipe = studio.recipes.get(PROCESSES)
    settings = form.settings_of(recipe, {"cases": "one", "repeats": 2})
    assert list(settings["cases"]) == ["one"]
    assert [row["of"] for row in settings["expect"]] == ["one"]
    assert studio.validate("study", settings)[1].repeats == 2  # type: ignore[attr-defined]


def test_rows_of_a_form_take_the_place_of_the_recipes(studio: Studio) -> None:
    recipe = studio.recipes.get(PROCESSES)
    settings = form.settings_of(recipe, {"common": ["max_steps=6", "use_cpu=true"]})
    assert settings["common"] == {"max_steps": 6, "use_cpu": True}
    with pytest.raises(RecipeInvalid, match="key=value"):
        form.settings_of(recipe, {"common": ["max_steps"]})


def test_an_engines_default_in_place_of_the_recipes_value_is_said(studio: Studio) -> None:
    recipe = studio.recipes.get("studies/smoke-ladder")
    assert recipe.settings["repeats"] == 1
    words = shlex.split(form.study_line(recipe, form.settings_of(recipe, {})))
    assert words[4:] == ["repeats=3"]


def test_the_line_for_a_terminal_asks_for_the_same(studio: Studio) -> None:
    recipe = studio.recipes.get(GRID)
    load = {**recipe.settings["load"], "concurrency": [1, 2]}
    asked = {"load": [f"{key}={form.said(value)}" for key, value in load.items()], "repeats": 5}
    settings = form.settings_of(recipe, {**asked, "common": ["max_num_seqs=8"]})
    words = shlex.split(form.study_line(recipe, settings))
    assert words[:4] == ["python", "app.py", "study", "smoke-load"]
    assert {"repeats=5", "load.concurrency=[1, 2]", "max_num_seqs=8"} <= set(words[4:])
    ask = studies.study_ask(studio, words[3], parse_overrides(words[4:]))
    assert studio.validate("study", ask.settings)[1] == studio.validate("study", settings)[1]
