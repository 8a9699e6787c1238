"""Which endpoint and which model: the pickers, and the panel that gets an endpoint running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.chat.desk import Desk, Person
from studio.core.errors import StudioError
from studio.ui import widgets as w
from studio.ui.chat import start as chat_start
from studio.ui.chat.parts import Out, Parts, person_of
from studio.ui.door.gate import require_operator
from studio.ui.i18n import lang_of, say

if TYPE_CHECKING:
    from studio.core.spec import Endpoint
    from studio.studio import Studio


class Pickers:
    """The handlers of the bar above the chat and of the start panel."""

    def __init__(self, studio: Studio, desk: Desk, parts: Parts) -> None:
        self._studio = studio
        self._desk = desk
        self._parts = parts

    def refresh(
        self,
        request: gr.Request,
        conversation: str,
        endpoint: str | None,
        endpoint_b: str | None,
    ) -> Out:
        """Take over what has started or stopped since the last look."""
        person, lang, parts = person_of(request), lang_of(request), self._parts
        out = self.offer(person, lang, endpoint or "", endpoint_b or "")
        if conversation and not out[parts.talk]["visible"]:
            # Somebody is reading: what was said stays in view, and a new model is one click away.
            out[parts.talk], out[parts.start] = gr.update(visible=True), gr.update(visible=False)
            out[parts.add] = gr.update(visible=not person.guest, variant="primary")
        return out

    def choose(self, request: gr.Request, endpoint: str | None, model: str | None) -> Any:
        """Offer the models of an endpoint, asking it if need be; keep the choice if it fits."""
        desk = self._desk
        try:
            known = desk.models(desk.endpoint(person_of(request), endpoint or ""))
        except StudioError:
            return gr.update(choices=[], value=None, visible=False)
        return _models(known, model or "")

    def toggle_compare(self, request: gr.Request, compare: bool, endpoint: str | None) -> Out:
        """Show or hide the second side; it begins with another endpoint when there is one."""
        person, parts, now = person_of(request), self._parts, not compare
        out: Out = {
            parts.compare: now,
            parts.right: gr.update(visible=now),
            parts.compare_button: gr.update(variant="primary" if now else "secondary"),
        }
        if now:
            others = [e.id for e in self._desk.endpoints(person) if e.id != endpoint]
            second = others[0] if others else endpoint or ""
            out[parts.endpoint_b] = gr.update(value=second, visible=True)
            out[parts.model_b] = self._known(person, second)
        else:
            out[parts.endpoint_b] = out[parts.model_b] = gr.update(visible=False)
        return out

    def asked(self, person: Person, query: dict[str, Any]) -> Out:
        """Return the models a link names, and the second side where it asks for a comparison.

        `endpoint` and `model` are the first side, `compare` (an endpoint) and `model_b` the other.
        """
        parts, out = self._parts, {}
        first, second = query.get("endpoint", ""), query.get("compare", "")
        if first and query.get("model"):
            out[parts.model] = self._known(person, first, query["model"])
        if second in [endpoint.id for endpoint in self._desk.endpoints(person)]:
            out |= {
                parts.compare: True,
                parts.right: gr.update(visible=True),
                parts.compare_button: gr.update(visible=True, variant="primary"),
                parts.endpoint_b: gr.update(value=second, visible=True),
                parts.model_b: self._known(person, second, query.get("model_b", "")),
            }
        return out

    # the start panel ----------------------------------------------------------------------------

    def show_start(self, request: gr.Request) -> Out:
        """Show the ways to get an endpoint, in place of the chat."""
        require_operator(request)
        lang, parts, studio = lang_of(request), self._parts, self._studio
        return {
            parts.talk: gr.update(visible=False),
            parts.start: gr.update(visible=True),
            parts.address: gr.update(visible=True),
            parts.steps: "",
            parts.ways: chat_start.ways(lang, studio, back=bool(studio.endpoints())),
        }

    def act(self, event: gr.EventData, request: gr.Request, endpoint: str | None) -> Out:
        """Do what a button of the start panel says."""
        who, lang = require_operator(request), lang_of(request)
        person, parts, studio = Person(who.name), self._parts, self._studio
        act, value = event.act, event.value
        if act == "start":
            return self._on_its_way(studio.launch_recipe(value).id)
        if act == "stop-start":
            chat_start.stop(studio, value)
            return {parts.steps: gr.skip()}
        if act in ("arrived", "use"):
            return self.offer(person, lang, value)
        if act == "back":
            return self.offer(person, lang, endpoint or "")
        if act == "forget":
            studio.external.remove(value)
        return self.show_start(request)

    def connect(self, request: gr.Request, url: str, key: str) -> Out:
        """Keep an address that answers, and chat with it."""
        who = require_operator(request)
        added = self._studio.external.add(url or "", key or "")
        return self.offer(Person(who.name), lang_of(request), added.id)

    def offer(self, person: Person, lang: str, first: str = "", second: str = "") -> Out:
        """Return the pickers; without any endpoint the start panel comes in their place."""
        parts, found = self._parts, self._desk.endpoints(person)
        if not found:
            return self._nothing(person, lang)
        ids = [endpoint.id for endpoint in found]
        first = first if first in ids else ids[0]
        choices = [(_label(endpoint), endpoint.id) for endpoint in found]
        return {
            parts.talk: gr.update(visible=True),
            parts.start: gr.update(visible=False),
            parts.steps: "",
            parts.add: gr.update(visible=not person.guest, variant="secondary"),
            parts.compare_button: gr.update(visible=True),
            parts.endpoint: gr.update(choices=choices, value=first, visible=True),
            parts.endpoint_b: gr.update(
                choices=choices, value=second if second in ids else ids[-1]
            ),
            parts.left: greeting(lang, next(e for e in found if e.id == first)),
        }

    # inside -------------------------------------------------------------------------------------

    def _nothing(self, person: Person, lang: str) -> Out:
        """Return the empty state: the ways, or the steps of a server that is on its way."""
        parts, studio = self._parts, self._studio
        out: Out = {
            parts.talk: gr.update(visible=False),
            parts.start: gr.update(visible=True),
            parts.add: gr.update(visible=False),
            parts.compare_button: gr.update(visible=False),
            parts.endpoint: gr.update(choices=[], value=None, visible=False),
            parts.model: gr.update(visible=False),
            parts.address: gr.update(visible=not person.guest),
            parts.steps: "",
        }
        if person.guest:
            return out | {parts.ways: chat_start.nothing_for_guests(lang)}
        run = chat_start.starting_run(studio)
        if run is not None:
            return out | self._on_its_way(run.id)
        return out | {parts.ways: chat_start.ways(lang, studio, back=False)}

    def _on_its_way(self, run_id: str) -> Out:
        parts = self._parts
        return {
            parts.steps: w.live(f"chat/start/{run_id}", every_s=1, show="chatStart"),
            parts.ways: "",
            parts.address: gr.update(visible=False),
        }

    def _known(self, person: Person, ident: str, model: str = "") -> Any:
        """Return the model picker of an endpoint by what is known without asking it."""
        try:
            return _models(self._desk.known_models(self._desk.endpoint(person, ident)), model)
        except StudioError:
            return _models((), "")


def greeting(lang: str, endpoint: Endpoint) -> Any:
    """Return what an empty chat shows: who is ready, and questions to try."""
    examples: list[dict[str, Any]] = [
        {"text": text, "icon": {"path": picture, "url": f"ladder/chat/sample/{picture}"}}
        if picture
        else {"text": text}
        for text, picture in samples(lang, endpoint)
    ]
    return gr.update(placeholder=_hello(lang, _label(endpoint)), examples=examples)


def samples(lang: str, endpoint: Endpoint) -> list[tuple[str, str]]:
    """Return questions to try, each with the name of its sample picture; empty for none."""
    if endpoint.pictures is None:
        return [(text, "") for text in say(lang, "chat.samples").splitlines()]
    rows = (row.partition(" ") for row in say(lang, "chat.picture.samples").splitlines())
    return [(text, picture) for picture, _, text in rows]


def _models(known: tuple[str, ...], model: str) -> Any:
    """Return the model picker; it is hidden while there is nothing to choose."""
    value = model if model in known else known[0] if known else None
    return gr.update(choices=list(known), value=value, visible=len(known) > 1)


def _label(endpoint: Endpoint) -> str:
    models = endpoint.models
    if len(models) == 1 and models[0] != endpoint.name:
        return f"{endpoint.name} · {models[0]}"
    return endpoint.name


def _hello(lang: str, name: str) -> str:
    title, text = say(lang, "chat.hello.title"), say(lang, "chat.hello.text", name=name)
    return f'<div class="chat-hello"><h3>{w.esc(title)}</h3><p>{w.esc(text)}</p></div>'
