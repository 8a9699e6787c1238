"""Read logs by byte offset, so that a viewer costs what is new and not what is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 256 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A piece of a log, its end as a byte offset, and the size of the whole file."""

    text: str
    offset: int
    size: int


def read_from(path: Path, offset: int = 0, limit: int = CHUNK_BYTES) -> Chunk:
    """Return at most `limit` bytes from `offset`, cut at a line's end where there is one.

    A negative offset counts from the end. Only whole UTF-8 characters are returned.
    """
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            begin = max(0, size + offset) if offset < 0 else min(offset, size)
            file.seek(begin)
            raw = file.read(limit)
    except FileNotFoundError:
        return Chunk(text="", offset=0, size=0)
    if offset < 0 and begin > 0:
        cut = raw.find(b"\n") + 1
        begin, raw = begin + cut, raw[cut:]
    if begin + len(raw) < size and b"\n" in raw:
        raw = raw[: raw.rindex(b"\n") + 1]
    else:
        raw = _whole_characters(raw)
    return Chunk(text=raw.decode(errors="replace"), offset=begin + len(raw), size=size)


def last_lines(path: Path, count: int) -> list[str]:
    """Return the last lines as a person reads them: colours removed, progress bars folded."""
    lines = clean(read_from(path, -CHUNK_BYTES).text).splitlines()
    return [line for line in lines if line.strip()][-count:]


def search(path: Path, needle: str, limit: int = 200) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) for lines that contain `needle`, ignoring case."""
    wanted, found = needle.lower(), 0
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if wanted in line.lower():
                    yield number, clean(line).rstrip("\n")
                    found += 1
                    if found == limit:
                        return
    except FileNotFoundError:
        return


def clean(text: str) -> str:
    """Remove terminal colours and keep only the last state of a line rewritten in place."""
    text = _ANSI.sub("", text).replace("\r\n", "\n")
    if "\r" not in text:
        return text
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def _whole_characters(raw: bytes) -> bytes:
    """Drop an incomplete UTF-8 character at the end; the next read brings it whole."""
    for back in range(1, min(4, len(raw) + 1)):
        byte = raw[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return raw[:-back] if needed > back else raw
    return raw
