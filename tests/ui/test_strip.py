"""The machine strip's data, for an operator and for a guest."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from studio.studio import Studio
from studio.ui.machine.strip import Strip


def asked(role: str = "operator", lang: str = "en") -> Request:
    """Return a request as it comes out of the gate."""
    headers = {"x-ladder-user": "ann", "x-ladder-role": role, "x-ladder-lang": lang}
    raw = [(k.encode(), v.encode()) for k, v in headers.items()]
    return Request({"type": "http", "headers": raw, "query_string": b""})


@pytest.mark.parametrize("count", [0, 2, 8])
def test_every_card_has_a_bar(studio: Studio, fake_cards: Callable[..., None], count: int):
    fake_cards(*({"used": 12_282, "load": 40} for _ in range(count)))
    answer = Strip(studio).answer(asked())
    assert [card["label"] for card in answer["cards"]] == [str(n) for n in range(count)]
    for card in answer["cards"]:
        assert (card["fill"], card["load"], card["wrong"]) == (0.5, 0.4, "")
        assert ("Memory", "12.0 GiB / 24.0 GiB") in card["facts"]
    assert 0 <= answer["ram"]["fill"] <= 1 and answer["cpu"]["text"].endswith("%")


def test_strangers_are_named_to_operators_only(studio: Studio, fake_cards: Callable[..., None]):
    fake_cards({"used": 9_000, "pids": {os.getpid(): 8_000}})
    holders: Any = Strip(studio).answer(asked())["cards"][0]["holders"]
    assert holders and holders[0]["run"] == ""
    assert Strip(studio).answer(asked("guest"))["cards"][0]["holders"] == []


def test_words_are_in_the_visitors_language(studio: Studio, fake_cards: Callable[..., None]):
    fake_cards({"used": 9_000})
    card = Strip(studio).answer(asked(lang="zh"))["cards"][0]
    assert card["title"].startswith("0 号卡") and card["facts"][0][0] == "显存"
