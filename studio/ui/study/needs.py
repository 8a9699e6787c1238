"""What a study needs and whether this machine can measure it, case by case, before any launch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from studio.core.errors import StudioError
from studio.core.recipes import Recipe
from studio.engines.study_config import StudyConfig
from studio.studies.cells import Cell, NotMeasurable, cells, check_here, num_cards, num_rows
from studio.studies.studies import ENGINE
from studio.ui.recent import Recent

if TYPE_CHECKING:
    from studio.studio import Studio

FRESH_S = 20.0
"""How long a gallery believes what it found out about this machine."""


@dataclass(frozen=True, kw_only=True)
class CellNeeds:
    """One case with one combination of the matrix: its cards, and why it cannot be measured."""

    cell: Cell
    cards: int
    rows: int
    missing: NotMeasurable | None = None


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a whole study needs."""

    cells: tuple[CellNeeds, ...]
    programs: tuple[str, ...] = ()
    """Titles of the engines, in order of appearance."""
    to_build: tuple[str, ...] = ()
    """Environments that are built first."""
    cards: int = 0
    """Cards of the case that holds most."""
    cards_here: int = 0

    @cached_property
    def possible(self) -> tuple[CellNeeds, ...]:
        """The cells that this machine can measure."""
        return tuple(item for item in self.cells if item.missing is None)


class StudyNeeds:
    """Answers for a gallery, kept for a moment because plans and environments are looked at."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)

    def of(self, recipe: Recipe) -> Needs | StudyFault:
        """Return what a shipped study needs, or what is wrong with its recipe."""

        def look() -> Needs | StudyFault:
            try:
                return needs(self._studio, recipe.settings, plan=False)
            except StudioError as error:
                return StudyFault(error)

        return self._recent.get((recipe.name, str(recipe.path), id(recipe)), look)


@dataclass(frozen=True)
class StudyFault:
    """Why a study cannot even be looked at."""

    error: StudioError


def needs(studio: Studio, settings: Mapping[str, Any], *, plan: bool = True) -> Needs:
    """Return what a study with these settings needs; raise RecipeInvalid or NotFound.

    Without `plan` the planner is not asked, which reads config files and takes longer.
    """
    _, config = studio.validate(ENGINE, dict(settings))
    assert isinstance(config, StudyConfig)
    found = [_needs(studio, cell, config, plan and config.plan) for cell in cells(studio, config)]
    engines = [studio.engine(item.cell.launch.engine) for item in found]
    environments = dict.fromkeys(engine.env.name for engine in engines if engine.env)
    return Needs(
        cells=tuple(found),
        programs=tuple(dict.fromkeys(engine.title for engine in engines)),
        to_build=tuple(n for n in environments if not studio.envs.status(n).state.usable),
        cards=max((item.cards for item in found), default=0),
        cards_here=len(studio.card_memory()),
    )


def _needs(studio: Studio, cell: Cell, config: StudyConfig, plan: bool) -> CellNeeds:
    missing = None
    try:
        check_here(studio, cell, plan=plan)
    except NotMeasurable as error:
        missing = error
    return CellNeeds(
        cell=cell,
        cards=num_cards(studio, cell),
        rows=num_rows(studio, cell, config.repeats),
        missing=missing,
    )
