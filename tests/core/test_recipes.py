"""Recipes: what people write is checked strictly and every fault is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import (
    Recipes,
    check_settings,
    parse_overrides,
    read_recipe,
    write_settings,
)

GOOD = """# A comment that stays.
engine: vllm
title: {en: "Tiny", zh: "小模型"}
about: {en: "Serves.", zh: "启动。"}
settings:
  model: assets/models/tiny   # and this one
  max_model_len: 2048
"""


class Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    max_model_len: int = 1
    dtype: str = "auto"
    model: str


def write(folder: Path, text: str, name: str = "it.yaml") -> Path:
    path = folder / "vllm" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_and_names(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, GOOD))
    assert (recipe.name, recipe.engine, recipe.title["zh-CN"]) == ("vllm/it", "vllm", "小模型")


@pytest.mark.parametrize(
    "text, says",
    [
        ("- a\n- b\n", "must be a mapping of names to values, not a list"),
        ("just words", "not a text"),
        ("", "not nothing"),
        ("engine: [1\nfoo", "line"),
        ("engine: vllm\n\tsettings: 3", "line 2"),
        (GOOD.replace("settings:", "setings:"), "setings is not a setting here. Did you mean s"),
        (GOOD.replace("engine: vllm\n", ""), "engine is missing"),
        (GOOD.replace("engine: vllm", "engine: 3"), "engine = 3"),
    ],
)
def test_every_fault_is_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        read_recipe(write(tmp_path, text))
    assert says in str(caught.value)


def test_settings_say_what_was_meant() -> None:
    with pytest.raises(RecipeInvalid) as caught:
        check_settings(Knobs, {"max_model_length": 5, "dtype": "x"}, "settings of vLLM")
    text = str(caught.value)
    assert "max_model_length is not a setting here. Did you mean max_model_len?" in text
    assert "model is missing." in text


def test_missing_file_and_misspelt_name(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "smoke.yaml")
    recipes = Recipes(tmp_path / "own", tmp_path)
    with pytest.raises(NotFound, match="Did you mean vllm/smoke"):
        recipes.get("vllm/smok")
    with pytest.raises(NotFound, match="no recipe /nowhere"):
        recipes.get("/nowhere/x.yaml")
    with pytest.raises(NotFound):
        recipes.get("../../etc/passwd")


def test_own_recipes_win_and_broken_ones_do_not_hide_the_rest(tmp_path: Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir(), own.mkdir()
    write(shipped, GOOD)
    write(shipped, "- broken", "broken.yaml")
    write(own, GOOD.replace("Tiny", "Mine"))
    recipes = Recipes(own, shipped)
    assert [recipe.title.en for recipe in recipes.list()] == ["Mine"]
    assert recipes.get("vllm/it").title.en == "Mine"


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    import os

    path = write(tmp_path, GOOD)
    recipes = Recipes(tmp_path / "own", tmp_path)
    assert recipes.get("vllm/it").settings["max_model_len"] == 2048
    path.write_text(GOOD.replace("2048", "4096"), encoding="utf-8")
    os.utime(path, (1, 1))
    assert recipes.get("vllm/it").settings["max_model_len"] == 4096


def test_comments_survive_a_change(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    write_settings(path, {"model": "assets/models/tiny", "max_model_len": 1024, "dtype": "auto"})
    text = path.read_text(encoding="utf-8")
    assert "# A comment that stays." in text and "# and this one" in text
    assert read_recipe(path).settings["max_model_len"] == 1024


def test_overrides_are_read_as_yaml() -> None:
    assert parse_overrides(["a=1", "b=1.5e-4", "c=true", "d=[1, 2]", "e=x=y", "f="]) == {
        "a": 1,
        "b": 1.5e-4,
        "c": True,
        "d": [1, 2],
        "e": "x=y",
        "f": None,
    }
    with pytest.raises(RecipeInvalid, match="not of the form key=value"):
        parse_overrides(["batch"])
