"""What a file is: its format by its first bytes, its kind and columns by its first records."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from studio.core.errors import DataInvalid
from studio.core.recipes import did_you_mean
from studio.data import json_values, parquet, tables
from studio.data.model import ROLES, Format, Kind, Mapping
from studio.data.reading import HEAD, Record, Source

ALIASES: dict[str, tuple[str, ...]] = {
    "chosen": ("chosen", "chosen_response", "preferred", "accepted"),
    "rejected": ("rejected", "rejected_response", "reject"),
    "kto_tag": ("kto_tag", "label", "desirable"),
    "messages": ("messages", "conversations", "conversation", "dialogue", "dialog", "chat"),
    "prompt": ("instruction", "prompt", "question", "query", "problem", "user", "问题", "指令"),
    "query": ("input", "context", "输入"),
    "response": (
        "output",
        "response",
        "answer",
        "completion",
        "solution",
        "target",
        "assistant",
        "回答",
        "答案",
        "输出",
    ),
    "history": ("history",),
    "system": ("system", "system_prompt"),
    "tools": ("tools", "functions"),
    "images": ("images", "image", "image_path", "image_paths"),
    "text": ("text", "content", "document", "passage", "文本"),
}
"""Names that columns have in published data sets, the commonest first."""

KNOWN = frozenset(name for names in ALIASES.values() for name in names)

_INSIDE = re.compile(rb'\s*+\{\s*+"([^"\\\n]{1,60})"\s*+:\s*+\[\s*+\{')


def format_of(path: Path, head: bytes) -> Format:
    """Return the format; content decides, the ending only between CSV and TSV.

    Raises DataInvalid for an empty file and for what no reader here takes.
    """
    if not head.strip(b"\x00 \t\r\n\xef\xbb\xbf"):
        raise DataInvalid(f"{path.name} is empty.", hint="Choose a file that holds records.")
    if head.startswith(b"PAR1"):
        return "parquet"
    for mark, what in _OTHERS.items():
        if head.startswith(mark):
            raise DataInvalid(
                f"{path.name} is a {what} file, which cannot be read as data.",
                hint="Unpack it, or export it (from Excel, too) as JSON, CSV or Parquet.",
            )
    begin = head.lstrip(b"\xef\xbb\xbf\x00 \t\r\n")[:1]
    if begin == b"[" and not _list_per_line(head):
        return "json"
    if begin in (b"{", b"["):
        return "jsonl"
    if path.suffix.lower() in (".jsonl", ".json", ".ndjson"):
        return "jsonl"
    first = head.lstrip().splitlines()[0].decode("utf-8", "replace")
    return "tsv" if tables.delimiter_of(first) == "\t" else "csv"


def records(source: Source) -> tuple[Format, Iterator[Record]]:
    """Open the right reader for a file; raise DataInvalid as `format_of` does."""
    head = _head(source)
    with open(source.path, "rb") as file:
        raw = file.read(HEAD)
    kind = format_of(source.path, raw if raw.startswith(b"PAR1") else head)
    if kind == "parquet":
        return kind, parquet.rows(source)
    if kind in ("csv", "tsv"):
        return kind, tables.rows(source, KNOWN)
    if kind == "json":
        return kind, json_values.elements(source, array=True)
    wrapped = _INSIDE.match(head)
    first = head.lstrip().split(b"\n", 1)[0]
    if json_values.parse(first.strip(), 1).fault is None:
        whole = len(head.strip()) == len(first.strip())
        if not (wrapped and whole and _is_wrapper(wrapped[1])):
            return kind, json_values.lines(source)
    if wrapped and _is_wrapper(wrapped[1]):
        source.repaired["wrapped"] += 1
        return "json", json_values.elements(source, array=True, enclosed=True)
    if head[:1] in b"{ \n" and json_values.spans_lines(head):
        return "json", json_values.elements(source, array=False)
    return kind, json_values.lines(source)


def columns_of(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return the names of all columns, in the order they appear."""
    return tuple(dict.fromkeys(key for row in rows for key in row if isinstance(key, str)))


def recognise(rows: list[dict[str, Any]]) -> tuple[Kind | None, Mapping]:
    """Return kind and mapping of some first rows; None when no kind fits."""
    columns = columns_of(rows)
    by_name = {name.lower(): name for name in reversed(columns)}
    mapping: Mapping = {}
    for role, names in ALIASES.items():
        for name in names:
            column = by_name.get(name)
            if column is None or column in mapping:
                continue
            if _fits(role, [row[column] for row in rows if row.get(column) is not None]):
                mapping[column] = role
                break
    roles = set(mapping.values())
    if "prompt" not in roles and "query" in roles:  # `input` and `output` alone
        mapping = {c: "prompt" if r == "query" else r for c, r in mapping.items()}
    kind = kind_of(mapping, rows)
    return kind, {c: r for c, r in mapping.items() if kind and r in ROLES_OF[kind]}


