"""Tell thinking from answering in models that write both into one text: `<think>…</think>`."""

from __future__ import annotations

import re
from typing import NamedTuple

_TAGS = ("think", "thinking", "reasoning", "thought")
_OPEN = re.compile(rf"\s*<({'|'.join(_TAGS)})>", re.IGNORECASE)
_CLOSE = re.compile(rf"</({'|'.join(_TAGS)})>", re.IGNORECASE)
_HALF = re.compile(r"\s*<[a-z]{0,9}$", re.IGNORECASE)


class Split(NamedTuple):
    """A text taken apart; `thinking` is True while the closing tag has not come."""

    reasoning: str
    answer: str
    thinking: bool


def split(text: str) -> Split:
    """Take the leading block of thought off an answer.

    Templates that put the opening tag into the prompt leave only the closing one: then all before
    it was thought. Tags inside the answer, for example in code, are left alone.
    """
    opened = _OPEN.match(text)
    body = text[opened.end() :] if opened else text
    closed = _CLOSE.search(body)
    if opened and closed is None:
        return Split(body.lstrip("\n"), "", True)
    if closed is not None and (opened or not _quoted(body[: closed.start()])):
        return Split(body[: closed.start()].strip(), body[closed.end() :].lstrip(), False)
    if _HALF.fullmatch(text):
        return Split("", "", False)  # `<thi`: wait for the rest before anything is shown
    return Split("", text, False)


def _quoted(before: str) -> bool:
    """Tell whether a position lies inside code: an odd number of fences or of backticks."""
    return before.count("```") % 2 == 1 or before.rpartition("\n")[2].count("`") % 2 == 1
