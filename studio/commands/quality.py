"""The `quality` commands: compare answers, vote blind, judge, and the table of it all."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from studio.commands.terminal import (
    Detach,
    Home,
    Json,
    asked,
    follow_run,
    open_studio,
    print_json,
    print_table,
)
from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings, parse_overrides
from studio.core.spec import State
from studio.engines.quality import QualityConfig
from studio.jobs.rundir import RunDir, read_rows
from studio.launch import Launch
from studio.quality.summary import Model, Overview
from studio.quality.table import Cell, Column, Table
from studio.quality.votes import ME, Ballot, Choice
from studio.quality.winrate import Bias, WinRate
from studio.studio import Studio

quality_app = typer.Typer(help="Compare answers: questions to several models, votes, a judge.")

ENGINE = "quality"
RECIPE = "quality/general"
"""What is asked when no recipe is named."""
KEYS = {"1": Choice.LEFT, "2": Choice.RIGHT, "0": Choice.TIE}

Name = Annotated[str, typer.Argument(help="Folder of results, or enough of its beginning.")]
By = Annotated[str, typer.Option("--by", help="Who votes.")]


@quality_app.command("run")
def quality_run(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RECIPE] [KEY=VALUE]...", help="Recipe, then settings."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("-m", "--model", help="ENDPOINT or ENDPOINT::MODEL that answers; repeats."),
    ] = None,
    judge: Annotated[str, typer.Option(help="ENDPOINT or ENDPOINT::MODEL that judges.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what will be asked.")] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Ask every model every question, have the answers judged; can be stopped and resumed."""
    studio = open_studio(home)
    given = list(words or [])
    recipe = given.pop(0) if given and "=" not in given[0] else RECIPE
    if "/" not in recipe and recipe != ENGINE and not recipe.endswith((".yaml", ".yml")):
        recipe = f"{ENGINE}/{recipe}"  # as studies are called, by their own name
    ask = asked(studio, recipe, given, "", None)
    if ask.engine != ENGINE:
        raise RecipeInvalid(f"{recipe} is not a comparison.", hint="`recipes` lists them.")
    added: dict[str, Any] = {"answers_from": models} if models else {}
    if judge:
        added["judge"] = judge
    _start(studio, ask, added, dry_run=dry_run, detach=detach, as_json=as_json)


