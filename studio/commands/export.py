"""The `export` command: a recipe as a script, a container or an nginx configuration."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from studio.commands.terminal import Home, asked, open_studio
from studio.core.errors import RecipeInvalid
from studio.core.spec import RunSpec, State
from studio.export.forms import as_nginx, forms
from studio.studio import Studio


class Form(StrEnum):
    """What a recipe can be written out as."""

    SH = "sh"
    DOCKER = "docker"
    COMPOSE = "compose"
    NGINX = "nginx"


def export(
    recipe: Annotated[str, typer.Argument(help="Recipe name, file, or engine id.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    form: Annotated[Form, typer.Option("--as", help="Form of the text.")] = Form.SH,
    copies: Annotated[int, typer.Option(help="Replicas, in compose and nginx.")] = 1,
    cards: Annotated[str | None, typer.Option(help="How many cards (2), or which (=6,7).")] = None,
    home: Home = None,
) -> None:
    """Print a launch in another form; nothing is started."""
    studio = open_studio(home)
    spec = studio.preview(asked(studio, recipe, settings or [], "", cards))
    if form is Form.NGINX:
        sys.stdout.write(as_nginx(spec, _backends(studio, spec, copies)))
        return
    found = forms(spec, copies=copies)
    if form not in found:
        raise RecipeInvalid(
            f"{spec.title or spec.engine} has no {form} form.",
            hint=f"There are: {', '.join(found)}.",
        )
    sys.stdout.write(found[form])


def _backends(studio: Studio, spec: RunSpec, copies: int) -> list[tuple[str, int]]:
    """Return where the recipe's servers run now; else the ports that copies would get."""
    ready = studio.jobs.list(states=[State.READY], engine=spec.engine)
    running = [
        (run.spec.host, run.spec.port)
        for run in reversed(ready)
        if run.spec.recipe == spec.recipe and run.spec.port
    ]
    first = spec.port or 8000
    return running or [(spec.host, first + number) for number in range(copies)]
