"""What a file in `tabs/` says about itself. It ends in `TAB = Tab(...)`; nothing else is edited.

A tab's title is the locale key `tab.<id>`, kept in the tab's own file under `assets/locales/*/`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.studio import Studio
    from studio.ui.routes import Route


def _no_routes(studio: Studio) -> Sequence[Route]:
    return ()


def _nothing(studio: Studio) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Tab:
    """One tab of the page."""

    id: str
    """Short id: the `?tab=` of links, the `--tab` of the command line, the key `tab.<id>`."""
    icon: str
    """Name of a drawing in `assets/icons`, without `.svg`."""
    order: int
    """Place in the row; smaller comes first."""
    build: Callable[[Studio], None]
    """Lay out and wire the tab, inside an open `gr.Tab`."""
    guest: bool = False
    """True when guests may see and use it. For others it does not exist, nor do its handlers."""
    routes: Callable[[Studio], Sequence[Route]] = _no_routes
    """Extra JSON routes under `/ladder/`, see `studio.ui.routes`."""
    ahead: Callable[[Studio], None] = _nothing
    """Read what the tab is asked for first, in a thread, when the page has begun to answer."""
