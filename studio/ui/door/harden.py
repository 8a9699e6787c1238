"""What protects the page from other pages: where a request comes from, and what ours may load."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Send

from studio.ui.i18n import Lang, say

POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""No page of ours talks to another host, not even when a model's answer holds a picture's URL."""


def foreign(headers: Headers, lang: Lang, hosts: Collection[str] | None) -> str:
    """Return why a request that another site may have sent is refused; empty when all is well.

    `hosts` are the names we go by; None leaves the Host header unchecked, for when a session
    cookie protects the page under whatever name.
    """
    host = headers.get("host", "")
    if hosts is not None and not _is_ours(host, hosts):
        return say(lang, "gate.host", host=host)
    origin = headers.get("origin")
    if origin is not None:
        if urlsplit(origin).netloc not in {host, headers.get("x-forwarded-host", host)}:
            return say(lang, "gate.origin", origin=origin)
    elif headers.get("sec-fetch-site") == "cross-site" and (
        headers.get("sec-fetch-mode") != "navigate"
    ):
        return say(lang, "gate.origin", origin=headers.get("referer", "?"))
    return ""


def own_names() -> set[str]:
    """Return the names this machine goes by; numbers and *.localhost need no naming."""
    return {"localhost", socket.gethostname().lower()}


def hardened(send: Send) -> Send:
    """Wrap `send` so that every answer carries our rules for the browser."""

    async def add_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message["headers"])
            headers.setdefault("content-security-policy", POLICY)
            headers.setdefault("x-content-type-options", "nosniff")
            headers.setdefault("referrer-policy", "same-origin")
        await send(message)

    return add_headers


def _is_ours(host: str, names: Collection[str]) -> bool:
    """Tell whether a Host header can be no foreign name: a number, localhost, or one of ours."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        if name in names or name.endswith(".localhost"):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
