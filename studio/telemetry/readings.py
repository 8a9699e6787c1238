"""A server's readings as its supervisor keeps them: rows of changes unrolled, and the last minutes.

`studio.jobs.shim.scrape` writes `served.jsonl`; what the figures mean is in `serving`.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from studio.jobs.logs import read_from
from studio.jobs.shim.figures import Value, only_grows

KEPT_S = 660.0
"""How far back a tail remembers."""
TAIL_BYTES = 2**20
LARGE_BYTES = 4 * 2**20
"""Size from which a whole file is read by its full rows alone, one every five minutes."""


class Reading(NamedTuple):
    """All figures at one moment; counters have gone on growing since the first row."""

    at: float
    values: Mapping[str, Value]
    moved: bool = True
    """False when nothing had changed since the reading before."""


class Unroller:
    """Turns rows, which hold changes, into readings, which hold everything."""

    def __init__(self) -> None:
        self._raw: dict[str, Value] = {}
        self._before: dict[tuple[str, str], float] = {}
        """What counters had reached when they started over, by figure and bucket."""
        self._begun = False

    def feed(self, row: Mapping[str, Any]) -> Reading | None:
        """Return the reading after a row; None until the first full row has come."""
        values: dict[str, Value] = row["values"]
        if row.get("full"):
            self._start_over(values)
            self._raw, self._begun = values, True
        elif not self._begun:
            return None
        else:
            self._raw = {**self._raw, **{k: self._merged(k, v) for k, v in values.items()}}
        return Reading(row["at"], self._grown() if self._before else self._raw, bool(values))

    def _merged(self, key: str, value: Value) -> Value:
        known = self._raw.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            return {**known, **value}
        return value

    def _start_over(self, fresh: Mapping[str, Value]) -> None:
        """Remember what fell, so that it is added from now on."""
        for key, old in self._raw.items():
            if not only_grows(key):
                continue
            new = fresh.get(key, {} if isinstance(old, dict) else 0)
            if isinstance(old, dict) and isinstance(new, dict):
                if sum(new.values()) < sum(old.values()):
                    for bound, count in old.items():
                        self._keep(key, bound, count)
            elif not isinstance(old, dict) and not isinstance(new, dict) and new < old:
                self._keep(key, "", old)

    def _keep(self, key: str, bound: str, amount: float) -> None:
        self._before[key, bound] = self._before.get((key, bound), 0) + amount

    def _grown(self) -> dict[str, Value]:
        grown: dict[str, Value] = {}
        for key, value in self._raw.items():
            if isinstance(value, dict):
                added = {bound: self._before.get((key, bound), 0) for bound in value}
                grown[key] = {bound: n + added[bound] for bound, n in value.items()}
            else:
                grown[key] = value + self._before.get((key, ""), 0)
        for key, bound in self._before:
            if not bound:
                grown.setdefault(key, self._before[key, ""])
        return grown


class Tail:
    """The last minutes of a `served.jsonl` in memory; every look reads only what is new."""

    def __init__(self, path: Path, *, kept_s: float = KEPT_S) -> None:
        self._path = path
        self._kept_s = kept_s
        self._unroller = Unroller()
        self._readings: deque[Reading] = deque()
        self._offset: int | None = None
        self._lock = threading.Lock()

    def readings(self) -> list[Reading]:
        """Return what is known, oldest first."""
        with self._lock:
            while self._read_on():
                pass
            return list(self._readings)

    def _read_on(self) -> bool:
        """Take in the next rows; return whether there may be more."""
        begin = -TAIL_BYTES if self._offset is None else self._offset
        chunk = read_from(self._path, begin)
        if chunk.size == 0:
            return False
        whole = chunk.text[: chunk.text.rfind("\n") + 1]
        self._offset = chunk.offset - len(chunk.text[len(whole) :].encode())
        for row in _rows(whole.splitlines()):
            reading = self._unroller.feed(row)
            if reading is not None:
                self._readings.append(reading)
        oldest = self._readings[-1].at - self._kept_s if self._readings else 0
        while len(self._readings) > 2 and self._readings[1].at < oldest:
            self._readings.popleft()
        return bool(whole) and self._offset < chunk.size


class Tails:
    """The tails of the servers somebody looks at."""

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._tails: dict[Path, Tail] = {}
        self._lock = threading.Lock()

    def readings(self, path: Path) -> list[Reading]:
        """Return the last minutes of one file."""
        with self._lock:
            tail = self._tails.pop(path, None) or Tail(path)
            self._tails[path] = tail  # the one looked at last comes last
            while len(self._tails) > self._most:
                del self._tails[next(iter(self._tails))]
        return tail.readings()


def all_readings(path: Path) -> list[Reading]:
    """Return the readings of a whole file; of a large one, every five minutes."""
    if not path.exists():
        return []
    with open(path, "rb") as file:
        large = path.stat().st_size > LARGE_BYTES
        lines = (line for line in file if b'"full"' in line[:60]) if large else file
        unroller = Unroller()
        return [reading for row in _rows(lines) if (reading := unroller.feed(row))]


def _rows(lines: Iterable[str | bytes]) -> Iterator[dict[str, Any]]:
    """Yield rows; a half-written or foreign line is passed over."""
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("values"), dict):
            yield row
