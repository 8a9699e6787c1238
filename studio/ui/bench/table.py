"""The table of everything measured: filtered, sorted, a page at a time, as plain values.

    Tables(studio).answer("zh", Asked(text="7b", by="points", sort="ttft_p90_ms"))

A row stands for a point, or for a folder of results with the range its points cover. The browser
(`assets/js/benchtable.js`) draws what comes back and keeps what was asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.bench.point import Point
from studio.bench.saved import Results
from studio.core.errors import NotFound
from studio.ui.bench import words
from studio.ui.i18n import say

if TYPE_CHECKING:
    from studio.studio import Studio

PAGE_ROWS = 100
MOST_ROWS = 500
MOST_COLUMNS = 14
SHOWN_FIRST = 5
"""Figures that are columns until somebody chooses others."""
USUAL = (
    "output_throughput",
    "ttft_p90_ms",
    "tpot_p90_ms",
    "tokens_per_s",
    "peak_card_gib",
    "picture_s",
    "score",
    "win_rate",
    "e2el_p90_ms",
    "goodput_share",
    "samples_per_s",
    "loss_last",
    "step_s",
    "memory_gib",
    "energy_per_token_j",
)
"""Figures worth a column before anybody chose: the first of them that there are, some of each
kind of measurement before more of one."""
FILTERS = ("model", "server", "study", "engine", "status", "kind")
MOST_COUNTED = 5000
COUNTED = ("figures", "conditions")
CONDITIONS = ("input_len", "output_len", "concurrency", "request_rate")
"""What the condition is sorted by."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the browser, or a script, wants to see."""

    by: str = "folders"
    """`folders` or `points`."""
    text: str = ""
    since: float | None = None
    until: float | None = None
    wanted: Mapping[str, str] = field(default_factory=dict)
    """Filters by name, of `FILTERS`, and `results`: the name of a folder."""
    sort: str = "at"
    """`at`, `name`, `model`, `server`, `points`, `condition`, `status`, or a column."""
    desc: bool = True
    offset: int = 0
    limit: int = PAGE_ROWS
    columns: Sequence[str] = ()
    """Figures or keys of the condition; empty takes the usual ones that there are."""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Asked:
        """Read the query of an address; what makes no sense there is left out."""
        columns = tuple(name for name in query.get("columns", "").split(",") if name)
        return cls(
            by="points" if query.get("by") == "points" else "folders",
            text=query.get("find", ""),
            since=_number(query.get("since")),
            until=_number(query.get("until")),
            wanted={name: query[name] for name in (*FILTERS, "results") if query.get(name)},
            sort=query.get("sort") or "at",
            desc=query.get("desc", "1") != "0",
            offset=max(0, int(_number(query.get("offset")) or 0)),
            limit=min(MOST_ROWS, max(1, int(_number(query.get("limit")) or PAGE_ROWS))),
            columns=columns[:MOST_COLUMNS],
        )


