"""The bytes of a file as UTF-8, piece by piece, and as lines; wrong bytes are told by line.

Nothing here knows JSON or CSV. Memory is bounded by a piece and by the longest record allowed.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from studio.data.model import Fault, Limits

PIECE = 1 << 20
HEAD = 1 << 20
"""Bytes by which encoding and format are told."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Record(NamedTuple):
    """One record of a file: its value, or the fault that kept it from being read."""

    line: int
    value: Any = None
    fault: Fault | None = None


@dataclass
class Source:
    """An open file, what was found out about it on the way, and how far it was read."""

    path: Path
    limits: Limits = field(default_factory=Limits)
    encoding: str = "utf-8"
    repaired: Counter[str] = field(default_factory=Counter)
    done: int = 0
    """Bytes read so far."""

    def __post_init__(self) -> None:
        self.size = self.path.stat().st_size
        with open(self.path, "rb") as file:
            self.encoding = detect(file.read(HEAD))
        if self.encoding != "utf-8":
            self.repaired["bom" if self.encoding == "utf-8-sig" else "encoding"] += 1

    def lines(self) -> Iterator[tuple[int, bytes | None, Fault | None]]:
        """Yield `(number, line as UTF-8 without its end, None)`, or `(number, None, fault)`.

        A line over the limit is skipped to its end without being held; a line of wrong bytes is a
        fault of its own, and the next line is read as usual.
        """
        judge = _Judge(self)
        number = 0
        with open(self.path, "rb") as file:
            for raw, length in _raw_lines(self, file):
                number += 1
                if length > self.limits.record_bytes:
                    yield number, None, too_long(number, length, self.limits)
                    continue
                if number == 1 and raw.startswith(codecs.BOM_UTF8):
                    raw = raw[3:]
                try:
                    yield number, judge.utf8(raw).rstrip(b"\r"), None
                except UnicodeDecodeError as error:
                    yield number, None, wrong_bytes(number, error, self.encoding)

    def pieces(self) -> Iterator[bytes]:
        """Yield the file as UTF-8 in pieces of no meaning; wrong bytes come through as they are."""
        with open(self.path, "rb") as file:
            if self.encoding.startswith("utf-16"):
                yield from _utf16_pieces(self, file)
                return
            decoder = codecs.getincrementaldecoder("gb18030")("surrogateescape")
            for number, piece in enumerate(_pieces(self, file)):
                if self.encoding == "gb18030":
                    yield decoder.decode(piece).encode("utf-8", "surrogateescape")
                else:
                    yield piece.removeprefix(codecs.BOM_UTF8) if number == 0 else piece


def detect(head: bytes) -> str:
    """Tell the encoding of a file by its first bytes: UTF-8, UTF-16 or GB18030."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    half = head[: HEAD // 16]
    if len(half) >= 8 and half.count(0) > len(half) // 4:
        even, odd = half[::2].count(0), half[1::2].count(0)
        if even > 4 * odd or odd > 4 * even:
            return "utf-16-be" if even > odd else "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        # A single wrong byte in a file that is UTF-8 elsewhere is that line's fault alone.
        if head[: error.start].isascii() and is_chinese(head):
            return "gb18030"
    return "utf-8"


def is_chinese(data: bytes) -> bool:
    """Tell whether bytes that are no UTF-8 read as Chinese in GB18030.

    Common characters have both bytes from 0xA1 on; Latin-1 text has single ones among letters.
    """
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(data)
    except UnicodeDecodeError:
        return False
    foreign = [char for char in text if ord(char) > 127]
    usual = sum(
        "\u4e00" <= char <= "\u9fff" or "\u3000" <= char <= "\u303f" or "\uff00" <= char <= "\uffef"
        for char in foreign
    )
    pairs = sum(byte >= 0xA1 for byte in data) / 2
    return usual >= 0.8 * len(foreign) > 0 and pairs >= 0.8 * len(foreign)


def too_long(line: int, length: int, limits: Limits) -> Fault:
    """Return the fault of a record over the limit."""
    mib = 1 << 20
    return Fault(
        line,
        "record_size",
        {"mib": round(length / mib, 1), "limit": round(limits.record_bytes / mib, 1)},
    )


def as_utf8(data: bytes) -> bytes:
    """Return bytes that should be UTF-8, read as GB18030 where they are that; may raise."""
    try:
        data.decode()
    except UnicodeDecodeError:
        if is_chinese(data):
            return data.decode("gb18030").encode()
        raise
    return data


class _Judge:
    """Turns raw lines into UTF-8; a file that turns out to be GB18030 later on is still read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._plain = source.encoding == "utf-8"
        """True while nothing but ASCII was seen, so that the encoding is still open."""

    def utf8(self, raw: bytes) -> bytes:
        """Return a line as UTF-8; raise UnicodeDecodeError."""
        encoding = self._source.encoding
        if encoding == "gb18030":
            return raw.decode("gb18030").encode()
        if encoding.startswith("utf-16") or raw.isascii():
            return raw
        try:
            raw.decode()
        except UnicodeDecodeError:
            if self._plain and is_chinese(raw):
                self._source.encoding = "gb18030"
                self._source.repaired["encoding"] += 1
                return raw.decode("gb18030").encode()
            raise
        self._plain = False
        return raw


def _raw_lines(source: Source, file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield each line and its length; of a line over the limit no bytes."""
    if source.encoding.startswith("utf-16"):
        yield from _split(_utf16_pieces(source, file), source.limits.record_bytes)
    else:
        yield from _split(_pieces(source, file), source.limits.record_bytes)


def _pieces(source: Source, file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE):
        source.done += len(piece)
        yield piece


def _utf16_pieces(source: Source, file: BinaryIO) -> Iterator[bytes]:
    """Yield a UTF-16 file as UTF-8; a wrong unit becomes a byte that UTF-8 does not have."""
    decoder = codecs.getincrementaldecoder(source.encoding)("surrogatepass")
    first = True
    for piece in _pieces(source, file):
        text = decoder.decode(piece)
        if first:
            text, first = text.removeprefix("\ufeff"), False
        yield text.encode("utf-8", "surrogatepass")
    if decoder.getstate()[0]:
        yield b"\xff"  # half a unit at the end of the file


def _split(pieces: Iterator[bytes], limit: int) -> Iterator[tuple[bytes, int]]:
    held: list[bytes] = []
    length = 0
    for piece in pieces:
        begin = 0
        while (end := piece.find(b"\n", begin)) >= 0:
            length += end - begin
            if length > limit:
                yield b"", length
            else:
                held.append(piece[begin:end])
                yield b"".join(held), length
            held, length, begin = [], 0, end + 1
        rest = len(piece) - begin
        length += rest
        if length > limit:
            held.clear()
        elif rest:
            held.append(piece[begin:])
    if length:
        yield b"".join(held), length


def wrong_bytes(line: int, error: UnicodeDecodeError, encoding: str) -> Fault:
    """Return the fault of bytes that the encoding does not have."""
    wrong = error.object[error.start : error.start + 4].hex(" ")
    return Fault(
        line,
        "bytes",
        {"bytes": wrong, "position": error.start + 1, "encoding": encoding.removesuffix("-sig")},
    )
