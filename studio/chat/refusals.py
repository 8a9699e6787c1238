"""Understand why a server refuses: HTTP status and body in, the sentence to show out."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

from studio.chat.errors import EndpointFailed

_TOO_LONG = re.compile(
    r"context (length|window|size)|max_model_len|maximum (sequence|model) length|too long"
    r"|max_(completion_)?tokens.{0,40}too large|exceeds? the .{0,20}(context|limit)",
    re.IGNORECASE,
)
_LONGEST = 400


def refusal(where: str, url: str, status: int, said: Any, model: str) -> EndpointFailed:
    """Return what an HTTP status other than 200 means."""
    reason = sentence(said) or f"HTTP {status} without a reason."
    if status in (401, 403):
        return EndpointFailed("key", where=where)
    if status == 404 and model and "model" in reason.lower():
        return EndpointFailed("model", where=where, model=model)
    if status in (404, 405):
        return EndpointFailed("path", where=where, path=urlsplit(url).path)
    if status == 429:
        return EndpointFailed("busy", where=where)
    if status in (400, 413, 422) and _TOO_LONG.search(reason):
        return EndpointFailed("context", where=where, reason=reason)
    if 400 <= status < 500:
        return EndpointFailed("rejected", where=where, reason=reason)
    return EndpointFailed("server", where=where, status=status, reason=reason)


def failure_inside(where: str, said: dict[str, Any]) -> EndpointFailed:
    """Return what an error object inside a stream that began well means."""
    reason = sentence(said) or "no reason given."
    if _TOO_LONG.search(reason):
        return EndpointFailed("context", where=where, reason=reason)
    inner = said.get("error")
    code = inner.get("code") if isinstance(inner, dict) else said.get("code")
    return EndpointFailed("server", where=where, status=code or 200, reason=reason)


def sentence(said: Any) -> str:
    """Return the human part of an error body, in the shapes that servers use."""
    for _ in range(4):
        if isinstance(said, dict):
            said = next((said[k] for k in ("error", "message", "detail", "msg") if said.get(k)), "")
        elif isinstance(said, list):
            said = said[0] if said else ""
    text = " ".join(str(said or "").split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return text if not text or text.endswith((".", "!", "?", "…")) else f"{text}."
