"""The Image edit tab: pictures, a mask and a prompt on the left, what becomes of them on the right.

Operators have the workers above it; guests see the desk alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.events import api

from studio.chat.desk import Person
from studio.core.errors import StudioError
from studio.core.ids import new_id
from studio.images.request import EditInvalid, EditRequest
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.chat.parts import person_of
from studio.ui.door.gate import require_operator
from studio.ui.door.guests import for_operators
from studio.ui.errors import guard
from studio.ui.i18n import lang_of
from studio.ui.image import batch as image_batch
from studio.ui.image.routes import ImageViews
from studio.ui.image.scripts import ImageScripts, settings_of
from studio.ui.image.tray import Tray
from studio.ui.image.worker import WorkerHalf
from studio.ui.routes import Route
from studio.ui.scripts import scripted
from studio.ui.sentences import translate_error
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.studio import Studio

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
MAX_TAKEN = 2
"""How many requests of scripts are taken at the same time: their pictures are decoded then."""
HEARD = "(said) => window.ladder.image.heard(said)"


def build(studio: Studio) -> None:
    """Lay out the workers for operators and the desk for everybody, and wire both."""
    worker_half = WorkerHalf(studio)
    worker_half.lay_out()
    do = Handlers(studio)
    desk = acts_html(w.live("image/desk", every_s=3600), elem_id="image-desk")
    said = gr.Textbox(visible="hidden", elem_id="image-said")
    worker_half.wire()
    desk.click(guard(do.act), None, said, **QUIET).then(None, said, None, js=HEARD)
    scripts = ImageScripts(studio)
    api(guard(scripts.image_edit), api_name="image_edit", concurrency_limit=MAX_TAKEN)
    scripted(scripts.image_status, scripts.image_cancel, scripts.image_gallery)
    with gr.Column(visible=False) as unseen, for_operators(unseen):
        scripted(scripts.image_batch)


class Handlers:
    """What the desk's buttons call; the answer is read by `assets/js/image.js`."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._desk = studio.images
        self._tray = Tray(studio.settings.home, studio.images)

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Do what a button says; return JSON: the edit to show then, or what went wrong."""
        person, lang, value = person_of(request), lang_of(request), str(event.value)
        told = {"act": event.act, "at": new_id(), "ask": "", "id": ""}
        try:
            if event.act == "edit":
                asked = _read(value)
                told["ask"] = str(asked.get("ask", ""))
                told["id"] = self._edit(person, asked)
            elif event.act in ("again", "another"):
                told["id"] = self._again(person, value, fresh=event.act == "another")
            elif event.act == "cancel":
                told["id"] = self._desk.cancel(person, value).item.id
            elif event.act == "delete":
                self._desk.delete(person, value)
                told["id"] = value
            else:
                require_operator(request)
                told["id"] = self._operate(person, event.act, value)
        except StudioError as error:
            told["error"], told["hint"] = translate_error(lang, error)
        return json.dumps(told, ensure_ascii=False)

    def _edit(self, person: Person, asked: dict[str, Any]) -> str:
        mask = asked.get("mask")
        request = EditRequest(
            pictures=tuple(self._tray.take(person, str(at)) for at in asked.get("pictures") or ()),
            mask=self._tray.take(person, str(mask)) if mask else None,
            settings=settings_of(asked.get("settings") or {}),
        )
        return self._desk.submit(person, request, source=str(asked.get("name") or "")).id

    def _again(self, person: Person, ident: str, *, fresh: bool) -> str:
        """Ask for an edit once more, `fresh` with another seed."""
        asked = self._desk.reuse(person, ident)
        if fresh:
            settings = asked.settings.model_copy(update={"seed": None})
            asked = dataclasses.replace(asked, settings=settings)
        return self._desk.submit(
            person, asked, source=self._desk.item(person, ident).asked.source
        ).id

    def _operate(self, person: Person, act: str, value: str) -> str:
        """Do what operators alone may: start a worker, begin, stop or forget a batch."""
        batches = self._studio.batches
        if act == "start":
            return self._studio.launch_recipe(value).id
        if act == "connect":
            return self._studio.external.add(value.strip(), kind="images").id
        if act == "batch":
            return image_batch.begin(self._studio, self._tray, person, _read(value))
        if act == "batch-stop":
            return batches.stop(person, value).plan.id
        if act == "batch-resume":
            return batches.start(person, value).plan.id
        if act == "batch-delete":
            batches.delete(person, value)
        return value


def _read(value: str) -> dict[str, Any]:
    """Return what the form says; raise EditInvalid for anything else."""
    try:
        asked = json.loads(value)
    except ValueError:
        asked = None
    if not isinstance(asked, dict):
        raise EditInvalid("This is not what a form sends.", hint="Reload the page and try again.")
    return asked


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the desk and the workers look at again and again."""
    tray = Tray(studio.settings.home, studio.images)
    return [*ImageViews(studio, studio.images, tray).routes(), *WorkerHalf(studio).routes()]


TAB = Tab(id="image-edit", icon="image", order=20, build=build, guest=True, routes=routes)
