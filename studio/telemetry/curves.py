"""A server's curves: the last minutes for the live view, the whole run for the Curves part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from studio.telemetry.readings import Reading, all_readings
from studio.telemetry.serving import ROUTER, STEADY_S, Difference, at, scalar

CURVE_POINTS = 900


class Sample(NamedTuple):
    """One point of the sparklines; rates over the time since the point before."""

    at: float
    running: float
    waiting: float
    kv_use: float
    prompt_tok_s: float
    generation_tok_s: float


def history(readings: list[Reading], *, now: float, span_s: float, points: int) -> list[Sample]:
    """Return evenly spaced samples of the last `span_s` seconds, oldest first.

    Gauges show their highest value between two points, so that a short rush is seen. Nothing is
    returned for the time before the first reading.
    """
    if not readings:
        return []
    step, samples, index = span_s / points, [], 0
    before, speed = at(readings, now - span_s), (0.0, 0.0)
    for number in range(points):
        moment, seen = now - span_s + (number + 1) * step, []
        while index < len(readings) and readings[index].at <= moment:
            if readings[index].at > moment - step:
                seen.append(readings[index])
            index += 1
        if moment < readings[0].at:
            continue
        if seen:
            speed, before = _speed(before, seen[-1], step), seen[-1]
        elif not before.moved or moment - before.at > STEADY_S:
            speed = (0.0, 0.0)
        running, waiting, used = (
            max(_gauge(reading, key) for reading in seen or [before])
            for key in ("running", "waiting", "kv_use")
        )
        samples.append(Sample(moment, running, waiting, used, *speed))
    return samples


def _speed(before: Reading, after: Reading, step: float) -> tuple[float, float]:
    """Return tokens read and written per second; after a silence, over one step alone."""
    seconds = after.at - before.at
    diff = Difference(before.values, after.values)
    seconds = step if seconds > STEADY_S else max(seconds, 1.0)
    return diff.prompt_tokens() / seconds, diff.generation_tokens() / seconds


def series(path: Path) -> Iterator[tuple[str, float, float]]:
    """Yield a server's curves as (name, seconds since the first reading, value).

    At most `CURVE_POINTS` per curve.
    """
    found = all_readings(path)
    if len(found) < 2:
        return
    begin, span = found[0].at, found[-1].at - found[0].at
    step = max(10.0, span / CURVE_POINTS)
    before = found[0]
    for reading in found[1:]:
        seconds = reading.at - before.at
        if seconds < step and reading is not found[-1]:
            continue
        diff, now = Difference(before.values, reading.values), round(reading.at - begin, 1)
        yield "requests running", now, _gauge(reading, "running")
        if f"{ROUTER}worker_health" in reading.values:
            yield "requests/s", now, diff.answered() / max(seconds, 1e-9)
            yield "healthy servers", now, scalar(reading.values, f"{ROUTER}worker_health") or 0.0
            before = reading
            continue
        yield "requests waiting", now, _gauge(reading, "waiting")
        yield "generation tok/s", now, diff.generation_tokens() / max(seconds, 1e-9)
        yield "prompt tok/s", now, diff.prompt_tokens() / max(seconds, 1e-9)
        if (used := scalar(reading.values, "kv_use")) is not None:
            yield "KV cache (%)", now, used * 100
        if (hits := diff.hit_rate()) is not None:
            yield "prefix hits (%)", now, hits * 100
        for figure, name in (("ttft", "TTFT p50 (ms)"), ("itl", "ITL p50 (ms)")):
            if (found_q := diff.quantiles(figure)) is not None:
                yield name, now, found_q.p50 * 1000
        before = reading


def _gauge(reading: Reading, key: str) -> float:
    """Return how high something stands; a router tells its requests under its own name."""
    found = scalar(reading.values, key)
    if found is None and key == "running":
        found = scalar(reading.values, f"{ROUTER}running_requests")
    return found or 0.0
