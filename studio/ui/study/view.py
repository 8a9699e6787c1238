"""The Studies view of the Bench tab: what to ask on the left, what came of it on the right.

A gallery of questions comes first; a click opens one study, with its form beside its results.
Which one is open stands in the address (`&view=studies&study=...&name=...`) and is kept by
`assets/js/study.js`; Python is asked only for what changes something.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.i18n import lang_of, say
from studio.ui.routes import Route
from studio.ui.runs.pane import QUIET
from studio.ui.scripts import scripted
from studio.ui.study.actions import StudyActions
from studio.ui.study.routes import StudyRoutes

if TYPE_CHECKING:
    from studio.studio import Studio

PARTS = (("list", 3.0), ("head", 1.0), ("verdict", 3.0), ("cases", 1.0), ("charts", 5.0))
"""What the right half consists of, and how often each part looks."""
HEARD = "(said) => window.ladder.study.heard(said)"


def build(studio: Studio) -> None:
    """Lay out the gallery, the form and the results, and wire them."""
    do = Handlers(studio)
    with gr.Column(elem_id="study-view", min_width=0):
        question = w.live("study/question", every_s=20)
        acts_html(f'<div data-study-part="question">{question}</div>', elem_id="study-question")
        work = acts_html(w.live("study/work", every_s=3600), elem_id="study-work")
        with gr.Column(elem_id="study-right", min_width=0):
            places = "".join(
                f'<div data-study-part="{part}">{w.live(f"study/{part}", every_s=every_s)}</div>'
                for part, every_s in (*PARTS, ("points", 3.0))
            )
            results = acts_html(places, elem_id="study-results")
    heard = gr.Textbox(visible="hidden", elem_id="study-said")
    for source in (work, results):
        source.click(guard(do.act), None, heard, **QUIET).then(None, heard, None, js=HEARD)
    scripted(do.study_launch, do.study_state, do.study_verdict, do.study_resume)


class Handlers:
    """What the view's buttons call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._do = StudyActions(studio)

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Do what a button says; return JSON: what to open then."""
        require_operator(request)
        lang, value = lang_of(request), str(event.value)
        told: dict[str, Any] = {"at": event.act}
        if event.act == "launch":
            run = self._do.launch_form(value)
            told |= {"study": run.spec.recipe, "name": run.id}
            gr.Info(say(lang, "study.launched"), duration=4)
        elif event.act == "save":
            recipe = self._do.save(value)
            gr.Info(say(lang, "form.saved", name=w.esc(recipe.name)), duration=4)
        elif event.act == "study-stop":
            self._do.stop(value)
            gr.Info(say(lang, "study.stopping"), duration=4)
        elif event.act == "study-stop-now":
            self._do.stop(value, now=True)
        elif event.act == "study-resume":
            run = self._do.resume(value)
            told |= {"study": run.spec.recipe, "name": value}
            gr.Info(say(lang, "study.resumed"), duration=4)
        elif event.act == "study-delete":
            told |= {"study": self._do.delete(value), "name": ""}
            gr.Info(say(lang, "study.deleted", name=w.esc(value)), duration=3)
        return json.dumps(told)

    # for scripts --------------------------------------------------------------------------------

    def study_launch(self, study: str, changes: dict[str, Any], request: gr.Request) -> str:
        """Begin a study (`studies/smoke-processes`); return the id of its run.

        `changes` are settings of the study (`repeats`, `side_by_side`, `cases` as names, ...); any
        other name is laid over every case, as on the command line.
        """
        require_operator(request)
        return self._do.launch(study, changes).id

    def study_state(self, name: str, request: gr.Request) -> dict[str, Any]:
        """Return what a study is doing, case by case; by the folder of its results or its run."""
        require_operator(request)
        return self._do.state(name)

    def study_verdict(self, name: str, request: gr.Request) -> list[dict[str, Any]]:
        """Return the verdicts of a study, each with its sentence; empty until it has ended."""
        require_operator(request)
        return self._do.verdicts(name, lang_of(request))

    def study_resume(self, name: str, request: gr.Request) -> str:
        """Go on with a study where it ended; return the id of the new run."""
        require_operator(request)
        return self._do.resume(name).id


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the view looks at again and again."""
    return StudyRoutes(studio).routes()
