"""The Load test view of the Bench tab: what to ask of which server, the sweep at work beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.core.spec import State
from studio.loadtest import resume_ask
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.bench.form import LoadForm, filled
from studio.ui.bench.sweeps import Sweeps, load_runs
from studio.ui.charts import routes as chartroutes
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.forms.acts import form_act
from studio.ui.forms.work import Asked
from studio.ui.i18n import T
from studio.ui.routes import Route
from studio.ui.runs import routes as runroutes
from studio.ui.runs.pane import QUIET, Part, RunPane

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENDED = (State.DONE, State.STOPPED)
"""States in which the pane opens on what was measured rather than on the log."""


def build(studio: Studio) -> None:
    """Lay out the form, the list of load tests and the run pane."""
    do = Handlers(studio)
    live = Part(
        id="live",
        label=T("bench.live"),
        view=_live,
        act=do.on_live,
        opens=lambda run: run.state in ENDED,
    )
    pane = RunPane(studio, "bench", first=[live])
    do.pane = pane
    with gr.Row(elem_classes="l-halves"):
        with gr.Column(scale=6, min_width=320, elem_classes="l-side"):
            work = acts_html(w.live("bench/work", every_s=3600), elem_id="bench-work")
        with gr.Column(scale=7, min_width=320, elem_classes="l-main l-follow"):
            listing = acts_html(w.live("bench/list"), elem_id="bench-list")
            pane.lay_out()
    pane.wire()
    for source, act in ((work, do.act), (listing, do.on_list)):
        source.click(guard(act), pane.selected, pane.selected, **QUIET)
    opened("bench", "load").click(guard(do.asked_for), pane.selected, pane.selected, **QUIET)


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the view looks at again and again, with what charts and the pane ask for."""
    return [
        *LoadForm(studio).routes(),
        *Sweeps(studio).routes(),
        *chartroutes.routes(studio),
        *runroutes.routes(studio),  # the pane's own, for a page with this tab alone
    ]


class Handlers:
    """What the view's controls call; each returns the run to show."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.pane: RunPane | None = None

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Launch what the form says, or keep it as a recipe."""
        return form_act(self._studio, selected, event, request, launch=self._launch)

    def on_list(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Show a load test, or go on with one that was interrupted."""
        require_operator(request)
        if event.act == "resume":
            return self._studio.launch(resume_ask(self._studio, str(event.value))).id
        assert self.pane is not None
        return self.pane.act(selected, event, request)

    def on_live(self, run: Run, event: Any, lang: str) -> str | None:
        """Go on with what a run has begun; return the run that does."""
        if event.act == "resume":
            return self._studio.launch(resume_ask(self._studio, str(event.value))).id
        return None

    def asked_for(self, selected: str, event: gr.EventData) -> str:
        """Return the load test that a link names, or the newest."""
        newest = load_runs(self._studio)
        return event.query.get("run") or selected or (newest[0].id if newest else "")

    def _launch(self, asked: Asked) -> str:
        return self._studio.launch(filled(self._studio, asked)).id


def _live(lang: str, run: Run) -> str:
    return w.live(f"bench/run/{run.id}")
