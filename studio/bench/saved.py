"""Everything that was ever measured, on disk: a folder of results each, read through a cache.

home/bench/<model or study>_<YYYYMMDD-HHMMSS>/
    about.json      what, where, with which settings; written first
    points.jsonl    one line per point that is done or has failed
    points/<id>.json  the tool's own JSON, untouched
    verdict.json    what a study came to
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from studio.bench.point import POINTS, Point, read_points, reader
from studio.bench.untold import told
from studio.core.errors import NotFound, RunBusy
from studio.core.spec import Frozen
from studio.jobs.shim.files import replace_json

ABOUT, VERDICT = "about.json", "verdict.json"
_STAMP = re.compile(r"_(\d{8}-\d{6})(?:-\d+)?$")
_NAME = re.compile(r"[^\s/\\.][^/\\]{0,200}")


class About(Frozen):
    """`about.json`: what was measured, where, with which settings. Written before anything else."""

    v: int = 1
    kind: Literal["load", "study", "quality"] = "load"
    name: str = ""
    title: dict[str, str] | None = None
    """`en` and `zh`; None where the name says enough."""
    model: str = ""
    run: str = ""
    """The run that writes it."""
    created_at: float = 0.0
    server: dict[str, Any] | None = None
    environment: dict[str, Any] = Field(default_factory=dict)
    """python, os, cpu, cores, host_memory_bytes, cards (names), driver, versions."""
    command: str = ""
    """How to measure it again, as one line of shell."""
    settings: dict[str, Any] = Field(default_factory=dict)
    study: str = ""
    """Folder of results of the study it belongs to."""
    case: str = ""


@dataclass(frozen=True)
class Results:
    """A folder of results as it was at the last look."""

    name: str
    folder: Path
    about: About
    points: tuple[Point, ...]
    verdict: dict[str, Any] | None = None

    @cached_property
    def num_failed(self) -> int:
        """Points that failed."""
        return sum(not point.done for point in self.points)

    @property
    def num_points(self) -> int:
        """Points that are done or failed."""
        return len(self.points)

    @property
    def created_at(self) -> float:
        """Unix seconds: as told, else as the folder's name says, else 0."""
        return self.about.created_at or _stamped(self.name)

    @cached_property
    def ended_at(self) -> float:
        """Unix seconds of the last point; the beginning while there is none."""
        return max((point.at for point in self.points), default=self.created_at)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Models measured, in order of appearance."""
        told = (self.about.model, *(point.model for point in self.points))
        return tuple(dict.fromkeys(model for model in told if model))

    def title(self, lang: str) -> str:
        """Return the title in one language; the name without one."""
        titles = self.about.title or {}
        return titles.get(lang) or titles.get("en") or self.about.name or self.name

    def summary(self) -> dict[str, Any]:
        """Return plain values for `--json`, lists and scripts."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            **self.about.model_dump(mode="json", exclude={"v", "name"}),
            "created_at": self.created_at,
            "ended_at": self.ended_at,
            "num_points": self.num_points,
            "num_failed": self.num_failed,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class _Seen:
    """One folder in the cache, with the marks of the files it was read from."""

    marks: tuple[Any, ...]
    results: Results
    words: tuple[str, ...]
    """What a text search looks at, one for every point."""


