"""A load test in plain sentences: how many users it bears, where it stops growing, and why.

Points that differ only in their load (users at once, or requests per second) form a series; each
series is judged by itself. A level is kept when every repeat keeps every limit for 90 % of its
requests. Words are `measures.verdict` in assets/locales; `studio.ui.measures` says them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from studio.bench.formulas import mean
from studio.bench.levels import Level, Series, series_of
from studio.bench.limits import LIMITS, broken, keeps
from studio.bench.point import Point
from studio.bench.reasons import why
from studio.bench.said import Said, sentence
from studio.bench.untold import is_untold

DEFAULT_SLO = {"ttft_ms": 500.0, "tpot_ms": 50.0}
"""Limits where nobody set any: half a second to the first token, then 20 tokens/s."""
FLAT = 0.15
"""Growth is over where throughput rises less than load^0.15: twice the load, 11 % more."""
KEEPS_UP = 0.9
"""Share of the requests asked for that a server must answer to keep up with a rate."""
NOISY = 0.1
"""Half the 95 % interval over the mean, from which a series is called noisy."""
SHAPES = ("shape", "shape_named")
"""Sentences that begin a part: a pair of lengths of its own."""
DOUBTS = (
    *("failed_points", "failed_requests", "noise", "once", "few"),
    *("ignored_lengths", "untold", "all_failed"),
)
"""Sentences that warn: of all the points, and where there are parts, `noise` of its own."""
_NAMES = ("case", "model", "server")


def verdict(
    points: Iterable[Point],
    *,
    slo: Mapping[str, float] | None = None,
    server: Mapping[str, Any] | None = None,
) -> list[Said]:
    """Return what the points of one server say, most useful sentence first.

    `slo` are limits in ms (`ttft_ms`, `tpot_ms`, `e2el_ms`), else those that the points were
    measured with, else DEFAULT_SLO. `server` is `server` of `about.json`: its settings name the
    server's own limits.
    """
    every = list(points)
    done = [point for point in every if point.done]
    if not done:
        if not every:
            return [sentence("none")]
        error = next((point.error for point in every if point.error), "")
        return [sentence("all_failed", error=error)]
    own = slo or _measured_with(done)
    limits = dict(
        sorted((own or DEFAULT_SLO).items(), key=lambda known: list(LIMITS).index(known[0]))
    )
    found = series_of(done)
    if not found:
        return [sentence("no_load")]
    told: list[Said] = []
    for series in found:
        if len(found) > 1:
            told.append(_headline(series))
        told += [*_bears(series, limits), *_grows(series, server or {}), *_costs(series)]
        told += _noise(series.levels) if len(found) > 1 else ()
    if any(keeps(point, limits) is not None for point in done):
        told.append(sentence("limits" if own else "limits_default", limits=limits))
    return [*told, *_doubts(every, found)]


@dataclass(frozen=True)
class Part:
    """What a verdict says of one series; `about` names it where there are several."""

    about: Said | None
    told: tuple[Said, ...]


def parts(told: Iterable[Said]) -> tuple[list[Part], list[Said]]:
    """Return a verdict by its series, and what holds for all: limits, and what to doubt."""
    found: list[tuple[Said | None, list[Said]]] = [(None, [])]
    whole: list[Said] = []
    for one in told:
        key = one.key.rpartition(".")[2]
        if key in SHAPES:
            found.append((one, []))
        elif key.startswith("limits") or (key in DOUBTS and not (key == "noise" and found[-1][0])):
            whole.append(one)
        else:
            found[-1][1].append(one)
    return [Part(about, tuple(said)) for about, said in found if about or said], whole


def _measured_with(points: Iterable[Point]) -> dict[str, float]:
    """Return the limits that most points were measured with."""
    used = Counter(tuple(sorted(point.slo.items())) for point in points if point.slo)
    return dict(used.most_common(1)[0][0]) if used else {}


def _headline(series: Series) -> Said:
    lengths = {name: series.first(name) for name in ("input_len", "output_len")}
    names = set(series.shape)
    if names <= lengths.keys() and None not in lengths.values():
        return sentence("shape", **lengths)
    parts = [str(series.shape[name]) for name in _NAMES if series.shape.get(name)]
    parts += [f"{k}={v}" for k, v in series.shape.items() if k not in {*_NAMES, *lengths}]
    if names & lengths.keys():
        parts.append(" → ".join(str(length) for length in lengths.values()))
    return sentence("shape_named", name=" · ".join(parts) or series.first("results"))


# how much it bears -----------------------------------------------------------------------------


def _bears(series: Series, slo: Mapping[str, float]) -> list[Said]:
    """Say the highest load whose limits are kept, as are those of every lighter load."""
    counts = [_kept(level, slo) for level in series.levels]
    if any(count is None for count in counts):
        return []
    good = 0
    while good < len(counts) and counts[good] == len(series.levels[good].points):
        good += 1
    if good == 0:
        told = [sentence(f"{series.kind}_none", load=series.levels[0].load)]
    else:
        told = [_promise(series, series.levels[good - 1], is_last=good == len(counts))]
    if good == len(counts):
        return told
    level, kept = series.levels[good], counts[good]
    if kept:
        repeats = len(level.points)
        return [*told, sentence("barely", load=level.load, kept=kept, repeats=repeats)]
    limit = broken(level.points, slo)
    if limit is None:
        return told
    return [*told, sentence(f"broken_{limit.key}", load=level.load, **limit.values)]


def _kept(level: Level, slo: Mapping[str, float]) -> int | None:
    """Return in how many repeats the limits were kept; None when that was not measured."""
    answers = [keeps(point, slo) for point in level.points]
    return None if None in answers else sum(map(bool, answers))


def _promise(series: Series, level: Level, *, is_last: bool) -> Said:
    key = f"{series.kind}_all" if is_last else series.kind
    ttft, tpot = level.worst("ttft_p90_ms"), level.worst("tpot_p90_ms")
    if ttft is None or not tpot:
        return sentence(f"{key}_plain", load=level.load)
    return sentence(
        key,
        load=level.load,
        ttft_ms=_digits(ttft, math.ceil),
        tokens_per_s=_digits(1000 / tpot, math.floor),
    )


# how far it grows ------------------------------------------------------------------------------


def _grows(series: Series, server: Mapping[str, Any]) -> list[Said]:
    rates = series.kind == "rate"
    told = _keeps_up(series, server) if rates else _stops(series, server)
    best = max(series.levels, key=lambda level: level.mean("output_throughput") or 0)
    most = best.mean("output_throughput")
    if not most:
        return [*_answers(series), *told]
    values = {"load": best.load, "tokens_per_s": _digits(most)}
    cards = best.points[0].cards
    if cards > 1:
        peak = sentence("peak_cards", **values, per_card=_digits(most / cards), cards=cards)
    else:
        peak = sentence("peak", **values)
    return [peak, *told]


def _answers(series: Series) -> list[Said]:
    """Say the most requests a second, where no tokens are counted."""
    rates = [(level.mean("request_throughput") or 0.0, level) for level in series.levels]
    most, level = max(rates, key=lambda rate: rate[0])
    return [sentence("peak_requests", load=level.load, requests=_digits(most))] if most else []


def _stops(series: Series, server: Mapping[str, Any]) -> list[Said]:
    """Say the load beyond which the throughput stops growing, and why."""
    levels = [level for level in series.levels if level.mean("output_throughput")]
    if len(levels) < 2:
        return []
    at = next(i for i in range(len(levels)) if all(_flat(levels[i], b) for b in levels[i + 1 :]))
    if at == len(levels) - 1:
        return [sentence("growing", load=levels[at].load)]
    here, last = levels[at], levels[-1]
    reached = _throughput(here)
    gain = max(_throughput(level) for level in levels[at + 1 :]) / reached - 1
    loss = 1 - _throughput(last) / reached
    if loss > 0.05 and gain < 0.05:
        first = sentence("falls", load=here.load, last=last.load, loss_percent=round(loss * 100))
    else:
        times = _digits(last.value / here.value)
        percent = max(0, round(gain * 100))
        first = sentence("stops", load=here.load, times=times, gain_percent=percent)
    return [first, why(levels[at + 1], server, lighter=here)]


def _flat(here: Level, beyond: Level) -> bool:
    grown = math.log(_throughput(beyond) / _throughput(here))
    return grown < FLAT * math.log(beyond.value / here.value)


def _keeps_up(series: Series, server: Mapping[str, Any]) -> list[Said]:
    """Say up to which rate a server answers as fast as it is asked.

    A load of N requests at r per second takes N/r plus the latency of its last answer, so an idle
    server answers N / (N/r + latency); the latency is that of the lowest rate.
    """
    lowest = series.levels[0].mean("e2el_mean_ms") or 0.0
    for number, level in enumerate(series.levels):
        sent, answered = level.mean("completed"), level.mean("request_throughput")
        if not sent or answered is None:
            return []
        if answered < KEEPS_UP * sent / (sent / level.value + lowest / 1000):
            values = {"next": _digits(level.value), "answered": _digits(answered)}
            if number == 0:
                return [sentence("behind_all", **values), why(level, server)]
            before = series.levels[number - 1].load
            return [sentence("behind", load=before, **values), why(level, server)]
    return [sentence("keeps_up", load=series.levels[-1].load)]


# what it costs, and what to doubt --------------------------------------------------------------


def _costs(series: Series) -> list[Said]:
    known = [(level, level.mean("energy_per_token_j")) for level in series.levels]
    costs = [(joules, level) for level, joules in known if joules]
    if not costs:
        return []
    joules, level = min(costs, key=lambda cost: cost[0])
    return [sentence("energy", load=level.load, joules=_digits(joules))]


def _doubts(points: Sequence[Point], found: Sequence[Series]) -> list[Said]:
    """Say what should keep a reader from believing too much."""
    told = []
    done = [point for point in points if point.done]
    failed = [point for point in points if not point.done]
    if failed:
        values = {"failed": len(failed), "points": len(points), "error": failed[0].error}
        told.append(sentence("failed_points", **values))
    lost = sum(int(point.figures.get("failed", 0)) for point in done)
    if lost:
        sent = lost + sum(int(point.figures.get("completed", 0)) for point in done)
        told.append(sentence("failed_requests", failed=lost, requests=sent))
    if any(map(is_untold, done)):
        told.append(sentence("untold"))
    told += _short_answers(point for point in done if not is_untold(point))
    levels = [level for series in found for level in series.levels]
    fewest = min(len(level.points) for level in levels)
    if fewest < 3:
        told.append(sentence("once") if fewest == 1 else sentence("few", repeats=fewest))
    return [*told, *(_noise(levels) if len(found) == 1 else ())]


def _short_answers(points: Iterable[Point]) -> list[Said]:
    """Say when models ended their answers before the length that was asked for."""
    shares = [
        point.figures["output_tokens"]
        / (point.figures["completed"] * point.condition["output_len"])
        for point in points
        if point.figures.get("output_tokens")
        and point.figures.get("completed")
        and point.condition.get("output_len")
    ]
    if not shares or mean(shares) >= 0.95:
        return []
    return [sentence("ignored_lengths", got_percent=round(mean(shares) * 100))]


def _noise(levels: Iterable[Level]) -> list[Said]:
    spreads = [(level.spread("output_throughput"), level) for level in levels]
    noisy = [
        (found.relative, level)
        for found, level in spreads
        if found and found.num > 2 and found.relative and found.relative > NOISY
    ]
    if not noisy:
        return []
    most, level = max(noisy, key=lambda pair: pair[0])
    return [sentence("noise", load=level.load, percent=round(most * 100))]


def _throughput(level: Level) -> float:
    return level.mean("output_throughput") or 0.0


def _digits(value: float, towards: Any = round) -> float:
    """Return three significant digits; towards the cautious side where it is a promise."""
    if value == 0:
        return 0
    places = 2 - math.floor(math.log10(abs(value)))
    scale = 10.0**places
    found = towards(round(value * scale, 6)) / scale
    return int(found) if found.is_integer() else found
