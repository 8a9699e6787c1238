"""What the commands share: the studio they work on, tables, JSON, and following a log."""

from __future__ import annotations

import json
import shutil
import sys
import time
import unicodedata
from pathlib import Path
from typing import Annotated, Any

import typer

from studio.core.errors import RecipeInvalid
from studio.core.recipes import parse_overrides
from studio.core.settings import Settings
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.logs import read_from
from studio.studio import Launch, Studio

Home = Annotated[Path | None, typer.Option("--home", help="Folder for runs, envs and chats.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Do not follow the log.")]
WaitReady = Annotated[bool, typer.Option("--ready", help="Return as soon as a server is ready.")]


def open_studio(home: Path | None, **given: Any) -> Studio:
    """Return the studio of a home; raise RecipeInvalid for an option that cannot be used."""
    if home is not None:
        given["home"] = home.expanduser().absolute()
    try:
        return Studio(Settings(**{key: value for key, value in given.items() if value is not None}))
    except ValueError as error:
        raise RecipeInvalid(f"An option cannot be used: {error}") from error


def asked(studio: Studio, recipe: str, words: list[str], name: str, cards: str | None) -> Launch:
    """Turn a recipe's name, `key=value` words and `--cards` into a launch."""
    overrides = parse_overrides(words)
    if cards is not None:
        overrides["cards"] = _cards(cards)
    if recipe in studio.engines:
        chosen = overrides.pop("cards", None)
        return Launch(engine=recipe, settings=overrides, name=name or recipe, cards=chosen)
    found = studio.recipes.get(recipe)
    ask = studio.ask_for(found, overrides)
    return Launch(**{**ask.__dict__, "name": name or ask.name})


def _cards(text: str) -> int | list[int]:
    """Read `2` as any two idle cards, `=6,7` or `6,7` as those."""
    try:
        if "," in text or text.startswith("="):
            return [int(part) for part in text.lstrip("=").split(",")]
        return int(text)
    except ValueError:
        raise RecipeInvalid(
            f"--cards {text} is neither a number nor a list.", hint="Use 2, or =6,7."
        ) from None


def see_through(
    studio: Studio, launched: Run, *, detach: bool, wait_ready: bool, as_json: bool
) -> None:
    """Follow a run that was just launched, unless told not to; exit with 1 when it failed."""
    if not as_json:
        print(f"run {launched.id} {launched.spec.name}", flush=True)
    if not detach:
        launched = follow_run(studio, launched.id, quiet=as_json, until_ready=wait_ready)
    if as_json:
        print_json(launched.summary())
    if launched.state in (State.FAILED, State.LOST):
        raise typer.Exit(1)


def follow_run(
    studio: Studio, run_id: str, *, quiet: bool = False, until_ready: bool = False
) -> Run:
    """Print a run's log, and before it those of the runs it waits for, until it ends."""
    for other in studio.jobs.get(run_id).spec.after:
        follow_run(studio, other, quiet=quiet)
    offset, found = 0, studio.jobs.get(run_id)
    while True:
        found = studio.jobs.get(run_id)
        over = not found.state.alive or (until_ready and found.state is State.READY)
        while True:
            chunk = read_from(found.dir.log, offset)
            if chunk.offset == offset:
                break
            offset = chunk.offset
            if not quiet:
                sys.stdout.write(chunk.text)
                sys.stdout.flush()
        if over:
            return found
        time.sleep(0.2)


def print_table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    """Print rows under their heads, in columns."""
    cells = [head, *[tuple(str(cell) for cell in row) for row in rows]]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        padded = (cell + " " * (w - _width(cell)) for cell, w in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _width(text: str) -> int:
    """Return the columns a text takes on a terminal: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(char) in "WF" for char in text)


def print_json(value: Any) -> None:
    """Print plain values as JSON."""
    print(json.dumps(value, ensure_ascii=False, indent=2, default=str))


class StatusLine:
    """One line of stderr that is written over; in a log each change gets a line of its own.

    What follows `, about` (the time to go) is no change.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._over = sys.stderr.isatty()
        self._last = ""

    def show(self, text: str) -> None:
        """Show a text in place of the last one."""
        if self._quiet or text == self._last:
            return
        if self._over:
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(f"\r{text[:width]:<{width}}")
        elif text.partition(", about")[0] != self._last.partition(", about")[0]:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()
        self._last = text

    def end(self) -> None:
        """Leave the line as it stands."""
        if self._over and self._last:
            sys.stderr.write("\n")
