"""What is done between the start of the page and its first visitor, so that nobody waits for it."""

from __future__ import annotations

import gc
import logging
import threading
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studio.studio import Studio
    from studio.ui.page.shell import Served

_FIRST_LOOK_S = 30
_log = logging.getLogger(__name__)


def begin(studio: Studio, served: Served) -> None:
    """Make the first page, and read what the tabs will be asked for, in a thread.

    The page's two hundred thousand objects stay for good: Python's garbage collector, which would
    look at all of them again while ten thousand points are read, is told to leave them alone.
    """
    gc.freeze()
    threading.Thread(target=_go, args=(studio, served), name="ahead", daemon=True).start()


def _go(studio: Studio, served: Served) -> None:
    served.frontend.pack()
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with no_proxy.open(served.url, timeout=_FIRST_LOOK_S) as page:
            page.read()
    except (OSError, HTTPException) as error:  # accounts refuse it, after the log-in page is made
        _log.debug("the first look at the page: %s", error)
    for tab in served.tabs:
        try:
            tab.ahead(studio)
        except Exception as error:  # whoever opens the tab is told in its own place
            _log.warning("tab %s could not read ahead", tab.id, exc_info=error)
