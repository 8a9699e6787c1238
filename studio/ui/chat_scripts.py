"""Chat for scripts: `chat`, `endpoints` and `start_recipe`, as API events without controls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.chat.answer import Ending
from studio.chat.desk import Desk, Person
from studio.chat.turn import Turn
from studio.ui.chat_parts import sampling_of
from studio.ui.gate import require_operator, visitor
from studio.ui.i18n import AnyRequest

if TYPE_CHECKING:
    from studio.studio import Studio


class Scripts:
    """What a script may do. Nothing it asks is kept as a conversation."""

    def __init__(self, studio: Studio, desk: Desk) -> None:
        self._studio = studio
        self._desk = desk

    async def chat(
        self,
        request: gr.Request,
        question: str,
        endpoint: str = "",
        model: str = "",
        system: str = "",
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> AsyncIterator[str]:
        """Ask one question and stream the answer: each value is all the text so far.

        `endpoint` is an id from `endpoints`, empty for the first; what is None is the model's own
        default.
        """
        person = _person(request)
        sampling = sampling_of(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
        )
        pick = await asyncio.to_thread(self._desk.pick, person, endpoint, model)
        messages = [{"role": "system", "content": system}] if system.strip() else []
        messages.append({"role": "user", "content": question})
        turn = Turn({"a": self._desk.answer(pick, messages, sampling)})
        shown = None
        try:
            async for looks in turn.updates():
                if looks is None:
                    yield shown or ""
                    continue
                look = looks["a"]
                if look.ending is Ending.FAILED and look.error is not None:
                    raise look.error
                if look.text != shown:
                    shown = look.text
                    yield shown
        finally:
            turn.close()

    def endpoints(self, request: gr.Request) -> list[dict[str, Any]]:
        """Return what can be chatted with: id, name, address and models; never a key."""
        return [
            {
                "id": endpoint.id,
                "name": endpoint.name,
                "base_url": endpoint.base_url,
                "models": list(endpoint.models),
                "run_id": endpoint.run_id,
            }
            for endpoint in self._desk.endpoints(_person(request))
        ]

    def start_recipe(self, request: gr.Request, recipe: str = "") -> str:
        """Start a recipe, the first-run one when none is named; return the run's id."""
        require_operator(request)
        name = recipe or self._studio.first_run().name
        return self._studio.launch_recipe(name).id


def _person(request: AnyRequest | None) -> Person:
    """Return who asks; a script keeps no conversations, so a guest needs no browser's secret."""
    who = visitor(request)
    return Person(who.name, guest=who.role != "operator")
