"""Two or more selections of points side by side, matched by condition, judged by their repeats.

The first group is the base. A row is one figure under one condition: the spread of every group and
the ratio of each to the base. Points of a group under the same condition are its repeats.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.bench.definitions import DEFINITIONS, HEADLINES, definition
from studio.bench.point import Point, reader
from studio.bench.said import Said
from studio.bench.spread import CONFIDENCE, Judged, Ratio, Spread, ratio, spread

LOAD_SIZES = ("num_prompts", "num_warmups", "prompts_per_user")
"""Conditions that say how long was measured, not what: never matched on unless asked for."""

MOST_VALUES = 6
"""Values of a condition that a sentence names, of each group."""

_FIELDS = ("case", "model", "server", "cards", "card_name", "engine")
"""Fields that set points apart as conditions do."""

Condition = tuple[tuple[str, Any], ...]
"""Names and values, sorted by name, so that conditions can be compared."""


@dataclass(frozen=True)
class Row:
    """One figure under one condition, in every group."""

    condition: dict[str, Any]
    metric: str
    spreads: dict[str, Spread]
    ratios: dict[str, Ratio | None]
    """Of each group but the base; None where the base is not above zero."""

    def judged(self, group: str) -> str:
        """Return the key of `measures.judged`: better or worse where that is known."""
        found = self.ratios[group]
        word = found.judged if found else Judged.UNKNOWN
        better = definition(self.metric).better
        if word not in (Judged.MORE, Judged.LESS) or not better:
            return str(word)
        return "better" if word == better else "worse"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and for the page."""
        return {
            "condition": self.condition,
            "metric": self.metric,
            "groups": {name: _spread_dict(found) for name, found in self.spreads.items()},
            "against_base": {
                name: {
                    "ratio": found.value if found else None,
                    "percent": found.percent if found else None,
                    "interval": list(found.interval) if found and found.interval else None,
                    "judged": self.judged(name),
                }
                for name, found in self.ratios.items()
            },
        }


