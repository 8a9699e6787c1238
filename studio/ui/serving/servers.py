"""What serves now: the studio's own servers, and addresses from elsewhere with their health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.chat.health import HealthChecks
from studio.core.spec import Endpoint, State
from studio.jobs.jobs import Run
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs import view as runview

if TYPE_CHECKING:
    from studio.studio import Studio

ENDED_SHOWN = 5
"""How many servers that have ended stay in the list, so that a failure is not missed."""
LOOKED_AT = 200


class Servers:
    """The list above the run pane."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(1.5)
        self._health = HealthChecks()

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [
            Route("serve/servers", self.rows),
            Route("serve/external", self.external),
            Route("serve/none", self.none),
        ]

    def rows(self, request: Request) -> dict[str, Any]:
        """Return the servers that the studio started, the newest first."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("rows", lang), lambda: self._rows(lang)))

    def external(self, request: Request) -> dict[str, Any]:
        """Return the addresses from elsewhere with their health; a dead one may take seconds."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("external", lang), lambda: self._others(lang)))

    def none(self, request: Request) -> dict[str, Any]:
        """Return what the pane says while no server is chosen."""
        if not serving_runs(self._studio):
            return fragment(request, "")
        html = w.empty(lang_of(request), "serve.pick", icon_name="serve")
        return fragment(request, html)

    def _rows(self, lang: str) -> str:
        runs = serving_runs(self._studio)
        titles = {recipe.name: recipe.title[lang] for recipe in self._studio.recipes.list()}
        own = "".join(
            runview.row(lang, run, self._far(run), titles.get(run.spec.recipe or "", ""))
            for run in runs
        )
        if not own:
            return w.empty(lang, "serve.empty", icon_name="serve")
        return f'<div class="l-servers">{own}</div>'

    def _others(self, lang: str) -> str:
        found = "".join(self._external(lang, e) for e in self._studio.external.list())
        return f'<div class="l-servers">{found}</div>' if found else ""

    def _external(self, lang: str, endpoint: Endpoint) -> str:
        health = self._health.health(endpoint)
        if health.ok:
            text = say(lang, "serve.healthy", ms=units.number(health.latency_ms, "ms"))
            state = w.tag(text, tone="ok", icon_name="dot")
        else:
            state = w.tag(say(lang, "serve.silent"), tone="bad", icon_name="alert")
        models = ", ".join(health.models or endpoint.models)
        forget = w.action(
            say(lang, "serve.forget"), "forget", endpoint.id, icon_name="trash", kind="quiet small"
        )
        chat = w.link(say(lang, "serve.chat"), "chat", endpoint=endpoint.id)
        return (
            f'<div class="l-external"><div class="l-run-top"><b>{w.esc(endpoint.name)}</b>{state}'
            f'</div><div class="l-run-sub"><span>{w.esc(models or endpoint.base_url)}</span>'
            f"{chat}{forget}</div></div>"
        )

    def _far(self, run: Run) -> Any:
        return self._studio.progress(run.id) if run.state.alive else None


def serving_runs(studio: Studio) -> list[Run]:
    """Return the servers that are alive, and the few that ended last, newest first."""
    found, ended = [], 0
    for run in studio.jobs.list(limit=LOOKED_AT, serves=True):
        if run.spec.endpoint is not None and run.spec.endpoint.kind == "images":
            continue  # image editors have a tab of their own
        if not run.state.alive:
            ended += 1
            if ended > ENDED_SHOWN or run.state is State.STOPPED:
                continue
        found.append(run)
    return found
