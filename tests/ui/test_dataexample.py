"""A row of a data set is drawn by what it holds, in whichever form it is written."""

from __future__ import annotations

from typing import Any

import pytest

from studio.ui.data.example import example, pictures_of, prose, turns_of

FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "alpaca": (
        {"instruction": "Add", "input": "1 + 1", "output": "2", "system": "Count."},
        [("system", "Count."), ("user", "Add\n1 + 1"), ("assistant", "2")],
    ),
    "alpaca with history": (
        {"instruction": "And 2?", "output": "4", "history": [["Twice 1?", "2"]]},
        [("user", "Twice 1?"), ("assistant", "2"), ("user", "And 2?"), ("assistant", "4")],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
        [("user", "Hi"), ("assistant", "Hello")],
    ),
    "openai parts": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url"}, {"type": "text", "text": "What?"}],
                },
                {"role": "assistant", "content": "A circle."},
            ]
        },
        [("user", "<image>\nWhat?"), ("assistant", "A circle.")],
    ),
    "preference": (
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        [("user", "Q")],
    ),
    "text": ({"text": "Once upon a time"}, []),
    "odd": ({"conversations": ["what?", {"role": "alien", "content": 3}]}, [("other", "what?")]),
}


@pytest.mark.parametrize("form", FORMS)
def test_turns_are_read_from_every_form(form: str) -> None:
    row, turns = FORMS[form]
    assert list(turns_of(row))[: len(turns) or None] == turns
    assert example("en", row) and example("zh", row, number=3, find="a")


def test_what_is_special_about_a_row_is_shown() -> None:
    row, _ = FORMS["preference"]
    assert 'class="l-chosen"' in example("en", row) and "较差" in example("zh", row)
    assert "rated bad" in example("en", {"messages": [], "kto_tag": False})
    tools = {**FORMS["sharegpt"][0], "tools": '[{"name": "weather"}]'}
    assert "<details" in example("en", tools) and "weather" in example("en", tools)
    long = {"conversations": [{"from": "human", "value": "x"}] * 100}
    assert "60 more messages" in example("en", long)


def test_pictures_are_named_or_drawn() -> None:
    row = {"messages": [], "images": ["a/b.png", 7]}
    assert pictures_of(row) == ["a/b.png"] and pictures_of({"images": "c.png"}) == ["c.png"]
    assert "b.png" in example("en", row) and "<img" not in example("en", row)
    drawn = example("en", row, picture=lambda index, name: f"<img alt='{index} {name}'>")
    assert "<img alt='0 a/b.png'>" in drawn


def test_text_is_escaped_marked_and_cut() -> None:
    assert prose("<b>") == "&lt;b&gt;"
    assert prose("Find find", "FIND") == "<mark>Find</mark> <mark>find</mark>"
    assert "l-mark" in prose("<image>what") and "&lt;image" not in prose("<image>what")
    assert prose("x" * 7000).endswith("… <i>+1,000</i>")
