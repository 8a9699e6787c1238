"""A chat server that does exactly what a script says: known pieces, known delays, known faults.

In a test: `with FakeChat({"tiny": Script(pieces=["Hi", "!"])}) as server: server.url ...`.
By hand: `python tests/chat/sse_server.py --port 9000 --rate 500`, one model named `steady`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass
class Script:
    """What a model does when it is asked."""

    pieces: list[str] | Callable[[dict], list[str]] = field(default_factory=lambda: ["Hi", "!"])
    thoughts: list[str] = field(default_factory=list)
    thought_key: str = "reasoning_content"
    first_s: float = 0.0
    """Seconds before the first piece."""
    rate: float = 0.0
    """Pieces a second after the first; 0 is as fast as it goes."""
    usage: bool = True
    bare: bool = False
    """Chunks without `object` and `usage`, as LLaMA-Factory sends them."""
    finish: str | None = "stop"
    done: bool = True
    status: int = 200
    body: Any = None
    """Body of an answer that is no stream: a refusal, or a whole completion."""
    raw: list[bytes] | None = None
    """Bytes to send as the stream instead of chunks."""
    die_after: int | None = None
    """Cut the connection after so many pieces."""
    hang_after: int | None = None
    """Fall silent after so many pieces."""
    refuse_options: bool = False
    """Answer 400 to a request with `stream_options`, as old servers do."""


class FakeChat:
    """An OpenAI-compatible server on a free port, in a thread of its own."""

    def __init__(self, models: dict[str, Script] | None = None, key: str = "", port: int = 0):
        self.models = models or {"tiny": Script()}
        self.key = key
        self.port = port
        self.owner = "vllm"
        self.prefix = "/v1"
        self.list_body: Any = None
        self.requests: list[dict[str, Any]] = []
        """Bodies of the chat requests, in order."""
        self.headers: list[dict[str, str]] = []
        self.gone: list[tuple[int, float]] = []
        """For each client that left early: pieces sent by then, and when (perf_counter)."""
        self.sent_first: list[float] = []
        """When each answer's first piece was written (perf_counter)."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.serve(ready.set))

    async def serve(self, tell: Callable[[], None] = lambda: None) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._client, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        tell()
        await self._stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            method, path, _ = first.split(" ")
            await self._answer(method, path, headers, raw, reader, writer)
        writer.close()

    async def _answer(self, method, path, headers, raw, reader, writer) -> None:
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            return await self._plain(writer, 401, {"error": "Unauthorized"})
        if (method, path) == ("GET", f"{self.prefix}/models"):
            rows = [{"id": name, "owned_by": self.owner} for name in self.models]
            return await self._plain(writer, 200, self.list_body or {"data": rows})
        if (method, path) != ("POST", f"{self.prefix}/chat/completions"):
            return await self._plain(writer, 404, {"detail": "Not Found"})
        body = json.loads(raw)
        self.requests.append(body)
        self.headers.append(headers)
        script = self.models.get(body["model"])
        if script is None:
            text = f"The model `{body['model']}` does not exist."
            return await self._plain(writer, 404, {"error": {"message": text, "code": 404}})
        if script.refuse_options and "stream_options" in body:
            text = "stream_options: extra fields not permitted"
            return await self._plain(writer, 400, {"error": {"message": text}})
        if script.status != 200 or script.body is not None:
            return await self._plain(writer, script.status, script.body)
        await self._stream(script, body, reader, writer)

    async def _plain(self, writer, status: int, body: Any) -> None:
        kind = "application/json"
        raw = json.dumps(body).encode()
        if isinstance(body, str):
            kind, raw = "text/html", body.encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nConnection: close\r\n"
        head += f"Content-Length: {len(raw)}\r\n\r\n"
        writer.write(head.encode() + raw)
        await writer.drain()

    async def _stream(self, script: Script, body: dict, reader, writer) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        await writer.drain()
        gone = asyncio.ensure_future(reader.read(1))
        start = time.perf_counter() + script.first_s
        lines = script.raw if script.raw is not None else self._lines(script, body)
        for sent, line in enumerate(lines):
            due = start + (sent / script.rate if script.rate else 0) - time.perf_counter()
            if script.hang_after == sent:
                due = 3600
            if due > 0 or gone.done():
                await asyncio.wait([gone], timeout=max(due, 0))
            if gone.done():
                self.gone.append((sent, time.perf_counter()))
                return
            if script.die_after == sent:
                writer.transport.abort()
                return
            writer.write(b"%x\r\n%s\r\n" % (len(line), line))
            await writer.drain()
            if sent == 0:
                self.sent_first.append(time.perf_counter())
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        gone.cancel()

    def _lines(self, script: Script, body: dict):
        pieces = script.pieces(body) if callable(script.pieces) else script.pieces
        limit = body.get("max_tokens")
        for text in script.thoughts:
            yield self._chunk(script, {script.thought_key: text})
        for text in pieces[:limit]:
            yield self._chunk(script, {"content": text})
        if script.finish:
            yield self._chunk(script, {}, script.finish)
        if script.usage and not script.bare and "stream_options" in body:
            count = len(pieces[:limit]) + len(script.thoughts)
            usage = {"prompt_tokens": 20, "completion_tokens": count}
            yield self._data({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        if script.done:
            yield b"data: [DONE]\n\n"

    def _chunk(self, script: Script, delta: dict, finish: str | None = None) -> bytes:
        row: dict[str, Any] = {"id": "chatcmpl-1", "model": "m", "created": 1}
        if not script.bare:
            row["object"] = "chat.completion.chunk"
        row["choices"] = [{"index": 0, "delta": delta, "finish_reason": finish}]
        return self._data(row)

    def _data(self, row: dict) -> bytes:
        return b"data: " + json.dumps(row, ensure_ascii=False).encode() + b"\n\n"


def steady(rate: float, first_s: float) -> Script:
    """Return a model that answers with as many words as `max_tokens` says, evenly."""
    return Script(
        pieces=lambda body: [f"word{i} " for i in range(body.get("max_tokens") or 500)],
        rate=rate,
        first_s=first_s,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--first", type=float, default=0.02, help="seconds to the first token")
    options = parser.parse_args()
    models = {"steady": steady(options.rate, options.first)}
    asyncio.run(FakeChat(models, port=options.port).serve())
