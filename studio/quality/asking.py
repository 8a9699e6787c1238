"""Ask one model: a question of several turns in, an answer with its figures out."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from studio.chat.answer import figures
from studio.chat.client import Delta, Done, Message, Reasoning, Sampling, Stream, stream
from studio.chat.thinking import split
from studio.core.errors import StudioError
from studio.quality.contestants import Asked
from studio.quality.folder import Answer
from studio.quality.questions import Question


class Stopped(Exception):
    """Somebody asked for a stop; what was under way is not written."""


class Said(NamedTuple):
    """One reply."""

    text: str
    thought: str
    figures: dict[str, Any]


class Line:
    """Connections under way, so that a stop cuts all of them at once. Safe in many threads."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._open: set[Stream] = set()

    @property
    def stopped(self) -> bool:
        """True once a stop was asked for."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Cut everything that is under way; nothing new begins."""
        self._stop.set()
        with self._lock:
            under_way = list(self._open)
        for one in under_way:
            one.close()

    def say(self, asked: Asked, messages: list[Message], sampling: Sampling) -> Said:
        """Ask for one reply; raise EndpointFailed, or Stopped."""
        text, thought, done = "", "", None
        with stream(asked.endpoint, messages, model=asked.model, sampling=sampling) as events:
            with self._lock:
                self._open.add(events)
            try:
                if self.stopped:
                    raise Stopped
                for event in events:
                    if isinstance(event, Delta):
                        text += event.text
                    elif isinstance(event, Reasoning):
                        thought += event.text
                    elif isinstance(event, Done):
                        done = event
            finally:
                with self._lock:
                    self._open.discard(events)
        if self.stopped or done is None:
            raise Stopped
        parts = split(text)
        thought = thought or parts.reasoning
        answer = text if not parts.reasoning else parts.answer
        return Said(answer, thought, figures(done))


class Manner(NamedTuple):
    """How the questions are asked."""

    system: str = ""
    temperature: float = 0.0
    by_category: Mapping[str, float] = {}
    """Temperature of categories that want another one."""
    max_tokens: int | None = None
    seed: int | None = None

    def sampling(self, category: str) -> Sampling:
        """Return how answers to a category are drawn."""
        return Sampling(
            temperature=self.by_category.get(category, self.temperature),
            max_tokens=self.max_tokens,
            seed=self.seed,
        )


def ask(line: Line, asked: Asked, label: str, question: Question, manner: Manner) -> Answer:
    """Ask every turn of a question, each with the ones before it; an error is kept as an answer.

    Raise Stopped.
    """
    messages: list[Message] = []
    if manner.system:
        messages.append({"role": "system", "content": manner.system})
    began = time.time()
    said: list[Said] = []
    error = hint = code = ""
    for turn in question.turns:
        messages.append({"role": "user", "content": turn})
        try:
            reply = line.say(asked, messages, manner.sampling(question.category))
        except StudioError as failed:
            error, hint, code = failed.message, failed.hint, getattr(failed, "code", "")
            break
        said.append(reply)
        messages.append({"role": "assistant", "content": reply.text})
    now = time.time()
    return Answer(
        question=question.id,
        model=label,
        turns=tuple(reply.text for reply in said),
        thoughts=tuple(reply.thought for reply in said) if any(r.thought for r in said) else (),
        figures=tuple(reply.figures for reply in said),
        error=error,
        hint=hint,
        code=code,
        at=now,
        seconds=now - began,
    )
