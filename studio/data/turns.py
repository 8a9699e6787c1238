"""Conversations in every spelling, as turns of one spelling, checked for roles and order."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import orjson

from studio.data.faults import RowFault, shown
from studio.data.pictures import Pictures

MARK = "<image>"
"""Stands in a text where a picture belongs; LLaMA-Factory's own."""

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "function_call": "function",
    "tool_call": "function",
    "observation": "observation",
    "tool": "observation",
    "tool_response": "observation",
    "function_response": "observation",
    "function": "observation",
}
"""How published data sets call who speaks -> LLaMA-Factory's words."""

SHAREGPT = {
    "system": "system",
    "user": "human",
    "assistant": "gpt",
    "function": "function_call",
    "observation": "observation",
}
OPENAI = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "function": "function_call",
    "observation": "tool",
}

_ASKS, _ANSWERS = ("user", "observation"), ("assistant", "function")
_JOINED = "\n</tool_response>\n<tool_response>\n"
"""Between the answers of several tools to one turn, as LLaMA-Factory joins them."""


class Turn(NamedTuple):
    """Who says what."""

    role: str
    content: str


class Texts:
    """Takes texts out of values of any type; counts what it repairs."""

    def __init__(self, repaired: Counter[str]) -> None:
        self.repaired = repaired

    def text(self, value: Any, field: str, *, empty: bool = False, plain: bool = False) -> str:
        """Return a value as text; raise RowFault. `plain` keeps every space."""
        if type(value) is not str:
            value = self._as_text(value, field)
        if "\x00" in value:
            raise RowFault("nul", field=field)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise RowFault("surrogate", field=field, text=shown(value)) from None
        if not plain:
            trimmed = value.lstrip("\ufeff\r\n").rstrip()
            if trimmed != value:
                self.repaired["space"] += 1
                value = trimmed
        if not empty and not value.strip():
            raise RowFault("empty", field=field)
        return value

    def _as_text(self, value: Any, field: str) -> str:
        if value is None or value != value:  # a NaN of a table is an empty cell
            return ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            if isinstance(value, list | tuple | dict):
                raise RowFault("nested", field=field, text=shown(repr(value)[:200]))
            if type(value).__name__ == "Decimal":
                self.repaired["number"] += 1
                return str(value)
            raise RowFault("not_text", field=field, kind=type(value).__name__)
        self.repaired["number"] += 1
        return str(value)

    def turns(self, value: Any, field: str, pictures: list[Any]) -> list[Turn]:
        """Return a list of messages as turns; pictures among the parts are added to `pictures`."""
        if isinstance(value, str):
            value = self.json(value, field)
        if not isinstance(value, list | tuple):
            raise RowFault("not_turns", field=field, text=shown(repr(value)[:200]))
        found: list[Turn] = []
        for number, item in enumerate(value, 1):
            turn = self.turn(item, f"{field}[{number}]", pictures)
            if turn.role == "observation" and found and found[-1].role == "observation":
                found[-1] = Turn("observation", found[-1].content + _JOINED + turn.content)
            else:
                found.append(turn)
        return found

    def turn(self, item: Any, field: str, pictures: list[Any]) -> Turn:
        """Return one message as a turn; raise RowFault."""
        if not isinstance(item, dict):
            raise RowFault("turn", field=field, text=shown(repr(item)[:200]))
        said = item.get("role", item.get("from"))
        role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
        if role is None:
            raise RowFault("role", field=field, role=shown(str(said)))
        if said not in _SPELLED:
            self.repaired["role"] += 1
        calls = item.get("tool_calls") or item.get("function_call")
        if role == "assistant" and calls:
            return self._calls(item, calls, field)
        content = item.get("content", item.get("value"))
        if isinstance(content, list | tuple):
            content = self._parts(content, field, pictures)
        return Turn(role, self.text(content, field))

    def json(self, text: str, field: str) -> Any:
        """Return a list that was written into a text, as tables must."""
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise RowFault("not_turns", field=field, text=shown(text)) from None

    def _calls(self, item: dict[str, Any], calls: Any, field: str) -> Turn:
        try:
            asked = [call["function"] for call in calls] if isinstance(calls, list) else [calls]
            done = [{"name": f["name"], "arguments": _arguments(f)} for f in asked]
        except (KeyError, TypeError, AttributeError):
            raise RowFault("tool_calls", field=field) from None
        if item.get("content"):
            self.repaired["tool_text"] += 1
        return Turn("function", json.dumps(done, ensure_ascii=False))

    def _parts(self, parts: Any, field: str, pictures: list[Any]) -> str:
        """Write a list of parts, as OpenAI's protocol has it, as one text with marks."""
        written = []
        for part in parts:
            if isinstance(part, str):
                written.append(part)
                continue
            if not isinstance(part, dict):
                raise RowFault("nested", field=field, text=shown(repr(part)[:200]))
            kind = part.get("type")
            if kind == "text" or (kind is None and "text" in part):
                written.append(self.text(part.get("text"), field, empty=True))
            elif kind in ("image_url", "image", "input_image"):
                where = part.get("image_url", part.get("image", part.get("path")))
                pictures.append(where.get("url") if isinstance(where, dict) else where)
                written.append(MARK)
            else:
                raise RowFault("part", field=field, kind=shown(str(kind)))
        return "\n".join(text for text in written if text)


def check_order(turns: list[Turn], *, answered: bool) -> None:
    """Raise RowFault unless questions and answers alternate and the last turn is an answer.

    Not `answered`: the last turn is a question, as before a chosen and a rejected answer.
    """
    rest = turns[1:] if turns and turns[0].role == "system" else turns
    if not rest:
        raise RowFault("no_turns")
    first = len(turns) - len(rest) + 1
    for number, turn in enumerate(rest):
        if turn.role not in (_ANSWERS if number % 2 else _ASKS):
            expected = "assistant" if number % 2 else "user"
            raise RowFault("order", turn=first + number, role=turn.role, expected=expected)
    if answered and len(rest) % 2:
        raise RowFault("last", turn=len(turns), role=turns[-1].role)
    if not answered and not len(rest) % 2:
        raise RowFault("last_question", turn=len(turns), role=turns[-1].role)


def picture_paths(values: Any, pictures: Pictures) -> list[str]:
    """Return the absolute paths of a row's pictures; raise RowFault."""
    if values is None or values == "":
        return []
    if isinstance(values, str) and values[:1] == "[":
        try:
            values = orjson.loads(values)
        except orjson.JSONDecodeError:
            raise RowFault("picture_name", text=shown(values)) from None
    found = []
    for value in values if isinstance(values, list | tuple) else [values]:
        if isinstance(value, dict):
            value = value.get("bytes") or value.get("path")
        if isinstance(value, bytes):
            found.append(pictures.embedded(value))
        elif isinstance(value, str) and value.strip():
            found.append(pictures.find(value.strip()))
        else:
            raise RowFault("picture_name", text=shown(repr(value)[:200]))
    return found


_SPELLED = frozenset(ROLES)


def _arguments(function: dict[str, Any]) -> Any:
    given = function.get("arguments", {})
    if isinstance(given, str):
        try:
            return json.loads(given)
        except ValueError:
            return given
    return given
