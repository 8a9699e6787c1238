"""How long the rest of a sweep will take, from the points that are done. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from .grid import Load


def remaining_s(todo: Iterable[Load], done: Mapping[Load, float]) -> float | None:
    """Return the seconds left; None while nothing is done.

    A condition that was measured takes what its repeats took; another one in proportion to the
    steps its requests need one after the other.
    """
    if not done:
        return None
    known: dict[str, list[float]] = {}
    for load, seconds in done.items():
        known.setdefault(load.condition_id, []).append(seconds)
    pace = sum(done.values()) / sum(_steps(load) for load in done)
    left = 0.0
    for load in todo:
        took = known.get(load.condition_id)
        left += sum(took) / len(took) if took else _steps(load) * pace
    return left


def _steps(load: Load) -> float:
    """Return about how many steps of the model a point takes: rounds of answers, or its seconds."""
    each = (load.output_len or 128) + (load.input_len or 256) / 16
    if load.request_rate:
        return max(1.0, load.num_prompts / load.request_rate) * 20
    return max(1.0, math.ceil(load.num_prompts / (load.concurrency or 1)) * each)
