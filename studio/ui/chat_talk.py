"""Questions and answers: ask, stop, retry, edit, undo. The answer is shown as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import gradio as gr

from studio.chat.client import Sampling
from studio.chat.desk import Desk, Person, Pick
from studio.chat.history import before_question, to_send
from studio.chat.turn import Turn
from studio.core.errors import NotFound, RunBusy
from studio.ui import chat_bubbles, chat_side
from studio.ui.chat_parts import Choices, Out, Parts, busy, idle, person_of
from studio.ui.i18n import lang_of


class Talk:
    """The handlers of everything that asks for an answer."""

    def __init__(self, desk: Desk, parts: Parts) -> None:
        self._desk = desk
        self._parts = parts

    async def ask(
        self, request: gr.Request, question: str, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Send the question and show the answer as it arrives."""
        question = (question or "").strip()
        if not question:
            yield {self._parts.box: gr.skip()}
            return
        person = person_of(request)

        def write_down() -> str:
            store = self._desk.conversations(person)
            ident = conversation if store.has(conversation) else store.create()
            self._refuse_while_answering(person, ident)
            store.settle(ident)
            store.append(ident, {"role": "user", "content": question})
            return ident

        async for out in self._answer(request, write_down, Choices.of(values)):
            yield out

    async def sample(
        self, event: gr.SelectData, request: gr.Request, conversation: str, *values: Any
    ) -> AsyncIterator[Out]:
        """Ask one of the sample questions."""
        question = event.value["text"] if isinstance(event.value, dict) else str(event.value)
        async for out in self.ask(request, question, conversation, *values):
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
        """Put other words in place of a question and answer those; what came after it goes."""
        asked, text = str(event.previous_value), str(event.value).strip()
        async for out in self._again(request, conversation, values, event.index, asked, text):
            yield out

    def undo(self, event: gr.UndoData, request: gr.Request, conversation: str) -> Out:
        """Take the last question back into the box, with its answer gone."""
        person, lang = person_of(request), lang_of(request)
        self._refuse_while_answering(person, conversation)
        store = self._desk.conversations(person)
        messages = store.load(conversation).messages
        at = chat_bubbles.place(lang, messages, _number(event.index), str(event.value))
        before, question = before_question(messages, at)
        store.replace(conversation, before)
        text = question["content"] if question else ""
        return {**self.shown(person, lang, conversation), self._parts.box: idle(text)}

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

        def cut() -> str:
            self._refuse_while_answering(person, conversation)
            store = self._desk.conversations(person)
            messages = store.load(conversation).messages
            at = chat_bubbles.place(lang, messages, _number(index), asked)
            before, question = before_question(messages, at)
            if question is None:
                raise NotFound("There is no question to answer.")
            changed = {**question, "content": text or question["content"]}
            store.replace(conversation, [*before, changed])
            return conversation

        async for out in self._answer(request, cut, Choices.of(values)):
            yield out

    async def _answer(
        self, request: gr.Request, write_down: Callable[[], str], choices: Choices
    ) -> AsyncIterator[Out]:
        """Write the question down, receive the answers and show them, throttled."""
        person, lang, parts = person_of(request), lang_of(request), self._parts
        sides = {"a": parts.left, "b": parts.right} if choices.compare else {"a": parts.left}
        # Nothing is written before it is clear that somebody can answer.
        picks, sampling = await asyncio.to_thread(self._chosen, person, choices)
        ident = await asyncio.to_thread(write_down)
        store = self._desk.conversations(person)
        messages = (await asyncio.to_thread(store.load, ident)).messages
        turn = self._begin(person, ident, messages, picks, sampling, choices)
        so_far = {side: chat_bubbles.bubbles(lang, messages, side) for side in sides}
        try:
            yield {
                parts.conversation: ident,
                parts.box: busy(),
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

    def _begin(
        self,
        person: Person,
        ident: str,
        messages: list[dict[str, Any]],
        picks: dict[str, Pick],
        sampling: Sampling,
        choices: Choices,
    ) -> Turn:
        answers = {}
        for side, pick in picks.items():
            sent = to_send(
                messages, turns=choices.num_turns(), side=side, system=choices.system or ""
            )
            about = {"side": side} if choices.compare else {}
            answers[side] = self._desk.answer(pick, sent, sampling, **about)
        return self._desk.begin(person, ident, answers)

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
