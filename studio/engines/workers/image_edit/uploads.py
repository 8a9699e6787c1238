"""What comes in: so many bytes at most, and not for ever. Told apart before anything is parsed."""

from __future__ import annotations

import asyncio
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .refused import Refused

STALL_S = 30.0
"""Longest pause between two pieces of a body."""
WHOLE_S = 600.0
"""Longest time for a whole body."""
DRAINED_S = 2.0
"""Time in which what is left of a body is still read and thrown away before an answer: a client
that is only writing would otherwise see a broken connection instead of the reason."""


class Uploads:
    """ASGI middleware: limits the body of every request, and lets nobody write into the void."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on with its body counted and timed."""
        if scope["type"] == "http":
            body = _Body(scope, receive, send, self.max_bytes)
            receive, send = body.receive, body.send
        await self._app(scope, receive, send)


class _Body:
    def __init__(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        headers = dict(scope["headers"])
        told = headers.get(b"content-length", b"0")
        self._told = int(told) if told.isdigit() else 0
        self._whole = self._told == 0 and b"transfer-encoding" not in headers
        self._asks_first = headers.get(b"expect", b"").lower() == b"100-continue"
        self._receive = receive
        self._send = send
        self._max_bytes = max_bytes
        self._got = 0
        self._began = False
        self._until = time.monotonic() + WHOLE_S

    async def receive(self) -> Message:
        """Return the next piece; raise Refused when there are too many, or none comes."""
        if self._whole:
            return await self._receive()
        if self._told > self._max_bytes:
            raise self._too_large()
        left = min(STALL_S, self._until - time.monotonic())
        try:
            message = await asyncio.wait_for(self._next(), max(0.0, left))
        except TimeoutError:
            raise Refused(
                408,
                "The upload stopped before its end.",
                hint="Try again; over a slow line send a smaller picture.",
            ) from None
        self._got += len(message.get("body", b""))
        if self._got > self._max_bytes:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer; before the first, take in what the client still writes."""
        if message["type"] == "http.response.start" and not self._whole:
            await self._drain()
        await self._send(message)

    async def _next(self) -> Message:
        self._began = True
        message = await self._receive()
        self._whole = not message.get("more_body", False)
        return message

    async def _drain(self) -> None:
        if self._asks_first and not self._began:
            return  # it waits for a word before it writes
        until = time.monotonic() + DRAINED_S
        while not self._whole and (left := until - time.monotonic()) > 0:
            try:
                await asyncio.wait_for(self._next(), left)
            except TimeoutError:
                return

    def _too_large(self) -> Refused:
        return Refused(
            413,
            f"The request is larger than {self._max_bytes / 2**20:.0f} MB.",
            hint="Send smaller pictures.",
        )
