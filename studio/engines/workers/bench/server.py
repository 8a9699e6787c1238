"""The server that is asked: is it there, is it one, which models, and the little it can do for us.

Standard library alone. What is wrong is said in one sentence; the studio explains it by its words.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 10.0
"""How long a server that refuses connections is tried again; it may be just starting to listen."""
ANSWER_S = 60.0
"""How long one request of one token may take."""


class Unfit(Exception):
    """The server cannot be measured; the sentence says why."""


@dataclass(frozen=True)
class Reply:
    """What came back: status 0 when nothing did."""

    status: int
    body: bytes = b""
    error: str = ""

    def json(self) -> Any:
        """Return the body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def says(self) -> str:
        """Return the server's own words for a refusal, as far as it gave any."""
        told = self.json()
        while isinstance(told, dict):
            told = told.get("error") or told.get("message") or told.get("detail") or ""
        text = told if isinstance(told, str) else self.body.decode(errors="replace")
        return " ".join((text or self.error).split())[:400]


@dataclass
class Server:
    """An OpenAI-compatible server, by the address that people write down."""

    base_url: str
    """As given: up to /v1, or without it."""
    api_key: str = field(default="", repr=False)

    @property
    def root(self) -> str:
        """Return the address without /v1, where /health and /metrics are."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    @property
    def api(self) -> str:
        """Return the path below `root` where the API begins."""
        given = self.base_url.rstrip("/")
        return "/v1" if given.endswith("/v1") or urlsplit(given).path in ("", "/") else ""

    def path(self, chat: bool) -> str:
        """Return the path, below `root`, of completions or of chat completions."""
        return self.api + ("/chat/completions" if chat else "/completions")

    def ask(self, path: str, body: Any = None, *, post: bool = False, wait_s: float = 10) -> Reply:
        """Send one request below `root` and return whatever came back."""
        return send(self.root + path, self.api_key, body, post=post, wait_s=wait_s)

    def alive(self) -> bool:
        """Tell whether it still answers anything at all."""
        return self.ask(f"{self.api}/models").status > 0

    def reach(self, model: str = "") -> dict[str, Any]:
        """Return the entry of `/v1/models` for a model, the first without one; raise Unfit."""
        until = time.monotonic() + PATIENCE_S
        while not (reply := self.ask(f"{self.api}/models")).status:
            if time.monotonic() > until or "refused" not in reply.error.lower():
                raise Unfit(f"cannot reach {self.root}: {reply.error}")
            time.sleep(0.5)
        if reply.status in (401, 403):
            raise Unfit(
                f"{self.root} wants another API key: {reply.status} {reply.says}".rstrip(": ")
            )
        told = reply.json()
        listed = told.get("data") if isinstance(told, dict) else None
        if reply.status != 200 or not isinstance(listed, list):
            raise Unfit(
                f"{self.root} is no OpenAI-compatible server: {self.api}/models answered "
                f"{reply.status} and no list of models"
            )
        models = [item for item in listed if isinstance(item, dict) and item.get("id")]
        for item in models:
            if item["id"] == model or not model:
                return item
        names = ", ".join(str(item["id"]) for item in models) or "none"
        raise Unfit(f"{self.root} does not serve the model {model}; it serves: {names}")

    def try_once(self, model: str, *, chat: bool) -> None:
        """Ask for one token, so that a refusal is read with its reason; raise Unfit."""
        said = {"messages": [{"role": "user", "content": "Hi"}]} if chat else {"prompt": "Hi"}
        path = self.path(chat)
        reply = self.ask(path, {"model": model, "max_tokens": 1, **said}, wait_s=ANSWER_S)
        if reply.status in (401, 403):
            raise Unfit(
                f"{self.root} wants another API key: {reply.status} {reply.says}".rstrip(": ")
            )
        if reply.status in (404, 405) and not (chat and "model" in reply.says.lower()):
            other = "openai" if chat else "openai-chat"
            raise Unfit(
                f"{self.root} has no {path} ({reply.status}); backend = {other} asks another path"
            )
        if not reply.status:
            raise Unfit(f"{self.root} did not answer a request of one token: {reply.error}")
        if reply.status != 200:
            raise Unfit(f"{self.root} refused a request of one token: {reply.status} {reply.says}")

    def version(self) -> str:
        """Return the version a vLLM server tells; empty for others."""
        told = self.ask("/version").json()
        return str(told.get("version") or "") if isinstance(told, dict) else ""

    def reset_prefix_cache(self) -> bool:
        """Empty the prefix cache; False where the server cannot."""
        return self.ask("/reset_prefix_cache", post=True).status == 200


def send(
    url: str, api_key: str = "", body: Any = None, *, post: bool = False, wait_s: float = 10
) -> Reply:
    """Send one request; never raises. A body makes it a POST of JSON."""
    data = json.dumps(body).encode() if body is not None else b"" if post else None
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    try:
        request = urllib.request.Request(url, data, headers)
        with urllib.request.urlopen(request, timeout=wait_s) as answer:
            return Reply(answer.status, answer.read(4 << 20))
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, error.read(1 << 20), error.reason or "")
    except urllib.error.URLError as error:
        return Reply(0, error=str(error.reason))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reply(0, error=f"{type(error).__name__}: {error}")
