"""Chat for scripts: `chat`, `endpoints` and `start_recipe`, as API events without controls."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.utils import get_upload_folder

from studio.chat.album import question as content_of
from studio.chat.album import uri_of
from studio.chat.answer import Ending
from studio.chat.desk import Desk, Person
from studio.chat.history import Message
from studio.chat.pictures import PictureRefused, prepare, rescaled
from studio.chat.sight import check_sight, limits_of, most_of
from studio.chat.turn import Turn
from studio.core.spec import Pictures
from studio.ui.chat.parts import sampling_of
from studio.ui.door.gate import require_operator, visitor
from studio.ui.i18n import AnyRequest

if TYPE_CHECKING:
    from studio.studio import Studio

_DATA_URI = re.compile(r"data:[\w./+-]*;base64,", re.ASCII)


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
        pictures: list[Any] | None = None,
    ) -> AsyncIterator[str]:
        """Ask one question and stream the answer: each value is all the text so far.

        `endpoint` is an id from `endpoints`, empty for the first; what is None is the model's own
        default. A picture is a data URI, or a file as `gradio_client.handle_file` uploads it.
        """
        person = _person(request)
        sampling = sampling_of(
            temperature=temperature, top_p=top_p, max_tokens=max_tokens, seed=seed
        )
        pick = await asyncio.to_thread(self._desk.pick, person, endpoint, model)
        head = {"role": "system", "content": system}
        messages: list[Message] = [head] if system.strip() else []
        uris = await asyncio.to_thread(_uris, person, pick.endpoint.pictures, pictures or [])
        messages.append({"role": "user", "content": content_of(question, uris)})
        check_sight(pick.endpoint, messages)
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
        """Return what can be chatted with: id, name, address, models, eyes; never a key."""
        return [
            {
                "id": endpoint.id,
                "name": endpoint.name,
                "base_url": endpoint.base_url,
                "models": list(endpoint.models),
                "run_id": endpoint.run_id,
                "pictures": endpoint.pictures.model_dump() if endpoint.pictures else None,
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


def _uris(person: Person, spec: Pictures | None, given: list[Any]) -> list[str]:
    """Return a script's pictures as they travel; raise PictureRefused."""
    limits = limits_of(person.guest)
    most = most_of(spec, limits)
    if len(given) > most:
        raise PictureRefused(f"At most {most} pictures go into one message.")
    made = (prepare(bytes_of(item, limits.max_bytes), limits, spec).data for item in given)
    return [uri_of(rescaled(data, spec) if spec else data) for data in made]


def bytes_of(item: Any, max_bytes: int) -> bytes:
    """Return a picture's file; only what the caller itself sent or uploaded is opened.

    At most one byte more than `max_bytes` is read, which whoever checks it will refuse.
    """
    if isinstance(item, str) and (head := _DATA_URI.match(item)):
        try:
            return base64.b64decode(item[head.end() :], validate=True)
        except binascii.Error:
            raise PictureRefused("The data URI is not base64 to its end.") from None
    path = Path(str(item.get("path", ""))) if isinstance(item, dict) else Path()
    folder = Path(get_upload_folder()).resolve()
    if isinstance(item, dict) and path.resolve().is_relative_to(folder) and path.is_file():
        with open(path, "rb") as file:
            return file.read(max_bytes + 1)
    raise PictureRefused(
        "A picture is given as a data URI or as an uploaded file, not as a path.",
        hint="gradio_client.handle_file uploads one.",
    )
