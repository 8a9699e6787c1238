"""Tiles of a live view: a title, one large figure or two, and a line below."""

from __future__ import annotations

from studio.ui import widgets as w


def tile(title: str, body: str, *, side: str = "") -> str:
    """Return a tile; `side` is HTML at the end of its title."""
    head = f"<header><h4>{w.esc(title)}</h4>{side}</header>"
    return f'<section class="l-tile">{head}{body}</section>'


def big(text: str, unit: str = "", *, second: bool = False) -> str:
    """Return the figure of a tile, or the smaller one beside it."""
    kind = " second" if second else ""
    return f'<p class="l-big{kind}"><b>{w.esc(text)}</b><span>{w.esc(unit)}</span></p>'


def sub(text: str) -> str:
    """Return the line below a figure."""
    return f'<p class="l-sub">{w.esc(text)}</p>'
