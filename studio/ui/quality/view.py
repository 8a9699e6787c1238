"""The Quality view of the Bench tab: answers side by side, blind votes, a judge, one table.

A new comparison is asked for on the left; on the right is one comparison, and the room in which
its answers are voted on. Which one is open stands in the address (`&view=quality&name=...`) and is
kept by `assets/js/quality.js`; Python is asked only for what changes something.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.core.errors import RecipeInvalid
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.forms.acts import keep_recipe
from studio.ui.forms.work import Asked, ask_of
from studio.ui.i18n import lang_of, say
from studio.ui.quality.form import QUALITY
from studio.ui.quality.look import QualityLooks
from studio.ui.quality.routes import QualityRoutes, voter
from studio.ui.routes import Route
from studio.ui.runs.pane import QUIET
from studio.ui.scripts import scripted

if TYPE_CHECKING:
    from studio.studio import Studio

PARTS = (
    ("list", 3.0),
    ("head", 1.0),
    ("vote", 3.0),
    ("wins", 4.0),
    ("table", 6.0),
    ("answers", 6.0),
)
"""What the right half consists of, and how often each part looks."""
HEARD = "(said) => window.ladder.quality.heard(said)"
UNDO = "undo"


def build(studio: Studio) -> None:
    """Lay out the form, one comparison and the voting room, and wire them."""
    do = Handlers(studio)
    with gr.Column(elem_id="quality-view", min_width=0):
        with gr.Row(elem_classes="l-halves"):
            with gr.Column(scale=5, min_width=320, elem_classes="l-side"):
                work = acts_html(w.live("quality/work", every_s=3600), elem_id="quality-work")
            with gr.Column(scale=7, min_width=320, elem_id="quality-right"):
                places = "".join(
                    f'<div data-quality-part="{part}">'
                    f"{w.live(f'quality/{part}', every_s=every_s)}</div>"
                    for part, every_s in PARTS
                )
                results = acts_html(places, elem_id="quality-results")
        room = acts_html("<div data-room></div>", elem_id="quality-room")
    heard = gr.Textbox(visible="hidden", elem_id="quality-said")
    for source in (work, results, room):
        source.click(guard(do.act), None, heard, **QUIET).then(None, heard, None, js=HEARD)
    scripted(do.quality_launch, do.quality_ballot, do.quality_vote, do.quality_table)


class Handlers:
    """What the view's buttons call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._looks = QualityLooks(studio)

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Do what a button says; return JSON: what to open then."""
        require_operator(request)
        lang, value, desk = lang_of(request), str(event.value), self._studio.quality
        told: dict[str, Any] = {"at": event.act}
        if event.act == "vote":
            ballot = json.loads(value)
            desk.vote(ballot["name"], ballot["pair"], ballot["choice"], voter(request))
        elif event.act == UNDO:
            desk.undo(json.loads(value)["name"], voter(request))
        elif event.act == "launch":
            run = self._studio.launch(Asked.read(value).launch(self._studio))
            if run.spec.engine == QUALITY:
                told["name"] = run.id
            gr.Info(say(lang, "quality.launched", name=w.esc(run.spec.name)), duration=4)
        elif event.act == "save":
            keep_recipe(self._studio, value, lang)
        elif event.act == "quality-stop":
            seen = self._looks.find(value, voter(request))
            if seen is not None and seen.run is not None:
                self._studio.jobs.stop(seen.run.id)
        elif event.act == "quality-resume":
            self._resume(value)
        elif event.act == "quality-delete":
            self._studio.saved.delete(desk.get(value).name)
            told["name"] = ""
        # the moment makes every answer another, so that the page hears of each
        return json.dumps({**told, "turn": event.act + value[:80]})

    # for scripts --------------------------------------------------------------------------------

    def quality_launch(self, settings: dict[str, Any], request: gr.Request) -> str:
        """Begin a comparison with settings of the engine `quality`; return the id of its run."""
        require_operator(request)
        return self._studio.launch(ask_of(QUALITY, settings).launch(self._studio)).id

    def quality_ballot(self, name: str, request: gr.Request) -> dict[str, Any] | None:
        """Return the next blind pair of whoever asks; null when there is none left."""
        require_operator(request)
        ballot = self._studio.quality.ballot(name, voter(request))
        return ballot.as_dict() if ballot is not None else None

    def quality_vote(
        self, name: str, pair: str, choice: str, request: gr.Request
    ) -> dict[str, Any]:
        """Vote on a pair: left, right, tie, or undo for the last vote; return how far one is."""
        require_operator(request)
        desk, by = self._studio.quality, voter(request)
        if choice == UNDO:
            desk.undo(name, by)
            return desk.standing(name, by)._asdict()
        if choice not in ("left", "right", "tie"):
            raise RecipeInvalid(f"{choice!r} is no vote.", hint="Say left, right, tie or undo.")
        return desk.vote(name, pair, choice, by)._asdict()

    def quality_table(self, names: list[str], request: gr.Request) -> dict[str, Any]:
        """Return models down and everything known of their quality across; empty names: all."""
        require_operator(request)
        return self._studio.quality.table(names or None).as_dict()

    def _resume(self, name: str) -> None:
        """Go on with a comparison: ask what has no answer yet."""
        settings = self._studio.quality.resuming(name)
        self._studio.launch(ask_of(QUALITY, settings).launch(self._studio))


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the view looks at again and again."""
    return QualityRoutes(studio).routes()