def kind_of(mapping: Mapping, rows: list[dict[str, Any]]) -> Kind | None:
    """Return what kind of data set a mapping makes of these rows."""
    roles = set(mapping.values())
    if {"chosen", "rejected"} <= roles:
        return "preference"
    if "kto_tag" in roles and ("messages" in roles or {"prompt", "response"} <= roles):
        return "kto"
    if "messages" in roles:
        column = next(c for c, role in mapping.items() if role == "messages")
        return "openai" if _has_roles(rows, column) else "sharegpt"
    if {"prompt", "response"} <= roles:
        return "alpaca"
    return "pretrain" if "text" in roles else None


def check_mapping(mapping: Mapping, columns: tuple[str, ...]) -> None:
    """Raise DataInvalid for a mapping that names unknown roles or columns, or a role twice."""
    for column, role in mapping.items():
        if role not in ROLES:
            raise DataInvalid(
                f"A column cannot be {role!r}.",
                hint=did_you_mean(role, list(ROLES)) or f"Choose from: {', '.join(ROLES)}.",
            )
        if column not in columns:
            raise DataInvalid(
                f"There is no column {column!r}.",
                hint=did_you_mean(column, list(columns)) or f"There are: {', '.join(columns)}.",
            )
    twice = [role for role in mapping.values() if list(mapping.values()).count(role) > 1]
    if twice:
        raise DataInvalid(
            f"Two columns are mapped to {twice[0]}.", hint="Map one of them to something else."
        )


ROLES_OF: dict[Kind, frozenset[str]] = {
    "alpaca": frozenset({"prompt", "query", "response", "history", "system", "images"}),
    "sharegpt": frozenset({"messages", "system", "tools", "images"}),
    "openai": frozenset({"messages", "system", "tools", "images"}),
    "preference": frozenset(
        {"prompt", "query", "history", "messages", "system", "tools", "images"}
        | {"chosen", "rejected"}
    ),
    "kto": frozenset(
        {"prompt", "query", "response", "history", "messages", "system", "tools", "images"}
        | {"kto_tag"}
    ),
    "pretrain": frozenset({"text"}),
}
"""Which roles count in which kind; other columns are left out, and told."""

_OTHERS = {
    b"PK\x03\x04": "ZIP or Excel",
    b"\x1f\x8b": "gzip",
    b"7z\xbc\xaf": "7z",
    b"%PDF": "PDF",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"ARROW1": "Arrow",
    b"\x28\xb5\x2f\xfd": "zstd",
}


def _fits(role: str, values: list[Any]) -> bool:
    """Tell whether values can be what a name suggests; `label` may be a class, `text` a list."""
    if not values:
        return True
    if role == "kto_tag":
        return 2 * sum(truth_of(value) is not None for value in values) > len(values)
    if role == "messages":
        fitting = sum(isinstance(v, list) or (isinstance(v, str) and v[:1] == "[") for v in values)
        return 2 * fitting > len(values)
    return True


def truth_of(value: Any) -> bool | None:
    """Return a KTO label as true or false; None for what is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str):
        return _TRUTH.get(value.strip().lower())
    return None


_TRUTH = {"true": True, "false": False, "1": True, "0": False, "good": True, "bad": False}


def _has_roles(rows: list[dict[str, Any]], column: str) -> bool:
    """Tell whether turns are written with role/content rather than from/value."""
    for row in rows:
        turns = row.get(column)
        if isinstance(turns, str):
            turns = json_values.parse(turns.encode("utf-8", "replace"), 0).value
        if isinstance(turns, list):
            for turn in turns:
                if isinstance(turn, dict) and ("role" in turn or "from" in turn):
                    return "role" in turn
    return False


def _head(source: Source) -> bytes:
    """Return the beginning of a file as UTF-8."""
    held = b""
    for piece in source.pieces():
        held += piece
        if len(held) >= HEAD:
            break
    source.done = 0
    return held


def _is_wrapper(key: bytes) -> bool:
    """Tell whether the first key of an object holds the records rather than being a column."""
    return key.decode("utf-8", "replace").lower() not in KNOWN


def _list_per_line(head: bytes) -> bool:
    """Tell JSON Lines of lists, which is a fault in each line, from one array."""
    first, _, rest = head.lstrip().partition(b"\n")
    if not rest.lstrip().startswith(b"["):
        return False
    return json_values.parse(first.strip(), 1).fault is None
