"""The `image` commands: edit pictures, whole folders, and look at what became of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from studio.commands.image_results import (
    CANCEL_S,
    ME,
    POLL_S,
    check_target,
    clock,
    follow,
    print_end,
    save,
    short,
    took,
)
from studio.commands.terminal import Home, Json, StatusLine, open_studio, print_json, print_table
from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.core.spec import Endpoint, State
from studio.images.batch_files import BatchLook, BatchState
from studio.images.desk import Look
from studio.images.item import ItemState
from studio.images.request import EditInvalid, EditRequest, EditSettings
from studio.images.telling import ladder_lines, progress_line
from studio.studio import Studio

image_app = typer.Typer(help="Edit pictures with a running worker; list and show results.")

ENGINE = "image-edit"

Steps = Annotated[int | None, typer.Option(help="Denoising steps; the worker's own by default.")]
Cfg = Annotated[float | None, typer.Option(help="True CFG scale; 1 turns guidance off.")]
Negative = Annotated[str, typer.Option(help="What shall not be in the picture.")]
Seed = Annotated[int | None, typer.Option(help="Same seed, same picture; random by default.")]
Size = Annotated[str, typer.Option(help="WIDTHxHEIGHT, or auto: the shape of the first picture.")]
Lora = Annotated[
    list[str] | None, typer.Option(help="Style loaded by the worker: name or name=0.8; repeats.")
]
From = Annotated[str, typer.Option("--endpoint", help="Endpoint, by name or id.")]
ItemId = Annotated[str, typer.Argument(help="Id of an edit, or enough of its beginning.")]


@image_app.command("edit")
def image_edit(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="PICTURE... PROMPT", help="One to three pictures, then what shall change."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Where to save it: .png, .jpg, .webp, or a folder."),
    ] = None,
    steps: Steps = None,
    cfg: Cfg = None,
    negative: Negative = "",
    seed: Seed = None,
    size: Size = "auto",
    n: Annotated[int, typer.Option(help="Variants, each with the next seed.")] = 1,
    mask: Annotated[
        Path | None, typer.Option(help="Picture whose white (or transparent) part is edited.")
    ] = None,
    lora: Lora = None,
    endpoint: From = "",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Do not wait for it.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Edit pictures; Ctrl-C cancels. Results are kept in the gallery, too."""
    *pictures, prompt = words
    if not pictures:
        raise RecipeInvalid(
            "One picture at least is needed, and then a prompt.",
            hint='For example: image edit photo.png "make it night".',
        )
    settings = _settings(prompt, steps, cfg, negative, seed, size, n, lora)
    request = EditRequest(
        pictures=tuple(_bytes(Path(name)) for name in pictures),
        mask=_bytes(mask) if mask else None,
        settings=settings,
    )
    check_target(out)
    studio = open_studio(home)
    where = _endpoint(studio, endpoint)
    item = studio.images.submit(ME, request, endpoint=where.id, source=Path(pictures[0]).name)
    if not detach or not item.asked.job:  # without a job nobody else waits for the answer
        item = follow(studio, item, quiet=as_json)
    saved = save(studio, item, out)
    if as_json:
        print_json({**item.summary(), "files": [str(path) for path in saved]})
    else:
        print_end(item, saved)
    if item.state in (ItemState.FAILED, ItemState.CANCELLED):
        raise typer.Exit(1)


