"""Commands for runs that failed: say why, and launch again with what may help."""

from __future__ import annotations

import json
import shlex
from typing import Annotated, Any

import typer

from studio.commands.terminal import (
    Detach,
    Home,
    Json,
    WaitReady,
    open_studio,
    print_json,
    see_through,
)
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import parse_overrides
from studio.engines.explain import Explanation, explain
from studio.jobs.shim.cards import read_cards
from studio.studio import Studio

RunId = Annotated[str, typer.Argument(help="Run id, or enough of its beginning.")]


def explain_run(run_id: RunId, home: Home = None, as_json: Json = False) -> None:
    """Say why a run failed, with the lines that prove it and the commands that may help."""
    studio = open_studio(home)
    run = studio.jobs.get(run_id)
    why = explain(run, num_cards=len(read_cards()))
    if as_json:
        print_json({"id": run.id, "state": str(run.state), **(why.as_dict() if why else {})})
    elif why is None:
        print(f"run {run.id} {run.state}: there is nothing to explain.")
    else:
        print(f"{why.says.en}\n")
        print("".join(f"    {line}\n" for line in why.lines))
        print(why.advice.en)
        for number, fix in enumerate(why.fixes, 1):
            print(f"\n{number}. {fix.says.en}")
            print(f"   python app.py relaunch {run.id} {shlex.join(_words(fix.changes))}")


def relaunch(
    run_id: RunId,
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    fix: Annotated[
        int | None, typer.Option(help="Take this one of the relaunches that `explain` offers.")
    ] = None,
    detach: Detach = False,
    wait_ready: WaitReady = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Launch a run's frozen settings again, some of them changed; on the same cards."""
    studio = open_studio(home)
    changes = {**_offered(studio, run_id, fix), **parse_overrides(settings or [])}
    launched = studio.relaunch(run_id, changes)
    see_through(studio, launched, detach=detach, wait_ready=wait_ready, as_json=as_json)


def _offered(studio: Studio, run_id: str, number: int | None) -> dict[str, Any]:
    """Return the changes of the relaunch with this number, counted from 1."""
    if number is None:
        return {}
    why: Explanation | None = explain(studio.jobs.get(run_id), num_cards=len(read_cards()))
    if why is None:
        raise NotFound(f"Run {run_id} has not failed, so nothing is offered.")
    if not 1 <= number <= len(why.fixes):
        raise RecipeInvalid(
            f"--fix {number}: {len(why.fixes)} relaunches are offered.",
            hint="`explain` lists them.",
        )
    return why.fixes[number - 1].changes


def _words(changes: dict[str, Any]) -> list[str]:
    """Return changes as `key=value` words that are read back as the same values."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items()]
