"""Conversations in another form, where that form has room for everything."""

from __future__ import annotations

from typing import Any

from studio.core.errors import DataInvalid
from studio.data.model import DataSet, Kind
from studio.data.rows import Row, spelled, turns_of_history
from studio.data.turns import ROLES, Turn

_CONVERSATIONS = ("alpaca", "sharegpt", "openai")


def check_convertible(data: DataSet, kind: Kind) -> None:
    """Raise DataInvalid unless both forms are conversations without preferences."""
    if data.kind not in _CONVERSATIONS or kind not in _CONVERSATIONS:
        raise DataInvalid(
            f"A data set of kind {data.kind} cannot become {kind} without loss.",
            hint="alpaca, sharegpt and openai can be converted into each other.",
        )
    if data.kind == kind:
        raise DataInvalid(f"The data set {data.name} is {kind} already.")


def converted(row: Row, number: int, source: Kind, target: Kind) -> Row:
    """Return row `number` in another form; raise DataInvalid where something would be lost."""
    if source == "alpaca":
        asked = "\n".join(part for part in (row["instruction"], row["input"]) if part)
        turns = [Turn("system", row["system"])] if row.get("system") else []
        turns += turns_of_history(row.get("history", []))
        turns += [Turn("user", asked), Turn("assistant", row["output"])]
    else:
        turns = [
            _turn(turn) for turn in row["conversations" if source == "sharegpt" else "messages"]
        ]
    rest: dict[str, Any] = {key: row[key] for key in ("tools", "images") if key in row}
    if target == "alpaca":
        return {**_alpaca(turns, rest.pop("tools", ""), number), **rest}
    column = "conversations" if target == "sharegpt" else "messages"
    return {column: spelled(turns, target), **rest}


def _alpaca(turns: list[Turn], tools: str, number: int) -> Row:
    lost = _lost(turns, tools)
    if lost:
        raise DataInvalid(
            f"Row {number} has {lost}, which alpaca has no place for.",
            hint="Keep sharegpt or openai, or filter these rows out first.",
        )
    row: Row = {"instruction": turns[-2].content, "input": "", "output": turns[-1].content}
    system, rest = ("", turns[:-2])
    if rest and rest[0].role == "system":
        system, rest = rest[0].content, rest[1:]
    if system:
        row["system"] = system
    if rest:
        pairs = zip(rest[::2], rest[1::2], strict=True)
        row["history"] = [[asked.content, answer.content] for asked, answer in pairs]
    return row


def _lost(turns: list[Turn], tools: str) -> str:
    """Return what alpaca cannot hold; empty when it holds everything."""
    for turn in turns:
        if turn.role == "function":
            return "a function call"
        if turn.role == "observation":
            return "an answer of a tool"
    return "tools" if tools else ""


def _turn(turn: dict[str, str]) -> Turn:
    if "from" in turn:
        return Turn(ROLES[turn["from"]], turn["value"])
    return Turn(ROLES[turn["role"]], turn["content"])
