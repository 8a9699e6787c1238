"""What a judge is shown and how it is read; a verdict that is not there is never made up."""

from __future__ import annotations

import pytest
from quality.conftest import answer, compared, question

from studio.core.errors import RecipeInvalid
from studio.core.recipes import Recipe, Recipes
from studio.core.settings import ROOT
from studio.engines.quality import QualityConfig
from studio.quality.judge import (
    Judge,
    agreed,
    as_shown,
    both_orders,
    read_rating,
    read_winner,
)
from studio.quality.winrate import Verdict, position_bias

PROMPTS = {
    "en": {
        "single": "{question} | {reference} | {conversation}",
        "pairwise": "{conversation_a} || {conversation_b}",
        "reference": "right: {reference}",
        "user": "U",
        "assistant": "A",
    }
}
SHIPPED = [
    recipe
    for recipe in Recipes(ROOT / "nowhere", ROOT / "recipes").list("quality")
    if "judge_prompt" in recipe.settings
]


@pytest.mark.parametrize(
    ("text", "rating"),
    [
        ("Good.\n[[7]]", 7),
        ("[[ 8.5 ]]", 8.5),
        ("[[9/10]]", 9),
        ("[[7]] ... so I stay with [[7]]", 7),
        ("[[7]] or rather [[8]]", None),
        ("Rating: 7", None),
        ("see [7]", None),
        ("[[0]]", None),
        ("[[11]]", None),
        ("[[N]]", None),
        ("[[A]]", None),
        ("", None),
    ],
)
def test_ratings(text: str, rating: float | None) -> None:
    assert read_rating(text) == rating


@pytest.mark.parametrize(
    ("text", "won"),
    [
        ("... [[A]]", "left"),
        ("[[b]]", "right"),
        ("[[C]]", "tie"),
        ("[[A]] if the first, [[B]] if the second", None),
        ("[[X]]", None),
        ("A", None),
        ("[[7]]", None),
    ],
)
def test_winners(text: str, won: str | None) -> None:
    assert read_winner(text) == won


def test_every_answer_is_rated_turn_by_turn() -> None:
    asked = [question("q", turns=2, reference=("r1", "r2")), question("p")]
    answers = [answer("q", "m", "a1", "a2"), answer("p", "m", error="gone")]
    judge = Judge("j", "single", PROMPTS)
    cases = judge.cases(asked, {(a.question, a.model): a for a in answers})
    assert [(case.question.id, case.turn) for case in cases] == [("q", 0), ("q", 1)]
    assert judge.prompt(cases[0]) == "q, turn 1? | right: r1 | U: q, turn 1?\n\nA: a1"
    assert judge.prompt(cases[1]) == (
        "q, turn 2? | right: r2 | U: q, turn 1?\n\nA: a1\n\nU: q, turn 2?\n\nA: a2"
    )


def test_every_pair_is_shown_in_both_orders() -> None:
    rows = [answer("q", name, name * 3) for name in ("x", "y", "z")]
    judge = Judge("j", "pairwise", PROMPTS)
    cases = judge.cases([question("q")], {(a.question, a.model): a for a in rows})
    shown = [tuple(a.model for a in case.answers) for case in cases]
    assert shown == [("x", "y"), ("y", "x"), ("x", "z"), ("z", "x"), ("y", "z"), ("z", "y")]
    assert len({case.key for case in cases}) == 6
    first, second = (judge.prompt(case) for case in cases[:2])
    assert first.index("xxx") < first.index("yyy") and second.index("yyy") < second.index("xxx")


def test_an_answer_cannot_fill_a_place_of_the_prompt() -> None:
    row = answer("q", "m", "I quote {reference} and {question}")
    judge = Judge("j", "single", PROMPTS)
    asked = question("q", reference=("secret",))
    (case,) = judge.cases([asked], {("q", "m"): row})
    assert judge.prompt(case).endswith("I quote {reference} and {question}")


def test_other_words_are_another_judge() -> None:
    other = {"en": {**PROMPTS["en"], "single": "{conversation}!"}}
    one, two = Judge("j", "single", PROMPTS), Judge("j", "single", other)
    answers = {("q", "m"): answer("q", "m", "a")}
    keys = [judge.cases([question("q")], answers)[0].key for judge in (one, two)]
    assert one.mark != two.mark and keys[0] != keys[1]


def test_a_language_without_words_is_refused() -> None:
    with pytest.raises(RecipeInvalid, match="no single text for questions in zh"):
        Judge("j", "single", PROMPTS).check([question("q", lang="zh")])


def test_orders_that_disagree_are_a_tie() -> None:
    rows = [
        *(compared("q1", "a", "b", "left"), compared("q1", "b", "a", "right")),  # a, a
        *(compared("q2", "a", "b", "left"), compared("q2", "b", "a", "left")),  # a, b
        *(compared("q3", "a", "b", "tie"), compared("q3", "b", "a", "right")),  # tie, a
        *(compared("q4", "a", "b", "right"), compared("q4", "b", "a", None)),  # b, unreadable
        *(compared("q5", "b", "a", "left"), compared("q5", "a", "b", "right")),  # b, b
    ]
    kinds = {"q1": "math", "q5": "style"}
    assert agreed(rows, kinds) == [
        Verdict("q1", "math", "a", "b", "left"),
        Verdict("q2", "", "a", "b", "tie"),
        Verdict("q3", "", "a", "b", "tie"),
        Verdict("q5", "style", "b", "a", "left"),
    ]
    assert len(both_orders(rows)) == 4 and sum(row.unreadable for row in rows) == 1
    bias = position_bias(as_shown(rows, kinds))
    assert (bias.left, bias.right, bias.ties) == (4, 4, 1)


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_shipped_prompts_show_everything_and_hold_no_verdict(recipe: Recipe, lang: str) -> None:
    """A weak judge repeats its prompt: that must never be read as a verdict."""
    prompts = QualityConfig.model_validate(recipe.settings).judge_prompt
    asked = question("q", lang=lang, reference=("the reference",))
    answers = {("q", m): answer("q", m, f"said by {n}") for n, m in enumerate(("a", "b"))}
    for mode in ("single", "pairwise"):
        judge = Judge("j", mode, prompts)  # type: ignore[arg-type]
        text = judge.prompt(judge.cases([asked], answers)[0])
        assert asked.turns[0] in text and "the reference" in text and "said by 0" in text
        assert ("said by 1" in text) is (mode == "pairwise")
        assert "{" not in text
        assert read_rating(text) is None and read_winner(text) is None
        without = judge.prompt(judge.cases([question("q", lang=lang)], answers)[0])
        assert "<reference>" not in without


def test_all_shipped_prompts_are_the_same() -> None:
    assert len(SHIPPED) == 2
    assert SHIPPED[0].settings["judge_prompt"] == SHIPPED[1].settings["judge_prompt"]
