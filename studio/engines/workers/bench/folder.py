"""The folder of results: about.json first, then a line for every point, nothing ever changed.

Points are plain dictionaries of the shape that `studio/bench/point.py` reads; that package is not
there in an engine's environment.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ABOUT, POINTS, RAW = "about.json", "points.jsonl", "points"


class Busy(Exception):
    """Another sweep writes the same folder."""


class Torn(Exception):
    """Earlier results do not say what they are."""


class Folder:
    """One folder of results, held by this process alone while it measures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / RAW).mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(path / ".sweep.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise Busy(f"another sweep is writing {path}") from None

    def close(self) -> None:
        """Let others write here again."""
        os.close(self._lock)

    def raw(self, ident: str) -> Path:
        """Return where the tool's own JSON of a point goes."""
        return self.path / RAW / f"{ident}.json"

    def append(self, point: Mapping[str, Any]) -> None:
        """Write a point in one piece that is on the disk when this returns."""
        line = json.dumps(point, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        file = os.open(self.path / POINTS, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(file).st_size
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # close what an earlier crash left torn
            os.write(file, line)
            os.fsync(file)
        finally:
            os.close(file)

    def seconds_done(self) -> dict[str, float]:
        """Return the points that are done, each with the seconds it took."""
        found: dict[str, float] = {}
        for row in read_rows(self.path / POINTS):
            if row.get("status") == "done":
                found[str(row["id"])] = float(row.get("seconds") or 0)
            else:
                found.pop(str(row.get("id")), None)
        return found


def begin(bench_dir: Path, about: Mapping[str, Any]) -> Folder:
    """Make a new folder named after the model and the time, `about.json` in it."""
    bench_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(about["created_at"]))
    head = f"{folder_name(about['model'])}_{stamp}"
    for number in range(1000):
        path = bench_dir / (f"{head}-{number}" if number else head)
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        folder = Folder(path)
        write_json(path / ABOUT, about)
        return folder
    raise Busy(f"a thousand folders called {head} are there already")


def go_on(bench_dir: Path, results: str, run: str) -> tuple[Folder, dict[str, Any]]:
    """Open a folder of earlier results and note who goes on with it; return its `about` too."""
    path = Path(bench_dir, results)
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
        about["settings"].get("seed")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Torn(f"{path / ABOUT} is torn, so nobody can tell what was measured there") from None
    folder = Folder(path)
    if run and run != about.get("run"):
        about["runs"] = [*(about.get("runs") or [about.get("run", "")]), run]
        about["run"] = run
        write_json(path / ABOUT, about)
    return folder, about


def earlier_sweeps(bench_dir: Path, base_url: str, server_run: str) -> int:
    """Return how many sweeps of this very server have left results."""
    count = 0
    for path in bench_dir.glob(f"*/{ABOUT}"):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            settings = about.get("settings") or {}
            same = settings.get("base_url") == base_url
            count += same and (settings.get("server_run") or "") == server_run
        except (OSError, ValueError, AttributeError):
            continue
    return count


def folder_name(text: str) -> str:
    """Return a name as it may stand in a folder's name: `Qwen/Qwen2.5-7B` is `Qwen2.5-7B`."""
    last = text.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+=-]+", "-", last).strip("-.")[:80] or "results"


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file; what is torn or foreign is left out."""
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return rows
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "id" in row:
            rows.append(row)
    return rows


def write_json(path: Path, value: object) -> None:
    """Replace a whole file; a reader sees the old one or the new one."""
    half = path.with_name(f".{path.name}.half")
    half.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    half.replace(path)
