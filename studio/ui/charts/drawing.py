"""A drawn chart: the Plotly figure and everything written around it, as plain values.

Colours in a figure are names of tokens (`--l-s0`, `--l-ink`, `--l-s0/0.15` with an opacity), so one
figure serves both themes: `assets/js/charts.js` puts the page's colours in, `coloured` does so for
pictures that are made without a page.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from studio.core.settings import ROOT

_TOKEN = re.compile(r"(--l-[\w-]+)(?:/([\d.]+))?")
_DEFINED = re.compile(r"(--l-[\w-]+):\s*(#[0-9a-fA-F]{6,8});")
_DARK = ":root.dark {"


class Key(NamedTuple):
    """What a colour stands for, written above a chart where no label fits beside the line."""

    name: str
    colour: str
    """Name of a token."""
    dash: str = ""
    """Empty for a filled mark, `dot` or `dash` for a line."""


class Note(NamedTuple):
    """A sentence below a chart: what the bars around a point are, which points failed."""

    text: str
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One chart in one language."""

    kind: str
    title: str
    """The statement that the picture makes, or the question it answers."""
    about: str = ""
    """What is the same for everything drawn: model, server, cards, lengths."""
    read: str = ""
    """How to read it, for somebody who never saw it."""
    figure: dict[str, Any] | None = None
    """`{"data": ..., "layout": ...}`; None where there is nothing to draw."""
    empty: str = ""
    """Why there is nothing to draw, and how to get something."""
    keys: tuple[Key, ...] = ()
    notes: tuple[Note, ...] = ()
    head: tuple[str, ...] = ()
    """Headings of the table of what is drawn, with units."""
    rows: tuple[tuple[Any, ...], ...] = field(default=())

    @property
    def table(self) -> list[list[Any]]:
        """The rows with numbers of six significant digits."""
        return [[_short(cell) for cell in row] for row in self.rows]

    def csv(self) -> str:
        """Return what is drawn as CSV: headings with units, numbers with six digits."""
        out = io.StringIO()
        table = csv.writer(out)
        table.writerow(self.head)
        table.writerows(["" if cell is None else cell for cell in row] for row in self.table)
        return out.getvalue()


def coloured(value: Any, *, dark: bool = False) -> Any:
    """Return a figure with real colours in place of the tokens' names."""
    if isinstance(value, dict):
        return {key: coloured(item, dark=dark) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [coloured(item, dark=dark) for item in value]
    if isinstance(value, str) and "--l-" in value:
        return _TOKEN.sub(lambda found: _colour(found, dark), value)
    return value


@cache
def tokens(*, dark: bool) -> dict[str, str]:
    """Return the colours of a theme by the names of their tokens."""
    sheet = (ROOT / "assets" / "css" / "tokens.css").read_text(encoding="utf-8")
    light, _, night = sheet.partition(_DARK)
    found = dict(_DEFINED.findall(light))
    return found | dict(_DEFINED.findall(night)) if dark else found


def _short(cell: Any) -> Any:
    return float(f"{cell:.6g}") if isinstance(cell, float) else cell


def _colour(found: re.Match[str], dark: bool) -> str:
    colour = tokens(dark=dark)[found[1]]
    return _clear(colour, float(found[2])) if found[2] else colour


def _clear(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity:g})"
