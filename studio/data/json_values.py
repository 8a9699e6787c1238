"""JSON Lines and JSON arrays as records, one at a time, each with its line.

An array is cut into its elements without parsing the whole: a pattern finds the end of a usual
element, and only unusual ones (very deep, or cut off at the end of a piece) are walked bracket by
bracket. After a broken element reading goes on at the next one that begins like the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from studio.data.model import Fault
from studio.data.reading import Record, Source, as_utf8, too_long, wrong_bytes

MAX_DEPTH = 100
"""Brackets within brackets; real data sets have about six."""

MAX_PARTS = 200_000
"""Lists and objects in one record, where it is longer than a megabyte."""
_SMALL = 1 << 20

_STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_GAP = re.compile(rb"[ \t\r\n,]*+")
_CLOSE = ord("]")
_TOKEN = re.compile(_STRING + rb'|[{}\[\]\n"]')
_KEY = re.compile(rb'\{[ \t\r\n]*+("(?:[^"\\\n]++|\\[^\n])*+")')
_SCALAR = re.compile(_STRING + rb"|[^\n,\[\]{}]++|[^\n]")


def _nested(levels: int) -> bytes:
    inner = b"" if levels == 0 else b"|" + _nested(levels - 1)
    return rb'[\[{](?:[^\[\]{}"]++|' + _STRING + inner + rb")*+[\]}]"


_ELEMENT = re.compile(_nested(5))


def parse(data: bytes, line: int) -> Record:
    """Parse one record; what makes it unusable becomes the fault."""
    if len(data) > _SMALL and (parts := data.count(b"{") + data.count(b"[")) > MAX_PARTS:
        # Each empty list takes thirty times its two bytes of memory.
        return Record(line, fault=Fault(line, "parts", {"parts": parts, "limit": MAX_PARTS}))
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return _slow_parse(data, line)
    if type(value) is dict and (key := _double_key(data, value)):
        return Record(line, fault=Fault(line, "double_key", {"key": key}))
    return Record(line, value)


def lines(source: Source) -> Iterator[Record]:
    """Yield the records of a JSON Lines file."""
    for number, data, fault in source.lines():
        if fault is not None:
            yield Record(number, fault=fault)
            continue
        assert data is not None
        data = data.strip()
        if not data:
            continue
        if (data[:1] not in b'{["' and not _is_scalar(data)) or data in (b"[", b"]", b"],"):
            yield Record(number, fault=Fault(number, "mixed", {"text": shown(data)}))
        else:
            yield parse(data, number)


def elements(source: Source, *, array: bool, enclosed: bool = False) -> Iterator[Record]:
    """Yield the elements of a JSON array, or (not `array`) objects that follow each other.

    `enclosed` is an array inside an object, as in `{"data": [...]}`: what is around it is nothing.
    """
    return _Walk(source, array, enclosed).records()


class _Walk:
    """A window over the file that moves from element to element."""

    def __init__(self, source: Source, array: bool, enclosed: bool) -> None:
        self._pieces = source.pieces()
        self._source = source
        self._array = array
        self._enclosed = enclosed
        self._held = bytearray()
        self._at = 0
        self._line = 1
        """Line of `self._held[self._at]`."""
        self._ended = False
        self._key = b""
        """First key of a good element: where reading goes on after a broken one."""
        self._commas = 0
        """Commas since the last element."""
        self._cut_off = False
        """True when the file ended in the middle of an element, which was told."""

    def records(self) -> Iterator[Record]:
        """Yield elements and faults until the file ends."""
        closed = not self._array
        if self._array:
            self._open()
        self._commas, wanted = 0, 0
        while self._skip():
            if self._array and not closed:
                last = self._held[self._at] == _CLOSE
                if self._commas != (0 if last else wanted):
                    self._source.repaired["comma"] += 1
            self._commas, wanted = 0, 1
            if closed and self._array:
                yield from self._behind_the_end()
                return
            if self._array and self._held[self._at] == _CLOSE:
                closed = True
                self._move(self._at + 1)
            else:
                yield from self._one()
        if not closed and not self._cut_off:
            yield Record(self._line, fault=Fault(self._line, "unclosed"))

    def _one(self) -> Iterator[Record]:
        line = self._line
        if self._held[self._at] not in b"{[":
            yield self._scalar(line)
            return
        end, code = self._end_of_element()
        if code:
            where = line + self._held.count(b"\n", self._at, end)
            text = shown(self._held[self._at : self._at + 200])
            length = self._resync()
            self._commas, self._cut_off = 1, code == "truncated"
            if code == "record_size":
                yield Record(line, fault=too_long(line, length, self._source.limits))
            else:
                yield Record(where, fault=Fault(where, code, {"text": text}))
            return
        data = bytes(self._held[self._at : end])
        record = parse(data, line)
        if record.fault is None and not self._key and (key := _KEY.match(data)):
            self._key = key[1]
        cut = _beginning(self._key).search(data, 1) if self._key and record.fault else None
        # Of two elements that ran together the second may be whole.
        self._move(self._at + cut.start() if cut else end)
        self._commas = 1 if cut else 0
        yield record

    def _end_of_element(self) -> tuple[int, str]:
        """Return where the element that begins here ends; with a code, where and what is wrong."""
        tried = 0
        while True:
            size = len(self._held) - self._at
            if self._ended or size >= 2 * tried:
                if (match := _ELEMENT.match(self._held, self._at)) is not None:
                    if match.end() - self._at > self._source.limits.record_bytes:
                        return self._at, "record_size"
                    return match.end(), ""
                end, code = self._walk()
                if code != "truncated":
                    return end, code
                if size > self._source.limits.record_bytes:
                    return self._at, "record_size"
                if self._ended:
                    return self._at, "truncated"
                tried = size
            self._more()

    def _walk(self) -> tuple[int, str]:
        """Go from bracket to bracket; `truncated` when the window ends before the element."""
        open_ones = bytearray()
        for token in _TOKEN.finditer(self._held, self._at):
            mark = token[0]
            if mark == b'"':
                # No string begins here: its line, or the window, ends before its second quote.
                if self._held.find(b"\n", token.start()) >= 0:
                    return token.start(), "string"
                return token.start(), "truncated"
            if mark in (b"{", b"["):
                open_ones += b"}" if mark == b"{" else b"]"
                if len(open_ones) > MAX_DEPTH:
                    return self._at, "depth"
            elif mark in (b"}", b"]"):
                if open_ones[-1:] != mark:
                    return token.start(), "brackets"
                del open_ones[-1:]
                if not open_ones:
                    return token.end(), ""
        return self._at, "truncated"

    def _resync(self) -> int:
        """Move to the next element that begins like the others; return the bytes passed."""
        key = self._key
        if not key and (match := _KEY.match(self._held, self._at)):
            key = match[1]
        pattern = _beginning(key)
        passed, begin = 0, self._at + 1
        while True:
            match = pattern.search(self._held, begin)
            # What is cut off by the window's end is searched again together with what follows.
            to = match.start() if match else max(begin, len(self._held) - len(key) - 256)
            if match is None and self._ended:
                to = len(self._held)
            passed += to - self._at
            self._move(to)
            if match is not None:
                self._move(to + len(match[0]) - len(match[0].lstrip()))
                return passed
            if self._ended:
                return passed
            self._more()
            begin = self._at

    def _scalar(self, line: int) -> Record:
        """Take something that is no object: a text, a number, or a piece of another format."""
        while (match := _SCALAR.match(self._held, self._at)) is None or (
            match.end() == len(self._held) and not self._ended
        ):
            if self._ended or len(self._held) - self._at > self._source.limits.record_bytes:
                break
            self._more()
        end = match.end() if match else self._at + 1
        data = bytes(self._held[self._at : end]).strip()
        self._move(max(end, self._at + 1))
        code = "not_object" if _is_scalar(data) else "mixed"
        return Record(line, fault=Fault(line, code, {"text": shown(data)}))

    def _behind_the_end(self) -> Iterator[Record]:
        """Tell what stands behind the array; the end of an object around it is nothing."""
        if self._enclosed:
            self._resync()
            if self._at < len(self._held):
                text = shown(self._held[self._at : self._at + 200])
                yield Record(self._line, fault=Fault(self._line, "mixed", {"text": text}))
            return
        rest = bytes(self._held[self._at : self._at + 200])
        yield Record(self._line, fault=Fault(self._line, "mixed", {"text": shown(rest)}))
        # Objects behind the array, such as JSON Lines added to it, are still read.
        self._array = False
        yield from self.records()

    # the window ---------------------------------------------------------------------------------

    def _open(self) -> None:
        while (at := self._held.find(b"[", self._at)) < 0 and not self._ended:
            self._more()
        self._move(at + 1)

    def _more(self) -> None:
        """Put more of the file into the window."""
        del self._held[: self._at]
        self._at = 0
        piece = next(self._pieces, None)
        if piece is None:
            self._ended = True
        else:
            self._held += piece

    def _skip(self) -> bool:
        """Move to what comes next, over space and commas; False at the end of the file."""
        while True:
            match = (_GAP if self._array else _SPACE).match(self._held, self._at)
            assert match is not None
            self._commas += self._held.count(b",", self._at, match.end())
            self._move(match.end())
            if self._at < len(self._held):
                return True
            if self._ended:
                return False
            self._more()

    def _move(self, to: int) -> None:
        self._line += self._held.count(b"\n", self._at, to)
        self._at = to


def spans_lines(head: bytes) -> bool:
    """Tell whether a file begins with one object over several lines, as editors lay them out."""
    begin = len(head) - len(head.lstrip())
    match = _ELEMENT.match(head, begin)
    return match is not None and b"\n" in match[0]


def shown(data: bytes | bytearray) -> str:
    """Return the beginning of what stands there, for a sentence."""
    text = " ".join(data[:200].decode("utf-8", "replace").split())
    return text if len(text) <= 60 else f"{text[:60]}…"


def _beginning(key: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"\{[ \t\r\n]*+" + re.escape(key) if key else rb"\n[ \t]*+\{")


def _slow_parse(data: bytes, line: int) -> Record:
    """Parse what orjson refuses: it may be JSON with numbers or texts that need a word."""
    try:
        data = as_utf8(data)
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        return Record(line, fault=wrong_bytes(line, error, "utf-8"))
    if b"\x00" in data:
        return Record(line, fault=Fault(line, "nul", {"field": ""}))
    if _depth(data) > MAX_DEPTH:
        return Record(line, fault=Fault(line, "depth", {"text": shown(data)}))
    strange: list[str] = []
    try:
        value = json.loads(data, parse_constant=lambda name: strange.append(name) or name)
    except json.JSONDecodeError as told:
        where = {
            "why": told.msg,
            "column": told.colno,
            "text": shown(data[max(0, told.pos - 20) :]),
        }
        return Record(line + told.lineno - 1, fault=Fault(line + told.lineno - 1, "json", where))
    except RecursionError:
        return Record(line, fault=Fault(line, "depth", {"text": shown(data)}))
    except ValueError:
        return Record(line, fault=Fault(line, "number", {"text": shown(data)}))
    if strange:
        return Record(line, fault=Fault(line, "number", {"text": strange[0]}))
    return Record(line, value)


def _double_key(data: bytes, value: dict[str, Any]) -> str:
    """Return a key that an object has twice at its top; a reader would silently take the last."""
    if len(value) > 64 or not any(data.count(b'"%s"' % k.encode()) > 1 for k in value):
        return ""
    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in items]
        found.append(next((k for k in keys if keys.count(k) > 1), ""))
        return dict(items[:0])

    try:
        json.loads(data, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return ""
    return found[-1] if found else ""


def _depth(data: bytes) -> int:
    deepest = depth = 0
    for token in _TOKEN.finditer(data):
        if token[0] in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
            if deepest > MAX_DEPTH:
                break
        elif token[0] in (b"}", b"]"):
            depth -= 1
    return deepest


def _is_scalar(data: bytes) -> bool:
    try:
        json.loads(data.rstrip(b","))
    except (ValueError, RecursionError):
        return False
    return True
