"""The way to a served page: set Gradio up, then import it and mount the tabs.

Gradio reads its environment while it is imported, so this module must not import it at the top.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio
    from studio.ui.page.shell import Served


CONCURRENT_EVENTS = 16
"""How many handlers of one kind run at once; a tab narrows this for its own heavy ones.

Told by a variable, because `Blocks.queue` would build the whole server once more.
"""

NEVER = 2**31
"""After how many events Gradio reckons percentiles for a monitoring page that we do not serve.

It does so after every event unless told, with pandas: 5 ms of a click, 12 after ten thousand.
"""


def launch_page(studio: Studio, tabs: Iterable[Tab] | None = None, **how: Any) -> Served:
    """Serve the page and return once it answers; `how` goes to `studio.ui.page.shell.open_page`.

    Without `tabs` every file in `tabs/` and every `studio.tabs` entry point is mounted.
    """
    settle(studio)
    from studio.ui.page.shell import open_page  # imports Gradio, whose environment is set by now

    return open_page(studio, find_tabs() if tabs is None else tabs, **how)


def find_tabs() -> list[Tab]:
    """Return every tab there is: ours and those of other distributions."""
    from studio.core.discover import load_plugins

    found = load_plugins("tabs", "TAB", "studio.tabs")
    return [tab for tab in found if isinstance(tab, Tab)]


def settle(studio: Studio) -> None:
    """Tell Gradio not to call home, to keep uploads in our home, and to serve no other folder.

    What this machine says to itself must not go through a proxy, or the page seems unreachable.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_ANALYTICS_CACHE_FREQUENCY"] = str(NEVER)
    os.environ["GRADIO_DEFAULT_CONCURRENCY_LIMIT"] = str(CONCURRENT_EVENTS)
    os.environ["GRADIO_TEMP_DIR"] = str(studio.settings.home / "uploads")
    os.environ.pop("GRADIO_ALLOWED_PATHS", None)
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [part.strip() for part in os.environ.get(name, "").split(",") if part.strip()]
        os.environ[name] = ",".join(dict.fromkeys([*hosts, "localhost", "127.0.0.1"]))
