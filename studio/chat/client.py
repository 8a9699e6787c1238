"""Stream a chat completion from an OpenAI-compatible endpoint, as typed events.

    with stream(endpoint, [{"role": "user", "content": "Who are you?"}]) as events:
        for event in events:
            ...

`stream(...).close()`, from any thread, cuts the connection, which makes the engine stop. Every
failure is an `EndpointFailed`: one sentence and what to do. Why no SDK: see `studio.chat.wire`.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import Field

from studio.chat import sse
from studio.chat.errors import Cancelled, EndpointFailed
from studio.chat.refusals import refusal
from studio.chat.wire import Timeouts, Wire, read_json
from studio.core.spec import Endpoint, Frozen

CHECK_TIMEOUTS = Timeouts(connect_s=5.0, first_s=10.0, gap_s=10.0)
OLLAMA_PORT = 11434

Message = dict[str, Any]

LEAST_SPAN_S = 0.02
"""An answer that arrives in less, all at once, tells nothing of how fast it was made."""


class Sampling(Frozen):
    """How to draw the answer. What is None is not sent: the model's own default holds."""

    temperature: float | None = Field(default=None, ge=0, le=5)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Delta(NamedTuple):
    """A piece of the answer."""

    text: str


class Reasoning(NamedTuple):
    """A piece of what the model thinks before it answers, when the server tells it apart."""

    text: str


class Done(NamedTuple):
    """The end of an answer, and its figures."""

    finish_reason: str
    """`stop`, `length`, ...; empty when the server did not say."""
    ttft_s: float | None
    """From just before connecting to the first piece; None when there was none."""
    total_s: float
    tokens: int
    counted: Literal["usage", "chunks"]
    """Whether the server counted the tokens, or we its chunks (a lower bound)."""
    tokens_per_s: float | None
    """Tokens after the first, divided by the time they took (1 / TPOT)."""
    usage: dict[str, Any] | None
    """The server's own usage block, for example with the tokens found in the prefix cache."""


Event = Delta | Reasoning | Done


class Stream:
    """One answer on its way. Iterate once; close from anywhere."""

    def __init__(self, url: str, api_key: str, body: dict[str, Any], timeouts: Timeouts) -> None:
        self._url, self._key, self._timeouts = url, api_key, timeouts
        self._body = body
        self._closed = False
        self._wire: Wire | None = None
        self._meter: _Meter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Yield pieces as they arrive and `Done` at the end; nothing more once closed."""
        try:
            yield from self._events()
        except Cancelled:
            return
        finally:
            self.close()

    def close(self) -> None:
        """Cut the connection at once."""
        self._closed = True
        if self._wire is not None:
            self._wire.close()

    def so_far(self) -> Done | None:
        """Return the figures of an answer that was stopped or cut; None before it was asked for."""
        return self._meter.done() if self._meter else None

    def _events(self) -> Iterator[Event]:
        meter = self._meter = _Meter()
        wire, response = self._open(self._body)
        if response.status in (400, 422) and "stream_options" in self._body:
            said = read_json(wire, response)
            if "stream_options" not in str(said):
                raise refusal(wire.where, self._url, response.status, said, self._body["model"])
            # An older server that refuses what it does not know: ask without the token count.
            wire, response = self._open(
                {k: v for k, v in self._body.items() if k != "stream_options"}
            )
        if response.status != 200:
            said = read_json(wire, response)
            raise refusal(wire.where, self._url, response.status, said, self._body["model"])
        for chunk in sse.chunks(wire, response):
            yield from meter.read(chunk)
        yield meter.done()

    def _open(self, body: dict[str, Any]) -> tuple[Wire, http.client.HTTPResponse]:
        wire = self._wire = Wire(self._url, self._timeouts)
        if self._closed:
            raise Cancelled
        return wire, wire.send("POST", body, self._key)


class _Meter:
    """Turns chunks into events and keeps the clock."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._first = self._last = 0.0
        self._chunks = 0
        self._usage: dict[str, Any] | None = None
        self._finish = ""

    def read(self, chunk: dict[str, Any]) -> Iterator[Event]:
        """Yield what a chunk adds; LLaMA-Factory's lack `object` and `usage`, others `choices`."""
        usage = chunk.get("usage")
        if isinstance(usage, dict):
            self._usage = usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else {}
        delta = choice.get("delta") or choice.get("message") or {}
        thought = sse.text_of(delta.get("reasoning_content") or delta.get("reasoning"))
        text = sse.text_of(delta.get("content"))
        if thought or text:
            self._last = time.perf_counter()
            self._first = self._first or self._last
            self._chunks += 1
        if thought:
            yield Reasoning(thought)
        if text:
            yield Delta(text)
        self._finish = choice.get("finish_reason") or self._finish

    def done(self) -> Done:
        """Return the figures."""
        told = (self._usage or {}).get("completion_tokens")
        told = told if isinstance(told, int) and told > 0 else None
        tokens = told or self._chunks
        span = self._last - self._first
        return Done(
            finish_reason=self._finish,
            ttft_s=self._first - self._started if self._chunks else None,
            total_s=time.perf_counter() - self._started,
            tokens=tokens,
            counted="usage" if told else "chunks",
            tokens_per_s=(tokens - 1) / span if self._chunks > 1 and span > LEAST_SPAN_S else None,
            usage=self._usage,
        )


