"""One question to one endpoint, or to two side by side, kept on disk while it is answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from studio.chat.answer import Answer, Ending, Look
from studio.chat.conversations import Conversations

UPDATE_S = 0.04
"""Least time between two updates of a page: 25 a second read as smooth as 500."""
BEAT_S = 1.0
"""Longest silence: a page whose browser has gone is noticed at the next update."""
DRAFT_S = 2.0
"""How much of an answer a killed studio may lose."""


class Turn:
    """The answers to the last question of a conversation. `close` it in a `finally`."""

    def __init__(self, answers: dict[str, Answer], store: Conversations | None = None, ident=""):
        self.answers = answers
        self._store, self._ident = store, ident
        self._closed = False
        self._drafted = time.monotonic()

    async def updates(self) -> AsyncIterator[dict[str, Look] | None]:
        """Yield what has arrived on each side; None when only time has passed.

        The first piece is shown at once, later ones at most every UPDATE_S, less often where
        showing is slow (a very long conversation). The last look has an ending on every side.
        """
        changed, over, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

        def tell() -> None:
            last = all(answer.ended for answer in self.answers.values())
            with contextlib.suppress(RuntimeError):  # the loop ended with the server
                loop.call_soon_threadsafe(changed.set)
                if last:
                    loop.call_soon_threadsafe(over.set)

        for answer in self.answers.values():
            answer.start(tell)
        while True:
            try:
                await asyncio.wait_for(changed.wait(), BEAT_S)
            except TimeoutError:
                yield None
                continue
            changed.clear()
            looks = {side: answer.look() for side, answer in self.answers.items()}
            shown_at = time.perf_counter()
            yield looks
            spent = time.perf_counter() - shown_at
            if all(look.ending is not None for look in looks.values()):
                return
            if self._store is not None and time.monotonic() - self._drafted > DRAFT_S:
                await asyncio.to_thread(self._save_draft)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), max(UPDATE_S, 2 * spent))

    def stop(self) -> None:
        """End all answers where they are, because somebody pressed Stop."""
        for answer in self.answers.values():
            answer.stop()

    def close(self) -> None:
        """Cut what still arrives and write the answers into the conversation, once."""
        if self._closed:
            return
        self._closed = True
        for answer in self.answers.values():
            answer.stop(Ending.CUT)
        if self._store is not None:
            self._store.append(self._ident, *(a.message() for a in self.answers.values()))
            self._store.drop_draft(self._ident)

    def _save_draft(self) -> None:
        self._drafted = time.monotonic()
        if self._store is not None and not self._closed:
            rows = [answer.message() for answer in self.answers.values()]
            self._store.save_draft(self._ident, rows)
