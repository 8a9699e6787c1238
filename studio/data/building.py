"""How a data set is put together: in a folder of its own, moved to its place when it is whole."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from studio.core.errors import DataInvalid
from studio.core.ids import new_id
from studio.data.rows import Row
from studio.data.scan import Scan
from studio.data.versions import Writer, unwritable, write_rows

_ADDING = ".adding-"
_STALE_S = 86_400


def building_folder(folder: Path) -> Path:
    """Make a folder to put a data set together in; those that crashes left go after a day."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in folder.glob(f"{_ADDING}*"):
            if time.time() - left.stat().st_mtime > _STALE_S:
                shutil.rmtree(left, ignore_errors=True)
        path = leaving_folder(folder)
        path.mkdir()
    except OSError as error:
        raise unwritable(folder, error) from error
    return path


def leaving_folder(folder: Path) -> Path:
    """Return a free name that no list shows, where a data set goes before it is deleted."""
    return folder / f"{_ADDING}{new_id()}"


def write_scan(path: Path, rows: Iterator[Row], scan: Scan) -> Writer:
    """Write the good rows of a file; raise DataInvalid for a file without kind or good rows."""
    if scan.kind is None:
        columns = ", ".join(scan.columns[:12]) or "none"
        raise DataInvalid(
            f"No kind of data set fits the columns of {scan.source.path.name}: {columns}.",
            hint="Say which column is what, for example the question as prompt and the answer "
            "as response.",
        )
    try:
        return write_rows(path, rows)
    except DataInvalid:
        first = scan.faults[0] if scan.faults else None
        where = f"line {first.line}: {first.code}" if first else "it has no record"
        raise DataInvalid(
            f"No row of {scan.source.path.name} can be trained on ({where}).",
            hint="Look at the faults, or map the columns by hand.",
        ) from None


def with_copies(rows: Iterator[Row], into: Path, known_as: Path) -> Iterator[Row]:
    """Yield rows whose pictures were copied `into` a folder that will be `known_as` in the end."""
    for row in rows:
        copies = []
        for path in row.get("images", []):
            into.mkdir(exist_ok=True)
            shutil.copyfile(path, into / Path(path).name)
            copies.append(str(known_as / Path(path).name))
        yield {**row, "images": copies} if copies else row


def clean_name(text: str) -> str:
    """Return a name of letters, digits, dashes and underscores, at most 60; raise DataInvalid.

    Letters of every alphabet stay; dots and slashes, which mean something in paths, do not.
    """
    name = re.sub(r"[^\w-]+", "-", text.strip()).strip("-_")[:60].rstrip("-_")
    if not name:
        raise DataInvalid(
            f"{text!r} is not a name for a data set.", hint="Use a few letters or digits."
        )
    return name


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
