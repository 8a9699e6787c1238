"""The pictures of one owner's conversations: files named by their content, and references to them.

A message keeps `picture:<sha256>.png` where OpenAI's protocol has an address, so that a
conversation stays a small text file; what is sent and what is taken away has the picture itself.
"""

from __future__ import annotations

import base64
import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.chat.pictures import Picture, rescaled, size_of
from studio.chat.transcript import Message, unwritable
from studio.core.errors import NotFound
from studio.core.spec import Pictures

SCHEME = "picture:"
FORGOTTEN_S = 86_400.0
"""A picture that was attached and never sent is removed after so long."""
KINDS = {"png": "image/png", "jpg": "image/jpeg"}
_NAME = re.compile(r"[0-9a-f]{64}\.(?:png|jpg)")
_MENTION = re.compile(rb"picture:([0-9a-f]{64}\.(?:png|jpg))")


class Album:
    """The pictures of one owner. Nobody else's can be named through it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, picture: Picture) -> str:
        """Keep a picture and return its name; one that is there already is kept once."""
        path = self._folder / picture.name
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if path.exists():
                os.utime(path)
            else:
                part.write_bytes(picture.data)
                part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise unwritable(path, error) from error
        return picture.name

    def has(self, name: str) -> bool:
        """Tell whether there is such a picture."""
        return bool(_NAME.fullmatch(name)) and (self._folder / name).is_file()

    def read(self, name: str) -> bytes:
        """Return a picture's bytes; raise NotFound."""
        return self._existing(name).read_bytes()

    def size(self, name: str) -> tuple[int, int]:
        """Return width and height; raise NotFound."""
        return size_of(self._existing(name))

    def data_uri(self, name: str, spec: Pictures | None = None) -> str:
        """Return a picture as it travels, scaled further where `spec` sees less; raise NotFound."""
        data = self.read(name)
        return uri_of(rescaled(data, spec) if spec is not None else data)

    def names(self) -> list[str]:
        """Return what is kept."""
        try:
            return sorted(entry for entry in os.listdir(self._folder) if _NAME.fullmatch(entry))
        except FileNotFoundError:
            return []

    def remove(self, names: Iterable[str]) -> None:
        """Remove pictures that nobody needs any more."""
        for name in names:
            if _NAME.fullmatch(name):
                (self._folder / name).unlink(missing_ok=True)

    def forgotten(self, used: set[str]) -> list[str]:
        """Return pictures that no conversation uses and that have lain a day."""
        old = time.time() - FORGOTTEN_S
        return [
            name
            for name in self.names()
            if name not in used and (self._folder / name).stat().st_mtime < old
        ]

    def _existing(self, name: str) -> Path:
        if not self.has(name):
            raise NotFound(
                "The picture is not there any more.",
                hint="It may have been deleted with its conversation; attach it again.",
            )
        return self._folder / name


def kind_of(name: str) -> str:
    """Return the media type of a picture by its name."""
    return KINDS[name.rpartition(".")[2]]


def uri_of(data: bytes) -> str:
    """Return a PNG or JPEG as a data URI."""
    kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def question(text: str, names: Iterable[str] = ()) -> str | list[dict[str, Any]]:
    """Return the content of a question: the text alone, or pictures first and then the text.

    `names` are those of kept pictures; a data URI stays as it is.
    """
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": name if ":" in name else SCHEME + name}}
        for name in names
    ]
    if not parts:
        return text
    return [*parts, {"type": "text", "text": text}] if text else parts


def names_in(message: Message) -> list[str]:
    """Return the kept pictures that a message shows."""
    return [url.removeprefix(SCHEME) for url in _addresses(message) if url.startswith(SCHEME)]


def count_in(messages: Iterable[Message]) -> int:
    """Return how many pictures these messages show, kept ones and others."""
    return sum(len(_addresses(message)) for message in messages)


def filled(messages: list[Message], album: Album, spec: Pictures | None = None) -> list[Message]:
    """Return messages with the pictures themselves in place of references; raise NotFound."""
    return [_filled(message, album, spec) if names_in(message) else message for message in messages]


def mentioned(paths: Iterable[Path]) -> set[str]:
    """Return the pictures that files of conversations refer to."""
    found: set[str] = set()
    for path in paths:
        try:
            found.update(name.decode() for name in _MENTION.findall(path.read_bytes()))
        except FileNotFoundError:
            continue
    return found


def _addresses(message: Message) -> list[str]:
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    found = [part.get("image_url") for part in parts if isinstance(part, dict)]
    return [str(url.get("url", "")) for url in found if isinstance(url, dict)]


def _filled(message: Message, album: Album, spec: Pictures | None) -> Message:
    parts = []
    for part in message["content"]:
        url = (part.get("image_url") or {}).get("url", "") if isinstance(part, dict) else ""
        if url.startswith(SCHEME):
            uri = album.data_uri(url.removeprefix(SCHEME), spec)
            part = {"type": "image_url", "image_url": {"url": uri}}
        parts.append(part)
    return {**message, "content": parts}
