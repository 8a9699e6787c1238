"""One measured point: a line of `points.jsonl`. Appended whole, read back without its torn end.

A point says what was measured (`figures`), under which condition (`condition`), on what (`model`,
`server`, `cards`) and how to do it again (`argv`, `seed`). The names of figures are those of
`studio.bench.definitions`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from sys import intern
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, PlainValidator, ValidationError

from studio.core.spec import Frozen

POINTS = "points.jsonl"
"""Name of the file in a folder of results."""

_PLAIN = {str, int, float, bool, type(None)}
MOST = 1e100
"""No measurement reaches it, and the square of anything below it is still a number."""
_log = logging.getLogger(__name__)


def _finite(given: Any) -> dict[str, int | float]:
    """Keep the finite numbers: what could not be measured is left out, never written as NaN."""
    if not isinstance(given, Mapping):
        raise ValueError("figures are a mapping of names to numbers")
    plain = set(map(type, given.values())) <= {int, float}
    if plain and sum(map(abs, given.values())) < MOST:  # a NaN is below nothing
        return dict(given)  # the usual case, ten thousand times at a first look
    return {
        name: value
        for name, value in given.items()
        if isinstance(value, (int, float)) and -MOST < value < MOST
    }


def _flat(given: Any) -> dict[str, Any]:
    """Keep a condition flat, so that conditions can be compared: anything deep becomes its text."""
    if not isinstance(given, Mapping):
        raise ValueError("a condition is a mapping of names to scalars")
    if set(map(type, given.values())) <= _PLAIN:
        return dict(given)
    return {
        name: value if value is None or isinstance(value, (str, int, float)) else str(value)
        for name, value in given.items()
    }


Numbers = Annotated[dict[str, int | float], PlainValidator(_finite)]
"""Finite numbers by name."""
Scalars = Annotated[dict[str, Any], PlainValidator(_flat)]
"""Texts, numbers, truths and None by name."""


class Point(Frozen):
    """What was measured once, under one condition. Never changed after it was written."""

    v: int = 1
    id: str
    """Stable within its folder (`in512-out128-c32-r0`), so that a resumed sweep knows it."""
    at: float = 0.0
    """Unix seconds at the end of the measurement."""
    seconds: float = 0.0
    status: Literal["done", "failed"] = "done"
    error: str = ""
    engine: str = ""
    """The tool that measured: `vllm-bench`, `guidellm`, `llamafactory-train`, `quality`, ..."""
    version: str = ""
    """The tool's version."""
    model: str = ""
    server: str = ""
    """What was measured: `vllm 0.26.0`, `transformers 5.6`."""
    server_run: str = ""
    endpoint: str = ""
    cards: int = 0
    card_name: str = ""
    study: str = ""
    """Folder of results of the study it belongs to."""
    case: str = ""
    repeat: int = 0
    seed: int | None = None
    condition: Scalars = Field(default_factory=dict)
    """`input_len`, `output_len`, `concurrency`, `request_rate`, `dataset`, ..."""
    figures: Numbers = Field(default_factory=dict)
    slo: Numbers = Field(default_factory=dict)
    """Limits that `goodput` counted with: `ttft_ms`, `tpot_ms`, `e2el_ms`."""
    raw: str = ""
    """The tool's own JSON, as a path within the folder; empty when there is none."""
    argv: tuple[str, ...] = ()
    results: str = Field(default="", exclude=True)
    """Folder of results that it was read from; not written."""

    @property
    def done(self) -> bool:
        """True when it was measured, False when it failed."""
        return self.status == "done"

    def get(self, name: str) -> Any:
        """Return a figure, a value of the condition, or a field by its name; None without one."""
        if name in self.figures:
            return self.figures[name]
        if name in self.condition:
            return self.condition[name]
        return getattr(self, name) if name in Point.model_fields else None


def reader(name: str) -> Callable[[Point], Any]:
    """Return what reads a field of points, else a key of their condition; quick, for many."""
    if name in Point.model_fields:
        return attrgetter(name)
    return lambda point: point.condition.get(name)


def append_point(folder: Path, point: Point) -> None:
    """Append a point to its folder; it is on the disk when this returns."""
    append_line(folder / POINTS, point.model_dump(mode="json"))


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append a row as JSON in one write that is on the disk when this returns.

    A line that an earlier crash left torn is closed first, so that it costs itself only.
    """
    line = orjson.dumps(row) + b"\n"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            line = b"\n" + line
        os.write(file, line)
        os.fsync(file)
    finally:
        os.close(file)


def read_points(path: Path, results: str = "") -> list[Point]:
    """Read the points of a file in the order they were first written.

    An id that is there twice counts once, as it was measured last. A torn or foreign line is left
    out. `results` is the name of the folder, handed on in every point.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    points: dict[str, Point] = {}
    for line in data.splitlines():
        point = _read(line, results) if line.strip() else None
        if point is not None:
            points[point.id] = point
    return list(points.values())


def _read(line: bytes, results: str) -> Point | None:
    try:
        row = orjson.loads(line)
        row["results"] = results
        row["argv"] = [intern(part) for part in row.get("argv") or ()]  # alike in all its points
        return Point.model_validate(row)
    except (ValueError, TypeError, ValidationError) as error:
        _log.debug("a line of %s is no point: %s", results, error)
        return None
