"""What the Chat tab's handlers share: the parts of the page, the settings, and who asks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import gradio as gr
from pydantic import BaseModel, Field

from studio.chat.client import Sampling
from studio.chat.desk import Person
from studio.core.errors import NotAllowed
from studio.core.recipes import check_settings
from studio.ui.door.gate import visitor
from studio.ui.i18n import AnyRequest, cookie_value, lang_of, say

BROWSER = "ladder_browser"
"""Cookie with which a browser tells its own guest's conversations from another guest's."""
MOST_STOPS = 4
"""How many stop sequences the protocol allows."""
_SECRET = re.compile(r"[0-9a-f]{32}")

Out = dict[Any, Any]
"""What a handler returns: the components that change, and their new values."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The components that handlers change, by what they are for."""

    conversation: Any
    listing: Any
    talk: Any
    start: Any
    ways: Any
    steps: Any
    address: Any
    add: Any
    endpoint: Any
    model: Any
    endpoint_b: Any
    model_b: Any
    compare: Any
    compare_button: Any
    left: Any
    right: Any
    strip: Any
    attached: Any
    box: Any

    def all(self) -> list[Any]:
        """Return every component, as the outputs of an event."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class Choices:
    """What is set beside the question, in the order of the page's inputs."""

    endpoint: str | None
    model: str | None
    compare: bool
    endpoint_b: str | None
    model_b: str | None
    system: str
    temperature: str
    top_p: str
    max_tokens: str
    seed: str
    turns: str
    stop: str
    attached: str = ""
    """The pictures that go with the question, as `chat_pictures.write` puts them."""

    @classmethod
    def of(cls, values: Sequence[Any]) -> Choices:
        """Return the choices from the page's inputs."""
        return cls(*values)

    def sampling(self) -> Sampling:
        """Return the checked sampling; raise RecipeInvalid with a sentence per fault."""
        names = ("temperature", "top_p", "max_tokens", "seed")
        return sampling_of(
            **{name: _value(getattr(self, name)) for name in names},
            stop=tuple(line for line in (self.stop or "").splitlines() if line)[:MOST_STOPS],
        )

    def num_turns(self) -> int | None:
        """Return how many earlier questions are sent; None sends all. Raise RecipeInvalid."""
        return check_settings(_History, {"turns": _value(self.turns)}, "Chat settings").turns


class _History(BaseModel):
    turns: int | None = Field(default=None, ge=0)


def sampling_of(**values: Any) -> Sampling:
    """Return a checked sampling; raise RecipeInvalid with a sentence per fault."""
    return check_settings(Sampling, values, "Chat settings")


def person_of(request: AnyRequest | None) -> Person:
    """Return who asks, as the owner of conversations; raise NotAllowed for a nameless guest."""
    who = visitor(request)
    if who.role == "operator":
        return Person(who.name)
    header = request.headers.get("cookie", "") if request is not None else ""
    secret = cookie_value(header, BROWSER)
    if not _SECRET.fullmatch(secret):
        lang = lang_of(request)
        raise NotAllowed(say(lang, "chat.no_cookie.says"), hint=say(lang, "chat.no_cookie.hint"))
    return Person(f"guest {who.name} {secret}", guest=True)


def idle(text: str | None = None) -> Any:
    """Return the question box ready for a question, with `text` in it when given."""
    ready = gr.update(submit_btn=True, stop_btn=False)
    return ready if text is None else {**ready, "value": text}


def busy() -> Any:
    """Return the question box while an answer arrives: empty, with a stop button."""
    return gr.update(value="", submit_btn=False, stop_btn=True)


def _value(text: str | None) -> str | None:
    """Return what a field holds; an empty one leaves the choice to the model."""
    return (text or "").strip() or None