@image_app.command("batch")
def image_batch(
    folder: Annotated[
        str, typer.Argument(help="Folder of pictures, or the id of a batch to go on with.")
    ],
    prompt: Annotated[str, typer.Argument(help="What shall change in each of them.")] = "",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder that results are copied to.")
    ] = None,
    steps: Steps = None,
    cfg: Cfg = None,
    negative: Negative = "",
    seed: Seed = None,
    size: Size = "auto",
    lora: Lora = None,
    endpoint: From = "",
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Edit every picture of a folder, one after the other; Ctrl-C stops, the id resumes it."""
    studio = open_studio(home)
    if not prompt and Path(folder).is_dir():
        raise RecipeInvalid(
            "A batch needs a prompt.", hint='For example: image batch photos "make it night" -o out'
        )
    where = _endpoint(studio, endpoint).id if prompt or endpoint else ""
    if prompt:
        ident = studio.batches.create(
            ME,
            Path(folder).expanduser().absolute(),
            _settings(prompt, steps, cfg, negative, seed, size, 1, lora),
            endpoint=where if endpoint else "",
            out=str(out.expanduser().absolute()) if out else "",
        ).plan.id
    else:
        ident = studio.batches.look(ME, folder).plan.id
    line = StatusLine(quiet=as_json)

    def tell(batch: BatchLook, look: Look | None) -> None:
        name = batch.plan.names[batch.current.index] if batch.current else ""
        told = f"{batch.count('done') + batch.count('failed')}/{batch.total} {name}"
        line.show(f"{told}  {progress_line(look.job)}" if look else told)

    try:
        found = studio.batches.work(ME, ident, tell, endpoint=where if endpoint else "")
    except KeyboardInterrupt:
        line.end()
        found = studio.batches.look(ME, ident)
        if found.current is not None:
            studio.images.cancel(ME, found.current.item)
        print(f"stopped; go on with: image batch {ident}", file=sys.stderr)
        raise typer.Exit(130) from None
    except StudioError:
        line.end()
        print(f"halted; go on with: image batch {ident}", file=sys.stderr)
        raise
    line.end()
    if as_json:
        print_json(found.summary())
    else:
        print(f"batch {ident} {found.state}: {found.count('done')} of {found.total} done")
        for row in found.rows:
            if row.error:
                print(f"{found.plan.names[row.index]}: {row.error} {row.hint}".rstrip())
    if found.state is not BatchState.DONE or found.count("failed"):
        raise typer.Exit(1)


@image_app.command("ls")
def image_ls(
    limit: Annotated[int, typer.Option("-n", help="How many at most.")] = 20,
    batches: Annotated[bool, typer.Option("--batches", help="List batches instead.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """List edits, newest first."""
    studio = open_studio(home)
    if batches:
        found = [batch.summary() for batch in studio.batches.list(ME, limit)]
        if as_json:
            print_json(found)
            return
        keys = ("id", "state", "done", "total", "name", "prompt")
        print_table(keys, [tuple(row[key] for key in keys) for row in found])
        return
    items = studio.images.items(ME, limit=limit)
    if as_json:
        print_json([item.summary() for item in items])
        return
    rows = [
        (i.id, i.state, clock(i.asked.created_at), took(i), i.asked.source, short(i)) for i in items
    ]
    print_table(("id", "state", "created", "took", "picture", "prompt"), rows)


@image_app.command("show")
def image_show(ident: ItemId, home: Home = None, as_json: Json = False) -> None:
    """Print everything known about one edit, and where its files lie."""
    studio = open_studio(home)
    item = studio.images.look(ME, _whole(studio, ident)).item
    names = [*item.before, *(["mask.png"] if item.asked.has_mask else []), *item.out]
    files = [str(studio.images.file(ME, item.id, name)) for name in names]
    told = {**item.summary(), "files": files}
    if as_json:
        print_json(told)
        return
    told |= {"settings": None, "files": None, **told["settings"]}
    for key in ("created_at", "ended_at"):
        told[key] = clock(told[key]) if told.get(key) else ""
    for key, value in told.items():
        if value not in (None, "", [], {}, 0):
            print(f"{key:<20} {_plain(value)}")
    for file in files:
        print(file)


@image_app.command("cancel")
def image_cancel(ident: ItemId, home: Home = None) -> None:
    """Cancel an edit, in line or at work."""
    studio = open_studio(home)
    item = studio.images.cancel(ME, _whole(studio, ident)).item
    deadline = time.monotonic() + CANCEL_S
    while item.state is ItemState.PENDING and time.monotonic() < deadline:
        time.sleep(POLL_S)
        item = studio.images.look(ME, item.id).item
    print(f"edit {item.id} {item.state}")


@image_app.command("rm")
def image_rm(ident: ItemId, home: Home = None) -> None:
    """Delete an edit and its pictures."""
    studio = open_studio(home)
    whole = _whole(studio, ident)
    studio.images.delete(ME, whole)
    print(f"deleted {whole}")


@image_app.command("ladder")
def image_ladder(endpoint: From = "", home: Home = None, as_json: Json = False) -> None:
    """Print the rungs of a running worker, which one runs and why."""
    studio = open_studio(home)
    told = studio.images.ladder(ME, _endpoint(studio, endpoint).id)
    if as_json:
        print_json(told)
        return
    print("\n".join(ladder_lines(told)))


@image_app.command("curl")
def image_curl(ident: ItemId, endpoint: From = "", home: Home = None) -> None:
    """Print the curl command that asks for an edit again, without a key."""
    studio = open_studio(home)
    item = studio.images.item(ME, _whole(studio, ident))
    where = _endpoint(studio, endpoint).id
    print(studio.images.curl_again(ME, item.id, where, kept_files=True))


@image_app.command("endpoints")
def image_endpoints(home: Home = None, as_json: Json = False) -> None:
    """List what edits pictures: workers that are ready, and addresses that were connected."""
    found = open_studio(home).images.endpoints(ME)
    if as_json:
        print_json([endpoint.model_dump(exclude={"api_key"}) for endpoint in found])
        return
    rows = [(e.id, e.name, e.base_url, " ".join(e.models)) for e in found]
    print_table(("id", "name", "address", "models"), rows)


@image_app.command("connect")
def image_connect(
    url: Annotated[str, typer.Argument(help="Address of vllm-omni, SGLang, another studio...")],
    key: Annotated[str, typer.Option(help="API key, when it wants one.")] = "",
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    home: Home = None,
) -> None:
    """Keep the address of an OpenAI-compatible server that edits pictures."""
    found = open_studio(home).external.add(url, key, name, kind="images")
    print(f"{found.id}  {found.base_url}  {' '.join(found.models)}")


@image_app.command("disconnect")
def image_disconnect(
    ident: Annotated[str, typer.Argument(help="Id of an address, as `image endpoints` says.")],
    home: Home = None,
) -> None:
    """Forget an address."""
    open_studio(home).external.remove(ident)
    print(f"forgot {ident}")


# below: helpers ---------------------------------------------------------------------------------


def _plain(value: object) -> object:
    """Return a value as one reads it: `encode_s 0.12, step_s 0.04`, `256 256`."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return value


