"""A chart as a picture by itself: the wide figure with its title, its keys and a ground.

`layout` is what differs from the figure on the page, where the title is HTML around it. The page
lays it over the figure to save a PNG or SVG; `write` does so without a page, by Kaleido.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from studio.bench.saved import Saved
from studio.core.errors import StudioError
from studio.ui.charts import look, sources
from studio.ui.charts.catalog import draw
from studio.ui.charts.drawing import Drawing, Key, coloured

WIDTH = 1000
SCALE = 2
PICTURES = ("svg", "png", "pdf", "webp", "jpg")
TEXTS = ("csv", "json")
EDGE = 24
TITLE_PX, LINE_PX = 24, 18
LONGEST_TITLE, LONGEST_LINE = 90, 132
"""Latin letters that fit into a line; a Chinese one counts twice."""

_SIGNS = {"": "●", "solid": "━", "dash": "╍", "dot": "┅"}


def layout(drawing: Drawing) -> dict[str, Any]:
    """Return the parts of the layout that a picture has otherwise; empty without a figure."""
    if drawing.figure is None:
        return {}
    plain = drawing.figure["layout"]
    title = look.wrapped(drawing.title, LONGEST_TITLE)
    under = [*look.wrapped(drawing.about, LONGEST_LINE), *_keys(drawing.keys)]
    room = EDGE + TITLE_PX * len(title) + LINE_PX * len(under)
    margin = plain["margin"]
    told: dict[str, Any] = {"text": "<br>".join(title)}
    if under:
        told["subtitle"] = {
            "text": "<br>".join(under),
            "font": {"size": 13, "color": "--l-muted"},
        }
    return {
        "width": WIDTH,
        "height": plain["height"] + room,
        "margin": {
            **margin,
            "t": margin["t"] + room,
            "r": margin["r"] + 12,
            "l": max(margin["l"], EDGE),
        },
        "paper_bgcolor": "--l-surface",
        "plot_bgcolor": "--l-surface",
        "title": {
            **told,
            "x": 0,
            "xref": "container",
            "xanchor": "left",
            "y": 1,
            "yref": "container",
            "yanchor": "top",
            "pad": {"l": EDGE, "t": EDGE},
            "font": {"size": 19, "color": "--l-ink", "weight": 600},
        },
    }


def save(
    saved: Saved,
    names: Iterable[str],
    kind: str,
    path: Path,
    lang: str = "en",
    *,
    dark: bool = False,
    **options: Any,
) -> Path:
    """Draw a chart of folders of results into a file, as `write` does; return its path.

    `options` are those of `charts.draw`: metric, at, base, limit. Raise NotFound and StudioError.
    """
    found = sources.folders(saved, names)
    titles = sources.titles(found, lang)
    drawing = draw(kind, sources.points_of(found), lang, names=titles, **options)
    return write(drawing, path, dark=dark)


def write(drawing: Drawing, path: Path, *, dark: bool = False) -> Path:
    """Write a chart as SVG, PNG, PDF, CSV or JSON, by the ending of `path`; return the path.

    Raise StudioError for another ending, for a chart without anything to draw, and where Kaleido
    or a Chrome for it is missing.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in (*PICTURES, *TEXTS):
        raise StudioError(
            f"A chart cannot be written as .{kind}.",
            hint=f"Choose one of: {', '.join((*PICTURES, *TEXTS))}.",
        )
    if drawing.figure is None:
        raise StudioError("There is nothing to draw.", hint=drawing.empty)
    if kind == "csv":
        path.write_text(drawing.csv(), encoding="utf-8-sig", newline="")
        return path
    figure = coloured(
        {**drawing.figure, "layout": {**drawing.figure["layout"], **layout(drawing)}}, dark=dark
    )
    path.write_bytes(orjson.dumps(figure) if kind == "json" else _painted(figure, kind))
    return path


def _keys(keys: tuple[Key, ...]) -> list[str]:
    signs = [
        f'<span style="color:{key.colour}">{_SIGNS[key.dash]}</span> {html.escape(key.name)}'
        for key in keys
    ]
    return ["&nbsp;&nbsp;&nbsp;".join(signs)] if signs else []


def _painted(figure: dict[str, Any], kind: str) -> bytes:
    """Draw a figure with Kaleido, which drives a Chrome or Chromium of this machine."""
    try:
        import kaleido  # pyright: ignore[reportMissingImports]  # an optional extra
    except ImportError:
        raise StudioError(
            "Pictures without a page need Kaleido, which is not installed.",
            hint="Run `pip install 'ladder-studio[plots]'`, or save the picture in the page.",
        ) from None
    from studio.ui.charts.sheet import plotly_file

    size = {"width": WIDTH, "height": figure["layout"]["height"]}
    options = {"format": kind, **size, "scale": 1 if kind in ("svg", "pdf") else SCALE}
    try:
        return kaleido.calc_fig_sync(
            figure, opts=options, kopts={"plotlyjs": plotly_file(), "mathjax": False}
        )
    except Exception as error:
        raise StudioError(
            f"Kaleido could not draw the chart: {type(error).__name__}.",
            hint="It needs Chrome or Chromium: install one, or name it in BROWSER_PATH.",
        ) from error
