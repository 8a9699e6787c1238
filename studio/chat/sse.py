"""Read server-sent events that carry OpenAI chunks. Knows nothing of what the chunks mean."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any

from studio.chat.errors import EndpointFailed
from studio.chat.refusals import failure_inside, sentence
from studio.chat.wire import MAX_REPLY_BYTES, Wire, read_json


def chunks(wire: Wire, response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the chunks of a streamed answer; a server that does not stream sends one.

    Raise EndpointFailed when a chunk is no JSON, carries an error, or the stream ends before the
    answer does (neither `[DONE]` nor a finish reason).
    """
    if "event-stream" not in (response.headers.get("Content-Type") or "event-stream"):
        yield _whole(wire, response)
        return
    finished = False
    for data in _data_lines(wire, response):
        if data == b"[DONE]":
            return
        chunk = _chunk(wire, data)
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices:
            if not isinstance(choices[0], dict):
                raise EndpointFailed("garbled", where=wire.where, reason="a choice is no object.")
            finished = finished or bool(choices[0].get("finish_reason"))
        yield chunk
    if not finished:
        raise EndpointFailed("cut", where=wire.where)


def text_of(content: Any) -> str:
    """Return the text of a delta; some servers send a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(p.get("text")) for p in content if isinstance(p, dict))
    return ""


def _data_lines(wire: Wire, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield what follows `data:` on each line, as it arrives."""
    rest, begun = b"", False
    while True:
        try:
            raw = response.read1(65536)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise wire.failure(error, begun=begun) from error
        if not raw:
            # A reader whose connection was closed under it sees the end; ask which end it is.
            reason = wire.failure(EOFError(), begun=True)
            if not isinstance(reason, EndpointFailed):
                raise reason
            yield from _payload(rest)
            return
        if not begun:
            begun = True
            wire.awaiting_rest()
        *lines, rest = (rest + raw).split(b"\n")
        for line in lines:
            yield from _payload(line)
        if len(rest) > MAX_REPLY_BYTES:
            raise EndpointFailed("garbled", where=wire.where, reason="a line without an end.")


def _payload(line: bytes) -> Iterator[bytes]:
    if line.startswith(b"data:"):
        yield line[5:].strip()


def _chunk(wire: Wire, data: bytes) -> dict[str, Any]:
    try:
        chunk = json.loads(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        shown = data[:80].decode(errors="replace")
        raise EndpointFailed("garbled", where=wire.where, reason=f"a chunk reads {shown!r}.")
    if chunk.get("error") or chunk.get("object") == "error":
        raise failure_inside(wire.where, chunk)
    return chunk


def _whole(wire: Wire, response: http.client.HTTPResponse) -> dict[str, Any]:
    said = read_json(wire, response)
    if isinstance(said, dict) and said.get("error"):
        raise failure_inside(wire.where, said)
    if not isinstance(said, dict) or not isinstance(said.get("choices"), list):
        reason = sentence(said) or "a page instead of an answer."
        raise EndpointFailed("garbled", where=wire.where, reason=reason)
    return said
