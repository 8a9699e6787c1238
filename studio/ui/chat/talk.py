"""Questions and answers: ask, stop, retry, edit, undo. The answer is shown as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import astuple, replace
from typing import Any, NamedTuple

import gradio as gr

from studio.chat.album import Album, filled, names_in, question
from studio.chat.answer import Answer
from studio.chat.client import Sampling
from studio.chat.desk import Desk, Person, Pick
from studio.chat.history import Message, before_question, to_send
from studio.chat.sight import check_sight, limits_of, take
from studio.chat.transcript import text_of
from studio.core.errors import NotFound, RunBusy
from studio.ui.chat import bubbles as chat_bubbles
from studio.ui.chat import side as chat_side
from studio.ui.chat.parts import Choices, Out, Parts, busy, idle, person_of
from studio.ui.chat.pickers import samples
from studio.ui.chat.pictures import Attached, again, read, sample_folder, write
from studio.ui.i18n import lang_of


class Draft(NamedTuple):
    """A conversation as it would be with the question, and what makes it so."""

    messages: list[Message]
    write_down: Callable[[], str]
    """Returns the conversation's id."""


class Talk:
    """The handlers of everything that asks for an answer."""

    def __init__(self, desk: Desk, parts: Parts) -> None:
        self._desk = desk
        self._parts = parts

    async def ask(
        self, request: gr.Request, text: str, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Send the question with its pictures and show the answer as it arrives."""
        choices, text = Choices.of(values), (text or "").strip()
        person = person_of(request)
        store = self._desk.conversations(person)
        names = [item.name for item in read(store.album, choices.attached)]
        if not text and not names:
            yield {self._parts.box: gr.skip()}
            return
        asked: Message = {"role": "user", "content": question(text, names)}

        def draft() -> Draft:
            known = store.has(conversation)
            before = store.load(conversation).messages if known else []

            def write_down() -> str:
                ident = conversation if known else store.create()
                self._refuse_while_answering(person, ident)
                store.settle(ident)
                store.append(ident, asked)
                return ident

            return Draft([*before, asked], write_down)

        async for out in self._answer(request, draft, choices):
            yield out

    async def sample(
        self, event: gr.SelectData, request: gr.Request, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Ask one of the sample questions, with its picture if it has one."""
        text = event.value["text"] if isinstance(event.value, dict) else str(event.value)
        person, choices = person_of(request), Choices.of(values)
        endpoint = self._desk.endpoint(person, choices.endpoint or "")
        known, at = samples(lang_of(request), endpoint), _number(event.index)
        picture = known[at][1] if 0 <= at < len(known) and known[at][0] == text else ""
        if picture:
            data = await asyncio.to_thread((sample_folder() / picture).read_bytes)
            store = self._desk.conversations(person)
            kept = await asyncio.to_thread(
                take, data, store, limits_of(person.guest), endpoint.pictures
            )
            choices = replace(choices, attached=write([Attached(kept.name, kept.source)]))
        async for out in self.ask(request, text, conversation, *astuple(choices)):
            yield out

    async def retry(
        self, event: gr.RetryData, request: gr.Request, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Answer the last question once more."""
        asked = str(event.value)
        async for out in self._again(request, conversation, values, event.index, asked, ""):
            yield out

    async def edit(
        self, event: gr.EditData, request: gr.Request, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Put other words in place of a question and answer those; what came after it goes.

        Of a question with pictures the component sends each bubble; its pictures stay.
        """
        asked, text = str(event.previous_value), str(event.value).strip()
        if chat_bubbles.is_pictures(asked):
            yield {self._parts.box: gr.skip()}
            return
        async for out in self._again(request, conversation, values, event.index, asked, text):
            yield out

    def undo(self, event: gr.UndoData, request: gr.Request, conversation: str) -> Out:
        """Take the last question back into the box, with its answer gone."""
        person, lang = person_of(request), lang_of(request)
        self._refuse_while_answering(person, conversation)
        store = self._desk.conversations(person)
        messages = store.load(conversation).messages
        at = chat_bubbles.place(lang, messages, _number(event.index), str(event.value))
        before, asked = before_question(messages, at)
        store.replace(conversation, before)
        items = again(store.album, names_in(asked)) if asked else []
        return {
            **self.shown(person, lang, conversation),
            self._parts.box: idle(text_of(asked) if asked else ""),
            self._parts.attached: write(items),
        }

    def stop(self, request: gr.Request, conversation: str) -> None:
        """End the answer where it is."""
        self._desk.stop(person_of(request), conversation)

    def shown(self, person: Person, lang: str, conversation: str, *, every: bool = False) -> Out:
        """Return a conversation as the page shows it; `every` draws all of a long one."""
        parts = self._parts
        messages = self._desk.conversations(person).load(conversation).messages
        return {
            parts.conversation: conversation,
            parts.left: chat_bubbles.bubbles(lang, messages, "a", every=every),
            parts.right: chat_bubbles.bubbles(lang, messages, "b", every=every),
        }

    # inside -------------------------------------------------------------------------------------

    async def _again(
        self,
        request: gr.Request,
        conversation: str,
        values: tuple[Any, ...],
        index: Any,
        asked: str,
        text: str,
    ) -> AsyncIterator[Out]:
        """Cut a conversation after one of its questions and have that answered."""
        person, lang = person_of(request), lang_of(request)

        def draft() -> Draft:
            self._refuse_while_answering(person, conversation)
            store = self._desk.conversations(person)
            messages = store.load(conversation).messages
            at = chat_bubbles.place(lang, messages, _number(index), asked)
            before, found = before_question(messages, at)
            if found is None:
                raise NotFound("There is no question to answer.")
            content = question(text, names_in(found)) if text else found["content"]
            changed = [*before, {**found, "content": content}]

            def write_down() -> str:
                store.replace(conversation, changed)
                return conversation

            return Draft(changed, write_down)

        async for out in self._answer(request, draft, Choices.of(values)):
            yield out

    async def _answer(
        self, request: gr.Request, make_draft: Callable[[], Draft], choices: Choices
    ) -> AsyncIterator[Out]:
        """Write the question down, receive the answers and show them, throttled."""
        person, lang, parts = person_of(request), lang_of(request), self._parts
        sides = {"a": parts.left, "b": parts.right} if choices.compare else {"a": parts.left}
        # Nothing is written before it is clear that somebody can answer.
        picks, sampling = await asyncio.to_thread(self._chosen, person, choices)
        draft = await asyncio.to_thread(make_draft)
        store = self._desk.conversations(person)
        answers = await asyncio.to_thread(
            self._answers, store.album, draft.messages, picks, sampling, choices
        )
        ident = await asyncio.to_thread(draft.write_down)
        messages = (await asyncio.to_thread(store.load, ident)).messages
        turn = self._desk.begin(person, ident, answers)
        so_far = {side: chat_bubbles.bubbles(lang, messages, side) for side in sides}
        try:
            yield {
                parts.conversation: ident,
                parts.box: busy(),
                parts.attached: "",
                parts.strip: "",
                parts.listing: chat_side.listing(lang, store.list(), ident),
                **{part: so_far[side] for side, part in sides.items()},
            }
            async for looks in turn.updates():
                if looks is None:
                    yield {parts.box: gr.skip()}  # a closed browser is noticed at a yield only
                    continue
                yield {
                    part: so_far[side] + chat_bubbles.live(lang, looks[side], picks[side].model)
                    for side, part in sides.items()
                }
        finally:
            self._desk.end(person, ident)
        yield {
            **await asyncio.to_thread(self.shown, person, lang, ident),
            parts.box: idle(),
            parts.listing: chat_side.listing(lang, store.list(), ident),
        }

    def _answers(
        self,
        album: Album,
        messages: list[Message],
        picks: dict[str, Pick],
        sampling: Sampling,
        choices: Choices,
    ) -> dict[str, Answer]:
        """Return the answers, ready to be received; raise PictureRefused before anything is."""
        answers = {}
        for side, pick in picks.items():
            sent = to_send(
                messages, turns=choices.num_turns(), side=side, system=choices.system or ""
            )
            check_sight(pick.endpoint, sent)
            sent = filled(sent, album, pick.endpoint.pictures)
            about = {"side": side} if choices.compare else {}
            answers[side] = self._desk.answer(pick, sent, sampling, **about)
        return answers

    def _chosen(self, person: Person, choices: Choices) -> tuple[dict[str, Pick], Sampling]:
        picks = {"a": self._desk.pick(person, choices.endpoint or "", choices.model or "")}
        if choices.compare:
            second = self._desk.pick(person, choices.endpoint_b or "", choices.model_b or "")
            picks["b"] = second
        return picks, choices.sampling()

    def _refuse_while_answering(self, person: Person, conversation: str) -> None:
        if self._desk.answering(person, conversation):
            raise RunBusy(
                "This conversation is being answered.", hint="Wait for the end, or press Stop."
            )


def _number(index: Any) -> int:
    return int(index[0] if isinstance(index, (list, tuple)) else index)
