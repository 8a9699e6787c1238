"""Commands for studies: list, run, resume and show them, their verdict, report and journal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from studio.commands.terminal import (
    Detach,
    Home,
    Json,
    follow_run,
    open_studio,
    print_json,
    print_table,
)
from studio.core.errors import NotFound
from studio.core.recipes import parse_overrides
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.launch import Launch
from studio.studies import studies
from studio.studies.expect import Outcome
from studio.studies.record import CellLook, Phase, StudyLook
from studio.studio import Studio

SMOKE = "smoke-ladder"
"""The study that `smoke` runs."""


class _RunByDefault(TyperGroup):
    """Runs `run` when the first word is no command, so `study smoke-processes` works."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


study_app = typer.Typer(
    cls=_RunByDefault,
    no_args_is_help=True,
    help="Compare settings: a matrix of runs, a chart and a verdict. `study NAME` runs one.",
)

Name = Annotated[str, typer.Argument(help="Folder of the study's results, or its beginning.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        help="key=value: of the study (repeats), of its load test (load.concurrency), or of all "
        "its cases (model, max_steps)."
    ),
]


@study_app.command("ls")
def list_studies(home: Home = None, as_json: Json = False) -> None:
    """List the studies there are, what stands in their way here, and those that were begun."""
    studio = open_studio(home)
    known = [_offer(studio, recipe.name) for recipe in studies.recipes(studio)]
    begun = studies.looks(studio)
    if as_json:
        print_json({"studies": known, "begun": [_short(look) for look in begun]})
        return
    rows = [(one["name"], one["cases"], one["here"], one["title"]) for one in known]
    print_table(("study", "cases", "measurable here", ""), rows)
    if begun:
        print()
        rows = [(x.name, x.phase, f"{x.rows_done}/{x.rows}", x.run) for x in begun]
        print_table(("results", "state", "rows", "run"), rows)


@study_app.command()
def run(
    name: Annotated[str, typer.Argument(help="Name of the study, or file of its recipe.")],
    settings: Words = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the cases and what stands in their way.")
    ] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Run a study; follows its log until it ends (Ctrl-C leaves it running)."""
    studio = open_studio(home)
    ask = studies.study_ask(studio, name, parse_overrides(settings or []))
    if dry_run:
        _print_cases(studio, ask, as_json)
        return
    _launch(studio, ask, detach=detach, as_json=as_json)


@study_app.command()
def resume(name: Name, detach: Detach = False, home: Home = None, as_json: Json = False) -> None:
    """Go on with a study that was stopped, lost or failed in part; rows that are done are kept."""
    studio = open_studio(home)
    _launch(studio, studies.resume_ask(studio, name), detach=detach, as_json=as_json)


@study_app.command()
def stop(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Stop a study: the case under way is ended politely, rows that are done stay."""
    studio = open_studio(home)
    look = studies.look(studio, name)
    if look.phase.over:
        print(f"{look.name} is {look.phase}: there is nothing to stop.")
        return
    studio.jobs.stop(look.run)
    while studio.jobs.get(look.run).state.alive:
        time.sleep(0.2)
    _print_look(studies.look(studio, look.name), as_json)


@study_app.command()
def show(name: Name, home: Home = None, as_json: Json = False) -> None:
    """Print what every case of a study is doing or came to."""
    studio = open_studio(home)
    _print_look(studies.look(studio, name), as_json)


