"""The `train` commands: a LLaMA-Factory YAML in or out, checkpoints, going on from one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.recipes import Recipe
from studio.engines.trained import saved
from studio.engines.training_yaml_read import from_yaml
from studio.export.training import training_yaml
from studio.jobs.jobs import Run
from studio.studio import Launch, Studio
from studio.ui import units

LLAMAFACTORY = "llamafactory-train"

train_app = typer.Typer(help="Trainings: LLaMA-Factory's YAML, checkpoints, resume.")

RunId = Annotated[str, typer.Argument(help="Run id, or enough of its beginning.")]


@train_app.command("yaml")
def train_yaml(
    file: Annotated[Path, typer.Argument(help="A YAML of LLaMA-Factory.")],
    save: Annotated[str, typer.Option(help="Keep it as a recipe of this name.")] = "",
    launch: Annotated[bool, typer.Option("--launch", help="Launch it.")] = False,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read a YAML of LLaMA-Factory; print its settings, keep them as a recipe, or launch them."""
    studio, text = open_studio(home), _read(file)
    found = from_yaml(text)
    if not as_json:
        for note in found.notes:
            print(f"# {note}")
    if save:
        recipe = studio.recipes.save(save, _recipe(studio, save, found.settings))
        if not as_json:
            print(f"saved {recipe.name}")
    if launch:
        settings = Launch(engine=LLAMAFACTORY, settings=found.settings, name=save or file.stem)
        _launched(studio, studio.launch(settings), detach, as_json)
    elif as_json:
        print_json({"engine": LLAMAFACTORY, "settings": found.settings, "notes": found.notes})
    elif not save:
        for key, value in found.settings.items():
            print(f"{key}: {value}")


@train_app.command("checkpoints")
def train_checkpoints(run_id: RunId, home: Home = None, as_json: Json = False) -> None:
    """List the checkpoints of a training; the best is marked."""
    found = saved(open_studio(home).jobs.get(run_id).dir)
    if as_json:
        print_json([item.as_dict() for item in found])
        return
    rows = [
        (
            item.step,
            units.number(item.eval_loss),
            units.size(item.bytes),
            " ".join(filter(None, ("best" * item.best, "resumable" * item.resumable))),
            item.folder,
        )
        for item in found
    ]
    print_table(("step", "eval loss", "size", "", "folder"), rows)


@train_app.command("resume")
def train_resume(
    run_id: RunId,
    step: Annotated[int | None, typer.Option("--from", help="Step; empty: the newest.")] = None,
    detach: Detach = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Go on from a checkpoint of a training, in a run of its own."""
    studio = open_studio(home)
    _launched(studio, studio.resume(run_id, step), detach, as_json)


@train_app.command("export-yaml")
def train_export_yaml(
    what: Annotated[str, typer.Argument(help="Recipe name, or the id of a run.")],
    settings: Annotated[list[str] | None, typer.Argument(help="key=value, as in the YAML.")] = None,
    home: Home = None,
) -> None:
    """Print a training as a YAML that `llamafactory-cli train` runs as it is."""
    studio = open_studio(home)
    ask = _launch_of(studio, what, settings or [])
    engine, config = studio.validate(ask.engine, ask.settings)
    has_gpu, data = studio.envs.variant() == "cuda", str(studio.settings.home / "data")
    text = training_yaml(engine, config, cards=ask.cards, has_gpu=has_gpu, data_dir=data)
    print(text, end="")


def _launch_of(studio: Studio, what: str, words: list[str]) -> Launch:
    """Return a recipe, or a run of the past, as a launch."""
    try:
        return asked(studio, what, words, "", None)
    except NotFound as error:
        try:
            spec = studio.jobs.get(what).spec
        except NotFound:
            raise error from None
    cards = len(spec.resources.gpu_ids or ()) or spec.resources.num_gpus
    return Launch(engine=spec.engine, settings=spec.config, cards=cards)


def _launched(studio: Studio, run: Run, detach: bool, as_json: bool) -> None:
    if not as_json:
        print(f"run {run.id} {run.spec.name}", flush=True)
    if not detach:
        run = follow_run(studio, run.id, quiet=as_json)
    if as_json:
        print_json(run.summary())


def _recipe(studio: Studio, name: str, settings: dict) -> Recipe:
    studio.validate(LLAMAFACTORY, settings)
    title = {"en": name, "zh": name}
    about = {"en": "From a YAML of LLaMA-Factory.", "zh": "来自 LLaMA-Factory 的 YAML。"}
    recipe = {"engine": LLAMAFACTORY, "title": title, "about": about, "settings": settings}
    return Recipe.model_validate(recipe)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeInvalid(f"{file} cannot be read: {error}.") from error
