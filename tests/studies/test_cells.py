"""What a study comes to: its cases times its matrix, checked before anything is launched."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from studies.fakery import chat, training

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT, Settings
from studio.engines.study_config import StudyConfig
from studio.studies.cells import Cell, NotMeasurable, cells, check_here, num_cards, num_rows
from studio.studies.studies import merged, study_ask
from studio.studio import Studio

LOAD = {"input_len": [16, 32], "output_len": [8], "concurrency": [1, 2, 4]}


def of(studio: Studio, **settings: Any) -> list[Cell]:
    return cells(studio, StudyConfig.model_validate({"measure": "training", **settings}))


def test_every_case_meets_every_combination(faked: Studio) -> None:
    found = of(
        faked,
        cases={"a": training(), "b": training(seconds=1)},
        matrix={"seconds": [0, 2], "code": [0, 1]},
    )
    assert [cell.name for cell in found][:3] == [
        "a · seconds=0 · code=0",
        "a · seconds=0 · code=1",
        "a · seconds=2 · code=0",
    ]
    assert len(found) == 8
    assert found[7].slug == "b-seconds=2-code=1"
    assert found[7].launch.settings == {"seconds": 2, "code": 1}, "the matrix wins over the case"
    assert found[7].condition == {"seconds": 2, "code": 1}


def test_common_settings_reach_the_engines_that_know_them(faked: Studio) -> None:
    one, two = of(
        faked,
        cases={"train": training(), "talk": {**chat(), "ask": {"questions": [{"ask": "?"}]}}},
        common={"seconds": 3, "cards": 2},
    )
    assert one.launch.settings == {"seconds": 3}
    assert "seconds" not in two.launch.settings
    assert (one.launch.cards, two.launch.cards) == (2, 2)


def test_a_setting_nobody_knows_is_refused_with_the_nearest(faked: Studio) -> None:
    with pytest.raises(RecipeInvalid, match="Did you mean repeats"):
        of(faked, cases={"a": training()}, common={"repeat": 3})
    with pytest.raises(RecipeInvalid, match="not a setting of case a"):
        of(faked, cases={"a": training()}, matrix={"secnds": [1]})


def test_settings_of_every_cell_are_checked_before_the_first_run(faked: Studio) -> None:
    with pytest.raises(RecipeInvalid, match="seconds = 'long'"):
        of(faked, cases={"a": training(), "b": training(seconds="long")})
    with pytest.raises(RecipeInvalid, match="asks nothing"):
        of(faked, cases={"a": chat()})


def test_settings_of_the_load_test_are_checked_too(settings: Settings) -> None:
    studio = Studio(settings)
    case = {"recipe": "vllm/smoke"}
    (cell,) = of(studio, measure="load", cases={"a": case}, load=LOAD, repeats=2)
    assert num_rows(studio, cell, 2) == 2 * 3 * 2 + 1, "the grid, its repeats, and the server"
    with pytest.raises(RecipeInvalid, match="concurency"):
        of(studio, measure="load", cases={"a": case}, load={"concurency": [1]})


@pytest.mark.parametrize(
    "settings, fault",
    [
        ({"cases": {}}, "at least 1"),
        ({"cases": {"a b": {"recipe": "x/y"}}}, "no name for a case"),
        ({"cases": {"a": {}}}, "one of the two"),
        ({"cases": {"a": {"recipe": "x", "engine": "y"}}}, "one of the two"),
        ({"cases": {"a": {"recipe": "x"}}, "matrix": {"k": []}}, "no values of k"),
        ({"cases": {"a": {"recipe": "x"}}, "matrix": {"k": [1, 1]}}, "twice"),
        ({"cases": {"a": {"recipe": "x"}}, "results": "../x"}, "not a path"),
        (
            {"cases": {"a": {"recipe": "x"}}, "expect": [{"metric": "m", "of": "b", "at_most": 1}]},
            "about b, which is no case",
        ),
        (
            {"cases": {"a": {"recipe": "x"}}, "expect": [{"metric": "m", "of": "a"}]},
            "one of at_least",
        ),
    ],
)
def test_a_study_that_makes_no_sense(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeInvalid, match=fault):
        check_settings(StudyConfig, settings, "settings")


def test_why_a_case_cannot_be_measured_here(faked: Studio, fake_cards: Callable[..., None]) -> None:
    def why(**case: Any) -> str:
        (cell,) = of(faked, cases={"a": {**training(), **case}})
        with pytest.raises(NotMeasurable) as error:
            check_here(faked, cell)
        return error.value.message

    fake_cards()
    assert why(cards=1) == "needs 1 card(s), and this machine has 0."
    fake_cards({"used": 4}, {"used": 4})
    assert why(cards=3) == "needs 3 card(s), and this machine has 2."
    assert why(cards=2, copies=2) == "needs 4 card(s), and this machine has 2."
    assert why(cards=[1, 5]) == "card 5 is named, and this machine shows 0, 1."
    assert why(measure="ask", ask={"questions": [{"ask": "?"}]}).endswith(
        "serves nothing, so it cannot be put under load."
    )


def test_cards_of_a_case_are_those_of_all_its_copies(
    faked: Studio, fake_cards: Callable[..., None]
) -> None:
    fake_cards({"used": 4}, {"used": 4}, {"used": 4}, {"used": 4})
    ask = {"questions": [{"ask": "?"}]}
    cases = {
        "one": {**chat(), "ask": ask},
        "own": {**chat(num_gpus=1), "ask": ask},
        "two": {**chat(), "cards": 2, "copies": 2, "ask": ask},
        "named": {**chat(), "cards": [0, 1], "copies": 2, "ask": ask},
    }
    assert [num_cards(faked, cell) for cell in of(faked, cases=cases)] == [0, 1, 4, 2]


def test_a_model_the_planner_refuses_is_not_started(
    settings: Settings, fake_cards: Callable[..., None], tmp_path: Path
) -> None:
    fake_cards({"total": 24564, "used": 4})
    (tmp_path / "model").mkdir()
    shutil.copy(ROOT / "assets/shapes/qwen2.5-32b.json", tmp_path / "model/config.json")
    studio = Studio(settings.model_copy(update={"variant": "cuda"}))
    case = {
        "recipe": "vllm/qwen2.5-7b",
        "cards": 1,
        "settings": {"model": str(tmp_path / "model"), "load_format": "dummy"},
    }
    (cell,) = of(studio, measure="run", cases={"big": case})
    with pytest.raises(NotMeasurable, match="GiB too large"):
        check_here(studio, cell)
    check_here(studio, cell, plan=False)


def test_changes_go_where_they_belong() -> None:
    given = {"repeats": 3, "load": {"concurrency": [1]}, "common": {"dtype": "auto"}}
    changes = {"repeats": 1, "load.output_len": [8], "max_model_len": 512, "side_by_side": True}
    assert merged(given, changes) == {
        "repeats": 1,
        "side_by_side": True,
        "load": {"concurrency": [1], "output_len": [8]},
        "common": {"dtype": "auto", "max_model_len": 512},
    }
    assert given["load"] == {"concurrency": [1]}


def test_a_recipe_that_is_no_study_is_told(settings: Settings) -> None:
    with pytest.raises(RecipeInvalid, match="is a recipe of vllm and no study"):
        study_ask(Studio(settings), "vllm/smoke")
