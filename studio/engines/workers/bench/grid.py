"""The grid of a sweep: which loads are measured, in which order, under which names. Pure.

The page counts points with this module, the worker measures them; neither needs the other.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

CONCURRENCY = (1, 4, 16)
"""Users at once when a sweep names neither users nor rates."""
RANDOM = ("random", "random-mm")
"""Data sets whose lengths the sweep itself decides."""
SALT = 8
"""Tokens at the head of every random prompt that differ from point to point.

vLLM's random prompts are runs of neighbouring tokens with a random beginning, so a long sweep meets
the same beginnings again and a prefix cache answers them. A head of fewer tokens than a block of
the cache (16) makes every point's blocks its own, and is itself never a hit.
"""


@dataclass(frozen=True)
class Load:
    """One point of the grid: lengths, pressure, repeat."""

    id: str
    input_len: int | None
    """Prompt tokens; None where the data set decides."""
    output_len: int | None
    concurrency: int | None
    request_rate: float | None
    repeat: int
    num_prompts: int
    seed: int
    images: int = 0

    @property
    def condition_id(self) -> str:
        """Return what repeats of the same condition share."""
        return self.id.rpartition("-r")[0]

    def condition(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the condition of its point: flat values, the same for every repeat."""
        told: dict[str, Any] = {
            "dataset": settings["dataset"],
            "input_len": self.input_len,
            "output_len": self.output_len,
            "concurrency": self.concurrency,
            "request_rate": self.request_rate,
            "num_prompts": self.num_prompts,
            "ignore_eos": settings["dataset"] in RANDOM or bool(settings.get("ignore_eos")),
        }
        if self.images:
            side = f"{settings['image_width']}x{settings['image_height']}"
            told |= {"images": self.images, "image_size": side}
        for name in ("random_prefix_len", "random_range_ratio"):
            if settings["dataset"] in RANDOM and settings.get(name):
                told[name] = settings[name]
        return told


def loads(settings: Mapping[str, Any]) -> list[Load]:
    """Return the points of a sweep in the order they are measured: repeats outermost."""
    rates = [float(rate) for rate in settings.get("request_rate") or ()]
    users = [] if rates else [int(c) for c in settings.get("concurrency") or CONCURRENCY]
    seed = int(settings.get("seed") or 0)
    found: dict[str, Load] = {}
    for repeat in range(int(settings.get("repeats") or 1)):
        for input_len, output_len in product(*_lengths(settings)):
            for concurrency, rate in [*((c, None) for c in users), *((None, r) for r in rates)]:
                head = _name(settings, input_len, output_len, concurrency, rate)
                ident = f"{head}-r{repeat}"
                found[ident] = Load(
                    id=ident,
                    input_len=input_len,
                    output_len=output_len,
                    concurrency=concurrency,
                    request_rate=rate,
                    repeat=repeat,
                    num_prompts=_num_prompts(settings, concurrency, rate),
                    seed=seed_of(seed, ident),
                    images=_images(settings),
                )
    return list(found.values())


def seed_of(seed: int, ident: str) -> int:
    """Return the seed of a point: the same for the same sweep, another for every point."""
    return zlib.crc32(f"{seed}:{ident}".encode()) & 0x7FFFFFFF


def prefix_of(settings: Mapping[str, Any], input_len: int) -> int:
    """Return the tokens that all prompts of a point begin with: those asked for, else the salt."""
    asked = int(settings.get("random_prefix_len") or 0)
    if asked:
        return min(asked, input_len - 1)
    return SALT if input_len >= 4 * SALT else 0


def _lengths(settings: Mapping[str, Any]) -> tuple[list[int | None], list[int | None]]:
    outputs = [int(n) or None for n in settings.get("output_len") or (0,)]
    if settings["dataset"] in RANDOM:
        return [int(n) for n in settings["input_len"]], outputs
    return [None], outputs


def _name(
    settings: Mapping[str, Any],
    input_len: int | None,
    output_len: int | None,
    concurrency: int | None,
    rate: float | None,
) -> str:
    parts = [settings["dataset"] if input_len is None else f"in{input_len}"]
    if output_len:
        parts.append(f"out{output_len}")
    if _images(settings):
        parts.append(f"img{_images(settings)}")
    parts.append(f"c{concurrency}" if rate is None else f"q{rate:g}")
    return "-".join(parts)


def _images(settings: Mapping[str, Any]) -> int:
    return int(settings.get("images") or 1) if settings["dataset"] == "random-mm" else 0


def _num_prompts(settings: Mapping[str, Any], concurrency: int | None, rate: float | None) -> int:
    """Return how many requests a point sends: as asked, else so many per user or seconds."""
    if settings.get("num_prompts"):
        return int(settings["num_prompts"])
    least = int(settings.get("min_prompts") or 1)
    if rate is not None:
        return max(least, math.ceil(rate * float(settings["rate_seconds"])))
    return max(least, int(settings["prompts_per_user"]) * (concurrency or 1))