class Tables:
    """Makes tables of what is saved."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._counted: dict[str, tuple[Results, dict[str, Counter[str]]]] = {}
        """What each folder holds, counted once for as long as it does not change."""

    def points(self, asked: Asked) -> list[Point]:
        """Return the points that fit, sorted."""
        found = self._fitting(asked)
        return _sorted(found, lambda point: _key(point, asked.sort), asked.desc)

    def folders(
        self, asked: Asked, among: Sequence[Results] | None = None
    ) -> list[tuple[Results, list[Point]]]:
        """Return the folders of the points that fit, each with these points, sorted.

        A folder that has no points yet is found by its name and model. `among` are the folders
        there are, for who has just looked.
        """
        grouped: dict[str, list[Point]] = {}
        for point in self._fitting(asked):
            grouped.setdefault(point.results, []).append(point)
        pairs = [
            (results, grouped.get(results.name, []))
            for results in (self._studio.saved.folders() if among is None else among)
            if results.name in grouped or (not results.points and _fits_empty(results, asked))
        ]
        return _sorted(pairs, lambda pair: _folder_key(pair[0], pair[1], asked.sort), asked.desc)

    def answer(self, lang: str, asked: Asked, *, choices: bool = False) -> dict[str, Any]:
        """Return a page of the table: columns, rows, and how many there are.

        With `choices` also what can be filtered for and which columns there are.
        """
        there = self._studio.saved.folders()
        names = {results.name: results.title(lang) for results in there}
        if asked.by == "points":
            points = self.points(asked)
            holding = {point.results for point in points}
            columns = list(asked.columns) or self._usual(r for r in there if r.name in holding)
            page = points[asked.offset : asked.offset + asked.limit]
            rows = [_point_row(lang, point, names, columns) for point in page]
            total, num_points = len(points), len(points)
        else:
            pairs = self.folders(asked, there)
            num_points = sum(len(points) for _, points in pairs)
            columns = list(asked.columns) or self._usual(results for results, _ in pairs)
            shown = pairs[asked.offset : asked.offset + asked.limit]
            rows = [_folder_row(lang, results, points, columns) for results, points in shown]
            total = len(pairs)
        answer: dict[str, Any] = {
            "by": asked.by,
            "columns": [_head(lang, name) for name in columns],
            "rows": rows,
            "total": total,
            "points": num_points,
            "offset": asked.offset,
            "saved": len(names),
        }
        if choices:
            answer["choices"] = self._choices(lang, there)
        return answer

    # inside -------------------------------------------------------------------------------------

    def _fitting(self, asked: Asked) -> list[Point]:
        wanted: dict[str, Any] = dict(asked.wanted)
        if "study" in wanted:  # the rows of a study, and what its cases wrote elsewhere
            study = wanted.pop("study")
            found = self._points(asked, wanted)
            return [point for point in found if study in (point.study, point.results)]
        return self._points(asked, wanted)

    def _points(self, asked: Asked, wanted: Mapping[str, Any]) -> list[Point]:
        return self._studio.saved.points(
            text=asked.text, since=asked.since, until=asked.until, **wanted
        )

    def _usual(self, folders: Iterable[Results]) -> list[str]:
        """Return the figures that are columns before anybody chose."""
        there: set[str] = set()
        for results in folders:
            there.update(self._count(results)["figures"])
        return usual(there)

    def _count(self, results: Results) -> dict[str, Counter[str]]:
        """Return how often each value of a filter, figure and condition is there in a folder."""
        known = self._counted.get(results.name)
        if known is not None and known[0] is results:
            return known[1]
        counts: dict[str, Counter[str]] = {name: Counter() for name in (*FILTERS, *COUNTED)}
        for point in results.points:
            for name in ("model", "server", "study", "engine", "status"):
                counts[name][getattr(point, name)] += 1
            counts["figures"].update(point.figures.keys())
            counts["conditions"].update(point.condition.keys())
        counts["kind"][results.about.kind] = len(results.points)
        if len(self._counted) > MOST_COUNTED:
            self._counted.clear()  # folders that were deleted are forgotten too
        self._counted[results.name] = (results, counts)
        return counts

    def _choices(self, lang: str, there: Sequence[Results]) -> dict[str, Any]:
        """Return the values of every filter with their counts, and the columns there are."""
        counts: dict[str, Counter[str]] = {name: Counter() for name in (*FILTERS, *COUNTED)}
        for results in there:
            for name, found in self._count(results).items():
                counts[name].update(found)
        columns = counts.pop("figures") + counts.pop("conditions")
        titles = {results.name: results.title(lang) for results in there}
        label = {
            "study": lambda value: titles.get(value, value),
            "status": lambda value: say(lang, f"bench.status.{value}"),
            "kind": lambda value: say(lang, f"bench.kind.{value}"),
        }
        return {
            "filters": {
                name: [
                    {"value": value, "label": label.get(name, words.short)(value), "count": count}
                    for value, count in sorted(found.items())
                    if value
                ]
                for name, found in counts.items()
            },
            "columns": [
                {**_head(lang, name), "count": columns[name]}
                for name in sorted(columns, key=words.rank)
            ],
        }


def usual(there: Collection[str]) -> list[str]:
    """Return the usual figures of those that are there, else the first of them."""
    found = [name for name in USUAL if name in there]
    return (found or sorted(there, key=words.rank))[:SHOWN_FIRST]


# rows -------------------------------------------------------------------------------------------


def _head(lang: str, name: str) -> dict[str, str]:
    return {
        "key": name,
        "label": words.label(lang, name),
        "unit": words.unit(lang, name),
        "defined": "1" if words.is_defined(name) else "",
    }


def _point_row(
    lang: str, point: Point, names: Mapping[str, str], columns: Sequence[str]
) -> dict[str, Any]:
    return {
        "key": f"{point.results}/{point.id}",
        "folder": point.results,
        "name": names.get(point.results, point.results),
        "case": point.case,
        "condition": words.condition(lang, point),
        "repeat": point.repeat,
        "model": words.short(point.model),
        "server": words.server(point),
        "at": round(point.at),
        "error": "" if point.done else (point.error or say(lang, "bench.status.failed")),
        "raw": point.raw,
        "cells": [words.shown(name, point.get(name)) for name in columns],
    }


def _folder_row(
    lang: str, results: Results, points: Sequence[Point], columns: Sequence[str]
) -> dict[str, Any]:
    done = [point for point in points if point.done]
    servers = dict.fromkeys(words.server(point) for point in points)
    models = dict.fromkeys(point.model for point in points if point.model)
    return {
        "key": results.name,
        "folder": results.name,
        "name": results.title(lang),
        "kind": results.about.kind,
        "kind_label": say(lang, f"bench.kind.{results.about.kind}"),
        "case": results.about.case,
        "model": ", ".join(map(words.short, models or results.models)),
        "server": ", ".join(name for name in servers if name),
        "points": len(points),
        "failed": len(points) - len(done),
        "at": round(results.created_at),
        "cells": [_range(name, done) for name in columns],
    }


def _range(name: str, points: Iterable[Point]) -> str:
    """Return the values of a column over a folder: one, or the lowest and the highest."""
    values = [value for point in points if (value := point.get(name)) is not None]
    numbers = [value for value in values if isinstance(value, (int, float))]
    if not numbers:
        texts = list(dict.fromkeys(map(str, values)))
        return ", ".join(texts[:2]) + (" …" if len(texts) > 2 else "")
    low, high = words.shown(name, min(numbers)), words.shown(name, max(numbers))
    return low if low == high else f"{low} – {high}"


# order ------------------------------------------------------------------------------------------


def _sorted(rows: Sequence[Any], key: Callable[[Any], Any], desc: bool) -> list[Any]:
    """Sort rows; those that have no value come last, whichever way.

    Makes no pair or tuple for a row: ten thousand of them at every key that is typed would call
    for Python's garbage collector, which takes longer than the sorting.
    """
    keys = [key(row) for row in rows]
    known = [number for number, value in enumerate(keys) if value is not None and value != ""]
    try:
        known.sort(key=keys.__getitem__, reverse=desc)
    except TypeError:  # numbers beside texts
        known.sort(key=lambda number: str(keys[number]).lower(), reverse=desc)
    there = set(known)
    last = [row for number, row in enumerate(rows) if number not in there]
    return [*(rows[number] for number in known), *last]


def _key(point: Point, sort: str) -> Any:
    if sort == "name":
        return point.results.lower()
    if sort == "condition":
        return tuple(point.condition.get(name) or -1 for name in CONDITIONS)
    if sort == "server":
        return words.server(point).lower()
    value = point.get(sort)
    return value.lower() if isinstance(value, str) else value


def _folder_key(results: Results, points: Sequence[Point], sort: str) -> Any:
    if sort == "at":
        return results.created_at
    if sort == "points":
        return len(points)
    if sort in ("name", "kind"):
        return (results.name if sort == "name" else results.about.kind).lower()
    if sort == "model":
        return ", ".join(results.models).lower()
    known = [v for p in points if p.done and (v := _key(p, sort)) not in (None, "")]
    if not known:
        return None
    try:
        return min(known) if words.lower_is_better(sort) else max(known)
    except TypeError:  # numbers beside texts
        return str(known[0])


def _fits_empty(results: Results, asked: Asked) -> bool:
    """Tell whether a folder without points fits: nothing is known of it but its beginning."""
    about = results.about
    told = {"model": about.model, "study": about.study, "kind": about.kind}
    told["results"] = results.name
    if any(told.get(name) != value for name, value in asked.wanted.items()):
        return False
    if asked.since is not None and results.created_at < asked.since:
        return False
    if asked.until is not None and results.created_at > asked.until:
        return False
    titles = " ".join((about.title or {}).values())
    found = f"{results.name} {about.model} {titles} {about.case}".lower()
    return all(term in found for term in asked.text.lower().split())


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def find_points(studio: Studio, keys: Iterable[str]) -> list[Point]:
    """Return points by `folder/id`, or all of a folder by its name; raise NotFound."""
    found: list[Point] = []
    for key in dict.fromkeys(keys):
        folder, _, ident = key.partition("/")
        points = studio.saved.get(folder).points
        chosen = [point for point in points if not ident or point.id == ident]
        if ident and not chosen:
            raise NotFound(f"There is no point {ident} in {folder}.")
        found.extend(chosen)
    return found
