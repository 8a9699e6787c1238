"""The page as it is opened, and the list of conversations: open, new, rename, delete, search."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

from studio.chat.desk import Desk
from studio.ui.chat import side as chat_side
from studio.ui.chat.parts import Out, Parts, idle, person_of
from studio.ui.chat.pickers import Pickers
from studio.ui.chat.talk import Talk
from studio.ui.i18n import lang_of


class Shelf:
    """The handlers of what lies beside the chat."""

    def __init__(self, desk: Desk, parts: Parts, talk: Talk, pickers: Pickers) -> None:
        self._desk = desk
        self._parts = parts
        self._talk = talk
        self._pickers = pickers

    def arrive(
        self, event: gr.EventData, request: gr.Request, conversation: str, endpoint: str | None
    ) -> Out:
        """Fill the page when it is opened: what runs, the list, the last conversation."""
        person, lang = person_of(request), lang_of(request)
        asked: dict[str, Any] = event._data.get("query") or {}
        heads = self._desk.conversations(person).list()
        compares = bool(asked.get("compare"))
        wanted = asked.get("conversation") or conversation or (heads[0].id if heads else "")
        if compares and not asked.get("conversation"):
            wanted = ""  # a comparison begins with a question of its own
        out = self._pickers.offer(
            person, lang, asked.get("endpoint") or endpoint or "", asked.get("compare", "")
        )
        _join(out, self._pickers.asked(person, asked))
        out[self._parts.listing] = chat_side.listing(lang, heads, wanted)
        if wanted != conversation and any(head.id == wanted for head in heads):
            # One component takes one update: the messages join what the pickers say about it.
            _join(out, self._talk.shown(person, lang, wanted), self._parts)
        elif compares:
            _join(out, self.new(request), self._parts)
        return out

    def new(self, request: gr.Request) -> Out:
        """Begin a new conversation; its file is made with the first question."""
        person, lang, parts = person_of(request), lang_of(request), self._parts
        heads = self._desk.conversations(person).list()
        return {
            parts.conversation: "",
            parts.left: [],
            parts.right: [],
            parts.box: idle(""),
            parts.attached: "",
            parts.strip: "",
            parts.listing: chat_side.listing(lang, heads, ""),
        }

    def act(self, event: gr.EventData, request: gr.Request, conversation: str, find: str) -> Out:
        """Do what a button says: open, draw all of it, rename, delete, list all."""
        person, lang, parts = person_of(request), lang_of(request), self._parts
        store = self._desk.conversations(person)
        act, value = event.act, event.value
        out: Out = {}
        if act in ("open", "earlier"):
            conversation = value or conversation
            out = self._talk.shown(person, lang, conversation, every=act == "earlier")
            out |= {parts.talk: gr.update(visible=True), parts.start: gr.update(visible=False)}
        elif act == "rename":
            asked = json.loads(value)
            store.rename(str(asked["id"]), str(asked["title"]))
        elif act == "delete":
            self._desk.stop(person, value)
            store.delete(value)
            if value == conversation:
                conversation, out = "", self.new(request)
        if find.strip():
            out[parts.listing] = chat_side.found(lang, store.search(find), conversation)
        else:
            heads, every = store.list(), act == "all"
            out[parts.listing] = chat_side.listing(lang, heads, conversation, every=every)
        return out

    def search(self, request: gr.Request, find: str, conversation: str) -> str:
        """Show the conversations that contain the words."""
        store, lang = self._desk.conversations(person_of(request)), lang_of(request)
        if not find.strip():
            return chat_side.listing(lang, store.list(), conversation)
        return chat_side.found(lang, store.search(find), conversation)


def _join(out: Out, more: Out, parts: Parts | None = None) -> None:
    """Add updates to updates; two of one component become one, messages their value."""
    for part, given in more.items():
        update: Any = given
        if parts is not None and part in (parts.left, parts.right):
            update = {**gr.update(), "value": given}
        known: Any = out.get(part)
        both = isinstance(known, dict) and isinstance(update, dict)
        out[part] = {**known, **update} if both else update
