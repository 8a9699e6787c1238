"""The file of one conversation: JSON lines, first a head, then messages. Reading and writing only.

A line that a crash tore in two is skipped; whole files are replaced, never rewritten in place.
"""

from __future__ import annotations

import errno
import json
import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio.core.errors import DiskFull, StudioError
from studio.jobs.rundir import parse_rows

Message = dict[str, Any]

TITLE_CHARS = 60


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Replace a file by these rows, all at once; raise DiskFull or StudioError."""
    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.writelines(line(row) for row in rows)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def shorten(text: str) -> str:
    """Make a title of a question: one line, without Markdown's marks, cut at a word."""
    text = " ".join(re.sub(r"[`*#>_\x00-\x1f]+", " ", text).split())
    if len(text) <= TITLE_CHARS:
        return text
    cut = text[:TITLE_CHARS]
    space = cut.rfind(" ")
    return f"{cut[:space] if space > TITLE_CHARS // 2 else cut}…"


def text_of(message: Message) -> str:
    """Return a message's text; of a list of parts, the texts."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (p.get("text") for p in content if isinstance(p, dict))
        return "\n".join(p for p in parts if isinstance(p, str))
    return content if isinstance(content, str) else ""


def line(row: dict[str, Any]) -> str:
    """Return a row as a line of the file."""
    # A lone surrogate (half an emoji from a cut stream) cannot be written as UTF-8.
    text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode() + "\n"


def read_head(path: Path) -> dict[str, Any]:
    """Return the first line; a file whose head is unreadable still has its messages."""
    with open(path, encoding="utf-8", errors="replace") as file:
        rows = parse_rows([file.readline()])
    head = rows[0] if rows and "role" not in rows[0] else {}
    return {"id": path.stem, **head}


def read_messages(path: Path) -> list[Message]:
    """Return the messages of a file; raise FileNotFoundError."""
    with open(path, encoding="utf-8", errors="replace", newline="\n") as file:
        rows = parse_rows(file)
    return [row for row in rows if "role" in row]


def around(text: str, needle: str, before: int = 24, after: int = 60) -> str:
    """Return the words around the first match on one line; nothing without a match."""
    text = " ".join(text.split())
    at = text.lower().find(needle)
    if at < 0:
        return ""
    begin, end = max(0, at - before), at + len(needle) + after
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


def unwritable(path: Path, error: OSError) -> StudioError:
    """Return what to raise when a conversation cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"No room left to keep the conversation in {path.parent}.",
            hint="Delete old runs or conversations, or move the home with --home.",
        )
    return StudioError(
        f"The conversation cannot be written to {path.parent}: {error.strerror or error}.",
        hint="Check that the folder belongs to you and can be written.",
    )
