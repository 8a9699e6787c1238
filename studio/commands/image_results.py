"""What the `image` commands do with an edit that was asked for: wait, print its end, save it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from PIL import Image

from studio.chat.conversations import LOCAL
from studio.chat.desk import Person
from studio.commands.terminal import StatusLine
from studio.core.errors import RecipeInvalid
from studio.images.item import Item, ItemState
from studio.images.telling import progress_line
from studio.studio import Studio

ME = Person(LOCAL)
"""Whoever may run commands here is the operator of a page without accounts."""
POLL_S = 0.25
CANCEL_S = 20.0
"""How long Ctrl-C waits for the worker to say that it stopped."""
FORMATS = {"": "PNG", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""How a result is written, by the end of the name that it is saved under."""
QUALITY = 95


def follow(studio: Studio, item: Item, *, quiet: bool) -> Item:
    """Wait until an edit ended and return it; Ctrl-C cancels it and leaves with 130."""
    line = StatusLine(quiet=quiet)
    with _cancelled_by_ctrl_c(studio, item, line):
        while not (look := studio.images.look(ME, item.id)).ended:
            line.show(
                progress_line(look.job) if look.tells else "waiting for the endpoint's answer"
            )
            time.sleep(POLL_S)
        line.end()
        return look.item


@contextmanager
def _cancelled_by_ctrl_c(studio: Studio, item: Item, line: StatusLine) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        line.end()
        look = studio.images.cancel(ME, item.id)
        deadline = time.monotonic() + CANCEL_S
        while not look.ended and time.monotonic() < deadline:
            time.sleep(POLL_S)
            look = studio.images.look(ME, item.id)
        print(f"edit {item.id} {look.item.state}", file=sys.stderr)
        raise typer.Exit(130) from None


def print_end(item: Item, saved: list[Path]) -> None:
    """Print where results lie, and beside them (stderr) how it went."""
    for path in saved:
        print(path)
    end = item.end
    if end is None:
        print(f"edit {item.id} {item.state}")
        return
    for note in end.notes:
        print(note, file=sys.stderr)
    if end.error is not None:
        print(f"{end.error.message}\n{end.error.hint}".strip(), file=sys.stderr)
    elif item.state is ItemState.CANCELLED:
        print(f"edit {item.id} {item.state}")
    else:
        rung = f" on {end.rung}" if end.rung else ""
        print(f"edit {item.id} done in {took(item)}{rung}, seed {end.seeds[0]}", file=sys.stderr)


def save(studio: Studio, item: Item, out: Path | None) -> list[Path]:
    """Write results where they were asked for, as the name's ending says; return where they lie."""
    made = [studio.images.file(ME, item.id, name) for name in item.out]
    if out is None:
        return made
    if out.is_dir():
        out = out / f"{item.id}.png"
    saved = []
    for k, path in enumerate(made):
        target = out if len(made) == 1 else out.with_name(f"{out.stem}-{k}{out.suffix or '.png'}")
        _write(path, target)
        saved.append(target)
    return saved


def check_target(out: Path | None) -> None:
    """Raise RecipeInvalid for a name that no result can be saved under."""
    if out is None or out.is_dir():
        return
    if not out.absolute().parent.is_dir():
        raise RecipeInvalid(f"There is no folder {out.absolute().parent}.", hint="Make it first.")
    if out.suffix.lower() not in FORMATS:
        raise RecipeInvalid(
            f"A picture cannot be saved as {out.suffix}.", hint="Use .png, .jpg or .webp."
        )


def _write(made: Path, target: Path) -> None:
    """Copy a PNG with the settings that are inside; another format has the picture alone."""
    kind = FORMATS[target.suffix.lower()]
    if kind == "PNG":
        shutil.copyfile(made, target)
        return
    with Image.open(made) as picture:
        picture.convert("RGB").save(target, kind, quality=QUALITY)


def clock(at: float) -> str:
    """Return a time as `11-21 21:45:22`."""
    return time.strftime("%m-%d %H:%M:%S", time.localtime(at))


def took(item: Item) -> str:
    """Return how long an edit took, waiting in line included; empty while it lasts."""
    return f"{item.end.ended_at - item.asked.created_at:.1f} s" if item.end else ""


def short(item: Item) -> str:
    """Return the beginning of a prompt, on one line."""
    text = " ".join(item.settings.prompt.split())
    return text if len(text) <= 60 else f"{text[:57]}..."
