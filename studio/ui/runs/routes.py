"""What browsers ask about runs again and again: the list, a run's head, its log, its files.

All of them only look; operators alone may ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from studio.core.errors import NotFound
from studio.core.spec import State
from studio.jobs.logs import CHUNK_BYTES, read_from, search
from studio.telemetry.snapshot import cards
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say
from studio.ui.papers.journal import run_journal
from studio.ui.recent import Recent
from studio.ui.routes import Route
from studio.ui.runs import view as runview
from studio.ui.runs.curvefeed import CurveFeed

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.jobs.rundir import RunDir
    from studio.studio import Studio

PAGE_ROWS = 60
FRESH_S = 0.9


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the tab looks at again and again."""
    views = Views(studio)
    return [
        Route("runs", views.rows),
        Route("runs/none", views.none),
        Route("recipes", views.recipes),
        Route("run/{id}/head", views.head),
        Route("run/{id}/log", views.log),
        Route("run/{id}/search", views.search),
        Route("run/{id}/pulse", views.pulse),
        Route("run/{id}/file/{name:path}", views.file),
        Route("run/{id}/journal", views.journal),
    ]


class Views:
    """What the browser asks for again and again; shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)
        self._feed = CurveFeed(studio)

    def rows(self, request: Request) -> dict[str, Any]:
        """Return the list of runs, filtered."""
        lang, asked = lang_of(request), request.query_params
        find, state = asked.get("find", ""), asked.get("state", "")
        return self._recent.get(("rows", lang, find, state), lambda: self._rows(lang, find, state))

    def none(self, request: Request) -> dict[str, Any]:
        """Return what the right half says while no run is chosen."""
        return {**_answer(w.empty(lang_of(request), "runs.pick", icon_name="runs")), "final": True}

    def recipes(self, request: Request) -> dict[str, Any]:
        """Return the recipes as cards."""
        lang = lang_of(request)
        cards = [
            f'<button type="button" class="l-recipe" data-act="choose" '
            f'data-value="{w.esc(r.name)}"><b>{w.esc(r.title[lang])}</b>'
            f"<code>{w.esc(r.name)}</code><span>{w.esc(r.about[lang])}</span></button>"
            for r in self._studio.recipes.list()
        ]
        return _answer(f'<div class="l-recipes">{"".join(cards)}</div>')

    def head(self, request: Request) -> dict[str, Any]:
        """Return a run's head, and why it failed if it did."""
        lang, run_id = lang_of(request), request.path_params["id"]
        return self._recent.get(("head", lang, run_id), lambda: self._head(lang, run_id))

    def log(self, request: Request) -> dict[str, Any]:
        """Return what is new in a log since an offset."""
        run_dir, alive = self._recent.get(
            ("run", request.path_params["id"]), lambda: self._look(request.path_params["id"])
        )
        asked = request.query_params.get("offset", "")
        offset = int(asked) if asked.lstrip("-").isdigit() else -CHUNK_BYTES
        chunk = read_from(run_dir.log, offset)
        over = not alive and chunk.offset == chunk.size
        return {"text": chunk.text, "offset": chunk.offset, "final": over}

    def search(self, request: Request) -> dict[str, Any]:
        """Return the lines of a log that contain some words."""
        run = self._studio.jobs.get(request.path_params["id"])
        wanted = request.query_params.get("q", "")
        hits = list(search(run.dir.log, wanted)) if wanted else []
        return {"hits": hits, "none": say(lang_of(request), "runs.nothing")}

    def pulse(self, request: Request) -> dict[str, Any]:
        """Return a word that changes with a run's curves."""
        run_id = request.path_params["id"]
        return self._recent.get(("pulse", run_id), lambda: self._pulse(run_id))

    def file(self, request: Request) -> Response:
        """Send a file of the run folder, never to be run by the browser."""
        run = self._studio.jobs.get(request.path_params["id"])
        path = runview.file_of(run, request.path_params["name"])
        headers = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
        return FileResponse(path, filename=path.name, headers=headers)

    def journal(self, request: Request) -> Response:
        """Send the journal entry of an ended run as Markdown."""
        run = self._studio.jobs.get(request.path_params["id"])
        if run.state.alive:
            raise NotFound(f"Run {run.id} has not ended.", hint="Wait for it, or stop it.")
        headers = {"content-disposition": f'attachment; filename="{run.id}.md"'}
        text = run_journal(self._studio, run.id, lang_of(request))
        return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)

    def _rows(self, lang: str, find: str, state: str) -> dict[str, Any]:
        states = [State(state)] if state in list(State) else []
        runs = self._studio.jobs.list(limit=PAGE_ROWS, states=states, text=find)
        if not runs:
            key = "runs.none_found" if find or states else "runs.empty"
            return _answer(w.empty(lang, key, icon_name="runs"))
        titles = {recipe.name: recipe.title[lang] for recipe in self._studio.recipes.list()}
        rows = [
            runview.row(lang, run, self._far(run), titles.get(run.spec.recipe or "", ""))
            for run in runs
        ]
        return _answer(f'<div class="l-run-list">{"".join(rows)}</div>')

    def _head(self, lang: str, run_id: str) -> dict[str, Any]:
        run = self._studio.jobs.get(run_id)
        num_cards = None if run.state.alive else len(cards().get())
        html = runview.head(lang, run, self._far(run)) + runview.reason(lang, run, num_cards)
        return {**_answer(html), "final": not run.state.alive}

    def _pulse(self, run_id: str) -> dict[str, Any]:
        run = self._studio.jobs.get(run_id)
        # A server's curves grow with every reading; a look at its memory sample is often enough.
        drawn = "" if run.spec.scrape else self._feed.curves(run).version
        over = not run.state.alive if run.spec.scrape else self._feed.settled(run)
        return {"version": f"{drawn} {len(run.dir.metrics())}", "final": over}

    def _look(self, run_id: str) -> tuple[RunDir, bool]:
        run = self._studio.jobs.get(run_id)
        return run.dir, run.state.alive

    def _far(self, run: Run) -> Any:
        return self._studio.progress(run.id) if run.state.alive else None


def _answer(html: str) -> dict[str, Any]:
    return {"html": html, "version": str(hash(html))}
