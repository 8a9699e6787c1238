"""The `bench` commands that write: a chart into a file, a report, a journal entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from studio.commands.terminal import Home, open_studio
from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.studio import Studio

Name = Annotated[str, typer.Argument(help="Folder of results, or enough of its beginning.")]
Lang = Annotated[str | None, typer.Option("--lang", help="en or zh.")]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="File to write.")]


def language(studio: Studio) -> str:
    """Return the language that words are printed in: the studio's, English where none is set."""
    return "zh" if studio.settings.lang == "zh" else "en"


def chart(
    words: Annotated[
        list[str], typer.Argument(metavar="NAME... KIND", help="Folders of results, and the kind.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help=".svg .png .pdf .csv .json")],
    metric: Annotated[str, typer.Option(help="Figure, where the kind lets choose.")] = "",
    at: Annotated[str, typer.Option(help="Load to look at, where the kind shows one.")] = "",
    base: Annotated[str, typer.Option(help="Case that the others are compared with.")] = "",
    dark: Annotated[bool, typer.Option("--dark", help="On a dark ground.")] = False,
    home: Home = None,
    lang: Lang = None,
) -> None:
    """Draw a chart of results into a file; pictures need the extra `plots` (Kaleido)."""
    from studio.ui.charts import CHARTS, picture  # charts and their words, for this only

    studio = open_studio(home, lang=lang)
    kinds = [word for word in words if word in CHARTS]
    if len(kinds) != 1:
        raise RecipeInvalid("Name one kind of chart.", hint=f"Kinds: {', '.join(CHARTS)}.")
    names = [studio.saved.get(word).name for word in words if word not in CHARTS]
    options = {"metric": metric, "at": at, "base": base}
    try:
        found = picture.save(
            studio.saved, names, kinds[0], out, language(studio), dark=dark, **options
        )
    except OSError as error:
        raise _unwritable(out, error) from error
    print(found)


def report(name: Name, out: Out = None, home: Home = None, lang: Lang = None) -> None:
    """Write results as one HTML page with charts, complete in itself; print its path."""
    from studio.ui.papers import report as page  # charts and their words, for this only

    studio = open_studio(home, lang=lang)
    found = studio.saved.get(name)
    if out is None:
        print(page.write_report(studio, found.folder, language(studio)))
    else:
        _write(out, page.report(studio.saved, found.name, language(studio)))


def journal(
    name: Annotated[str, typer.Argument(help="Folder of results, or the id of any run.")],
    out: Out = None,
    home: Home = None,
    lang: Lang = None,
) -> None:
    """Print results, or a run, as a journal entry in Markdown: machine, commands, figures."""
    from studio.ui.papers import journal as page  # charts and their words, for this only

    studio = open_studio(home, lang=lang)
    try:
        text = page.journal(studio.saved, studio.saved.get(name).name, language(studio))
    except NotFound as error:
        try:
            text = page.run_journal(studio, name, language(studio))
        except NotFound:
            raise error from None
    if out is None:
        print(text, end="")
    else:
        _write(out, text)


def _write(out: Path, text: str) -> None:
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(out, error) from error
    print(out)


def _unwritable(out: Path, error: OSError) -> StudioError:
    return StudioError(
        f"{out} cannot be written: {error.strerror}.", hint="Name another file with -o."
    )
