"""Pictures on their way to an edit: taken from the browser piece by piece, checked, kept a while.

A request's body is the file itself, so nothing is collected in memory beyond the limit of the
visitor who sends it. What arrived lies under `home/uploads/images/<owner>/`, named by an id that
only its owner can use, until it is two days old or newer ones need its place.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from studio.chat.conversations import owner_folder
from studio.chat.desk import Person
from studio.core.errors import DiskFull, NotFound, StudioError
from studio.core.ids import is_id, new_id
from studio.images.desk import ImageDesk
from studio.images.request import Limits
from studio.images.taking import small as shrunk
from studio.images.taking import taken
from studio.ui.data.upload import plain_name

OLD_S = 2 * 86400.0
SPARE_BYTES = 2**30
"""Room that an upload leaves on the disk."""
AT_ONCE = threading.BoundedSemaphore(2)
"""Pictures that are decoded at the same time; one of 100 megapixels takes some hundred MB."""
MOST_KEPT = {True: 12, False: 600}
"""Pictures that a guest and an operator may have lying here; the oldest make room."""
MOST_BYTES = 8 * 2**30
"""Of all visitors together; the oldest make room."""


class Arrived(NamedTuple):
    """A picture that was taken: what the page is told of it."""

    id: str
    name: str
    width: int
    height: int
    made: dict[str, Any] | None
    """Settings of the edit that it was made with, when it is one of ours."""


class Tray:
    """Where visitors' pictures wait for their edit; each visitor reaches their own alone."""

    def __init__(self, home: Path, desk: ImageDesk) -> None:
        self._folder = home / "uploads" / "images"
        self._desk = desk

    async def receive(self, request: Request, person: Person) -> Arrived:
        """Take the body of a request; raise StudioError for what is too large or no picture."""
        limits = self._desk.limits(person)
        name = plain_name(request.query_params.get("name", ""))
        told = request.headers.get("content-length", "")
        await run_in_threadpool(self._check, int(told) if told.isdigit() else 0, limits)
        data = bytearray()
        try:
            async for piece in request.stream():
                data += piece
                if len(data) > limits.max_bytes:
                    raise _too_large(limits)
        except ClientDisconnect as error:
            raise StudioError(
                f"The upload of {name} was cut off.", hint="Choose the file again."
            ) from error
        return await run_in_threadpool(self.put, person, bytes(data), name)

    def put(self, person: Person, data: bytes, name: str) -> Arrived:
        """Check a picture and keep it; raise EditInvalid or DiskFull."""
        with AT_ONCE:
            picture = taken((data,), self._desk.limits(person))[0]
        made = self._desk.read_back(data)
        ident = new_id()
        folder = self._own(person)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._make_room(person)
            _write(folder / f"{ident}.webp", shrunk(picture.data))
            _write(folder / f"{ident}.png", picture.data)
        except OSError as error:
            raise DiskFull(
                f"{name} could not be written: {error.strerror}.",
                hint="Make room on the disk of the studio's home.",
            ) from error
        settings = made.model_dump(mode="json") if made else None
        return Arrived(ident, name, picture.width, picture.height, settings)

    def take(self, person: Person, ident: str) -> bytes:
        """Return a picture as it will be edited; raise NotFound."""
        return self.file(person, ident).read_bytes()

    def file(self, person: Person, ident: str, *, small: bool = False) -> Path:
        """Return where a picture lies, or its small copy; raise NotFound."""
        path = self._own(person) / f"{ident}.{'webp' if small else 'png'}"
        if not is_id(ident) or not path.is_file():
            raise NotFound("The uploaded picture is not there any more.", hint="Choose it again.")
        return path

    # inside -------------------------------------------------------------------------------------

    def _own(self, person: Person) -> Path:
        kind = "guests" if person.guest else "operators"
        return self._folder / kind / owner_folder(person.owner)

    def _check(self, size: int, limits: Limits) -> None:
        if size > limits.max_bytes:
            raise _too_large(limits)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if shutil.disk_usage(self._folder).free < SPARE_BYTES + size:
            raise DiskFull(
                "No room left for pictures on the disk of the studio's home.",
                hint="Delete old pictures or runs.",
            )

    def _make_room(self, person: Person) -> None:
        """Remove what is old, what one visitor has too many of, and what all have together."""
        for path in _oldest_first(self._own(person))[: 1 - MOST_KEPT[person.guest]]:
            _remove(path)
        every = _oldest_first(self._folder, "*/*/*.png")
        total = sum(path.stat().st_size for path in every if path.exists())
        for path in every:
            size, age = _facts(path)
            if age < OLD_S and total < MOST_BYTES:
                break
            total -= size
            _remove(path)


def _too_large(limits: Limits) -> StudioError:
    return StudioError(
        f"The file is larger than the {limits.max_bytes / 2**20:.0f} MB that are taken.",
        hint="Save it smaller, or as JPEG.",
    )


def _oldest_first(folder: Path, pattern: str = "*.png") -> list[Path]:
    """Return pictures by the time in their id."""
    return sorted(folder.glob(pattern), key=lambda path: path.name)


def _facts(path: Path) -> tuple[int, float]:
    """Return bytes and age in seconds; a file that is gone counts as nothing, and as old."""
    try:
        told = path.stat()
    except FileNotFoundError:
        return 0, OLD_S
    return told.st_size, time.time() - told.st_mtime


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".webp").unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(f"{path.suffix}.part")
    part.write_bytes(data)
    os.replace(part, path)
