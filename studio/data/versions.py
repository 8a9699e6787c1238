"""The files of one data set: `v1.jsonl` with rows, `v1.json` with what is known about them.

A version is written beside its place and moved there whole; its metadata come last, so that a
version is either complete or not there. Nothing is ever written a second time.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from studio.core.errors import DataInvalid, DiskFull, StudioError
from studio.core.ids import new_id
from studio.data.model import DataSet, Fault, Kind, Report
from studio.data.rows import Row

INDEX_EVERY = 1000
"""Rows between two entries of the index that makes any page of rows quick to reach."""

OPTIONAL = {"system": "", "history": [], "tools": "", "images": []}
"""Columns that only some rows may have, and what stands there in the others."""

_LEAD_BYTES = 1 << 20
"""A reader works out the columns' types from a first block; this much is surely inside."""

_META = re.compile(r"v(\d+)\.json")


class Writer:
    """Writes rows to a file; on `close` every row has the same columns and they have types."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = self.pictures = 0
        self._file: BinaryIO = open(path, "wb", buffering=1 << 20)  # noqa: SIM115
        self._offset = 0
        self._index = array("Q")
        self._with: dict[str, int] = {}
        self._lead = -1
        """Offset of the first row whose lists are filled, of the columns seen by then."""
        self._lead_fills = 0

    def write(self, row: Row) -> None:
        """Add a row."""
        line = orjson.dumps(row) + b"\n"
        filled = 0
        for name in OPTIONAL:
            if name in row:
                self._with[name] = self._with.get(name, 0) + 1
                filled += bool(row[name])
        if filled > self._lead_fills:
            self._lead, self._lead_fills = self._offset, filled
        if self.rows % INDEX_EVERY == 0:
            self._index.append(self._offset)
        self._file.write(line)
        self._offset += len(line)
        self.rows += 1
        self.pictures += len(row.get("images", ()))

    def close(self) -> None:
        """Finish the file and its index; raise DiskFull or StudioError."""
        self._file.close()
        uneven = any(count != self.rows for count in self._with.values())
        if uneven or self._lead > _LEAD_BYTES:
            self._even_out()
        with open(self.path, "rb+") as file:
            os.fsync(file.fileno())
        with open(index_of(self.path), "wb") as file:
            self._index.tofile(file)

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self._offset

    def abandon(self) -> None:
        """Remove what was written."""
        self._file.close()
        self.path.unlink(missing_ok=True)
        index_of(self.path).unlink(missing_ok=True)

    def _even_out(self) -> None:
        """Write the file again: every optional column in every row, a filled row first.

        pyarrow, which reads it for LLaMA-Factory, takes the types of columns from the first block:
        lists that are all empty there would not let filled ones in later.
        """
        other = Writer(self.path.with_name(self.path.name + ".even"))
        with open(self.path, "rb") as file:
            if self._lead > _LEAD_BYTES:
                file.seek(self._lead)
                other.write(self._evened(file.readline()))
                file.seek(0)
            at = 0
            for line in file:
                if at != self._lead or self._lead <= _LEAD_BYTES:
                    other.write(self._evened(line))
                at += len(line)
        other._file.close()
        os.replace(other.path, self.path)
        self._index, self._offset = other._index, other._offset

    def _evened(self, line: bytes) -> Row:
        row = orjson.loads(line)
        return {**row, **{name: row.get(name, OPTIONAL[name]) for name in self._with}}


def index_of(path: Path) -> Path:
    """Return where the index of a file of rows lies."""
    return path.with_suffix(".index") if path.suffix == ".jsonl" else Path(f"{path}.index")


def write_rows(path: Path, rows: Iterable[Row]) -> Writer:
    """Write rows into a new file; raise DiskFull, StudioError, and DataInvalid for none at all."""
    try:
        writer = Writer(path)
        try:
            for row in rows:
                writer.write(row)
            if not writer.rows:
                raise DataInvalid("No row is left.", hint="Loosen the conditions.")
            writer.close()
        except BaseException:
            writer.abandon()
            raise
    except OSError as error:
        raise unwritable(path.parent, error) from error
    return writer


def read_rows(path: Path, offset: int = 0, limit: int | None = None) -> Iterator[Row]:
    """Yield rows from `offset` on, reached by the index."""
    with open(path, "rb") as file:
        skip = offset
        index = array("Q")
        try:
            index.frombytes(index_of(path).read_bytes())
        except (FileNotFoundError, ValueError):
            index = array("Q")
        if index and offset // INDEX_EVERY < len(index):
            file.seek(index[offset // INDEX_EVERY])
            skip = offset % INDEX_EVERY
        elif index:
            return
        for number, line in enumerate(file):
            if number < skip:
                continue
            if limit is not None and number >= skip + limit:
                return
            yield orjson.loads(line)


def numbers(folder: Path) -> list[int]:
    """Return the complete versions of a data set, oldest first."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(match[1]) for name in names if (match := _META.fullmatch(name)))


