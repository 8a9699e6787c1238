"""Results of studies and comparisons, written as their runners write them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

from studio.bench.point import Point, append_point
from studio.bench.saved import About
from studio.engines.study_config import StudyConfig
from studio.jobs.shim.files import replace_json
from studio.quality.folder import Answer, Contestant, Folder
from studio.quality.questions import Question
from studio.studies import studies
from studio.studies.cells import Cell, cells
from studio.studies.expect import summary
from studio.studies.record import Phase, Record
from studio.studio import Studio

PROCESSES = "smoke-processes"
SPEED_UP = 1.25


def trained(cell: Cell) -> Iterable[Point]:
    """Yield what three trainings of `smoke-processes` come to: two are 1.25 times as fast."""
    factor = SPEED_UP if cell.name == "two" else 1.0
    for repeat, wobble in enumerate((0.99, 1.0, 1.01)):
        yield Point(
            id=f"{cell.slug}-r{repeat}",
            at=time.time(),
            seconds=40,
            engine="llamafactory-train",
            model="tiny-qwen2.5",
            repeat=repeat,
            condition={"strategy": "ddp", "max_steps": 24},
            figures={
                "samples_per_s": 20 * factor * wobble,
                "tokens_per_s": 900 * factor,
                "loss_last": 1.9,
            },
        )


def study(
    studio: Studio,
    name: str = PROCESSES,
    *,
    points: Callable[[Cell], Iterable[Point]] = trained,
    phases: Mapping[str, tuple[Phase, str]] | None = None,
    ended: Phase | None = Phase.DONE,
    run: str = "",
) -> str:
    """Write the results of a study; `ended=None` leaves it as a crashed runner would.

    `run` is the id of its run, which is not in this home.
    """
    ask = studies.study_ask(studio, name)
    config = StudyConfig.model_validate(ask.settings)
    recipe, settings = studies.recipe(studio, name), config.model_dump(mode="json")
    title = recipe.title.model_dump()
    about = About(kind="study", name=ask.name, title=title, settings=settings, run=run)
    record = Record(studio.saved.begin(about))
    found = cells(studio, config)
    told = [{**cell.as_dict(), "rows": config.repeats} for cell in found]
    record.freeze({"recipe": recipe.name, "title": title, "settings": settings, "cells": told})
    record.note("", Phase.MEASURING)
    for cell in found:
        phase, why = (phases or {}).get(cell.name, (Phase.DONE, ""))
        if phase is Phase.DONE:
            for point in points(cell):
                own = {"study": record.name, "case": cell.name}
                append_point(record.folder, point.model_copy(update=own))
        record.note(cell.name, phase, why)
    if ended is not None:
        record.note("", ended)
        verdicts = studies.verdicts(studio, record.name)
        replace_json(record.folder / "verdict.json", summary(verdicts))
    return record.name


def comparison(studio: Studio, num: int = 4, *, same: int = 0) -> str:
    """Write a comparison of two models on `num` questions, `same` of them answered alike."""
    about = About(kind="quality", name="quality-try", title={"en": "A try", "zh": "试一次"})
    folder = Folder(studio.saved.begin(about))
    asked = [
        Question(id=f"q{n}", category="math", turns=(f"What is {n} + 1?",), reference=(str(n + 1),))
        for n in range(num)
    ]
    folder.keep_questions(asked)
    for label in ("base", "tuned"):
        folder.add(Contestant(label=label, model=label, endpoint="e", base_url="http://e/v1"))
        for n, question in enumerate(asked):
            text = "no idea" if n < same else f"{label[::-1]}: it is {n + 1}"
            figures = ({"tokens": 9, "ttft_s": 0.05, "tokens_per_s": 80.0},)
            answer = Answer(question=question.id, model=label, turns=(text,), figures=figures)
            folder.add(answer)
    return folder.path.name
