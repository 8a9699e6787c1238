"""One record becomes one row as LLaMA-Factory reads it, or a fault that says why not.

Kept columns by kind (`system` and `history` only where the file has them, `tools` and `images`
likewise, so that every row of a data set has the same ones):

alpaca      instruction, input, output, system, history
sharegpt    conversations of from/value, with a system turn first where there is one
openai      messages of role/content, likewise
preference  conversations up to the question, chosen, rejected
kto         conversations, kto_tag
pretrain    text
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from studio.data.faults import RowFault
from studio.data.model import Kind, Mapping
from studio.data.pictures import Pictures
from studio.data.recognise import truth_of
from studio.data.turns import MARK, OPENAI, SHAREGPT, Texts, Turn, check_order, picture_paths

Row = dict[str, Any]


class Rows:
    """Makes rows of one kind out of the records of one file."""

    def __init__(
        self, kind: Kind, mapping: Mapping, pictures: Pictures, repaired: Counter[str]
    ) -> None:
        self._columns = {role: column for column, role in mapping.items()}
        self._pictures = pictures
        self._texts = Texts(repaired)
        self._with_images = "images" in self._columns
        self._make: Callable[[Row, list[Any]], Row] = {
            "alpaca": self._alpaca,
            "sharegpt": self._sharegpt,
            "openai": self._openai,
            "preference": self._preference,
            "kto": self._kto,
            "pretrain": self._pretrain,
        }[kind]

    def row(self, record: Any) -> Row:
        """Return a record as a row; raise RowFault."""
        if not isinstance(record, dict):
            raise RowFault("not_object", text=type(record).__name__)
        shown: list[Any] = []
        try:
            row = self._make(record, shown)
        except RecursionError:
            raise RowFault("depth", text="") from None
        return self._with_pictures(row, record, shown)

    # kinds --------------------------------------------------------------------------------------

    def _alpaca(self, record: Row, shown: list[Any]) -> Row:
        instruction = self._text(record, "prompt", empty=True)
        query = self._text(record, "query", empty=True)
        if not instruction.strip() and not query.strip():
            raise RowFault("empty", field=self._columns.get("prompt", "instruction"))
        row: Row = {"instruction": instruction, "input": query}
        row["output"] = self._text(record, "response")
        if "system" in self._columns:
            row["system"] = self._text(record, "system", empty=True)
        if "history" in self._columns:
            row["history"] = self._history(record)
        return row

    def _sharegpt(self, record: Row, shown: list[Any]) -> Row:
        turns = self._messages(record, shown)
        check_order(turns, answered=True)
        return {"conversations": spelled(turns, "sharegpt"), **self._tools(record)}

    def _openai(self, record: Row, shown: list[Any]) -> Row:
        turns = self._messages(record, shown)
        check_order(turns, answered=True)
        return {"messages": spelled(turns, "openai"), **self._tools(record)}

    def _preference(self, record: Row, shown: list[Any]) -> Row:
        chosen, rejected = self._value(record, "chosen"), self._value(record, "rejected")
        answers: list[Turn] = []
        before: list[Turn] = []
        for role, value in (("chosen", chosen), ("rejected", rejected)):
            column = self._columns[role]
            if isinstance(value, list | tuple):
                turns = self._texts.turns(value, column, shown if role == "chosen" else [])
                if not turns:
                    raise RowFault("empty", field=column)
                before = turns[:-1] if role == "chosen" else before
                if role == "rejected" and turns[:-1] != before:
                    raise RowFault("prompts_differ")
                answers.append(turns[-1])
            elif isinstance(value, dict):
                answers.append(self._texts.turn(value, column, shown))
            else:
                answers.append(Turn("assistant", self._texts.text(value, column)))
        for role, answer in zip(("chosen", "rejected"), answers, strict=True):
            if answer.role not in ("assistant", "function"):
                raise RowFault("role", field=self._columns[role], role=answer.role)
        if answers[0] == answers[1]:
            raise RowFault("same")
        turns = before or self._asked(record, shown)
        check_order(turns, answered=False)
        said = [spelled([answer], "sharegpt")[0] for answer in answers]
        row = {"conversations": spelled(turns, "sharegpt"), "chosen": said[0]}
        return {**row, "rejected": said[1], **self._tools(record)}

    def _kto(self, record: Row, shown: list[Any]) -> Row:
        value = self._value(record, "kto_tag")
        label = truth_of(value)
        if label is None:
            raise RowFault("label", field=self._columns["kto_tag"], text=str(value)[:60])
        turns = self._asked(record, shown)
        if "messages" not in self._columns:
            turns.append(Turn("assistant", self._text(record, "response")))
        check_order(turns, answered=True)
        said = {"conversations": spelled(turns, "sharegpt"), "kto_tag": label}
        return {**said, **self._tools(record)}

    def _pretrain(self, record: Row, shown: list[Any]) -> Row:
        value = self._value(record, "text")
        return {"text": self._texts.text(value, self._columns["text"], plain=True)}

    # parts --------------------------------------------------------------------------------------

    def _messages(self, record: Row, shown: list[Any]) -> list[Turn]:
        turns = self._texts.turns(self._value(record, "messages"), self._columns["messages"], shown)
        return self._with_system(turns, record)

    def _asked(self, record: Row, shown: list[Any]) -> list[Turn]:
        """Return what comes before the answers: messages, or a prompt with its history."""
        if "messages" in self._columns:
            return self._messages(record, shown)
        prompt = self._value(record, "prompt")
        if isinstance(prompt, list | tuple):
            return self._with_system(
                self._texts.turns(prompt, self._columns["prompt"], shown), record
            )
        parts = [self._text(record, role, empty=True) for role in ("prompt", "query")]
        asked = "\n".join(part for part in parts if part)
        if not asked.strip():
            raise RowFault("empty", field=self._columns["prompt"])
        turns = turns_of_history(self._history(record))
        return self._with_system([*turns, Turn("user", asked)], record)

    def _with_system(self, turns: list[Turn], record: Row) -> list[Turn]:
        if "system" not in self._columns or (turns and turns[0].role == "system"):
            return turns
        system = self._text(record, "system", empty=True)
        return [Turn("system", system), *turns] if system else turns

    def _history(self, record: Row) -> list[list[str]]:
        column = self._columns.get("history", "")
        given = record.get(column) if column else None
        if given is None or given == "":
            return []
        if isinstance(given, str):
            given = self._texts.json(given, column)
        if not isinstance(given, list | tuple):
            raise RowFault("history", field=column)
        pairs = []
        for number, pair in enumerate(given, 1):
            if not isinstance(pair, list | tuple) or len(pair) != 2:
                raise RowFault("history", field=f"{column}[{number}]")
            pairs.append([self._texts.text(part, f"{column}[{number}]") for part in pair])
        return pairs

    def _tools(self, record: Row) -> Row:
        if "tools" not in self._columns:
            return {}
        given = record.get(self._columns["tools"])
        if isinstance(given, list | dict):
            given = json.dumps(given, ensure_ascii=False) if given else ""
        return {"tools": self._texts.text(given, self._columns["tools"], empty=True)}

    def _with_pictures(self, row: Row, record: Row, shown: list[Any]) -> Row:
        given = record.get(self._columns["images"]) if self._with_images else None
        paths = picture_paths(shown or given, self._pictures)
        if not paths and not self._with_images and not _may_have_marks(record, row):
            return row
        marks = count_marks(row)
        if paths and not marks:
            self._texts.repaired["marks"] += 1
            _put_marks(row, len(paths))
            marks = len(paths)
        if marks != len(paths):
            raise RowFault("marks", marks=marks, pictures=len(paths))
        return {**row, "images": paths} if paths or self._with_images else row

    def _text(self, record: Row, role: str, *, empty: bool = False) -> str:
        column = self._columns.get(role)
        if column is None:
            return ""
        if column not in record and not empty:
            raise RowFault("missing", field=column)
        return self._texts.text(record.get(column), column, empty=empty)

    def _value(self, record: Row, role: str) -> Any:
        column = self._columns[role]
        if column not in record:
            raise RowFault("missing", field=column)
        return record[column]


def spelled(turns: list[Turn], kind: str) -> list[dict[str, str]]:
    """Write turns as from/value (`sharegpt`) or role/content (`openai`)."""
    if kind == "sharegpt":
        return [{"from": SHAREGPT[turn.role], "value": turn.content} for turn in turns]
    return [{"role": OPENAI[turn.role], "content": turn.content} for turn in turns]


def turns_of_history(history: list[list[str]]) -> list[Turn]:
    """Return pairs of question and answer as turns."""
    return [
        turn
        for question, answer in history
        for turn in (Turn("user", question), Turn("assistant", answer))
    ]


def texts_of(row: Row) -> list[str]:
    """Return every text of a row, in the order a model reads them."""
    found: list[str] = []
    for key, value in row.items():
        if isinstance(value, str):
            found.append(value)
        elif key == "images":
            continue
        elif isinstance(value, dict):
            found.append(value.get("value", value.get("content", "")))
        elif isinstance(value, list):
            for item in value:
                if isinstance(item, dict):
                    found.append(item.get("value", item.get("content", "")))
                else:
                    found.extend(item)
    return found


def count_marks(row: Row) -> int:
    """Return how many pictures the texts ask for; chosen and rejected share theirs."""
    return sum(
        text.count(MARK)
        for text in texts_of({k: v for k, v in row.items() if k not in ("rejected", "tools")})
    )


def _may_have_marks(record: Row, row: Row) -> bool:
    """Tell whether texts name pictures; plain text for pre-training may talk of the mark."""
    return "text" not in row and any(MARK in text for text in texts_of(row))


def _put_marks(row: Row, count: int) -> None:
    """Put marks before the first question of a row that has pictures and no marks."""
    marks = MARK * count
    if "instruction" in row:
        row["instruction"] = marks + row["instruction"]
        return
    for turn in row.get("conversations") or row.get("messages") or []:
        if turn.get("from", turn.get("role")) in ("human", "user"):
            key = "value" if "value" in turn else "content"
            turn[key] = marks + turn[key]
            return