def put(
    folder: Path,
    number: int,
    writer: Writer,
    *,
    kind: Kind,
    origin: dict[str, Any],
    report: Report | None = None,
) -> None:
    """Make a written file version `number`: rows, index, faults, and the metadata last."""
    data = folder / f"v{number}.jsonl"
    os.replace(index_of(writer.path), index_of(data))
    os.replace(writer.path, data)
    known: dict[str, Any] = {
        "version": number,
        "kind": kind,
        "rows": writer.rows,
        "bytes": writer.bytes,
        "pictures": writer.pictures,
        "columns": list(next(read_rows(data, 0, 1))),
        "origin": origin,
        "created_at": time.time(),
    }
    if report is not None:
        whole = report.as_dict()
        faults = whole.pop("faults")
        known["report"] = whole
        known["faults"] = report.refused
        with open(folder / f"v{number}.faults.jsonl", "wb") as file:
            file.writelines(orjson.dumps(fault) + b"\n" for fault in faults)
    replace_json(folder / f"v{number}.json", known)


def meta(folder: Path, number: int) -> dict[str, Any]:
    """Return what is known about a version; raise FileNotFoundError or ValueError."""
    return json.loads((folder / f"v{number}.json").read_text(encoding="utf-8"))


def data_set(folder: Path, number: int, *, newest: bool) -> DataSet:
    """Return a version as a value; raise FileNotFoundError or ValueError."""
    known = meta(folder, number)
    return DataSet(
        name=folder.name,
        version=number,
        path=folder / f"v{number}.jsonl",
        kind=known["kind"],
        rows=known["rows"],
        bytes=known["bytes"],
        pictures=known["pictures"],
        origin=known["origin"],
        created_at=known["created_at"],
        faults=known.get("faults", 0),
        newest=newest,
    )


def report_of(folder: Path, number: int) -> Report | None:
    """Return the report kept with a version; None for one that no file was read for."""
    known = meta(folder, number).get("report")
    if known is None:
        return None
    with open(folder / f"v{number}.faults.jsonl", "rb") as file:
        faults = tuple(Fault(**orjson.loads(line)) for line in file)
    return Report(**{**known, "unused": tuple(known["unused"])}, faults=faults)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of all data sets; for moments only, never while rows are read."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def replace_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, in ASCII, which every reader takes in every locale."""
    part = path.with_name(f".{path.name}.{new_id()}.part")
    try:
        part.write_text(json.dumps(value), encoding="ascii")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def unwritable(folder: Path, error: OSError) -> StudioError:
    """Return what to raise when a data set cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"No room left for the data set in {folder}.",
            hint="Delete data sets or old runs, or move the home with --home.",
        )
    return StudioError(
        f"The data set cannot be written to {folder}: {error.strerror or error}.",
        hint="Check that the folder belongs to you and can be written.",
    )
