"""Whether a load keeps its limits for 90 % of the requests, and which limit breaks first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from studio.bench.formulas import mean
from studio.bench.point import Point

NEEDED = 0.9
"""Share of the requests that must keep every limit."""
LIMITS = {"ttft_ms": "ttft", "tpot_ms": "tpot", "e2el_ms": "e2el"}


@dataclass(frozen=True)
class Broken:
    """The limit that is broken most: the end of a key of `measures.verdict`, and its values."""

    key: str
    values: dict[str, Any]


def keeps(point: Point, slo: Mapping[str, float]) -> bool | None:
    """Tell whether 90 % of a point's requests keep every limit; None when nothing tells.

    Every P90 must keep its own limit, and where the share of requests that keep all limits at the
    same time was measured with these very limits, it must be 90 % too.
    """
    if _failed(point) > 1 - NEEDED:
        return False
    share = point.figures.get("goodput_share") if point.slo == dict(slo) else None
    known = [(_p90(point, name), limit) for name, limit in slo.items()]
    kept = [value <= limit for value, limit in known if value is not None]
    if share is not None:
        kept.append(share >= NEEDED)
    return all(kept) if kept else None


def broken(points: Iterable[Point], slo: Mapping[str, float]) -> Broken | None:
    """Return the limit that the repeats of a load break most, by their mean P90; None without."""
    repeats = list(points)
    lost = mean([_failed(point) for point in repeats])
    if lost > 1 - NEEDED:
        return Broken("failed", {"failed_percent": round(lost * 100)})
    excess: dict[str, float] = {}
    for name, limit in slo.items():
        values = [value for point in repeats if (value := _p90(point, name)) is not None]
        if values and mean(values) > limit:
            excess[name] = mean(values)
    if excess:
        name = max(excess, key=lambda known: excess[known] / slo[known])
        return _named(name, excess[name], slo[name])
    shares = [share for p in repeats if (share := p.figures.get("goodput_share")) is not None]
    if shares and mean(shares) < NEEDED:
        return Broken("share", {"share_percent": int(mean(shares) * 100)})
    return None


def _named(name: str, value: float, limit: float) -> Broken:
    if name == "tpot_ms":
        paces = {"tokens_per_s": 1000 / value, "limit_tokens_per_s": 1000 / limit}
        return Broken("tpot", paces)
    return Broken(LIMITS[name], {"value_ms": value, "limit_ms": limit})


def _p90(point: Point, limit: str) -> float | None:
    return point.figures.get(f"{LIMITS[limit]}_p90_ms") if limit in LIMITS else None


def _failed(point: Point) -> float:
    """Return the share of requests that failed."""
    lost, answered = point.figures.get("failed", 0), point.figures.get("completed", 0)
    return lost / (lost + answered) if lost else 0.0