@quality_app.command("resume")
def quality_resume(
    name: Name,
    settings: Annotated[
        list[str] | None, typer.Argument(help="key=value: other endpoints, a judge, ...")
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("-m", "--model", help="Models that answer now; repeats.")
    ] = None,
    judge: Annotated[str, typer.Option(help="ENDPOINT or ENDPOINT::MODEL that judges.")] = "",
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Go on with a comparison: ask what has no answer yet, add models, add a judge."""
    studio = open_studio(home)
    settings_then = studio.quality.resuming(name)
    ask = Launch(engine=ENGINE, settings=settings_then, name=ENGINE)
    added: dict[str, Any] = parse_overrides(settings or [])
    if models:
        added = {"names": [], **added, "answers_from": models}
    if judge:
        added["judge"] = judge
    _start(studio, ask, added, dry_run=False, detach=detach, as_json=as_json)


@quality_app.command("ls")
def quality_ls(home: Home = None, as_json: Json = False) -> None:
    """List the comparisons, newest first."""
    studio = open_studio(home)
    found = studio.quality.list()
    if as_json:
        print_json([results.summary() for results in found])
        return
    rows = []
    for results in found:
        seen = studio.quality.overview(results.name)
        answered = sum(model.answered for model in seen.models)
        of = seen.num_questions * len(seen.models)
        clock = time.strftime("%m-%d %H:%M", time.localtime(results.created_at))
        models = ", ".join(model.label for model in seen.models)
        rows.append((results.name, clock, f"{answered}/{of}", seen.num_votes, models))
    print_table(("name", "created", "answers", "votes", "models"), rows)


@quality_app.command("show")
def quality_show(
    name: Name,
    answers: Annotated[
        bool, typer.Option("--answers", help="Print the answers by name; ends blindness.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print what a comparison came to, by model and by category."""
    studio = open_studio(home)
    found = studio.quality.overview(name)
    rows = studio.quality.side_by_side(name, unblind=True) if answers else []
    if as_json:
        told = found.as_dict()
        if answers:
            told["answers"] = [
                {
                    "question": row.question.model_dump(),
                    "answers": {label: one.model_dump() for label, one in row.answers.items()},
                }
                for row in rows
            ]
        print_json(told)
        return
    _print_overview(found)
    for row in rows:
        print(f"\n[{row.question.id}] {' / '.join(row.question.turns)}")
        for label, one in row.answers.items():
            print(f"  {label}: {' / '.join(one.turns) or one.error}")


@quality_app.command("vote")
def quality_vote(
    name: Name,
    pair: Annotated[str, typer.Option(help="Vote on this pair, without asking.")] = "",
    choice: Annotated[Choice | None, typer.Option(help="left, right or tie.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take the last vote back.")] = False,
    by: By = ME,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Vote on blind pairs: 1 the first is better, 2 the second, 0 neither, u undo, q quit.

    With --json it prints the next pair; --pair and --choice vote on one.
    """
    desk = open_studio(home).quality
    if bool(pair) != bool(choice):
        raise RecipeInvalid("A vote needs both --pair and --choice.")
    if undo:
        desk.undo(name, by)
    if pair and choice:
        desk.vote(name, pair, choice, by)
    if as_json:
        ballot = desk.ballot(name, by)
        told = ballot.as_dict() if ballot else None
        print_json({"standing": desk.standing(name, by)._asdict(), "ballot": told})
        return
    while not (pair or undo) and (ballot := desk.ballot(name, by)) is not None:
        _print_ballot(ballot)
        key = typer.prompt("1 first, 2 second, 0 tie, u undo, q quit").strip().lower()
        if key == "q":
            break
        if key == "u":
            desk.undo(name, by)
        elif key in KEYS:
            desk.vote(name, ballot.pair, KEYS[key], by)
    standing = desk.standing(name, by)
    print(f"{standing.voted} of {standing.of} pairs voted on, {standing.same} the same")


@quality_app.command("table")
def quality_table(
    names: Annotated[
        list[str] | None, typer.Argument(help="Comparisons; all of them by default.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Print models down and everything known of their quality across, lm-eval included."""
    found = open_studio(home).quality.table(names or None)
    if as_json:
        print_json(found.as_dict())
    else:
        _print_table(found)


# below: helpers ---------------------------------------------------------------------------------


def _start(
    studio: Studio,
    ask: Launch,
    added: dict[str, Any],
    *,
    dry_run: bool,
    detach: bool,
    as_json: bool,
) -> None:
    """Launch a comparison and follow it to its end."""
    ask = Launch(**{**ask.__dict__, "settings": {**ask.settings, **added}})
    config = check_settings(QualityConfig, ask.settings, "settings of a comparison")
    asking = studio.quality.asking(config)  # a fault in the question file is told before the launch
    if dry_run:
        if as_json:
            print_json(asking._asdict())
        else:
            told = {**asking._asdict(), "categories": ", ".join(asking.categories)}
            rows = list(told.items())
            print_table(("what", "how many"), rows)
        return
    run = studio.launch(ask)
    if not as_json:
        print(f"run {run.id} {run.spec.name}", flush=True)
    if not detach:
        run = follow_run(studio, run.id, quiet=as_json)
    if as_json:
        print_json({**run.summary(), "results": results_of(run.dir)})
    if run.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)


def results_of(run: RunDir) -> str:
    """Return the folder of results that a run of `quality` writes; empty before it has one."""
    rows = read_rows(run.artifacts / "results.json")
    return str(rows[-1]["results"]) if rows else ""


def _print_overview(found: Overview) -> None:
    print(f"{found.name}: {found.num_questions} questions, {found.num_votes} votes\n")
    head = ("model", "answered", "failed", "TTFT ms", "tok/s", "score", "judge", "votes")
    rows = [
        (
            model.label,
            model.answered,
            model.failed,
            _number(model.ttft_ms),
            _number(model.tokens_per_s),
            _score(model),
            _rate(model.judged),
            _rate(model.voted),
        )
        for model in found.models
    ]
    print_table(head, rows)
    _print_categories(found)
    for judged in found.judged:
        said = f"{judged.unreadable} unreadable, {judged.failed} failed"
        if judged.mode == "pairwise":
            said += f", {judged.disagreed} of {judged.pairs} pairs not agreed"
            said += f", first one won {_bias(judged.bias)}"
        print(f"\njudge {judged.judge} ({judged.mode}): {judged.num} judgements, {said}")
    if found.num_votes:
        print(f"\nleft one won {_bias(found.vote_bias)}")


def _print_categories(found: Overview) -> None:
    rows = []
    for category in found.categories:
        for model in found.models:
            score = model.scores.get(category)
            judged, voted = model.judged_by.get(category), model.voted_by.get(category)
            if score or judged or voted:
                told = (_number(score.mean) if score else "", _rate(judged), _rate(voted))
                rows.append((category, model.label, *told))
    if rows:
        print()
        print_table(("category", "model", "score", "judge", "votes"), rows)


def _print_ballot(ballot: Ballot) -> None:
    print(f"\n── {ballot.number} of {ballot.of} · {ballot.category} " + "─" * 40)
    for turn, text in enumerate(ballot.turns):
        print(f"\nQ  {text}")
        print(f"\n1  {ballot.left[turn]}")
        print(f"\n2  {ballot.right[turn]}")
    if ballot.reference:
        print(f"\nreference  {' / '.join(ballot.reference)}")
    print()


def _print_table(found: Table) -> None:
    head = ("model", *(_head(column) for column in found.columns))
    rows = [
        (row.label, *(_cell(column, row.cells.get(column.key)) for column in found.columns))
        for row in found.rows
    ]
    print_table(head, rows)


def _head(column: Column) -> str:
    return column.key if column.group != "answers" else column.name


def _cell(column: Column, cell: Cell | None) -> str:
    if cell is None:
        return ""
    scale, unit = (100, " %") if column.unit == "share" else (1, "")
    text = f"{cell.value * scale:.3g}{unit}"
    if cell.low is not None and cell.high is not None:
        text += f" [{cell.low * scale:.3g}, {cell.high * scale:.3g}]"
    return text + (" (part)" if cell.part else "")


def _rate(rate: WinRate | None) -> str:
    if rate is None or rate.rate is None or rate.interval is None:
        return ""
    low, high = rate.interval
    return f"{rate.rate:.0%} [{low:.0%}, {high:.0%}] of {rate.num}"


def _score(model: Model) -> str:
    if model.score is None:
        return ""
    error = f" ±{model.score.stderr:.2f}" if model.score.stderr is not None else ""
    return f"{model.score.mean:.2f}{error} of {model.score.num}"


def _bias(bias: Bias) -> str:
    if bias.rate is None or bias.interval is None:
        return "never: nothing was decided"
    low, high = bias.interval
    return f"{bias.rate:.0%} [{low:.0%}, {high:.0%}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
