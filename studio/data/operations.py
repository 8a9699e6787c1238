"""Deduplicate, filter, split, sample, convert: rows in, rows out, one at a time."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import orjson

from studio.core.errors import DataInvalid
from studio.core.recipes import did_you_mean
from studio.data.convert import converted
from studio.data.model import (
    KEPT_CODES,
    OPERATIONS,
    Convert,
    DataSet,
    Deduplicate,
    Filter,
    Limits,
    Operation,
    Sample,
    Split,
)
from studio.data.parquet import connection
from studio.data.rows import Row, texts_of
from studio.data.seen import Seen

_BATCH = 500
_PATTERN_CHARS = 1000


def operation(name: str, settings: dict[str, Any]) -> Operation:
    """Return an operation by its name; raise DataInvalid for what it does not have."""
    known = OPERATIONS.get(name)
    if known is None:
        raise DataInvalid(
            f"There is no operation {name!r}.",
            hint=did_you_mean(name, list(OPERATIONS)) or f"There are: {', '.join(OPERATIONS)}.",
        )
    for key in settings:
        if key not in known.__dataclass_fields__:
            fields = list(known.__dataclass_fields__)
            raise DataInvalid(
                f"The operation {name} has no setting {key!r}.",
                hint=did_you_mean(key, fields) or f"It has: {', '.join(fields)}.",
            )
    if isinstance(settings.get("drop"), list):
        settings = {**settings, "drop": tuple(settings["drop"])}
    try:
        return known(**settings)
    except TypeError as error:
        raise DataInvalid(f"The operation {name} cannot be used: {error}.") from error


def name_of(op: Operation) -> str:
    """Return the name of an operation."""
    return next(name for name, known in OPERATIONS.items() if isinstance(op, known))


def check(op: Operation, data: DataSet) -> None:
    """Raise DataInvalid for numbers that make no sense for this data set."""
    if isinstance(op, Sample) and not 0 < op.rows < data.rows:
        raise DataInvalid(
            f"{op.rows} rows cannot be drawn from the {data.rows} of {data.name}.",
            hint="Ask for at least one and for fewer than there are.",
        )
    if isinstance(op, Split) and not 0 < _val_rows(op, data) < data.rows:
        raise DataInvalid(
            f"{op.val} leaves one side of {data.name} empty: it has {data.rows} rows.",
            hint="Give a share such as 0.1, or a number of rows.",
        )
    if isinstance(op, Filter):
        for code in op.drop:
            if code not in KEPT_CODES:
                raise DataInvalid(
                    f"{code!r} is not a fault of rows that are kept.",
                    hint=f"Rows with these can be dropped: {', '.join(sorted(KEPT_CODES))}.",
                )
        if op.matches:
            _check_pattern(op.matches)


def changed(op: Operation, rows: Iterable[Row], data: DataSet, limits: Limits) -> Iterator[Row]:
    """Yield the rows that an operation leaves; splits are `parts`."""
    match op:
        case Deduplicate():
            yield from _deduplicated(op, rows)
        case Filter():
            yield from _filtered(op, rows, limits)
        case Sample():
            chosen = _chosen(data.rows, op.rows, op.seed)
            yield from (row for number, row in enumerate(rows) if number in chosen)
        case Convert():
            for number, row in enumerate(rows, 1):
                yield converted(row, number, data.kind, op.kind)
        case Split():
            raise AssertionError("a split has two results")


def part(op: Split, rows: Iterable[Row], data: DataSet, *, val: bool) -> Iterator[Row]:
    """Yield one side of a split; both sides together are all rows, none twice."""
    chosen = _chosen(data.rows, _val_rows(op, data), op.seed)
    return (row for number, row in enumerate(rows) if (number in chosen) == val)


def _val_rows(op: Split, data: DataSet) -> int:
    return round(op.val * data.rows) if op.val < 1 else int(op.val)


def _chosen(total: int, count: int, seed: int) -> set[int]:
    return set(random.Random(seed).sample(range(total), count))


def _deduplicated(op: Deduplicate, rows: Iterable[Row]) -> Iterator[Row]:
    seen = Seen()
    try:
        for number, row in enumerate(rows, 1):
            key = orjson.dumps(row) if op.by == "exact" else normalised(row).encode()
            if not seen.first(key, number):
                yield row
    finally:
        seen.close()


def normalised(row: Row) -> str:
    """Return a row's words alone: one width, one case, no punctuation, single spaces."""
    text = unicodedata.normalize("NFKC", "\x1f".join(texts_of(row))).casefold()
    parts = (re.sub(r"\W+", " ", part).strip() for part in text.split("\x1f"))
    return "\x1f".join(parts)


def _filtered(op: Filter, rows: Iterable[Row], limits: Limits) -> Iterator[Row]:
    kept = (row for row in rows if _long_enough(op, row, limits))
    if op.contains:
        needle = op.contains.casefold()
        kept = (
            row for row in kept if (needle in "\n".join(texts_of(row)).casefold()) != op.exclude
        )
    if op.matches:
        kept = _matching(op, kept)
    return _deduplicated(Deduplicate(), kept) if "duplicate" in op.drop else iter(kept)


def _long_enough(op: Filter, row: Row, limits: Limits) -> bool:
    chars = sum(map(len, texts_of(row)))
    most = op.max_chars
    if "long" in op.drop:
        most = min(limits.long_chars, most if most is not None else limits.long_chars)
    return (op.min_chars or 0) <= chars and (most is None or chars <= most)


def _matching(op: Filter, rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows in which a pattern is found; RE2 needs no more time than the text is long."""
    with connection() as con:
        while batch := list(islice(rows, _BATCH)):
            texts = ["\n".join(texts_of(row)) for row in batch]
            found = con.execute(
                "SELECT regexp_matches(text, ?) FROM (SELECT unnest(?::VARCHAR[]) AS text)",
                [op.matches, texts],
            ).fetchall()
            yield from (r for r, (hit,) in zip(batch, found, strict=True) if hit != op.exclude)


def _check_pattern(pattern: str) -> None:
    import duckdb  # loads a large library that nothing else needs

    if len(pattern) > _PATTERN_CHARS:
        raise DataInvalid(
            f"The pattern has {len(pattern)} characters.", hint=f"Use at most {_PATTERN_CHARS}."
        )
    with connection() as con:
        try:
            con.execute("SELECT regexp_matches('', ?)", [pattern]).fetchall()
        except duckdb.Error as error:
            raise DataInvalid(
                f"{pattern!r} is not a regular expression: {str(error).splitlines()[0]}.",
                hint="Look-around and back-references do not exist in RE2.",
            ) from error