@study_app.command()
def verdict(
    name: Name,
    lang: Annotated[str, typer.Option(help="en or zh.")] = "en",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print what became of a study's expectations: met, not met, or not measurable and why."""
    studio = open_studio(home)
    look = studies.look(studio, name)
    found = studies.judged(studio, look)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    from studio.ui.study.look import StudyLooks  # words; nothing of Gradio
    from studio.ui.study.verdict import titles
    from studio.ui.verdicts.text import verdict_text

    seen = StudyLooks(studio).find(look.name)
    names = titles(lang, seen) if seen else {}
    for one in found:
        print(verdict_text(lang, one, names))


@study_app.command()
def report(name: Name, home: Home = None) -> None:
    """Write a study's report as one HTML file and print its path."""
    from studio.ui.papers.report import write_report

    studio = open_studio(home)
    print(write_report(studio, _concluded(studio, name)))


@study_app.command()
def journal(name: Name, home: Home = None) -> None:
    """Write a study's journal entry as Markdown and print its path."""
    from studio.ui.papers.journal import write_journal

    studio = open_studio(home)
    print(write_journal(studio, _concluded(studio, name)))


def smoke(settings: Words = None, home: Home = None, as_json: Json = False) -> None:
    """Climb the ladder with the tiny models: text, pictures, parallel, fine-tune, edit."""
    studio = open_studio(home)
    ask = studies.study_ask(studio, SMOKE, parse_overrides(settings or []))
    launched = _launch(studio, ask, detach=False, as_json=as_json)
    found = studies.verdicts(studio, studies.folder_of(studio, launched))
    if any(one.state is Outcome.NOT_MET for one in found):
        raise typer.Exit(1)


# below: helpers ---------------------------------------------------------------------------------


def _launch(studio: Studio, ask: Launch, *, detach: bool, as_json: bool) -> Run:
    launched = studio.launch(ask)
    if not as_json:
        print(f"run {launched.id} {launched.spec.name}", flush=True)
    if not detach:
        launched = follow_run(studio, launched.id, quiet=as_json)
    name = studies.folder_of(studio, launched)
    if name and not detach:
        _print_look(studies.look(studio, name), as_json)
    elif as_json:
        print_json(launched.summary())
    if launched.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)
    return launched


def _concluded(studio: Studio, name: str) -> Path:
    """Return a study's folder, its verdict written where its runner did not come to that."""
    look = studies.look(studio, name)
    if look.phase.over:
        studies.conclude(studio, look.name)
    return studio.saved.get(look.name).folder


def _offer(studio: Studio, name: str) -> dict[str, Any]:
    """Return what a list tells of a study: its cases, and how many can be measured here."""
    recipe = studies.recipe(studio, name)
    told = {"name": name.removeprefix(studies.FOLDER), "title": recipe.title.en}
    try:
        found = studies.here(studio, studies.study_ask(studio, name))
    except NotFound as error:
        return {**told, "cases": 0, "here": error.message, "reasons": []}
    reasons = [why for _, _, why in found]
    able = sum(not why for why in reasons)
    return {**told, "cases": len(found), "here": f"{able} of {len(found)}", "reasons": reasons}


def _print_cases(studio: Studio, ask: Launch, as_json: bool) -> None:
    found = studies.here(studio, ask)
    if as_json:
        print_json([{**cell.as_dict(), "cards": n, "why_not": why} for cell, n, why in found])
        return
    rows = [
        (cell.name, cell.measure, cell.launch.recipe or cell.launch.engine, n, why or "yes")
        for cell, n, why in found
    ]
    print_table(("case", "measure", "recipe", "cards", "measurable here"), rows)


def _print_look(look: StudyLook, as_json: bool) -> None:
    if as_json:
        print_json(look.as_dict())
        return
    print(f"{look.name}: {look.phase} {look.reason}".rstrip())
    rows = [(x.name, x.phase, f"{x.rows_done}/{x.rows}", _last(x)) for x in look.cells]
    print_table(("case", "state", "rows", ""), rows)
    if look.phase in (Phase.STOPPED, Phase.FAILED, Phase.INTERRUPTED, Phase.ELSEWHERE):
        print(f"go on with: python app.py study resume {look.name}")


def _last(cell: CellLook) -> str:
    if cell.reason:
        return cell.reason[:100]
    return f"results {cell.results}" if cell.results else " ".join(cell.runs[-1:])


def _short(look: StudyLook) -> dict[str, Any]:
    told = look.as_dict()
    return {key: value for key, value in told.items() if key != "cells"}