def stream(
    endpoint: Endpoint,
    messages: list[Message],
    *,
    model: str = "",
    sampling: Sampling | None = None,
    timeouts: Timeouts | None = None,
) -> Stream:
    """Ask for an answer. Nothing is sent before the first event is asked for."""
    model = model or (endpoint.models or list_models(endpoint))[0]
    chosen = (sampling or Sampling()).model_dump(exclude_none=True)
    if not chosen["stop"]:
        del chosen["stop"]
    body = {"model": model, "messages": messages, "stream": True, **chosen}
    body["stream_options"] = {"include_usage": True}
    url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
    return Stream(url, endpoint.api_key, body, timeouts or Timeouts())


def list_models(endpoint: Endpoint, timeouts: Timeouts = CHECK_TIMEOUTS) -> tuple[str, ...]:
    """Return the names of the models an endpoint serves; raise EndpointFailed."""
    return _models(endpoint.base_url.rstrip("/"), endpoint.api_key, timeouts)[0]


def check(base_url: str, api_key: str = "") -> Endpoint:
    """Find the OpenAI-compatible server behind an address a person typed; raise EndpointFailed.

    The scheme and `/v1` may be missing, `/chat/completions` may be too much. The endpoint has no
    id yet; its name says which server it is, as far as that shows.
    """
    wrong: EndpointFailed | None = None
    for url in _candidates(base_url):
        try:
            models, owner = _models(url, api_key)
        except EndpointFailed as error:
            if error.code not in ("path", "garbled", "rejected"):
                raise
            wrong = wrong or error
            continue
        return Endpoint(
            id="",
            name=_name(url, owner),
            base_url=url,
            models=models,
            api_key=api_key.strip(),
        )
    raise wrong or EndpointFailed("address", url=base_url)


def _models(
    base_url: str, api_key: str, timeouts: Timeouts = CHECK_TIMEOUTS
) -> tuple[tuple[str, ...], str]:
    """Return the models and who owns the first one, as `GET /models` tells."""
    url = f"{base_url}/models"
    wire = Wire(url, timeouts)
    try:
        response = wire.send("GET", api_key=api_key)
        said = read_json(wire, response)
        if response.status != 200:
            raise refusal(wire.where, url, response.status, said, "")
    finally:
        wire.close()
    rows = said.get("data") if isinstance(said, dict) else None
    if rows is None and isinstance(said, dict) and "data" in said:
        rows = []  # Ollama without a model says `"data": null`
    if not isinstance(rows, list):
        raise EndpointFailed("path", where=wire.where, path=urlsplit(base_url).path or "/")
    rows = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    if not rows:
        raise EndpointFailed("no_models", where=wire.where)
    return tuple(row["id"] for row in rows), str(rows[0].get("owned_by", ""))


def _candidates(base_url: str) -> list[str]:
    url = base_url.strip()
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    for tail in ("/chat/completions", "/completions", "/models"):
        url = url.removesuffix(tail)
    _, _, path = url.partition("://")[2].partition("/")
    if f"/{path}".endswith("/v1"):
        return [url]
    return [url, f"{url}/v1"] if path else [f"{url}/v1", url]


def _name(url: str, owner: str) -> str:
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    if parts.port == OLLAMA_PORT:
        return f"Ollama · {where}"
    known = {"vllm": "vLLM", "sglang": "SGLang"}.get(owner.lower())
    return f"{known} · {where}" if known else where
