"""Commands for replicas: launch several copies behind one address, stop a group."""

from __future__ import annotations

from typing import Annotated

import typer

from studio.commands.terminal import (
    Home,
    Json,
    asked,
    follow_run,
    open_studio,
    print_json,
    print_table,
)
from studio.core.spec import State
from studio.replicas import launch_replicas, stop_group
from studio.studio import Studio


def replicas(
    recipe: Annotated[str, typer.Argument(help="Recipe that serves a model, or engine id.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    copies: Annotated[int, typer.Option(help="How many copies, each on cards of its own.")] = 2,
    policy: Annotated[
        str, typer.Option(help="cache_aware, consistent_hash, power_of_two, round_robin, random.")
    ] = "cache_aware",
    port: Annotated[int | None, typer.Option(help="Port of the one address.")] = None,
    name: Annotated[str, typer.Option(help="Name of the group.")] = "",
    cards: Annotated[
        str | None,
        typer.Option(help="Idle cards of each copy (1), or cards to share out (=0,1)."),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Do not wait until it answers.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Launch copies of a server behind one address; waits until the first copy answers."""
    studio = open_studio(home)
    ask = asked(studio, recipe, settings or [], name, cards)
    found = launch_replicas(studio, ask, copies, policy=policy, port=port)
    if not as_json:
        for run in (found.router, *found.copies):
            print(f"run {run.id} {run.spec.name} port {run.spec.port}", flush=True)
    router = found.router
    if not detach:
        router = follow_run(studio, router.id, quiet=as_json, until_ready=True)
    runs = [router, *(studio.jobs.get(run.id) for run in found.copies)]
    if as_json:
        print_json({"group": found.group, "runs": [run.summary() for run in runs]})
    elif router.state is State.READY:
        print(f"group {found.group} answers at http://{router.spec.host}:{router.spec.port}/v1")
    if router.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)


def stop_whole_group(studio: Studio, group: str, *, now: bool, as_json: bool) -> None:
    """Stop the runs of a group and wait until they are gone."""
    runs = stop_group(studio, group, now=now, timeout_s=300)
    if as_json:
        print_json([run.summary() for run in runs])
    else:
        rows = [(run.id, str(run.state), run.spec.name) for run in runs]
        print_table(("id", "state", "name"), rows)
    if any(run.state.alive or (run.result or {}).get("survivors") for run in runs):
        raise typer.Exit(1)
