"""Who may chat with what: endpoints by visitor, conversations by owner, answers under way.

One desk serves the page and the scripts. It knows no page; the tab tells it who asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from studio.chat.answer import Answer
from studio.chat.client import Sampling, list_models, stream
from studio.chat.conversations import Conversations
from studio.chat.history import Message
from studio.chat.turn import Turn
from studio.core.errors import NotFound, RunBusy
from studio.core.spec import Endpoint

OWNERS_KEPT = 64
"""How many owners' lists of conversations are kept in memory."""


MODELS_FRESH_S = 60.0
"""How long an external endpoint's list of models is believed."""


class Person(NamedTuple):
    """Who asks: the owner of the conversations, and whether only READY runs are open to them."""

    owner: str
    guest: bool = False


class Pick(NamedTuple):
    """An endpoint and one of its models."""

    endpoint: Endpoint
    model: str


class Desk:
    """Everything the Chat tab asks for, with the rules of who may."""

    def __init__(self, chats_dir: Path, endpoints: Callable[[], list[Endpoint]]) -> None:
        self._chats_dir = chats_dir
        self._endpoints = endpoints
        self._lock = threading.RLock()
        self._conversations: dict[str, Conversations] = {}
        self._models: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._turns: dict[tuple[str, str], Turn] = {}

    def conversations(self, person: Person) -> Conversations:
        """Return somebody's own conversations."""
        with self._lock:
            found = self._conversations.pop(person.owner, None)
            found = found or Conversations(self._chats_dir, person.owner)
            self._conversations[person.owner] = found
            while len(self._conversations) > OWNERS_KEPT:
                del self._conversations[next(iter(self._conversations))]
            return found

    def endpoints(self, person: Person) -> list[Endpoint]:
        """Return what this person may chat with; guests see READY runs only, never a key's use."""
        return [e for e in self._endpoints() if e.run_id is not None or not person.guest]

    def endpoint(self, person: Person, ident: str = "") -> Endpoint:
        """Return one by id, the first when none is named; raise NotFound."""
        found = self.endpoints(person)
        if not found:
            raise NotFound(
                "Nothing is running that you could chat with.",
                hint="Start a model in the Chat tab, or wait until one is ready.",
            )
        if not ident:
            return found[0]
        for endpoint in found:
            if endpoint.id == ident:
                return endpoint
        raise NotFound(f"The endpoint {ident} is not running any more.", hint="Choose another one.")

    def models(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return an endpoint's models, asking it when it did not say; raise EndpointDown."""
        if endpoint.models:
            return endpoint.models
        asked_at, known = self._models.get(endpoint.id, (0.0, ()))
        if time.monotonic() - asked_at > MODELS_FRESH_S or not known:
            known = list_models(endpoint)
            self._models[endpoint.id] = (time.monotonic(), known)
        return known

    def known_models(self, endpoint: Endpoint) -> tuple[str, ...]:
        """Return what is known of an endpoint's models without asking it."""
        return endpoint.models or self._models.get(endpoint.id, (0.0, ()))[1]

    def pick(self, person: Person, ident: str = "", model: str = "") -> Pick:
        """Return an endpoint and a model of it; a model it does not have becomes its first."""
        endpoint = self.endpoint(person, ident)
        known = self.models(endpoint)
        return Pick(endpoint, model if model in known else known[0])

    def answer(self, pick: Pick, messages: list[Message], sampling: Sampling, **about) -> Answer:
        """Return an answer that is ready to be received."""
        endpoint, model = pick
        about = {"model": model, "endpoint": endpoint.name, "endpoint_id": endpoint.id, **about}
        return Answer(lambda: stream(endpoint, messages, model=model, sampling=sampling), **about)

    def begin(self, person: Person, ident: str, answers: dict[str, Answer]) -> Turn:
        """Note that a conversation is being answered; raise RunBusy when it already is."""
        key = (person.owner, ident)
        with self._lock:
            if key in self._turns:
                raise RunBusy(
                    "This conversation is being answered already.",
                    hint="Wait for the end, or press Stop.",
                )
            turn = self._turns[key] = Turn(answers, self.conversations(person), ident)
        return turn

    def end(self, person: Person, ident: str) -> None:
        """Write the answers down and forget the turn."""
        with self._lock:
            turn = self._turns.pop((person.owner, ident), None)
        if turn is not None:
            turn.close()

    def stop(self, person: Person, ident: str) -> bool:
        """Stop what is being answered; tell whether anything was."""
        turn = self._turns.get((person.owner, ident))
        if turn is not None:
            turn.stop()
        return turn is not None

    def answering(self, person: Person, ident: str) -> bool:
        """Tell whether a conversation is being answered, in this window or another."""
        return (person.owner, ident) in self._turns
