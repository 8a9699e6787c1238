"""Rows of a study: a point for what a cell came to, or for why it failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

from studio.bench.point import Point
from studio.core.errors import StudioError
from studio.jobs.jobs import Run
from studio.jobs.shim import cards as gpu
from studio.studies.cells import Cell
from studio.studio import Studio


def row(
    studio: Studio,
    study: str,
    cell: Cell,
    ident: str,
    *,
    runs: Sequence[Run],
    begun: float,
    repeat: int = 0,
    figures: dict[str, float] | None = None,
    error: str = "",
    engine: str = "",
    seed: int | None = None,
) -> Point:
    """Return the point of one row: what was measured on `runs` since `begun` (unix seconds).

    `engine` is the tool that measured; empty for the engine of the cell itself. Without runs the
    cell never began.
    """
    shown = runs[-1] if runs else None
    cards = sorted({card for run in runs for card in run.cards})
    names = {card.index: card.name for card in gpu.read_cards()} if cards else {}
    now = time.time()
    return Point(
        id=ident,
        at=now,
        seconds=round(now - begun, 3),
        status="failed" if error else "done",
        error=error,
        engine=engine or cell.launch.engine,
        version=_version(studio, cell),
        model=model_of(studio, cell),
        server=f"{cell.launch.engine} {_version(studio, cell)}".strip() if cell.serves else "",
        server_run=shown.id if shown and cell.serves else "",
        cards=len(cards),
        card_name=names.get(cards[0], "") if cards else "",
        study=study,
        case=cell.name,
        repeat=repeat,
        seed=seed,
        condition={**cell.condition, "copies": cell.copies} if cell.copies > 1 else cell.condition,
        figures=figures or {},
        argv=tuple(shown.spec.command.argv) if shown else (),
    )


def model_of(studio: Studio, cell: Cell) -> str:
    """Return the model a cell is about, whatever its engine calls it."""
    _, config = studio.validate(cell.launch.engine, cell.launch.settings)
    names = ("model", "model_name_or_path", "model_path")
    return next((str(model) for name in names if (model := getattr(config, name, ""))), "")


def told(error: BaseException) -> str:
    """Return what went wrong in words: a sentence for what people can act on."""
    if isinstance(error, StudioError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _version(studio: Studio, cell: Cell) -> str:
    env = studio.engine(cell.launch.engine).env
    return studio.envs.version(env.name) if env else ""
