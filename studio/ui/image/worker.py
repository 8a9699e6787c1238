"""The workers of the Image edit tab, for operators: which one runs, starting one, its ladder.

    half = WorkerHalf(studio)
    half.lay_out()          # where the tab wants it; guests are not sent any of it
    half.wire()
    Tab(..., routes=lambda studio: [*WorkerHalf(studio).routes(), ...])

A line says what runs now; below it the form beside the plan of the ladder, and the run pane. The
lower part is folded away while a worker is at work (`assets/js/imageworker.js`), and has the pane
first then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.core.spec import State
from studio.export.forms import forms
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.door.gate import require_operator
from studio.ui.door.guests import for_operators
from studio.ui.errors import guard
from studio.ui.forms.acts import form_act
from studio.ui.forms.work import Asked, WorkForm, ask_of
from studio.ui.i18n import T, say
from studio.ui.image.ladder import Ladders
from studio.ui.image.plan import ImagePlans
from studio.ui.image.workers import ENGINE, Workers, offers, worker_extras, worker_runs
from studio.ui.routes import Route
from studio.ui.runs import routes as runroutes
from studio.ui.runs.pane import QUIET, Part, RunPane
from studio.ui.scripts import scripted

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

TAB = "image-edit"
STOP_S = 60.0
"""How long a worker may take to leave before another rung is started in its place."""


class WorkerHalf:
    """The operators' half of the tab."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._pane = RunPane(
            studio,
            "image-worker",
            first=[Part(id="ladder", label=T("imageworker.ladder"), view=_ladder, act=self._force)],
        )

    def lay_out(self) -> None:
        """Make the components, inside whatever is open."""
        with gr.Column(elem_id="image-worker", min_width=0) as self._all, for_operators(self._all):
            self._now = acts_html(w.live(f"{TAB}/worker"), elem_id="image-worker-now")
            with gr.Column(elem_id="image-worker-body", elem_classes="l-shut"):
                form = w.live(f"{TAB}/work", every_s=3600)
                self._form = acts_html(form, elem_id="image-worker-form")
                with gr.Column(elem_id="image-worker-pane"):
                    listing = w.live(f"{TAB}/workers")
                    self._listing = acts_html(listing, elem_id="image-worker-list")
                    self._pane.lay_out()
            self._opened = opened(TAB, "worker")

    def wire(self) -> None:
        """Connect the components, and give scripts their names."""
        with for_operators(self._all):
            shown = self._pane.selected
            self._pane.wire(also=[self._now, self._listing])
            self._form.click(guard(self.act), shown, shown, **QUIET)
            self._opened.click(guard(self.asked_for), shown, shown, **QUIET)
            scripted(self.image_launch, self.image_plan, self.image_rung)

    def routes(self) -> Sequence[Route]:
        """Return what the half looks at again and again; none of it is for guests."""
        studio = self._studio
        ladders = Ladders(studio)
        work = WorkForm(
            studio=studio,
            tab=TAB,
            offers=offers,
            plan=ImagePlans(studio).draw,
            forms=lambda launch, asked: forms(studio.preview(launch)),
            extras=worker_extras(studio),
            order=(ENGINE,),
        )
        return [
            *work.routes(),
            *Workers(studio, ladders).routes(),
            *ladders.routes(),
            *runroutes.routes(studio),  # the pane's own, for a page with this tab alone
        ]

    # what the components call -------------------------------------------------------------------

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Launch what the form says, or keep it as a recipe; return the run to show."""
        return form_act(self._studio, selected, event, request, launch=self._launch)

    def asked_for(self, selected: str, event: gr.EventData) -> str:
        """Return the worker that a link to this tab names, or the newest that was not stopped."""
        newest = next(iter(worker_runs(self._studio)), None)
        at_work = newest is not None and newest.state is not State.STOPPED
        return event.query.get("run") or selected or (newest.id if newest and at_work else "")

    # for scripts --------------------------------------------------------------------------------

    def image_launch(self, settings: dict[str, Any], cards: str, request: gr.Request) -> str:
        """Start a worker: `cards` is empty, a number, or indices such as `0,1`; return its id."""
        require_operator(request)
        return self._launch(ask_of(ENGINE, settings, cards))

    def image_plan(
        self, settings: dict[str, Any], cards: str, request: gr.Request
    ) -> dict[str, Any]:
        """Return the ladder of a launch: what each rung needs and takes, without launching."""
        require_operator(request)
        return self._studio.plan(ask_of(ENGINE, settings, cards).launch(self._studio))

    def image_rung(self, run_id: str, rung: str, request: gr.Request) -> str:
        """Put a worker on another rung (`auto` lets it choose again); return the new run's id."""
        require_operator(request)
        return self._relaunch(self._studio.jobs.get(run_id), rung)

    # inside -------------------------------------------------------------------------------------

    def _launch(self, asked: Asked) -> str:
        return self._studio.launch(asked.launch(self._studio)).id

    def _force(self, run: Run, event: Any, lang: str) -> str | None:
        if event.act != "rung":
            return None
        gr.Info(say(lang, "imageworker.forcing", name=w.esc(run.spec.name)), duration=4)
        return self._relaunch(run, str(event.value))

    def _relaunch(self, run: Run, rung: str) -> str:
        """Launch a worker's settings again with a rung; the old one leaves its cards and port."""
        self._studio.validate(run.spec.engine, {**run.spec.config, "rung": rung})
        if run.state.alive:
            if run.state is not State.STOPPING:
                self._studio.jobs.stop(run.id)
            self._studio.jobs.wait(run.id, timeout_s=STOP_S)
        return self._studio.relaunch(run.id, {"rung": rung}).id


def _ladder(lang: str, run: Run) -> str:
    return w.live(f"run/{run.id}/ladder")
