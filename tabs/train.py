"""The Train tab: what to train and whether it fits on the left, the training at work on the right.

What comes after a training (merge, evaluate, quantize) has its forms here as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.core.spec import State
from studio.engines.trained import saved
from studio.engines.training_yaml_read import from_yaml
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.forms.acts import form_act
from studio.ui.forms.work import Asked, WorkForm, ask_of
from studio.ui.i18n import T
from studio.ui.plan.planning import MachinePlans
from studio.ui.routes import Route
from studio.ui.runs import routes as runroutes
from studio.ui.runs.pane import QUIET, Part, RunPane
from studio.ui.scripts import scripted
from studio.ui.tab import Tab
from studio.ui.train import plan as trainplan
from studio.ui.train import routes as trainroutes
from studio.ui.train import view as trainview
from studio.ui.train.after import Results
from studio.ui.train.form import (
    ENGINES,
    LLAMAFACTORY,
    offers,
    read_yaml,
    training_extras,
    training_forms,
    training_hint,
    yaml_box,
)
from studio.ui.train.trainings import Trainings, training_runs

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

CURVED = (LLAMAFACTORY, "train-script")
"""Engines whose runs may be laid over each other."""
MOST_OTHERS = 40


def build(studio: Studio) -> None:
    """Lay out the form, the list of trainings and the run pane."""
    do = Handlers(studio)
    results = Results(studio)
    pane = RunPane(
        studio,
        "train",
        first=[
            Part(id="live", label=T("train.live"), view=do.live),
            Part(
                id="results",
                label=T("train.results"),
                view=results.view,
                act=results.act,
                opens=lambda run: run.state in (State.DONE, State.STOPPED),
            ),
        ],
    )
    with gr.Row(elem_classes="l-halves"):
        with gr.Column(scale=6, min_width=320, elem_classes="l-side"):
            work = acts_html(w.live("train/work", every_s=3600), elem_id="train-work")
        with gr.Column(scale=7, min_width=320, elem_classes="l-main l-follow"):
            listing = acts_html(w.live("train/list"), elem_id="train-list")
            pane.lay_out()
    pane.wire(also=[listing])
    work.click(guard(do.act), pane.selected, pane.selected, **QUIET)
    opened("train").click(guard(do.asked_for), pane.selected, pane.selected, **QUIET)
    scripted(
        do.train_launch,
        do.train_plan,
        do.train_yaml,
        do.train_checkpoints,
        do.train_resume,
    )


class Handlers:
    """What the tab's controls call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Launch what the form says, or keep it as a recipe; return the run to show."""
        return form_act(self._studio, selected, event, request, launch=self._launch)

    def asked_for(self, selected: str, event: gr.EventData) -> str:
        """Return the training that a link to this tab names, or the newest."""
        newest = training_runs(self._studio, ENGINES)
        return event.query.get("run") or selected or (newest[0].id if newest else "")

    def live(self, lang: str, run: Run) -> str:
        """Return the Live part; the newest other trainings are offered to be laid over it."""
        others = [
            other
            for name in CURVED
            for other in self._studio.jobs.list(engine=name, limit=MOST_OTHERS)
        ]
        others.sort(key=lambda other: other.id, reverse=True)
        return trainview.frame(lang, run, others[:MOST_OTHERS])

    # for scripts --------------------------------------------------------------------------------

    def train_launch(
        self, engine: str, settings: dict[str, Any], cards: str, request: gr.Request
    ) -> str:
        """Launch a training: `cards` is empty, a number, or indices `6,7`; return its id."""
        require_operator(request)
        return self._launch(ask_of(engine, settings, cards))

    def train_plan(
        self, engine: str, settings: dict[str, Any], cards: str, request: gr.Request
    ) -> dict[str, Any]:
        """Return what a training will need and whether it fits, without launching."""
        require_operator(request)
        return self._studio.plan(ask_of(engine, settings, cards).launch(self._studio))

    def train_yaml(self, text: str, request: gr.Request) -> dict[str, Any]:
        """Return the settings that a LLaMA-Factory YAML means, and notes on what was left out."""
        require_operator(request)
        found = from_yaml(text)
        return {"engine": LLAMAFACTORY, "settings": found.settings, "notes": found.notes}

    def train_checkpoints(self, run_id: str, request: gr.Request) -> list[dict[str, Any]]:
        """Return a training's checkpoints: step, folder, bytes, losses, whether it is the best."""
        require_operator(request)
        return [item.as_dict() for item in saved(self._studio.jobs.get(run_id).dir)]

    def train_resume(self, run_id: str, step: int | None, request: gr.Request) -> str:
        """Go on from a checkpoint in a run of its own, from the newest without a step."""
        require_operator(request)
        return self._studio.resume(run_id, step).id

    # inside -------------------------------------------------------------------------------------

    def _launch(self, asked: Asked) -> str:
        return self._studio.launch(asked.launch(self._studio)).id


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the tab looks at again and again."""
    plans = MachinePlans(studio, studio.training_plan, trainplan.plan_html)
    work = WorkForm(
        studio=studio,
        tab="train",
        offers=offers,
        plan=plans.draw,
        forms=training_forms(studio),
        extras=training_extras(studio),
        order=ENGINES,
        first="llamafactory/smoke-lora",
        more=yaml_box,
        hint=training_hint(studio),
    )
    return [
        *work.routes(),
        *Trainings(studio, ENGINES).routes(),
        *trainroutes.routes(studio),
        *runroutes.routes(studio),  # the pane's own, for a page with this tab alone
        *Results(studio).routes(),
        Route("train/yaml", read_yaml, method="POST"),
    ]


TAB = Tab(id="train", icon="train", order=40, build=build, routes=routes)
