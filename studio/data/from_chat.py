"""Conversations of the Chat tab as rows: what was asked and answered, nothing else.

Takes plain messages as the chat keeps them: what it added is under their `studio` key, such as
how an answer ended and which side of a comparison it belongs to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from studio.data.rows import Row, spelled
from studio.data.turns import MARK, Turn

Message = dict[str, Any]
_SCHEME = "picture:"
_THOUGHT = re.compile(
    r"\A\s*(?:<(think|thinking|reasoning|thought)>)?.*?</(?:think|thinking|reasoning|thought)>\s*",
    re.DOTALL | re.IGNORECASE,
)


def rows_of(conversations: Iterable[dict[str, Any]], pictures: Path | None) -> Iterator[Row]:
    """Yield one row for each conversation that has at least one finished answer."""
    for item in conversations:
        row = row_of(item.get("messages", []), pictures, item.get("side", "a"))
        if row is not None:
            yield row


def row_of(messages: list[Message], pictures: Path | None, side: str = "a") -> Row | None:
    """Return a conversation as one row of role/content; None when no question was answered.

    In a comparison the answers of one side are taken. A question without a finished answer is
    left out together with what was said to it.
    """
    turns: list[Turn] = []
    shown: list[str] = []
    asked: Message | None = None
    for message in messages:
        role = message.get("role")
        if role == "system" and not turns and (text := _text(message)):
            turns.append(Turn("system", text))
        elif role == "user":
            asked = message
        elif role == "assistant" and asked is not None and _finished(message, side):
            question, seen = _question(asked, pictures)
            answer = _without_thought(_text(message))
            if question and answer:
                turns += [Turn("user", question), Turn("assistant", answer)]
                shown += seen
            asked = None
    if not any(turn.role == "assistant" for turn in turns):
        return None
    row: Row = {"messages": spelled(turns, "openai")}
    return {**row, "images": shown} if shown else row


def _finished(message: Message, side: str) -> bool:
    """Tell whether an answer came to its own end; messages of other programs say nothing of it."""
    extra = message.get("studio") or {}
    whole = extra.get("ended", "done") == "done" and extra.get("finish_reason") != "length"
    return whole and extra.get("side", "a") == side


def _question(message: Message, pictures: Path | None) -> tuple[str, list[str]]:
    """Return a question with a mark for each of its pictures, and the pictures' paths.

    A picture that is gone takes its question with it: the answer would be about nothing.
    """
    content = message.get("content")
    if not isinstance(content, list):
        return _text(message), []
    written, shown = [], []
    for part in content:
        if not isinstance(part, dict):
            continue
        if part.get("type") == "text":
            written.append(_text({"content": part.get("text")}))
        elif part.get("type") == "image_url":
            url = (part.get("image_url") or {}).get("url", "")
            path = pictures / Path(url.removeprefix(_SCHEME)).name if pictures else None
            if not url.startswith(_SCHEME) or path is None or not path.is_file():
                return "", []
            shown.append(str(path.resolve()))
            written.append(MARK)
    return "\n".join(written), shown


def _text(message: Message) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "\n".join(p["text"] for p in content if isinstance(p, dict) and "text" in p)
    if not isinstance(content, str):
        return ""
    return content.replace("\x00", "").encode("utf-8", "replace").decode().strip()


def _without_thought(text: str) -> str:
    """Take a leading block of thought off an answer, as far as the chat has left one."""
    return _THOUGHT.sub("", text, count=1).strip() if text.lstrip()[:1] == "<" else text
