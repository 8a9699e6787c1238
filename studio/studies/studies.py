"""Studies as the page and the command line see them: launch one, go on with one, look at it.

run = studio.launch(study_ask(studio, "smoke-processes", {"repeats": 1}))
look(studio, "smoke-processes_20260101-120000").phase
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from studio.bench.point import Point
from studio.bench.saved import VERDICT, Results
from studio.core.errors import NotFound, RecipeInvalid, RunBusy
from studio.core.recipes import Recipe, did_you_mean
from studio.engines.bench_run import results_folder
from studio.engines.study_config import StudyConfig
from studio.jobs.jobs import Run
from studio.jobs.shim.files import replace_json
from studio.launch import Launch
from studio.studies.cells import Cell, NotMeasurable, cells, check_here, num_cards
from studio.studies.expect import CaseEnd, Verdict, judge, summary
from studio.studies.hands import is_alive, is_here
from studio.studies.record import Phase, Record, StudyLook
from studio.studio import Studio

ENGINE = "study"
FOLDER = "studies/"
NESTED = ("load", "images", "ask")


def recipes(studio: Studio) -> list[Recipe]:
    """Return the recipes that are studies, by name."""
    return studio.recipes.list(ENGINE)


def recipe(studio: Studio, name: str) -> Recipe:
    """Return a study's recipe by its name, with or without its folder; raise NotFound."""
    short = "/" not in name and not name.endswith((".yaml", ".yml"))
    known = [found.name.removeprefix(FOLDER) for found in recipes(studio)] if short else []
    if short and name not in known:
        raise NotFound(
            f"There is no study {name!r}.",
            hint=did_you_mean(name, known) or "`study ls` lists the studies.",
        )
    found = studio.recipes.get(f"{FOLDER}{name}" if short else name)
    if found.engine != ENGINE:
        raise RecipeInvalid(
            f"{found.name} is a recipe of {found.engine} and no study.",
            hint=f"Launch it with `run {found.name}`.",
        )
    return found


def study_ask(studio: Studio, name: str, changes: Mapping[str, Any] | None = None) -> Launch:
    """Return the launch of a study, some settings changed; raise NotFound or RecipeInvalid.

    `changes` are the study's own settings by name (`repeats`), parts of them (`load.concurrency`),
    or settings of its cases (`model`, `max_steps`, `cards`), which are laid over all of them. All
    cells are checked here, so that a study does not fail after hours for a word.
    """
    found = recipe(studio, name)
    settings = merged(found.settings, changes or {})
    _, config = studio.validate(ENGINE, settings)
    assert isinstance(config, StudyConfig)
    cells(studio, config)
    return Launch(
        engine=ENGINE,
        settings=settings,
        name=found.name.rpartition("/")[2],
        title=found.title.en,
        recipe=found.name,
        cards=0,
    )


def resume_ask(studio: Studio, results: str) -> Launch:
    """Return the launch that goes on with a study; raise NotFound, or RunBusy while it is at work.

    Rows that are done are kept; what failed, was stopped or never begun is measured.
    """
    found = studio.saved.get(results)
    record = Record(found.folder)
    study = record.study()
    last = record.last_run()
    if is_alive(studio, last):
        raise RunBusy(f"Run {last} works on {found.name}.", hint="Wait for it, or stop it.")
    return Launch(
        engine=ENGINE,
        settings={**study["settings"], "results": found.name},
        name=found.about.name,
        title=(study.get("title") or {}).get("en", found.about.name),
        recipe=study.get("recipe") or None,
        cards=0,
    )


def merged(settings: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's settings with changes put where they belong."""
    made = dict(settings)
    for key, value in changes.items():
        part, dot, inner = key.partition(".")
        if dot and part in NESTED:
            made[part] = {**made.get(part, {}), inner: value}
        elif key in StudyConfig.model_fields:
            made[key] = value
        else:
            made["common"] = {**made.get("common", {}), key: value}
    return made


def here(studio: Studio, ask: Launch) -> list[tuple[Cell, int, str]]:
    """Return a study's cells, the cards each holds, and why it cannot be measured here.

    The reason is English, as it is raised; empty when nothing stands in the way.
    """
    _, config = studio.validate(ENGINE, ask.settings)
    assert isinstance(config, StudyConfig)
    found = []
    for cell in cells(studio, config):
        why = ""
        try:
            check_here(studio, cell, plan=config.plan)
        except NotMeasurable as error:
            why = error.message
        found.append((cell, num_cards(studio, cell), why))
    return found


def look(studio: Studio, name: str) -> StudyLook:
    """Return what a study is doing or came to, by its folder's name; raise NotFound."""
    whole, *loads = studio.saved.family(name)
    record = Record(whole.folder)
    by_folder = {item.name: list(item.points) for item in loads}
    run = record.last_run() or whole.about.run
    return record.look(is_alive(studio, run), by_folder, here=not run or is_here(studio, run))


def looks(studio: Studio) -> list[StudyLook]:
    """Return every study of this home, newest first."""
    found = [item for item in studio.saved.folders() if item.about.kind == ENGINE]
    return [look(studio, item.name) for item in found if _has_question(item)]


def points(studio: Studio, name: str) -> list[Point]:
    """Return the points of all cases of a study, those of its load tests among them."""
    return [point for item in studio.saved.family(name) for point in item.points]


def verdicts(studio: Studio, name: str) -> list[Verdict]:
    """Return what becomes of a study's expectations with the rows there are."""
    found = look(studio, name)
    settings = Record(studio.saved.get(name).folder).study()["settings"]
    _, config = studio.validate(ENGINE, settings)
    assert isinstance(config, StudyConfig)
    ends = {
        cell.name: CaseEnd(str(cell.phase), cell.reason)
        for cell in found.cells
        if cell.phase is not Phase.DONE
    }
    return judge(config.expect, points(studio, name), ends)


def conclude(studio: Studio, name: str) -> list[Verdict]:
    """Write `verdict.json` with what the rows there are come to, and return it."""
    found = verdicts(studio, name)
    replace_json(studio.saved.get(name).folder / VERDICT, summary(found))
    return found


def judged(studio: Studio, look: StudyLook) -> list[Verdict]:
    """Return a study's verdicts; once it is over they are kept, so that everybody says the same."""
    if look.phase.over:
        with contextlib.suppress(OSError):  # a folder nobody may write to
            return conclude(studio, look.name)
    return verdicts(studio, look.name)


def folder_of(studio: Studio, run: Run) -> str:
    """Return the name of the results that a study's run writes; empty until it has a folder."""
    found = results_folder(run.dir)
    return found.name if found else ""


def _has_question(item: Results) -> bool:
    try:
        Record(item.folder).study()
    except NotFound:
        return False
    return True
