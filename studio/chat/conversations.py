"""Conversations on disk: one JSONL file each, first its head, then OpenAI messages.

What the studio adds to a message (figures, reasoning, which side of a comparison) is under its
`studio` key, so that a file without those keys is what any OpenAI client understands. New
messages are appended; edits replace the whole file. A line torn by a crash costs that line only.
While an answer is arriving it lies beside the file as a draft, and is part of it when the studio
was killed in between.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from studio.chat.album import Album, mentioned
from studio.chat.transcript import (
    Message,
    around,
    line,
    read_head,
    read_messages,
    shorten,
    text_of,
    unwritable,
    write,
)
from studio.core.errors import NotFound, StudioError
from studio.core.ids import is_id, new_id
from studio.jobs.rundir import parse_rows

LOCAL = "local"
"""Owner of conversations when nobody has to log in."""


class Head(NamedTuple):
    """What a list shows of a conversation."""

    id: str
    title: str
    created_at: float
    updated_at: float


class Conversation(NamedTuple):
    """A conversation as read: its head and its messages, oldest first."""

    head: Head
    messages: list[Message]


class Hit(NamedTuple):
    """A conversation that a search found, and the words around the first match."""

    head: Head
    snippet: str


class Conversations:
    """The conversations of one owner. Nobody else's can be named through it."""

    def __init__(self, chats_dir: Path, owner: str) -> None:
        self._folder = chats_dir / owner_folder(owner)
        self.album = Album(self._folder / "pictures")
        """The pictures that these conversations show."""
        self._heads: dict[str, tuple[int, int, Head]] = {}
        self._lock = threading.RLock()

    # in -----------------------------------------------------------------------------------------

    def create(self, title: str = "") -> str:
        """Start a conversation and return its id."""
        ident = new_id()
        head = {"id": ident, "title": shorten(title), "created_at": time.time(), "format": 1}
        with self._lock:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(self._path(ident), [head])
        return ident

    def append(self, ident: str, *messages: Message) -> None:
        """Add messages at the end, in one write; the first question becomes the title."""
        path = self._existing(ident)
        text = "".join(line(message) for message in messages)
        with self._lock:
            try:
                with open(path, "r+b") as file:
                    size = file.seek(0, os.SEEK_END)
                    file.seek(max(0, size - 1))
                    torn = size > 0 and file.read(1) != b"\n"
                    file.write((b"\n" if torn else b"") + text.encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise unwritable(path, error) from error
            first = next((m for m in messages if m.get("role") == "user"), None)
            title = shorten(text_of(first)) if first is not None else ""
            if title and not self._head(path).title:
                self._change_head(ident, title=title)

    def replace(self, ident: str, messages: Iterable[Message]) -> None:
        """Put other messages in place of all: what editing, undoing and retrying need."""
        path = self._existing(ident)
        with self._lock:
            write(path, [read_head(path), *messages])
            self.drop_draft(ident)

    def rename(self, ident: str, title: str) -> None:
        """Change the title; the place in the list stays."""
        title = shorten(title)
        if not title:
            raise StudioError("A conversation needs a title.", hint="Type a few words.")
        self._change_head(ident, title=title)

    def delete(self, ident: str) -> None:
        """Remove a conversation and the pictures that no other one shows; raise NotFound."""
        with self._lock:
            path = self._existing(ident)
            own = mentioned([path, self._draft(ident)])
            path.unlink(missing_ok=True)
            self.drop_draft(ident)
            self._heads.pop(ident, None)
            if own:
                self.album.remove(own - self._shown())
            self.tidy()

    def let_go(self, name: str) -> None:
        """Remove a picture that was attached and taken out again, unless it is shown already."""
        with self._lock:
            if name not in self._shown():
                self.album.remove([name])

    def tidy(self) -> None:
        """Remove pictures that were attached days ago and never sent."""
        with self._lock:
            if self.album.forgotten(set()):
                self.album.remove(self.album.forgotten(self._shown()))

    def save_draft(self, ident: str, messages: list[Message]) -> None:
        """Keep an answer that is still arriving; `load` shows it if nothing ever follows."""
        with self._lock:
            if self._path(ident).exists():
                write(self._draft(ident), messages)

    def drop_draft(self, ident: str) -> None:
        """Forget the draft, because the answer itself was written."""
        self._draft(ident).unlink(missing_ok=True)

    def settle(self, ident: str) -> None:
        """Make a draft that a crash left behind a part of the conversation."""
        with self._lock:
            left = self._read_draft(ident)
            if left:
                self.append(ident, *left)
            self.drop_draft(ident)

    # out ----------------------------------------------------------------------------------------

    def list(self, limit: int | None = None) -> list[Head]:
        """Return the heads, last used first. Reads only what changed since the last look."""
        with self._lock:
            stamps = {}
            try:
                with os.scandir(self._folder) as entries:
                    for entry in entries:
                        ident, dot, kind = entry.name.partition(".")
                        if dot and kind == "jsonl" and is_id(ident):
                            stamps[ident] = entry.stat()
            except FileNotFoundError:
                return []
            order = sorted(stamps, key=lambda i: (stamps[i].st_mtime_ns, i), reverse=True)
            for gone in self._heads.keys() - stamps.keys():
                del self._heads[gone]
            found = []
            for ident in order[:limit]:
                stat = stamps[ident]
                kept = self._heads.get(ident)
                if kept is None or kept[:2] != (stat.st_mtime_ns, stat.st_size):
                    head = self._head(self._path(ident))
                    kept = self._heads[ident] = (stat.st_mtime_ns, stat.st_size, head)
                found.append(kept[2])
            return found

    def has(self, ident: str) -> bool:
        """Tell whether there is such a conversation."""
        return is_id(ident) and self._path(ident).is_file()

    def load(self, ident: str) -> Conversation:
        """Return a conversation with its draft, if a crash left one; raise NotFound."""
        path = self._existing(ident)
        with self._lock:
            head = self._head(path)
            messages = read_messages(path) + self._read_draft(ident)
        return Conversation(head, messages)

    def search(self, words: str, limit: int = 50) -> list[Hit]:
        """Return the conversations whose title or text contains `words`, last used first."""
        needle = " ".join(words.split()).lower()
        if not needle:
            return [Hit(head, "") for head in self.list(limit)]
        # The escaped words find candidates in the raw file; only those are taken apart.
        raw = [json.dumps(word, ensure_ascii=False)[1:-1] for word in needle.split()]
        found = []
        for head in self.list():
            try:
                text = self._path(head.id).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue
            lower = text.lower()
            if not all(word in lower for word in raw):
                continue
            texts = [text_of(m) for m in parse_rows(text.splitlines())[1:]]
            snippet = next((s for s in (around(t, needle) for t in texts) if s), "")
            if snippet or needle in head.title.lower():
                found.append(Hit(head, snippet))
                if len(found) == limit:
                    break
        return found

    # inside -------------------------------------------------------------------------------------

    def _shown(self) -> set[str]:
        """Return the pictures that any conversation shows."""
        files = self._folder.glob("*.jsonl"), self._folder.glob("*.draft")
        return mentioned(path for found in files for path in found)

    def _path(self, ident: str) -> Path:
        if not is_id(ident):
            raise NotFound(f"There is no conversation {ident!r}.")
        return self._folder / f"{ident}.jsonl"

    def _draft(self, ident: str) -> Path:
        return self._path(ident).with_suffix(".draft")

    def _existing(self, ident: str) -> Path:
        path = self._path(ident)
        if not path.is_file():
            raise NotFound(
                f"There is no conversation {ident}.", hint="It may have been deleted elsewhere."
            )
        return path

    def _head(self, path: Path) -> Head:
        head, ident = read_head(path), path.stem
        updated = path.stat().st_mtime
        created = head.get("created_at")
        return Head(
            id=ident,
            title=str(head.get("title") or ""),
            created_at=created if isinstance(created, (int, float)) else updated,
            updated_at=updated,
        )

    def _read_draft(self, ident: str) -> list[Message]:
        try:
            return read_messages(self._draft(ident))
        except FileNotFoundError:
            return []

    def _change_head(self, ident: str, **changes: Any) -> None:
        path = self._existing(ident)
        with self._lock:
            stat = path.stat()
            rows = [{**read_head(path), **changes}, *read_messages(path)]
            write(path, rows)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            self._heads.pop(ident, None)


def owner_folder(owner: str) -> str:
    """Return the folder name of an owner; names that are not plain get a hash, so none collide."""
    owner = owner or LOCAL
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,40}", owner):
        return owner
    slug = re.sub(r"[^a-z0-9]+", "-", owner.lower()).strip("-")[:24] or "user"
    return f"{slug}.{hashlib.sha256(owner.encode()).hexdigest()[:12]}"
