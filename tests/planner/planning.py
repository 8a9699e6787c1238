"""Cards and models that the planner's tests speak of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from studio.core.settings import ROOT
from studio.core.spec import Serving
from studio.planner.result import CardMemory, ServingPlan
from studio.planner.serving import plan_serving
from studio.planner.shapes import ModelShape, shape_of

MIB, GIB = 2**20, 2**30
TINY = "assets/models/tiny-qwen2.5"
NO_HUB = Path(__file__).parent / "no-hub"
"""A hub cache that does not exist, so that no test depends on what this machine downloaded."""


def h200(count: int = 1, *, used: int = 0) -> list[CardMemory]:
    return [CardMemory(n, "NVIDIA H200", 143771 * MIB, used) for n in range(count)]


def rtx4090(count: int = 1, *, used: int = 0) -> list[CardMemory]:
    return [CardMemory(n, "NVIDIA GeForce RTX 4090", 24564 * MIB, used) for n in range(count)]


def v100(count: int = 1) -> list[CardMemory]:
    return [CardMemory(n, "Tesla V100-SXM2-32GB", 32768 * MIB, 0) for n in range(count)]


def config(name: str) -> dict[str, Any]:
    """Read a published config: one the studio ships, or one beside these tests."""
    shipped = ROOT / "assets" / "shapes" / f"{name}.json"
    path = shipped if shipped.is_file() else Path(__file__).parent / "configs" / f"{name}.json"
    return json.loads(path.read_text())


def shape(name: str, **changes: Any) -> ModelShape:
    return shape_of({**config(name), **changes})


def plan(
    model: str, cards: list[CardMemory], *, host_free: int | None = None, **settings: Any
) -> ServingPlan:
    return plan_again(Serving(model=model, **settings), cards, host_free=host_free)


def plan_again(
    need: Serving,
    cards: list[CardMemory],
    *,
    host_free: int | None = None,
    disk_free: int | None = None,
) -> ServingPlan:
    return plan_serving(
        need,
        cards=cards,
        root=ROOT,
        host_free_bytes=host_free,
        host_total_bytes=64 * GIB,
        disk_free_bytes=disk_free,
        hub=NO_HUB,
    )
