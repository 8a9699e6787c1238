"""Expectations of a study become verdicts: met, not met, or not measurable here and why.

    judge(config.expect, points, {"tp2": CaseEnd("not_measurable", "2 cards asked, 1 here")})

The figure of a repeat is that of its points which hold everything in `at`, reduced to one. Over
repeats a figure has a mean and the interval of `studio.bench.spread.scaled`, a ratio of two cases
that of `ratio` there. The words of a verdict are said by `studio.ui.verdicts.text`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from studio.bench.formulas import mean, median
from studio.bench.point import Point
from studio.bench.said import Said
from studio.bench.spread import ratio, scaled
from studio.core.recipes import Bilingual
from studio.core.spec import Frozen
from studio.engines.study_config import Expectation

NEAR = 0.02
"""An interval that ends within this share of the limit keeps or misses it barely."""

_REDUCE = {"median": median, "mean": mean, "max": max, "min": min}


class Outcome(StrEnum):
    """What became of an expectation."""

    MET = "met"
    NOT_MET = "not_met"
    NOT_MEASURABLE = "not_measurable"


class Sureness(StrEnum):
    """How far the repeats carry the outcome."""

    CLEARLY = "clearly"
    BARELY = "barely"
    """The whole interval is on this side, and ends within 2 % of the limit."""
    NOISE = "within_noise"
    """The limit lies inside the interval: more repeats could turn the outcome."""
    UNKNOWN = "unknown"
    """One repeat: how much repeats differ is not known."""


class CaseEnd(NamedTuple):
    """How a case ended, as the runner knows it, and why; any phase but `done`."""

    state: str
    why: str = ""


class Verdict(Frozen):
    """What became of one expectation; plain values, as `verdict.json` keeps them."""

    state: Outcome
    sureness: Sureness | None = None
    """None where nothing could be measured."""
    metric: str
    of: str
    against: str = ""
    inverse: bool = False
    at: dict[str, Any] = Field(default_factory=dict)
    against_at: dict[str, Any] = Field(default_factory=dict)
    limit: tuple[float | None, float | None]
    """The least and the most that were expected; None where there is no such end."""
    bound: float | None = None
    forbidden: bool = False
    """True when physics (`bound`) does not allow what was expected."""
    value: float | None = None
    """The figure, or the ratio of the two."""
    low: float | None = None
    high: float | None = None
    """95 % interval of `value` over repeats; None with one repeat."""
    measured: float | None = None
    """The figure of `of`, mean over repeats."""
    base: float | None = None
    """The figure of `against`, mean over repeats."""
    repeats: int = 0
    repeats_against: int = 0
    why: str = ""
    """What stood in the way: a key below `expect.why`; empty when it was measured."""
    values: dict[str, Any] = Field(default_factory=dict)
    """What the words of `why` ask for."""
    title: Bilingual | None = None
    possible: Bilingual | None = None

    @property
    def reason(self) -> Said | None:
        """What stood in the way, as a sentence to be said; None when it was measured."""
        return Said(f"expect.why.{self.why}", self.values) if self.why else None


class _Missing(Exception):
    """What stands in the way of a verdict: a key of words, and their values."""

    def __init__(self, why: str, /, **values: Any) -> None:
        super().__init__(why)
        self.why, self.values = why, values


def judge(
    expectations: Iterable[Expectation],
    points: Sequence[Point],
    ends: Mapping[str, CaseEnd] | None = None,
) -> list[Verdict]:
    """Return a verdict for each expectation, in their order.

    `points` are those of all cases, each with its case's name; `ends` says of cases that have no
    points how they ended.
    """
    return [_judged(wanted, points, ends or {}) for wanted in expectations]


def summary(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Return what `verdict.json` holds: how many are met, and all of them."""
    counts = {str(o): sum(v.state is o for v in verdicts) for o in Outcome}
    return {"v": 1, **counts, "verdicts": [v.model_dump(mode="json") for v in verdicts]}


def read_summary(told: Mapping[str, Any] | None) -> list[Verdict]:
    """Return the verdicts of a `verdict.json`; none when there is none yet, or none to be read."""
    try:
        return [Verdict.model_validate(row) for row in (told or {}).get("verdicts", ())]
    except (TypeError, ValueError):
        return []