def _settings(
    prompt: str,
    steps: int | None,
    cfg: float | None,
    negative: str,
    seed: int | None,
    size: str,
    n: int,
    lora: list[str] | None,
) -> EditSettings:
    loras: dict[str, float] = {}
    for word in lora or []:
        name, _, scale = word.partition("=")
        try:
            loras[name] = float(scale or 1)
        except ValueError:
            raise EditInvalid(
                f"--lora {word} is not name=weight.", hint="Write it like --lora anime=0.8."
            ) from None
    return EditSettings(
        prompt=prompt,
        negative_prompt=negative,
        num_inference_steps=steps,
        true_cfg_scale=cfg,
        seed=seed,
        n=n,
        size=size,
        loras=loras,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except OSError as error:
        raise NotFound(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Name one to three pictures, then the prompt in quotes.",
        ) from error


def _endpoint(studio: Studio, name: str) -> Endpoint:
    """Return the endpoint to use; where none runs, NotFound names the commands to start one."""
    try:
        return studio.images.endpoint(ME, name)
    except NotFound as error:
        if studio.images.endpoints(ME):
            raise
        for run in studio.jobs.list(engine=ENGINE, limit=5):
            if run.state in (State.QUEUED, State.STARTING, State.RUNNING):
                raise NotFound(
                    f"The worker {run.id} is {run.state} and not ready yet.",
                    hint=f"python app.py logs -f {run.id}   shows how far it is.",
                ) from None
        found = sorted(studio.recipes.list(ENGINE), key=lambda recipe: "/smoke" not in recipe.name)
        wide = max((len(recipe.name) for recipe in found), default=0)
        lines = [
            f"python app.py run {recipe.name:<{wide}} --ready   # {recipe.title['en']}"
            for recipe in found
        ]
        raise NotFound(error.message, hint="\n".join(["Start a worker first:", *lines])) from None


def _whole(studio: Studio, ident: str) -> str:
    """Turn the beginning of an id into the whole one; raise NotFound."""
    gallery = studio.images.gallery(ME)
    if gallery.has(ident):
        return ident
    found = [name for name in gallery.ids() if ident and name.startswith(ident)]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(f"{ident} fits several edits.", hint="Give more of the id.")
    raise NotFound(f"There is no edit {ident}.", hint="`image ls` lists them.")
