"""Read what uv draws on a terminal: how many packages are ready, what is being downloaded.

uv shows its progress to terminals only, so it is given one (a pty) and this turns the redrawn
lines back into facts, and into a log that a person can read.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PREPARING = re.compile(r"Preparing packages\.\.\. \((\d+)/(\d+)\)")
_INSTALLING = re.compile(r"[█░]+ \[(\d+)/(\d+)\]")
_DOWNLOAD = re.compile(r"([A-Za-z0-9][\w.-]*) +-* +([\d.]+) ([KMG]?i?B)/([\d.]+) ([KMG]?i?B)")
_BUILDING = re.compile(r"Building ([^=\s]+)")
_DRAWN = re.compile(r"[\u2800-\u28ff█░]")
_CHANGE = re.compile(r"^[+~-] \S+")
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

WORTH_TELLING_BYTES = 5 * 2**20


class UvScreen:
    """The state of one uv command, worked out from its output."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = ""
        self.lines: list[str] = []
        """Lines that were written rather than drawn."""
        self.ready = 0
        self.total = 0
        self.linked = 0
        self.to_link = 0
        self.downloads: dict[str, tuple[int, int]] = {}
        """Bytes done and total of every package seen downloading."""
        self._current: list[str] = []
        self._building = ""

    @property
    def bytes_done(self) -> int:
        """Bytes downloaded so far; what is no longer drawn has come to its end."""
        return sum(
            done if name in self._current else total
            for name, (done, total) in self.downloads.items()
        )

    @property
    def share(self) -> float:
        """How much of the downloading and preparing is done, 0 to 1.

        Half by packages that are ready, half by the bytes of the downloads known so far; by
        packages alone while nothing has to be downloaded.
        """
        if self.to_link:
            return 1.0
        packages = self.ready / self.total if self.total else 0.0
        size = sum(total for _, total in self.downloads.values())
        return (packages + self.bytes_done / size) / 2 if size else packages

    @property
    def text(self) -> str:
        """One line about the present moment."""
        if self.to_link:
            return f"{self.linked} of {self.to_link} packages put in place"
        if not self.total:
            return "asking the index"
        text = f"{self.ready} of {self.total} packages"
        begun = [(name, *self.downloads[name]) for name in self._current]
        if begun:
            name, done, total = max(begun, key=lambda item: item[2])
            text += f", {name} {done / 2**20:.0f} of {total / 2**20:.0f} MiB"
        elif self._building:
            text += f", building {self._building}"
        return text

    def feed(self, chunk: str) -> None:
        """Take in the next piece of output, wherever it was cut."""
        text = self._rest + chunk
        cut = max(text.rfind("\n"), text.rfind("\r")) + 1
        self._rest = text[cut:]
        for line in re.split(r"[\r\n]+", text[:cut]):
            self._line(_ESCAPES.sub("", line).strip())

    def close(self) -> None:
        """Take in what is left when uv has ended."""
        self.feed("\n")
        self._current = []

    def _line(self, line: str) -> None:
        if not line:
            return
        if found := _PREPARING.search(line):
            self.ready, self.total = int(found[1]), int(found[2])
            building = _BUILDING.search(line)
            self._building = building[1] if building else ""
            self._downloads(line[found.end() :])
        elif found := _INSTALLING.search(line):
            self.linked, self.to_link = int(found[1]), int(found[2])
        elif _DOWNLOAD.match(line):
            self._downloads(line)
        elif not _DRAWN.search(line):
            self._written(line)

    def _written(self, line: str) -> None:
        self.lines.append(line)
        if not _CHANGE.match(line):
            self._say(line)

    def _downloads(self, drawn: str) -> None:
        self._current = []
        for name, done, unit, total, total_unit in _DOWNLOAD.findall(drawn):
            size = int(float(total) * _BYTES[total_unit])
            if name not in self.downloads and size >= WORTH_TELLING_BYTES:
                self._say(f"downloading {name} ({size / 2**20:.0f} MiB)")
            self.downloads[name] = (int(float(done) * _BYTES[unit]), size)
            self._current.append(name)
