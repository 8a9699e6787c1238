"""Which folders of results a chart draws, in which order, and what their cases are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from studio.bench.point import Point
from studio.bench.saved import Results, Saved
from studio.core.errors import NotFound
from studio.studies.record import Record


def folders(saved: Saved, names: Iterable[str]) -> list[Results]:
    """Return these folders, a study's with those of its cases in the study's order.

    Without names all folders there are, oldest first. Raise NotFound.
    """
    wanted = [name for name in names if name]
    if not wanted:
        return saved.folders()[::-1]
    found: dict[str, Results] = {}
    for name in wanted:
        whole, *cases = saved.family(name)
        order = [cell.get("name") for cell in study_of(whole).get("cells", ())]
        cases.sort(key=lambda item: _place(order, item.about.case))
        found |= {item.name: item for item in (whole, *cases)}
    return list(found.values())


def points_of(
    found: Sequence[Results], *, cases: Iterable[str] = (), model: str = ""
) -> list[Point]:
    """Return the points of folders in the order of their cases, of some cases or one model."""
    only = {case for case in cases if case}
    order = [cell.get("name") for item in found for cell in study_of(item).get("cells", ())]
    points = [
        point
        for item in found
        for point in item.points
        if (not only or point.case in only) and (not model or point.model == model)
    ]
    return sorted(points, key=lambda point: _place(order, point.case)) if order else points


def titles(found: Iterable[Results], lang: str) -> dict[str, str]:
    """Return what cases and folders of results are called, where they say so."""
    named: dict[str, str] = {}
    for item in found:
        told = item.about.title or {}
        if told and not item.about.case:
            named[item.name] = item.title(lang)
        elif told:
            named[item.about.case] = item.title(lang)
        for cell in study_of(item).get("cells", ()):
            title = cell.get("title") or {}
            text = title.get(lang) or title.get("en") if isinstance(title, Mapping) else ""
            if text:
                named[cell["name"]] = text
    return named


def study_of(item: Results) -> dict[str, Any]:
    """Return a study's frozen question; empty for folders that are no study."""
    if item.about.kind != "study":
        return {}
    try:
        return Record(item.folder).study()
    except NotFound:
        return {}


def _place(order: Sequence[Any], case: str) -> int:
    return order.index(case) if case in order else len(order)
