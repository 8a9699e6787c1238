"""Trainings that the planner's tests speak of."""

from __future__ import annotations

from typing import Any

from planner.planning import GIB, NO_HUB

from studio.core.settings import ROOT
from studio.core.spec import Training
from studio.planner.models import find_model
from studio.planner.result import CardMemory
from studio.planner.training import plan_training
from studio.planner.training_result import TrainingPlan
from studio.planner.training_states import Counts, count

HALF, ONE_HALF, SEVEN = "Qwen/Qwen2.5-0.5B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-7B"


def train(
    model: str,
    cards: list[CardMemory],
    *,
    host_free: int = 900 * GIB,
    disk_free: int = 4000 * GIB,
    spare: list[CardMemory] | None = None,
    imagined: bool = False,
    **settings: Any,
) -> TrainingPlan:
    """Plan a training on these cards, one process each unless `num_processes` says otherwise."""
    asked = {"num_processes": max(1, len(cards)), **settings}
    return plan_training(
        Training(model=model, **asked),
        cards=cards,
        root=ROOT,
        spare=spare or (),
        imagined=imagined,
        host_free_bytes=host_free,
        host_total_bytes=1000 * GIB,
        disk_free_bytes=disk_free,
        hub=NO_HUB,
    )


def counted(model: str, **settings: Any) -> Counts:
    """Count the parameters of a training."""
    return count(find_model(model, ROOT, hub=NO_HUB), Training(model=model, **settings))
