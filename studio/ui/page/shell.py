"""Build the page out of tabs and put it on the network. Go through `studio.ui.page.launch`.

`build_page` mounts every tab, or one alone with `only`: then only its page and its API exist.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import gradio as gr
from starlette.middleware import Middleware

from studio.core.errors import NotFound, StudioError
from studio.jobs import ports
from studio.ui.assets import serve_asset
from studio.ui.door.accounts import Account, Accounts, read_secret
from studio.ui.door.gate import Gate
from studio.ui.door.guests import Page
from studio.ui.i18n import T
from studio.ui.lean_gradio import build_server_once, remember_parameters
from studio.ui.machine.strip import Strip
from studio.ui.page.frame import Frame
from studio.ui.page.frontend import Frontend, SendFrontend
from studio.ui.page.theme import theme
from studio.ui.routes import Route, Routes
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio

build_server_once()
remember_parameters()

TABS_ID = "ladder-tabs"
LARGEST_UPLOAD = "2gb"
UPLOADS_LOOKED_AT_S = (3600, 2 * 86400)
"""How often old uploads are looked for, and how old they are when they go."""


def build_page(studio: Studio, tabs: Iterable[Tab], *, only: str | None = None) -> Page:
    """Return the page with every tab, or with one of them alone; raise NotFound."""
    shown = choose_tabs(tabs, only)
    with (
        Page(
            title="Ladder Studio",
            analytics_enabled=False,
            fill_width=True,
            delete_cache=UPLOADS_LOOKED_AT_S,
        ) as page,
        gr.Tabs(elem_id=TABS_ID, selected=shown[0].id, overflow_behavior="wrap"),
    ):
        for tab in shown:
            before = set(page.fns)
            with gr.Tab(T(f"tab.{tab.id}"), id=tab.id, elem_id=f"tab-{tab.id}") as item:
                tab.build(studio)
            if not tab.guest:
                page.closed_tabs.add(item._id)
                page.closed_fns |= set(page.fns) - before
    return page


def choose_tabs(tabs: Iterable[Tab], only: str | None) -> list[Tab]:
    """Return the tabs in their order, or the one asked for; raise NotFound."""
    known = sorted(tabs, key=lambda tab: (tab.order, tab.id))
    if only is None:
        return known
    chosen = [tab for tab in known if tab.id == only]
    if not chosen:
        names = ", ".join(tab.id for tab in known)
        raise NotFound(f"There is no tab {only!r}.", hint=f"There are: {names}.")
    return chosen


class Served:
    """A page that is being served."""

    def __init__(
        self,
        page: Page,
        url: str,
        share_url: str | None,
        tabs: Sequence[Tab],
        frontend: Frontend,
    ) -> None:
        self.page = page
        self.url = url
        self.share_url = share_url
        """Public address, when one was asked for and could be had."""
        self.tabs = tabs
        self.frontend = frontend
        self._closed = threading.Event()

    def wait(self) -> None:
        """Return when `close` is called, or raise KeyboardInterrupt."""
        while not self._closed.wait(3600):
            pass

    def close(self) -> None:
        """Stop answering. Runs go on."""
        self.page.close(verbose=False)
        self._closed.set()


def open_page(
    studio: Studio,
    tabs: Iterable[Tab],
    *,
    only: str | None = None,
    accounts: Sequence[Account] = (),
    share: bool = False,
    routes: Sequence[Route] = (),
    hosts: Iterable[str] = (),
) -> Served:
    """Build the page and answer on the settings' address; returns once it does.

    `accounts` close the page to everybody else. `hosts` are further names the page is reached by.
    """
    if share and not accounts:
        raise StudioError(
            "A page without accounts is not shared.",
            hint="Add one, or let --share make a temporary one.",
        )
    shown = choose_tabs(tabs, only)
    page = build_page(studio, shown)
    doors = Accounts(accounts, read_secret(studio.settings.home))
    strip = Strip(studio)
    own = [Route("assets/{name:path}", serve_asset, guest=True), *strip.routes(), *routes]
    own += [route for tab in shown for route in tab.routes(studio)]
    frontend = Frontend(page)
    frame = Frame(tabs=shown, page=page, frontend=frontend, accounts=bool(doors))
    middleware = [
        Middleware(
            Gate, accounts=doors, lang=studio.settings.lang, hosts=tuple(hosts), dress=frame
        ),
        Middleware(Routes, routes=own),
        Middleware(SendFrontend, frontend=frontend),
    ]
    host = studio.settings.host
    _, url, share_url = page.launch(
        server_name=f"[{host}]" if ":" in host else host,
        server_port=ports.first_free(studio.settings.port, host),
        share=share,
        prevent_thread_lock=True,
        inline=False,
        quiet=True,
        theme=theme(),
        footer_links=["api"],  # hidden by our style; our own link presses it
        run_history=False,
        _frontend=False,  # it gives up when its own first look at the page takes longer than 3 s
        enable_monitoring=False,
        ssr_mode=False,
        show_error=False,
        allowed_paths=[],
        max_file_size=LARGEST_UPLOAD,
        app_kwargs={"middleware": middleware, "docs_url": None, "redoc_url": None},
    )
    return Served(page, url.rstrip("/"), share_url, shown, frontend)
