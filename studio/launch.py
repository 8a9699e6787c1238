"""What a person asks for when something is to run, before anything is checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.spec import Resources


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What a person asks for: an engine, its settings, and where it should run."""

    engine: str
    settings: dict[str, Any]
    name: str = ""
    title: str = ""
    recipe: str | None = None
    cards: int | list[int] | None = None
    """How many idle cards, or which ones; None lets the engine say."""
    relaunch_of: str | None = None
    group: str = ""
    """Name shared by runs that are shown and stopped together."""


def resources_of(cards: int | list[int] | None, wanted: Resources) -> Resources:
    """Let the person's cards win over the engine's own count."""
    if cards is None:
        return wanted
    if isinstance(cards, int):
        if cards < 0:
            raise RecipeInvalid(f"cards = {cards}: a number of cards cannot be negative.")
        return Resources(num_gpus=cards)
    if len(set(cards)) != len(cards):
        raise RecipeInvalid(f"cards = {cards}: a card is named twice.")
    return Resources(num_gpus=len(cards), gpu_ids=tuple(cards))