def _judged(wanted: Expectation, points: Sequence[Point], ends: Mapping[str, CaseEnd]) -> Verdict:
    limit = wanted.between or (wanted.at_least, wanted.at_most)
    verdict = Verdict(
        state=Outcome.NOT_MEASURABLE,
        metric=wanted.metric,
        of=wanted.of,
        against=wanted.against,
        inverse=wanted.inverse,
        at=wanted.at,
        against_at=wanted.against_at,
        limit=limit,
        bound=wanted.bound,
        forbidden=_forbidden(limit, wanted.bound),
        title=wanted.title,
        possible=wanted.possible,
    )
    try:
        found = _measured(wanted, points, ends)
    except _Missing as missing:
        return verdict.model_copy(update={"why": missing.why, "values": missing.values})
    met = _keeps(found["value"], limit)
    return verdict.model_copy(
        update={
            "state": Outcome.MET if met else Outcome.NOT_MET,
            "sureness": _sureness(found["low"], found["high"], limit),
            **found,
        }
    )


def _measured(
    wanted: Expectation, points: Sequence[Point], ends: Mapping[str, CaseEnd]
) -> dict[str, Any]:
    """Return value, interval and what they were made of; raise _Missing."""
    own = _figures(wanted, wanted.of, wanted.at, points, ends)
    if not wanted.against:
        low, high = scaled(own) or (None, None)
        found = {"value": mean(own), "measured": mean(own), "base": None}
        return {**found, "low": low, "high": high, "repeats": len(own)}
    at = {**wanted.at, **wanted.against_at}
    base = _figures(wanted, wanted.against, at, points, ends)
    over, under = (base, own) if wanted.inverse else (own, base)
    told = ratio(over, under)
    if told is None:
        nothing = wanted.of if wanted.inverse else wanted.against
        raise _Missing("zero", metric=wanted.metric, case=nothing)
    low, high = told.interval or (None, None)
    return {
        "value": told.value,
        "low": low,
        "high": high,
        "measured": mean(own),
        "base": mean(base),
        "repeats": len(own),
        "repeats_against": len(base),
    }


def _figures(
    wanted: Expectation,
    case: str,
    at: Mapping[str, Any],
    points: Sequence[Point],
    ends: Mapping[str, CaseEnd],
) -> list[float]:
    """Return the figure of each repeat of a case; raise _Missing."""
    mine = [point for point in points if point.case == case]
    done = [point for point in mine if point.done]
    if not done:
        end = ends.get(case, CaseEnd(""))
        if end.state == "not_measurable":
            raise _Missing("not_here", case=case, why=end.why)
        if mine or end.state == "failed":
            error = end.why or next((point.error for point in mine if point.error), "")
            raise _Missing("failed", case=case, error=error)
        raise _Missing("not_yet" if end.state else "no_case", case=case)
    there = [point for point in done if _holds(point, at)]
    if not there:
        failed = [point for point in mine if _holds(point, at)]
        if failed:
            raise _Missing("failed", case=case, error=failed[0].error)
        raise _Missing("nothing_there", case=case, where=dict(at))
    repeats: dict[int, list[float]] = defaultdict(list)
    for point in there:
        if wanted.metric in point.figures:
            repeats[point.repeat].append(point.figures[wanted.metric])
    if not repeats:
        raise _Missing("no_metric", case=case, metric=wanted.metric)
    return [float(_REDUCE[wanted.reduce](values)) for _, values in sorted(repeats.items())]


def _holds(point: Point, at: Mapping[str, Any]) -> bool:
    """Tell whether a point was measured under a condition; 4 and 4.0 are the same."""
    return all(point.get(name) == value for name, value in at.items())


def _keeps(value: float, limit: tuple[float | None, float | None]) -> bool:
    least, most = limit
    return (least is None or value >= least) and (most is None or value <= most)


def _forbidden(limit: tuple[float | None, float | None], bound: float | None) -> bool:
    """Tell whether a limit is out of reach: more than the most, or less than the least there is."""
    least, most = limit
    if bound is None:
        return False
    return least > bound if least is not None else most is not None and most < bound


def _sureness(
    low: float | None, high: float | None, limit: tuple[float | None, float | None]
) -> Sureness:
    if low is None or high is None:
        return Sureness.UNKNOWN
    least, most = limit
    straddles = (least is not None and low < least <= high) or (
        most is not None and low <= most < high
    )
    if straddles:
        return Sureness.NOISE
    ends = [end for end in limit if end is not None]
    near = any(
        math.isclose(edge, end, rel_tol=NEAR, abs_tol=1e-12) for end in ends for edge in (low, high)
    )
    return Sureness.BARELY if near else Sureness.CLEARLY
