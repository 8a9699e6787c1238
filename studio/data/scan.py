"""A file from its first record to its last: rows on one side, faults and repairs on the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson

from studio.core.errors import DataInvalid, NotFound
from studio.data.faults import RowFault, shown
from studio.data.model import Fault, Format, Kind, Limits, Look, Mapping, Report, Tell
from studio.data.pictures import Pictures
from studio.data.reading import Record, Source
from studio.data.recognise import (
    ROLES_OF,
    check_mapping,
    columns_of,
    kind_of,
    recognise,
    records,
)
from studio.data.rows import Row, Rows, texts_of
from studio.data.seen import Seen

HEAD = 200
"""Records that kind and columns are worked out from."""
HEAD_BYTES = 24 << 20
"""Characters in these at most; a few long records are enough to know a file by."""
_EXACT = 2**53
"""Numbers up to here are the same in a browser; NaN and infinity are none at all."""
_SHOWN = 20
_SHOWN_CHARS = 2000
_TOLD_EVERY = 2000


class Scan:
    """One pass over one file. Kind and columns are known as soon as it exists."""

    def __init__(
        self, path: Path, mapping: Mapping | None, pictures: Pictures, limits: Limits
    ) -> None:
        """Read the head; raise NotFound or DataInvalid for what cannot be read at all."""
        if not path.is_file():
            raise NotFound(f"There is no file {path}.", hint="Check the path.")
        self._limits = limits
        try:
            self.source = Source(path, limits)
            self.format: Format
            self.kind: Kind | None
            self.format, stream = records(self.source)
            self._head = list(islice(self._light(stream), HEAD))
        except OSError as error:
            raise DataInvalid(
                f"{path} cannot be read: {error.strerror or error}.",
                hint="Check that the file belongs to you and can be read.",
            ) from error
        self._whole = len(self._head) < HEAD and self._held <= HEAD_BYTES
        self._stream = chain(self._head, stream)
        known = [record.value for record in self._head if isinstance(record.value, dict)]
        self.columns = columns_of(known)
        if mapping:
            check_mapping(mapping, self.columns)
            self.kind, self.mapping = kind_of(mapping, known), dict(mapping)
        else:
            self.kind, self.mapping = recognise(known)
        used = ROLES_OF[self.kind] if self.kind else frozenset()
        self.unused = tuple(c for c in self.columns if self.mapping.get(c) not in used)
        self.faults: list[Fault] = []
        self.counts: Counter[str] = Counter()
        self.repaired = self.source.repaired
        self.read = self.good = self.pictures = 0
        self._rows = Rows(self.kind, self.mapping, pictures, self.repaired) if self.kind else None

    def rows(self, tell: Tell | None = None) -> Iterator[Row]:
        """Yield the good rows; what is wrong with the others is kept and counted."""
        seen = Seen()
        in_a_row = 0
        try:
            for number, record in enumerate(self._stream):
                in_a_row = in_a_row + 1 if record.fault is not None else 0
                if in_a_row > self._limits.faults_in_a_row:
                    self._give_up(record.line)
                    return
                row = self._row(record, seen)
                if row is not None:
                    yield row
                if tell is not None and number % _TOLD_EVERY == 0:
                    tell(min(self.source.done, self.source.size), self.source.size)
        finally:
            seen.close()
        if tell is not None:
            tell(self.source.size, self.source.size)

    def report(self) -> Report:
        """Return what was found so far."""
        return Report(
            format=self.format,
            encoding=_encoding(self.format, self.source.encoding),
            kind=self.kind,
            mapping=self.mapping,
            unused=self.unused,
            read=self.read,
            good=self.good,
            pictures=self.pictures,
            counts=dict(self.counts),
            repaired=dict(self.repaired),
            faults=tuple(self.faults),
        )

    def look(self) -> Look:
        """Return the head of the file as it will be understood; nothing further is read."""
        seen = Seen()
        rows = [row for record in self._head if (row := self._row(record, seen)) is not None]
        raw = [r.value for r in self._head if isinstance(r.value, dict)]
        return Look(
            format=self.format,
            encoding=_encoding(self.format, self.source.encoding),
            kind=self.kind,
            columns=self.columns,
            mapping=self.mapping,
            unused=self.unused,
            raw=tuple(clipped(value) for value in raw[:_SHOWN]),
            rows=tuple(clipped(row) for row in rows[:_SHOWN]),
            faults=tuple(self.faults),
            repaired=dict(self.repaired),
            bytes=self.source.size,
            whole=self._whole,
        )

    def _row(self, record: Record, seen: Seen) -> Row | None:
        self.read += 1
        if record.fault is not None:
            self._tell(record.fault)
            return None
        if self._rows is None and not isinstance(record.value, dict):
            self._tell(Fault(record.line, "not_object", {"text": shown(str(record.value))}))
            return None
        if self._rows is None:
            self.counts["columns"] += 1
            if self.counts["columns"] == 1:
                self.faults.append(Fault(record.line, "columns", {"columns": self._named()}))
            return None
        try:
            row = self._rows.row(record.value)
        except RowFault as fault:
            self._tell(Fault(record.line, fault.code, fault.values))
            return None
        self.good += 1
        self.pictures += len(row.get("images", ()))
        chars = sum(map(len, texts_of(row)))
        if chars > self._limits.long_chars:
            values = {"chars": chars, "limit": self._limits.long_chars}
            self._tell(Fault(record.line, "long", values, kept=True))
        if before := seen.first(orjson.dumps(row), record.line):
            self._tell(Fault(record.line, "duplicate", {"first": before}, kept=True))
        return row

    def _light(self, stream: Iterator[Record]) -> Iterator[Record]:
        """Yield records until together they weigh HEAD_BYTES; the rest stays in `stream`."""
        self._held = 0
        while self._held <= HEAD_BYTES:
            record = next(stream, None)
            if record is None:
                return
            self._held += weight(record.value)
            yield record

    def _give_up(self, line: int) -> None:
        count = self._limits.faults_in_a_row
        self.read += 1
        self.counts["hopeless"] += 1
        last = Fault(line, "hopeless", {"count": count})
        self.faults = [*self.faults[: self._limits.faults - 1], last]

    def _tell(self, fault: Fault) -> None:
        self.counts[fault.code] += 1
        if len(self.faults) < self._limits.faults:
            self.faults.append(fault)

    def _named(self) -> str:
        return ", ".join(self.columns[:12]) or "-"


def clipped(value: Any, depth: int = 0) -> Any:
    """Return a value for showing: long texts cut, long lists shortened, bytes named."""
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_CHARS else f"{value[:_SHOWN_CHARS]}…"
        return text.encode("utf-8", "replace").decode()
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if depth > 8:
        return "…"
    if isinstance(value, dict):
        return {str(k): clipped(v, depth + 1) for k, v in list(value.items())[:64]}
    if isinstance(value, list | tuple):
        return [clipped(item, depth + 1) for item in value[:64]]
    plain = value is None or (isinstance(value, bool | int | float) and abs(value) <= _EXACT)
    return value if plain else str(value)


def weight(value: Any) -> int:
    """Return about how many characters a record holds."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, dict):
        return sum(map(weight, value.values()))
    if isinstance(value, list | tuple):
        return 8 + sum(map(weight, value))
    return 8


def _encoding(format: str, encoding: str) -> str:
    return "" if format == "parquet" else encoding