@dataclass(frozen=True)
class Comparison:
    """What groups have in common, row by row, and what sets them apart."""

    groups: tuple[str, ...]
    rows: tuple[Row, ...]
    differs: dict[str, list[list[Any]]]
    """Conditions and fields in which the groups differ: the values of each group in turn."""
    num_conditions: int
    num_only: int
    """Conditions that at least one group lacks; they are in no row."""
    one_start: bool
    """True when all repeats of each group were measured in one start of its server."""
    nothing: tuple[Said, ...] = ()
    """Why there is no row: the conditions that keep the groups apart. Empty when there are rows."""

    @property
    def base(self) -> str:
        """The group that the others are compared with."""
        return self.groups[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Figures that the rows have, each once."""
        return tuple(dict.fromkeys(row.metric for row in self.rows))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and for the page."""
        return {
            "groups": list(self.groups),
            "base": self.base,
            "differs": self.differs,
            "num_conditions": self.num_conditions,
            "num_only": self.num_only,
            "rows": [row.as_dict() for row in self.rows],
            "said": [one.as_dict() for one in self.said()],
        }

    def said(self) -> list[Said]:
        """Return the comparison in sentences: what differs, then each figure of each group."""
        if not self.rows:
            return list(self.nothing) or [Said("measures.compare.nothing")]
        told: list[Said] = []
        if self.differs:
            told.append(Said("measures.compare.differs", {"names": list(self.differs)}))
        if self.num_only:
            counts = {"conditions": self.num_conditions, "only": self.num_only}
            told.append(Said("measures.compare.rows", counts))
        for group in self.groups[1:]:
            for metric in self.metrics:
                rows = [row for row in self.rows if row.metric == metric and row.ratios[group]]
                if rows:
                    told.append(self._one(metric, group, rows))
        tests = sum(
            1 for row in self.rows for found in row.ratios.values() if found and found.interval
        )
        chance = tests * (1 - CONFIDENCE)
        if chance >= 1:
            told.append(Said("measures.compare.chance", {"tests": tests, "chance": round(chance)}))
        if self.one_start and tests:
            told.append(Said("measures.compare.one_start"))
        return told

    def _one(self, metric: str, group: str, rows: list[Row]) -> Said:
        ratios = [found for row in rows if (found := row.ratios[group])]
        clear = [found for found in ratios if found.judged in (Judged.MORE, Judged.LESS)]
        ups = sum(found.judged is Judged.MORE for found in clear)
        downs = len(clear) - ups
        percents = [found.percent for found in clear or ratios]
        values: dict[str, Any] = {
            "group": group,
            "base": self.base,
            "metric": metric,
            "low": min(percents),
            "high": max(percents),
            "rows": len(rows),
            "clear": len(clear),
            "interval": ratios[0].interval if len(ratios) == 1 else None,
        }
        better = definition(metric).better
        if ups and downs:
            if not better:
                return Said("measures.compare.mixed_plain", {**values, "more": ups, "less": downs})
            good, bad = (ups, downs) if better == "more" else (downs, ups)
            return Said("measures.compare.mixed", {**values, "better": good, "worse": bad})
        if clear:
            word = "more" if ups else "less"
            if better:
                word = "better" if word == better else "worse"
            once = "_once" if len(clear) == 1 < len(rows) else ""
            return Said(f"measures.compare.{word}{once}", values)
        words = {found.judged for found in ratios}
        if words <= {Judged.EQUAL}:
            return Said("measures.compare.equal", values)
        if Judged.SMALL in words:
            return Said("measures.compare.small", values)
        return Said(
            f"measures.compare.{'unknown' if Judged.NOISE not in words else 'noise'}", values
        )


def compare(
    groups: Mapping[str, Iterable[Point]],
    *,
    metrics: Collection[str] | None = None,
    by: Collection[str] | None = None,
) -> Comparison:
    """Compare groups of points; the first is the base. Failed points are left out.

    `metrics` are the figures wanted, else the headlines that every group has. `by` are the names
    of conditions and fields that must agree. Without it they are the conditions that the groups
    share, and whatever changes within a group, so that only what is alike counts as a repeat; what
    is the same all through each group but differs between them (a ZeRO stage, the cards) is told
    as their difference instead. Raise ValueError with fewer than two groups.
    """
    if len(groups) < 2:
        raise ValueError("a comparison needs two groups")
    done = {name: [point for point in points if point.done] for name, points in groups.items()}
    matched = _matched(list(done.values())) if by is None else sorted(by)
    sorted_out = {name: _by_condition(points, matched) for name, points in done.items()}
    everywhere, somewhere = _conditions(sorted_out.values())
    wanted = tuple(metrics) if metrics is not None else _common_headlines(done.values())
    rows = [
        row
        for condition in everywhere
        for metric in wanted
        if (row := _row(condition, metric, sorted_out)) is not None
    ]
    differs = _differs(list(done.values()), matched)
    only = len(somewhere) - len(everywhere)
    starts = [{point.server_run for point in points} for points in done.values()]
    one_start = all(len(runs) == 1 and "" not in runs for runs in starts)
    nothing = () if rows else _apart(done, matched, bool(everywhere))
    return Comparison(
        tuple(groups), tuple(rows), differs, len(everywhere), only, one_start, nothing
    )


def group_by(points: Iterable[Point], name: str) -> dict[str, list[Point]]:
    """Sort points into groups by a field, condition or figure; those without it are left out."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        value = point.get(name)
        if value is not None and value != "":
            groups.setdefault(str(value), []).append(point)
    return groups


def repeats(
    points: Iterable[Point], names: Sequence[str], metric: str
) -> dict[tuple[Any, ...], Spread]:
    """Return a figure's spread over the repeats of each condition, by the values of `names`."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for point in points:
        if point.done and metric in point.figures:
            found.setdefault(tuple(point.get(n) for n in names), []).append(point.figures[metric])
    return {key: spread(values) for key, values in found.items()}


def _matched(groups: Sequence[Sequence[Point]]) -> list[str]:
    """Return the conditions that groups share, and the conditions and fields that change in one."""
    conditions = {name for points in groups for point in points for name in point.condition}
    found = []
    for name in (*_FIELDS, *sorted(conditions - {*LOAD_SIZES, *_FIELDS})):
        values = _values(groups, name)
        shared = name in conditions and bool(set.intersection(*values))
        if shared or any(len(own) > 1 for own in values):
            found.append(name)
    return found


def _values(groups: Sequence[Sequence[Point]], name: str) -> list[set[Any]]:
    read = reader(name)
    return [{read(point) for point in points} for points in groups]


def _by_condition(points: Iterable[Point], names: Sequence[str]) -> dict[Condition, list[Point]]:
    found: dict[Condition, list[Point]] = {}
    readers = [(name, reader(name)) for name in names]
    for point in points:
        key = tuple((name, read(point)) for name, read in readers)
        found.setdefault(key, []).append(point)
    return found


def _conditions(
    groups: Iterable[Mapping[Condition, Any]],
) -> tuple[list[Condition], set[Condition]]:
    keys = [set(found) for found in groups]
    return sorted(set.intersection(*keys), key=_order), set.union(*keys)


def _order(condition: Condition) -> list[tuple[str, float, str]]:
    """Sort lengths and loads as numbers, everything else as text."""
    return [
        (name, float(value), "")
        if isinstance(value, (int, float))
        else (name, float("-inf") if value is None else float("inf"), str(value))
        for name, value in condition
    ]


def _common_headlines(groups: Iterable[Sequence[Point]]) -> tuple[str, ...]:
    sets = [{name for point in points for name in point.figures} for points in groups]
    common = set.intersection(*sets)
    known = [name for name in HEADLINES if name in common]
    tasks = sorted(name for name in common if name not in DEFINITIONS and "/" in name)
    return (*known, *tasks)


def _row(
    condition: Condition, metric: str, groups: Mapping[str, Mapping[Condition, list[Point]]]
) -> Row | None:
    values = {
        name: [point.figures[metric] for point in found[condition] if metric in point.figures]
        for name, found in groups.items()
    }
    if not all(values.values()):
        return None
    base, *others = values
    return Row(
        {name: value for name, value in condition if value is not None},
        metric,
        {name: spread(found) for name, found in values.items()},
        {name: ratio(values[name], values[base]) for name in others},
    )


def _differs(groups: Sequence[Sequence[Point]], matched: Collection[str]) -> dict[str, list[Any]]:
    """Return what sets the groups apart: fields, and conditions that were not matched on."""
    if not all(groups):
        return {}
    conditions = {name for points in groups for point in points for name in point.condition}
    names = (*_FIELDS, "version", *sorted(conditions - {*LOAD_SIZES, *_FIELDS}))
    found = {}
    for name in (name for name in names if name not in matched and name != "case"):
        read = reader(name)
        values = [list(dict.fromkeys(read(point) for point in points)) for points in groups]
        if any(set(one) != set(values[0]) for one in values[1:]):
            found[name] = values
    return found


def _apart(
    groups: Mapping[str, Sequence[Point]], matched: Sequence[str], alike: bool
) -> tuple[Said, ...]:
    """Say why groups have no row in common; `alike` tells that they share a condition."""
    empty = tuple(name for name, points in groups.items() if not points)
    if empty:
        return tuple(Said("measures.compare.empty", {"group": name}) for name in empty)
    if alike:
        return (Said("measures.compare.no_figure"),)
    told, several = [], []
    for name in matched:
        values = _values(list(groups.values()), name)
        if not set.intersection(*values):
            shown = [_listed(group, own) for group, own in zip(groups, values, strict=True)]
            told.append(Said("measures.compare.apart", {"what": name, "values": "; ".join(shown)}))
        elif any(len(own) > 1 for own in values):
            several.append(name)
    return tuple(told) or (Said("measures.compare.apart_together", {"names": several}),)


def _listed(group: str, values: Collection[Any]) -> str:
    """Return a group and its values of a condition: `monday 1, 8, 32`, the first few of many."""
    known = sorted((v for v in values if v not in (None, "")), key=lambda v: _order((("", v),)))
    shown = [str(value) for value in known[:MOST_VALUES]]
    more = [f"… ({len(known)})"] if len(known) > MOST_VALUES else []
    return f"{group} {', '.join([*shown, *more]) or '–'}"


def _spread_dict(found: Spread) -> dict[str, Any]:
    return {
        "num": found.num,
        "mean": found.mean,
        "median": found.median,
        "sd": found.sd,
        "interval": list(found.interval) if found.interval else None,
    }
