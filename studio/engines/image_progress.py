"""How far an image editor is, and its curves: from its log and from what its jobs leave."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.engines.engine import Point, Progress
from studio.jobs.logs import last_lines
from studio.jobs.rundir import RunDir

MOST_JOBS = 900
"""Jobs whose figures are drawn, the newest."""
_LINES = 400
_CHOSEN = re.compile(r"^\d\d:\d\d:\d\d rung ([\w-]+): ")
_STANDS = re.compile(r"^\d\d:\d\d:\d\d rung ([\w-]+) stands after ([\d.]+) s")
_CURVES = (("step_s", "s/step"), ("encode_s", "encode (s)"), ("total_s", "picture (s)"))


def loading(run: RunDir) -> Progress | None:
    """Return how far loading is, against the seconds that were planned; None once it stands."""
    rung = ""
    for line in last_lines(run.log, _LINES):
        if _STANDS.match(line):
            rung = ""
        elif found := _CHOSEN.match(line):
            rung = found[1]
    seconds = _planned(run, rung) if rung else 0.0
    if not seconds:
        return None
    gone = max(0.0, time.time() - run.spec().created_at)
    left = max(0.0, seconds - gone)
    return Progress(min(gone, seconds), seconds, f"loading on rung {rung}", left or None)


def pictures(run: RunDir) -> Iterator[Point]:
    """Yield the seconds of every finished job, over the seconds since the run was made."""
    begin = run.spec().created_at
    for path in sorted(run.artifacts.glob("jobs/*/done.json"))[-MOST_JOBS:]:
        told = _read(path)
        if told.get("state") != "done":
            continue
        at = round(path.stat().st_mtime - begin, 1)
        timings = told.get("timings") or {}
        for key, name in _CURVES:
            if isinstance(value := timings.get(key), int | float):
                yield Point(name, at, float(value))


def _planned(run: RunDir, rung: str) -> float:
    rows = (run.plan() or {}).get("rungs") or ()
    return next((float(row["load_s"]) for row in rows if row.get("name") == rung), 0.0)


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
