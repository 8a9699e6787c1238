"""Rows of a data set for reading: a page of them, those that contain some words, their pictures.

A search reads from the first row until a page is full or its time is up, and says how far it got;
nothing is kept in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.chat.album import uri_of
from studio.chat.pictures import Limits, PictureRefused, prepare
from studio.core.errors import NotFound
from studio.ui import widgets as w
from studio.ui.data.example import pictures_of

if TYPE_CHECKING:
    from studio.data.library import DataSets
    from studio.data.model import DataSet

SEARCH_S = 3.0
"""Longest time one search takes; the next one may go on from there."""
MOST_ANCESTORS = 50
THUMBNAIL = Limits(max_bytes=64 * 2**20, kept_pixels=280 * 280)


@dataclass
class Found:
    """Rows that contain the words, their places in the set, and how the search ended."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    looked_at: int = 0
    """Where the search ended."""
    more: bool = False
    """True when there is another hit."""
    tired: bool = False
    """True when the time was up before the last row."""


def search(
    data: DataSets,
    found: DataSet,
    words: str,
    *,
    start: int = 0,
    offset: int = 0,
    limit: int,
    seconds: float = SEARCH_S,
) -> Found:
    """Return up to `limit` rows from row `start` on that contain `words`, after `offset` others."""
    needle = json.dumps(words, ensure_ascii=False)[1:-1].casefold()
    until, hits = time.monotonic() + seconds, Found(looked_at=start)
    skipped = 0
    for number, line in enumerate(islice(_lines(data, found), start, None), start):
        if number % 256 == 0 and time.monotonic() > until:
            hits.tired = True
            break
        hits.looked_at = number + 1
        if needle not in line.casefold():
            continue
        row = json.loads(line)
        if not any(words.casefold() in text.casefold() for text in _texts(row)):
            continue  # the words are a column's name, or lie across two values
        if skipped < offset:
            skipped += 1
            continue
        if len(hits.rows) == limit:
            hits.more = True
            break
        hits.rows.append(row)
        hits.numbers.append(number)
    return hits


def thumbnail(data: DataSets, key: str, row: int, index: int) -> tuple[bytes, str]:
    """Return a small copy of a row's picture and its suffix; raise NotFound.

    Only what a registered row names is read, and only inside that data set's own folders.
    """
    found = data.get(key)
    rows = data.rows(key, row, 1) if row >= 0 else []
    names = pictures_of(rows[0]) if rows else []
    if not 0 <= index < len(names):
        raise NotFound("There is no such picture in this data set.")
    made = prepare(picture_path(data, found, names[index]).read_bytes(), THUMBNAIL)
    return made.data, made.suffix


def picture_path(data: DataSets, found: DataSet, name: str) -> Path:
    """Return where a row's picture lies; raise NotFound when it is outside the set's folders."""
    path = (found.path.parent / name).resolve()
    if not any(path.is_relative_to(home) for home in _homes(data, found)) or not path.is_file():
        raise NotFound("There is no such picture in this data set.")
    if path.stat().st_size > THUMBNAIL.max_bytes:
        raise NotFound("The picture is too large to be shown.")
    return path


def embedded(folder: Path, name: str) -> str:
    """Return a picture beside a file that is looked at, as HTML with the picture in it.

    What cannot be shown, or lies outside the folder, is its name alone.
    """
    shown = w.tag(name.rpartition("/")[2], icon_name="image")
    path = (folder / name).resolve()
    try:
        if not path.is_relative_to(folder.resolve()) or path.stat().st_size > THUMBNAIL.max_bytes:
            return shown
        made = prepare(path.read_bytes(), THUMBNAIL)
    except (OSError, PictureRefused):
        return shown
    return f'<img alt="{w.esc(name)}" title="{w.esc(name)}" src="{uri_of(made.data)}">'


def _homes(data: DataSets, found: DataSet) -> Iterator[Path]:
    """Yield the folders of a data set, of the file it was made of, and of what it came from."""
    waiting, seen = [found], set()
    while waiting and len(seen) < MOST_ANCESTORS:
        one = waiting.pop()
        if one.key in seen:
            continue
        seen.add(one.key)
        yield one.path.parent.resolve()
        if one.origin.get("path"):
            yield Path(str(one.origin["path"])).parent.resolve()
        of = one.origin.get("of") or []
        for name in of if isinstance(of, list) else [of]:
            try:
                waiting.append(data.get(str(name)))
            except NotFound:
                continue  # deleted meanwhile; its pictures are not ours to show any more


def _lines(data: DataSets, found: DataSet) -> Iterator[str]:
    if not found.built_in:
        with open(found.path, encoding="utf-8") as file:
            yield from file
        return
    for row in data.rows(found.key, 0, found.rows):  # built-in samples are small
        yield json.dumps(row, ensure_ascii=False)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a row, without the names of its columns."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in islice(value, 10_000):
            yield from _texts(item)
