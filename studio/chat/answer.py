"""One answer being received, in a thread of its own, to be looked at whenever a page likes.

The page's event loop never parses a token: the thread collects, the page takes what is there a
few times a second. Stopping is a request and takes effect at once, whatever the thread waits for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from studio.chat.client import Delta, Done, Reasoning, Stream
from studio.chat.errors import EndpointFailed
from studio.chat.thinking import Split, split
from studio.core.errors import StudioError

log = logging.getLogger(__name__)


class Ending(StrEnum):
    """How an answer ended."""

    DONE = "done"
    STOPPED = "stopped"
    """Somebody pressed Stop."""
    CUT = "cut"
    """The browser was closed, or the studio ended, while it was arriving."""
    FAILED = "failed"


class Look(NamedTuple):
    """What has arrived so far."""

    text: str
    reasoning: str
    thinking: bool
    ending: Ending | None
    done: Done | None
    error: StudioError | None
    thought_s: float | None
    elapsed_s: float


class Answer:
    """Receives one stream; safe to look at and to stop from any thread."""

    def __init__(self, make_stream: Callable[[], Stream], **about: Any) -> None:
        self._make = make_stream
        self.about = about
        """What is kept with the message besides the figures: model, endpoint, side."""
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._raw = self._reasoning = ""
        self._ending: Ending | None = None
        self._done: Done | None = None
        self._error: StudioError | None = None
        self._started = time.perf_counter()
        self._ended = self._thought_from = self._thought_to = 0.0
        self._fresh = False
        self._tell: Callable[[], None] = lambda: None

    def start(self, tell: Callable[[], None] = lambda: None) -> None:
        """Begin to receive; `tell` is called when there is something new since the last look."""
        self._tell = tell
        self._started = time.perf_counter()
        threading.Thread(target=self._receive, name="answer", daemon=True).start()

    def stop(self, ending: Ending = Ending.STOPPED) -> None:
        """End it now and cut the connection; an answer that has ended stays as it is."""
        self._end(ending)
        stream = self._stream
        if stream is not None:
            stream.close()

    @property
    def ended(self) -> bool:
        """True when nothing more will come."""
        return self._ending is not None

    def look(self) -> Look:
        """Return what is there, and ask to be told of what comes next."""
        with self._lock:
            self._fresh = False
            parts = (
                Split(self._reasoning, self._raw, False) if self._reasoning else split(self._raw)
            )
            reasoning, answer = parts.reasoning, parts.answer
            now = self._ended or time.perf_counter()
            thinking = self._ending is None and bool(reasoning) and not answer
            return Look(
                text=answer,
                reasoning=reasoning,
                thinking=thinking,
                ending=self._ending,
                done=self._done,
                error=self._error,
                thought_s=self._thought(now, answered=bool(answer)) if reasoning else None,
                elapsed_s=now - self._started,
            )

    def message(self) -> dict[str, Any]:
        """Return it as a message for the conversation, with its figures under `studio`."""
        look = self.look()
        extra: dict[str, Any] = {**self.about, "ended": str(look.ending or Ending.CUT)}
        if look.reasoning:
            extra |= {"reasoning": look.reasoning, "thought_s": _short(look.thought_s)}
        if look.done is not None:
            extra |= figures(look.done)
        if look.error is not None:
            extra["error"] = {"message": look.error.message, "hint": look.error.hint}
            if isinstance(look.error, EndpointFailed):
                extra["error"] |= {"code": look.error.code, "facts": _plain(look.error.facts)}
        return {"role": "assistant", "content": look.text, "studio": extra}

    def _receive(self) -> None:
        try:
            with self._lock:
                if self._ending is not None:
                    return
            stream = self._make()
            self._stream = stream
            if self._ending is not None:
                stream.close()
            for event in stream:
                self._take(event)
        except StudioError as error:
            self._end(Ending.FAILED, error)
        except Exception as error:
            log.exception("an answer could not be received")
            text = f"The answer could not be received ({type(error).__name__})."
            self._end(
                Ending.FAILED, StudioError(text, hint="This is a bug; the log has the details.")
            )
        else:
            self._end(Ending.DONE)

    def _take(self, event: Any) -> None:
        with self._lock:
            if self._ending is not None:
                return
            if isinstance(event, Delta):
                if self._thought_from and not self._thought_to:
                    self._thought_to = time.perf_counter()
                self._raw += event.text
            elif isinstance(event, Reasoning):
                self._thought_from = self._thought_from or time.perf_counter()
                self._reasoning += event.text
            elif isinstance(event, Done):
                self._done = event
            tell, self._fresh = not self._fresh, True
        if tell:
            self._tell()

    def _end(self, ending: Ending, error: StudioError | None = None) -> None:
        with self._lock:
            if self._ending is not None:
                return
            self._ending, self._error, self._ended = ending, error, time.perf_counter()
            if self._done is None and self._stream is not None:
                self._done = self._stream.so_far()
        self._tell()

    def _thought(self, now: float, *, answered: bool) -> float:
        """Return how long it thought; for inline tags the whole time is the best that is known."""
        begin = self._thought_from or self._started
        if not self._thought_from and answered and not self._thought_to:
            self._thought_to = now
        return (self._thought_to or now) - begin


def figures(done: Done) -> dict[str, Any]:
    """Return the figures of an answer as they are kept and shown."""
    usage = done.usage or {}
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    found = {
        "finish_reason": done.finish_reason or None,
        "ttft_s": _short(done.ttft_s),
        "total_s": _short(done.total_s),
        "tokens": done.tokens,
        "counted": done.counted,
        "tokens_per_s": _short(done.tokens_per_s),
        "prompt_tokens": usage.get("prompt_tokens"),
        "cached_tokens": cached,
    }
    return {key: value for key, value in found.items() if value is not None}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _plain(facts: dict[str, object]) -> dict[str, str]:
    return {key: str(value) for key, value in facts.items()}
