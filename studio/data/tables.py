"""CSV and TSV as records: one dictionary of texts a row, each with the line it begins on."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Generator, Iterator

from studio.data.model import Fault
from studio.data.reading import Record, Source, too_long

_DELIMITERS = ",\t;|"
_WORD = re.compile(r"[\w .()/\-]{1,40}")


def delimiter_of(head: str) -> str:
    """Return what separates the cells of a header."""
    bare = re.sub(r'"[^"]*"', "", head)
    return max(_DELIMITERS, key=bare.count)


def has_header(cells: list[str], known: frozenset[str]) -> bool:
    """Tell whether a first row names columns rather than holding data."""
    if any(cell.strip().lower() in known for cell in cells):
        return True
    names = [cell.strip() for cell in cells]
    return len(set(names)) == len(names) and all(
        _WORD.fullmatch(name) and not name.replace(".", "").isdigit() for name in names
    )


def rows(source: Source, known: frozenset[str]) -> Iterator[Record]:
    """Yield the rows of a table.

    A quotation mark that is never closed costs its row: reading goes on at the line behind it.
    """
    columns: list[str] = []
    table = _Table(source)
    for line, cells, fault in table.rows():
        if fault is not None:
            yield Record(line, fault=fault)
        elif not columns and has_header(cells, known):
            columns = [cell.strip() for cell in cells]
            double = next((name for name in columns if columns.count(name) > 1), "")
            if double:
                yield Record(line, fault=Fault(line, "double_key", {"key": double}))
                return
        else:
            if not columns:
                source.repaired["no_header"] += 1
                columns = [f"column{n}" for n in range(1, len(cells) + 1)]
            if len(cells) != len(columns):
                values = {"cells": len(cells), "columns": len(columns)}
                yield Record(line, fault=Fault(line, "cells", values))
            else:
                yield Record(line, dict(zip(columns, cells, strict=True)))


class _Table:
    """Feeds lines to the csv module and remembers those of the row that is being read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lines = source.lines()
        self._again: deque[tuple[int, str]] = deque()
        """Lines that were read as a part of a broken row and are read once more."""
        self._row: list[tuple[int, str]] = []
        self._size = 0
        self._fault: Fault | None = None
        self._delimiter = ""

    def rows(self) -> Iterator[tuple[int, list[str], Fault | None]]:
        """Yield line, cells and fault of each row."""
        csv.field_size_limit(max(self._source.limits.record_bytes, 1 << 17))
        while True:
            try:
                if (yield from self._until_broken()):
                    return
            except (csv.Error, _TooLong) as error:
                line = self._row[0][0]
                if isinstance(error, _TooLong) and len(self._row) == 1:
                    yield line, [], too_long(line, self._size, self._source.limits)
                else:
                    yield line, [], Fault(line, "quote", {"text": self._row[0][1][:60]})
                self._again.extendleft(reversed(self._row[1:]))

    def _until_broken(self) -> Generator[tuple[int, list[str], Fault | None], None, bool]:
        """Yield rows up to a line that cannot be read; True at the end of the file."""
        self._begin()
        first = self._peek()
        if first is not None and not self._delimiter:
            self._delimiter = delimiter_of(first)
        reader = csv.reader(self._feed(), delimiter=self._delimiter or ",", strict=True)
        while True:
            self._begin()
            cells = next(reader, None)
            if self._fault is not None:
                fault, self._fault = self._fault, None
                self._again.extendleft(reversed(self._row))
                yield fault.line, [], fault
                return False
            if cells is None:
                return True
            if any(cell.strip() for cell in cells):
                yield self._row[0][0], cells, None

    def _begin(self) -> None:
        self._row, self._size = [], 0

    def _peek(self) -> str | None:
        """Return the next readable line without taking it; None when a fault comes first."""
        for line in self._feed():
            self._again.appendleft((self._row[-1][0], line.removesuffix("\n")))
            self._begin()
            return line
        return None

    def _feed(self) -> Iterator[str]:
        while True:
            if self._again:
                number, text = self._again.popleft()
            else:
                taken = next(self._lines, None)
                if taken is None:
                    return
                number, data, fault = taken
                if fault is not None:
                    self._fault = fault
                    return
                assert data is not None
                text = data.decode("utf-8", "surrogatepass")
            self._row.append((number, text))
            self._size += len(text)
            if self._size > self._source.limits.record_bytes:
                raise _TooLong
            yield text + "\n"


class _TooLong(Exception):
    """A row grew over the limit, most often by a quotation mark that is never closed."""
