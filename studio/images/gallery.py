"""The edits of one owner on disk: a folder each, written whole, listed without reading pictures.

home/images/<owner>/<id>/item.json      what was asked, written once before the folder appears
                        before-0.png    the pictures as they were sent, before.webp small
                        mask.png
                        out-0.png       what came back, settings inside; after.webp small
                        end.json        how it ended, written once
             .../pending/<id>           empty, while there is no end.json: an index, no truth
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.errors import DiskFull, NotFound, StudioError
from studio.core.ids import is_id, new_id
from studio.images.item import Asked, End, Item

PAGE = 48
"""Items of one page of a list."""
UNFINISHED_S = 86_400.0
"""A folder that was begun and never finished is removed after so long."""
_FILE = re.compile(r"(?:before|out)-\d\.png|mask\.png|(?:before|after)\.webp")


class Gallery:
    """The edits of one owner. Nobody else's can be named through it."""

    def __init__(self, folder: Path, *, with_logs: bool = True) -> None:
        self.folder = folder
        self._with_logs = with_logs
        """False where the owner may not read lines of the worker's log."""
        self._lock = threading.RLock()

    # in -----------------------------------------------------------------------------------------

    def begin(self, files: dict[str, bytes]) -> Path:
        """Lay out a folder that no list shows yet, with these files; raise DiskFull."""
        part = self.folder / f".{new_id()}.part"
        try:
            part.mkdir(parents=True, mode=0o700)
            for name, data in files.items():
                (part / _checked(name)).write_bytes(data)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise unwritable(self.folder, error) from error
        return part

    def drop(self, part: Path) -> None:
        """Remove what `begin` laid out, because it was not accepted."""
        shutil.rmtree(part, ignore_errors=True)

    def add(self, part: Path, asked: Asked) -> Item:
        """Write down what was asked and show the folder, all at once."""
        try:
            pending = self.folder / "pending"
            pending.mkdir(exist_ok=True, mode=0o700)
            (pending / asked.id).touch()
            _write_json(part / "item.json", asked.model_dump(mode="json"))
            part.rename(self.folder / asked.id)
        except OSError as error:
            self.drop(part)
            (self.folder / "pending" / asked.id).unlink(missing_ok=True)
            raise unwritable(self.folder, error) from error
        return Item(asked=asked)

    def finish(self, ident: str, end: End, files: dict[str, bytes] | None = None) -> Item:
        """Write the results and then how it ended; what has ended stays as it is."""
        folder = self._existing(ident)
        if end.error is not None and not self._with_logs:
            end = end.model_copy(update={"error": end.error.model_copy(update={"log": ()})})
        with self._lock:
            if not (folder / "end.json").exists():
                try:
                    for name, data in (files or {}).items():
                        _write(folder / _checked(name), data)
                    _write_json(folder / "end.json", end.model_dump(mode="json"))
                except FileNotFoundError:
                    raise _gone(ident) from None  # deleted meanwhile
                except OSError as error:
                    raise unwritable(self.folder, error) from error
            (self.folder / "pending" / ident).unlink(missing_ok=True)
        return self.get(ident)

    def delete(self, ident: str) -> None:
        """Remove an edit with its pictures; raise NotFound."""
        folder = self._existing(ident)
        gone = self.folder / f".{ident}.gone"
        try:
            folder.rename(gone)
        except FileNotFoundError:
            raise _gone(ident) from None
        (self.folder / "pending" / ident).unlink(missing_ok=True)
        shutil.rmtree(gone, ignore_errors=True)

    def keep(self, most: int) -> None:
        """Remove the oldest edits that have ended, beyond so many."""
        for ident in self.ids()[most:]:
            if (self.folder / ident / "end.json").exists():
                self.delete(ident)

    def tidy(self) -> None:
        """Remove folders that a crash left half made or half removed."""
        old = time.time() - UNFINISHED_S
        for entry in self._entries():
            if entry.name.endswith((".part", ".gone")) and entry.stat().st_mtime < old:
                shutil.rmtree(entry.path, ignore_errors=True)

    # out ----------------------------------------------------------------------------------------

    def ids(self, before: str = "") -> list[str]:
        """Return the ids, newest first; those older than `before` when it is given."""
        found = [entry.name for entry in self._entries() if is_id(entry.name)]
        return sorted((name for name in found if not before or name < before), reverse=True)

    def list(self, *, before: str = "", limit: int = PAGE) -> list[Item]:
        """Return a page of items, newest first. The last one's id is `before` of the next page."""
        return list(self._items(self.ids(before), limit))

    def pending(self) -> list[Item]:
        """Return the items that have no end yet, oldest first."""
        try:
            names = sorted(os.listdir(self.folder / "pending"))
        except FileNotFoundError:
            return []
        found = list(self._items((name for name in names if is_id(name)), len(names)))
        return [item for item in found if item.end is None]

    def get(self, ident: str) -> Item:
        """Return one; raise NotFound."""
        folder = self._existing(ident)
        try:
            asked = Asked.model_validate_json((folder / "item.json").read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise _gone(ident) from error
        return Item(asked=asked, end=_end(folder))

    def has(self, ident: str) -> bool:
        """Tell whether there is such an edit."""
        return is_id(ident) and (self.folder / ident / "item.json").is_file()

    def file(self, ident: str, name: str) -> Path:
        """Return the path of one of an item's pictures; raise NotFound."""
        path = self._existing(ident) / _checked(name)
        if not path.is_file():
            raise _gone(ident)
        return path

    # inside -------------------------------------------------------------------------------------

    def _items(self, names: Iterable[str], limit: int) -> Iterable[Item]:
        count = 0
        for name in names:
            if count == limit:
                return
            try:
                item = self.get(name)
            except NotFound:
                continue
            count += 1
            yield item

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []

    def _existing(self, ident: str) -> Path:
        if not self.has(ident):
            raise _gone(ident)
        return self.folder / ident


def unwritable(folder: Path, error: OSError) -> StudioError:
    """Return what to raise when a picture cannot be written."""
    if shutil.disk_usage(_nearest(folder)).free < 2**20:
        return DiskFull(
            f"No room left to keep pictures in {folder}.",
            hint="Delete old pictures or runs, or move the home with --home.",
        )
    return StudioError(
        f"The picture cannot be written to {folder}: {error.strerror or error}.",
        hint="Check that the folder belongs to you and can be written.",
    )


def _nearest(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _checked(name: str) -> str:
    """Return a file name of an item's folder; raise NotFound for any other."""
    if not _FILE.fullmatch(name):
        raise NotFound(f"There is no picture {name!r}.")
    return name


def _gone(ident: str) -> NotFound:
    return NotFound(f"There is no edit {ident}.", hint="It may have been deleted elsewhere.")


def _end(folder: Path) -> End | None:
    try:
        return End.model_validate_json((folder / "end.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _write_json(path: Path, value: Any) -> None:
    _write(path, json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))


def _write(path: Path, data: bytes) -> None:
    """Write a file whole: readers see all of it or none."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
