"""Which rows were there before: 64-bit hashes, in memory first, in a temporary file beyond."""

from __future__ import annotations

import sqlite3

IN_MEMORY = 500_000


class Seen:
    """Remembers where each hash was met first. Memory stays bounded whatever the number."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._most = in_memory
        self._lines: dict[int, int] = {}
        self._file: sqlite3.Connection | None = None

    def first(self, key: bytes, line: int) -> int:
        """Return the line where an equal row stood before, or 0 and remember this one."""
        number = hash(key)
        before = self._lines.get(number)
        if before is not None:
            return before
        if len(self._lines) < self._most:
            self._lines[number] = line
            return 0
        if self._file is None:
            self._file = sqlite3.connect("")  # a nameless file that goes when it is closed
            self._file.execute("CREATE TABLE seen (hash INTEGER PRIMARY KEY, line INTEGER)")
        put = self._file.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (number, line))
        if put.rowcount:
            return 0
        found = self._file.execute("SELECT line FROM seen WHERE hash = ?", (number,)).fetchone()
        return int(found[0])

    def close(self) -> None:
        """Let the temporary file go."""
        if self._file is not None:
            self._file.close()
