"""An OpenAI-compatible server whose answers take exactly as long as it was told.

    python timed_openai.py PORT [--ttft-ms 300] [--tpot-ms 30] [--key KEY] [--no-models]
        [--no-completions] [--die-after N] [--refuse TEXT] [--model NAME] [--metrics FILE]

Tokens leave at fixed moments after a request came, whatever happened before, so that a busy machine
delays single ones and not their sum. Prints `ready` once it listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time

CHUNK = {"index": 0, "finish_reason": None, "logprobs": None}


class Server:
    """One server; counts the requests that it answered."""

    def __init__(self, told: argparse.Namespace) -> None:
        self.told = told
        self.answered = 0

    async def serve(self) -> None:
        server = await asyncio.start_server(self.one, "127.0.0.1", self.told.port)
        print("ready", flush=True)
        async with server:
            await server.serve_forever()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, one after the other."""
        try:
            while head := await reader.readline():
                came = time.monotonic()
                method, path, _ = head.decode().split(" ", 2)
                headers = {}
                while (line := (await reader.readline()).decode().strip()) != "":
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self.answer(writer, method, path, headers, body, came)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def answer(self, writer, method, path, headers, body, came) -> None:
        told = self.told
        if path == "/metrics" and told.metrics:
            with open(told.metrics, encoding="utf-8") as text:
                return self.reply(writer, 200, text.read(), kind="text/plain")
        if told.key and headers.get("authorization") != f"Bearer {told.key}":
            return self.reply(writer, 401, {"error": {"message": "Invalid API key"}})
        if path == "/v1/models" and not told.no_models:
            model = {"id": told.model, "object": "model", "max_model_len": 4096}
            return self.reply(writer, 200, {"object": "list", "data": [model]})
        chat = path == "/v1/chat/completions"
        if method == "POST" and (chat or (path == "/v1/completions" and not told.no_completions)):
            return await self.complete(writer, json.loads(body), chat, came)
        return self.reply(writer, 404, {"detail": "Not Found"})

    def reply(self, writer, status, body, kind="application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        writer.write(
            f"HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n".encode()
            + data
        )

    async def complete(self, writer, asked, chat: bool, came: float) -> None:
        told = self.told
        if told.refuse:
            return self.reply(writer, 400, {"error": {"message": told.refuse}})
        count = asked.get("max_completion_tokens") or asked.get("max_tokens") or 16
        if told.die_after is not None and self.answered >= told.die_after:
            os._exit(9)
        if not asked.get("stream"):
            self.reply(writer, 200, {"choices": [self.piece(chat, "x")], "usage": self.usage(1)})
            return None
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(count):
            at = came + (told.ttft_ms + number * told.tpot_ms) / 1000
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            self.event(writer, {"choices": [self.piece(chat, f" t{number}")]})
            await writer.drain()
        self.event(writer, {"choices": [], "usage": self.usage(count)})
        self.event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        self.answered += 1

    def piece(self, chat: bool, text: str) -> dict:
        return {**CHUNK, **({"delta": {"content": text}} if chat else {"text": text})}

    def usage(self, count: int) -> dict:
        return {"prompt_tokens": 8, "completion_tokens": count, "total_tokens": 8 + count}

    def event(self, writer, data) -> None:
        text = f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()
        writer.write(f"{len(text):x}\r\n".encode() + text + b"\r\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--ttft-ms", type=float, default=300)
    parser.add_argument("--tpot-ms", type=float, default=30)
    parser.add_argument("--model", default="timed")
    parser.add_argument("--key", default="")
    parser.add_argument("--metrics", default="")
    parser.add_argument("--refuse", default="")
    parser.add_argument("--die-after", type=int)
    parser.add_argument("--no-models", action="store_true")
    parser.add_argument("--no-completions", action="store_true")
    asyncio.run(Server(parser.parse_args()).serve())


if __name__ == "__main__":
    main()