class Saved:
    """The folders of results of one home. Looks are cheap: a file is read again when it changed."""

    def __init__(self, root: Path, writer: Callable[[Results], str] = lambda results: "") -> None:
        self.root = root
        self.writer = writer
        """Tells the id of the run that is at work on results, or about to be; empty for none."""
        self._seen: dict[str, _Seen] = {}
        self._lock = threading.Lock()

    def folders(self) -> list[Results]:
        """Return every folder of results, newest first."""
        return [seen.results for seen in self._look()]

    def get(self, name: str) -> Results:
        """Return one folder by its name, or by enough of its beginning; raise NotFound."""
        if _NAME.fullmatch(name):
            found = [item for item in self.folders() if item.name.startswith(name)]
            exact = [item for item in found if item.name == name]
            if exact or len(found) == 1:
                return (exact or found)[0]
            if name and found:
                raise NotFound(
                    f"{len(found)} results begin with {name}.",
                    hint=f"Write more of the name: {', '.join(i.name for i in found[:3])} ...",
                )
        raise NotFound(f"There are no results called {name}.", hint="`bench ls` lists the folders.")

    def family(self, name: str) -> list[Results]:
        """Return a folder and, when it is a study's, those that its cases wrote, oldest first."""
        whole = self.get(name)
        cases = [item for item in self.folders() if item.about.study == whole.name]
        return [whole, *sorted(cases, key=lambda item: item.created_at)]

    def points(
        self,
        *,
        results: str | Collection[str] | None = None,
        kind: str | Collection[str] | None = None,
        text: str = "",
        since: float | None = None,
        until: float | None = None,
        **wanted: Any,
    ) -> list[Point]:
        """Return the points that fit every filter; newest folder first, each in its own order.

        `results` are names of folders, `kind` of them is load, study or quality, `text` are words
        that all occur in folder, model, server, study, case or condition, `since` and `until` are
        unix seconds. Any other name is a field of `Point` or a key of its condition; a collection
        as value means any of them, a None is no filter.
        """
        asked = {name: value for name, value in wanted.items() if value is not None}
        terms = text.lower().split()
        found: list[Point] = []
        for seen in self._look():
            if not _fits(seen.results.name, results) or not _fits(seen.results.about.kind, kind):
                continue
            rows: Iterable[Point] = seen.results.points
            if terms:
                both = zip(seen.results.points, seen.words, strict=True)
                rows = [point for point, words in both if all(term in words for term in terms)]
            if since is not None:
                rows = [point for point in rows if point.at >= since]
            if until is not None:
                rows = [point for point in rows if point.at <= until]
            for name, value in asked.items():
                read = reader(name)
                rows = [point for point in rows if _fits(read(point), value)]
            found.extend(rows)
        return found

    def values(self, name: str) -> list[Any]:
        """Return the different values that a field or condition has, sorted, for a filter."""
        read = reader(name)
        found = {read(point) for seen in self._look() for point in seen.results.points}
        return sorted((value for value in found if value not in (None, "")), key=_order)

    def begin(self, about: About) -> Path:
        """Make the folder of new results, `about.json` in it, and return it."""
        made = about.created_at or time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(made))
        head = f"{folder_name(about.name or about.model)}_{stamp}"
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.root / (f"{head}-{n}" if n else head) for n in range(1000)):
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            whole = about.model_copy(update={"created_at": made})
            replace_json(folder / ABOUT, whole.model_dump(mode="json"))
            return folder
        raise RunBusy(f"A thousand folders of {stamp} are there already.", hint="Wait a second.")

    def delete(self, name: str) -> None:
        """Remove a folder of results; raise NotFound, or RunBusy while its run is at work."""
        found = self.get(name)
        if found.name != name:
            raise NotFound(
                f"There are no results called {name}.", hint=f"Is it {found.name} that you mean?"
            )
        if run := self.writer(found):
            raise RunBusy(f"Run {run} is still writing {name}.", hint="Stop it first, or wait.")
        shutil.rmtree(found.folder)

    def _look(self) -> list[_Seen]:
        """Read what changed since the last look, newest folder first."""
        with self._lock:
            self._seen = {entry.name: self._one(entry) for entry in self._entries()}
            return sorted(
                self._seen.values(),
                key=lambda seen: (seen.results.created_at, seen.results.name),
                reverse=True,
            )

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root) as entries:
                return [e for e in entries if not e.name.startswith(".") and e.is_dir()]
        except FileNotFoundError:
            return []

    def _one(self, entry: os.DirEntry[str]) -> _Seen:
        marks = tuple(_mark(f"{entry.path}/{file}") for file in (ABOUT, POINTS, VERDICT))
        known = self._seen.get(entry.name)
        if known is not None and known.marks == marks:
            return known
        folder = Path(entry.path)
        old = known.marks if known else (None, None, None)
        same = known is not None and old[1] == marks[1]
        points = known.results.points if known and same else None
        if points is None:
            points = tuple(map(told, read_points(folder / POINTS, entry.name)))
        found = Results(
            entry.name,
            folder,
            _about(folder),
            points,
            _json(folder / VERDICT) if marks[2] else None,
        )
        return _Seen(marks, found, tuple(_words(found, point) for point in points))


def folder_name(text: str) -> str:
    """Return a name as it may stand in a folder's name: `Qwen/Qwen2.5-7B` is `Qwen2.5-7B`."""
    last = text.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^\w.+=-]+", "-", last).strip("-.")[:80] or "results"


def _about(folder: Path) -> About:
    """Read `about.json`; where it is lost or torn, a study is still told by its question."""
    try:
        found = _json(folder / ABOUT)
        if found:
            return About.model_validate(found)
    except ValidationError:
        pass
    name = _STAMP.sub("", folder.name)
    question = _json(folder / "study.json")
    if question is None:
        return About(name=name)
    told = {key: question[key] for key in ("title", "settings") if question.get(key)}
    try:
        return About.model_validate({"kind": "study", "name": name, **told})
    except ValidationError:
        return About(kind="study", name=name)


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _mark(path: str) -> tuple[int, int, int] | None:
    """Return what changes when a file does; None when there is no file."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _words(results: Results, point: Point) -> str:
    parts = (
        results.name,
        *(results.about.title or {}).values(),
        point.model,
        point.server,
        point.study,
        point.case,
        point.engine,
        point.card_name,
        point.id,
        *(str(value) for value in point.condition.values() if isinstance(value, str)),
    )
    return "\n".join(parts).lower()


def _fits(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, Collection) and not isinstance(wanted, str):
        return value in wanted
    return value == wanted


def _stamped(name: str) -> float:
    found = _STAMP.search(name)
    if not found:
        return 0.0
    try:
        return time.mktime(time.strptime(found.group(1), "%Y%m%d-%H%M%S"))
    except ValueError:
        return 0.0


def _order(value: Any) -> tuple[bool, Any]:
    return (True, str(value)) if isinstance(value, str) else (False, value)
