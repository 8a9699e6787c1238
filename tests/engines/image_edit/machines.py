"""Machines of all sizes, and the ladder that the published model has on each.

Sizes are those of Qwen-Image-Edit-2511; machines are what their CUDA context leaves free.
"""

from __future__ import annotations

from typing import Any

from studio.engines.workers.image_edit.ladder import (
    Ask,
    NoRung,
    Rung,
    Work,
    choose,
    rungs,
)
from studio.engines.workers.image_edit.machine import GIB, Card, Machine
from studio.engines.workers.image_edit.sizes import Sizes, published

SIZES = published()
CARDS = {
    "NVIDIA H200": (139.2, 9.0),
    "NVIDIA A100-SXM4-80GB": (78.7, 8.0),
    "NVIDIA L40S": (44.0, 8.9),
    "NVIDIA GeForce RTX 4090": (23.1, 8.9),
    "NVIDIA GeForce RTX 3090": (23.1, 8.6),
    "NVIDIA GeForce RTX 4080": (15.2, 8.9),
    "NVIDIA GeForce RTX 4060": (7.3, 8.9),
}
"""GiB a process can take, and the compute capability."""
AUTO = Work(cfg_mode="auto")


def machine(name: str = "", count: int = 1, *, host: float = 120, limit: float = 999) -> Machine:
    """`count` cards of a name, and host memory that is free, in GiB."""
    free, capability = CARDS.get(name, (0.0, 0.0))
    size = int(min(free, limit) * GIB)
    cards = [Card(n, name, int(free * GIB), size, capability) for n in range(count if name else 0)]
    flags = frozenset({"avx2", "avx512f"})
    return Machine(tuple(cards), int(host * GIB), int(host * GIB), 16, flags)


def ladder(on: Machine, sizes: Sizes = SIZES, **asked: Any) -> dict[str, Rung]:
    """Every rung by name, in the order they are preferred."""
    return {rung.name: rung for rung in rungs(sizes, on, Ask(**{"work": AUTO, **asked}))}


def taken(on: Machine, sizes: Sizes = SIZES, **asked: Any) -> str:
    """The rung it starts on; empty when there is none."""
    ask = Ask(**{"work": AUTO, **asked})
    try:
        return choose(rungs(sizes, on, ask), ask).name
    except NoRung:
        return ""


H200, A100, L40S = "NVIDIA H200", "NVIDIA A100-SXM4-80GB", "NVIDIA L40S"
RTX4090, RTX3090 = "NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090"
RTX4080, RTX4060 = "NVIDIA GeForce RTX 4080", "NVIDIA GeForce RTX 4060"
