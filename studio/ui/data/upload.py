"""Take a data file from the browser: straight to disk, piece by piece, whatever its size.

Gradio's own upload collects a form and copies it; here the request's body is the file itself, so a
hundred gigabytes need no more memory than one megabyte. What arrived has an id, and lies under
`home/uploads` until it is added as a data set, forgotten, or two days old.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request

from studio.core.errors import DiskFull, NotFound, StudioError
from studio.core.ids import is_id, new_id

PIECE_BYTES = 4 * 2**20
"""Collected before a write, so that a write is worth a thread."""
SPARE_BYTES = 2**30
"""Room that an upload leaves on the disk."""
OLD_S = 2 * 86400.0
LONGEST_NAME = 100
NAMELESS = "_"

_UNSAFE = re.compile(r"[^\w.\-() ]+")


class Uploads:
    """The files that arrived and were not added yet."""

    def __init__(self, home: Path, largest_bytes: int) -> None:
        self._folder = home / "uploads" / "data"
        self._largest_bytes = largest_bytes

    @property
    def largest_bytes(self) -> int:
        """The largest file that is taken."""
        return self._largest_bytes

    async def receive(self, request: Request) -> dict[str, str | int]:
        """Write the body of a request to disk; return its `id`, `name` and `size` in bytes.

        Raises StudioError when it is larger than allowed, empty, or cut off on its way, and
        DiskFull when there is no room; nothing is left behind then.
        """
        told = request.headers.get("content-length", "")
        await run_in_threadpool(self._check, int(told) if told.isdigit() else 0)
        ident, name = new_id(), plain_name(request.query_params.get("name", ""))
        folder = self._folder / ident
        await run_in_threadpool(self._begin, folder)
        try:
            with open(folder / name, "wb") as file:
                size = await self._write(request, file)
            if not size:
                raise StudioError(f"{name} is empty.", hint="Choose a file with rows in it.")
        except ClientDisconnect as error:
            await run_in_threadpool(shutil.rmtree, folder, True)
            raise StudioError(
                f"The upload of {name} was cut off.", hint="Choose the file again."
            ) from error
        except OSError as error:
            await run_in_threadpool(shutil.rmtree, folder, True)
            raise DiskFull(
                f"{name} could not be written: {error.strerror}.",
                hint="Make room on the disk of the studio's home.",
            ) from error
        except BaseException:
            await run_in_threadpool(shutil.rmtree, folder, True)
            raise
        return {"id": ident, "name": name, "size": size}

    def path(self, ident: str) -> Path:
        """Return where a file lies; raise NotFound."""
        folder = self._folder / ident
        files = list(folder.iterdir()) if is_id(ident) and folder.is_dir() else []
        if len(files) != 1:
            raise NotFound("The uploaded file is not there any more.", hint="Choose it again.")
        return files[0]

    def forget(self, ident: str) -> None:
        """Remove a file that is not needed any more; asking twice does no harm."""
        if is_id(ident):
            shutil.rmtree(self._folder / ident, ignore_errors=True)

    def _check(self, size: int) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if size > self._largest_bytes:
            raise self._too_large()
        free = shutil.disk_usage(self._folder).free
        if size + SPARE_BYTES > free:
            raise DiskFull(
                f"The file has {size / 2**30:.1f} GiB and {free / 2**30:.1f} GiB are free.",
                hint="Make room, or name a file that lies on this server by its path.",
            )

    def _begin(self, folder: Path) -> None:
        for old in self._folder.iterdir():
            if time.time() - old.stat().st_mtime > OLD_S:
                shutil.rmtree(old, ignore_errors=True)
        folder.mkdir(mode=0o700)

    async def _write(self, request: Request, file: BinaryIO) -> int:
        size, waiting = 0, bytearray()
        async for piece in request.stream():
            size += len(piece)
            if size > self._largest_bytes:
                raise self._too_large()
            waiting += piece
            if len(waiting) >= PIECE_BYTES:
                await run_in_threadpool(file.write, bytes(waiting))
                waiting.clear()
        await run_in_threadpool(file.write, bytes(waiting))
        return size

    def _too_large(self) -> StudioError:
        return StudioError(
            f"The file is larger than the {self._largest_bytes / 2**30:g} GiB allowed here.",
            hint="Name it by its path on the server, or raise LADDER_LARGEST_UPLOAD_GIB.",
        )


def plain_name(name: str) -> str:
    """Return a file name without folders, control characters and leading dots."""
    base = _UNSAFE.sub("_", os.path.basename(name.replace("\\", "/"))).strip(" .")
    stem, suffix = os.path.splitext(base)
    while len(f"{stem}{suffix}".encode()) > LONGEST_NAME and stem:
        stem = stem[:-1]
    return f"{stem}{suffix[:16]}" or NAMELESS
