"""The gate: one middleware that every request passes, and the facts it vouches for.

Outside it nothing is reachable but the login page and its style. Inside, every request carries
three headers that the gate alone can set:

    visitor(request)            -> Visitor(name="ann", role="operator")
    require_operator(request)   -> raises NotAllowed for a guest
    lang_of(request)            -> "zh"      (studio.ui.i18n)

`request` is Gradio's or Starlette's. With no accounts everybody is the operator `local`, and then
the Host header is checked, so that a foreign page cannot reach us by DNS rebinding. With accounts
a session cookie does that, whatever name or tunnel the page is reached by.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol
from urllib.parse import parse_qs, quote, unquote

import brotli
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.core.errors import NotAllowed
from studio.ui.door import login
from studio.ui.door.accounts import SESSION_S, Accounts, Role
from studio.ui.door.harden import foreign, hardened, own_names
from studio.ui.i18n import COOKIE, HEADER, AnyRequest, Lang, choose, cookie_value, lang_of, say

PUBLIC = "/ladder/assets/"
STARTUP = "/gradio_api/startup-events"
LARGEST_FORM_BYTES = 4096
CLOSED_TO_GUESTS = (
    "/gradio_api/component_server",
    "/gradio_api/openapi.json",
    "/gradio_api/proxy=",
    "/gradio_api/dev",
    "/gradio_api/vibe",
    "/monitoring",
)
"""Doors of Gradio's own that a guest has no use for."""

_SAFE_NEXT = re.compile(r"\?[\w=&%.\-]*")


class Dress(Protocol):
    """Turns Gradio's answers into ours, see `studio.ui.page.frame`."""

    def wants(self, path: str, visitor: Visitor) -> bool:
        """Tell whether the answer to a GET of this path has to be rewritten."""
        ...

    def dress(self, path: str, body: str, visitor: Visitor, lang: Lang) -> str:
        """Return the rewritten answer."""
        ...


class Visitor(NamedTuple):
    """Who sent a request."""

    name: str
    role: Role


LOCAL = Visitor("local", "operator")


def visitor(request: AnyRequest | None) -> Visitor:
    """Return who sent the request, as the gate found out."""
    if request is None:
        return LOCAL  # a handler called by our own code, not over the network
    name, role = request.headers.get("x-ladder-user"), request.headers.get("x-ladder-role")
    if name is None or role not in ("operator", "guest"):
        raise NotAllowed("This request did not come through the gate.")
    return Visitor(unquote(name), role)


def require_operator(request: AnyRequest | None) -> Visitor:
    """Return who sent the request; raise NotAllowed for a guest."""
    who = visitor(request)
    if who.role != "operator":
        raise NotAllowed(say(lang_of(request), "error.guest"))
    return who


class Gate:
    """Lets requests in, turns them away, and dresses the first page."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        accounts: Accounts,
        lang: str = "auto",
        hosts: Iterable[str] = (),
        dress: Dress | None = None,
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._lang = lang
        self._hosts = own_names() | {host.lower() for host in hosts}
        self._dress = dress
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # no websocket is offered
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        headers = request.headers
        lang = choose(cookie_value(headers.get("cookie", ""), COOKIE), self._lang, headers)
        refusal = foreign(headers, lang, None if self._accounts else self._hosts)
        who = None if refusal else self._who(headers)
        path = scope["path"]
        if refusal:
            await Response(refusal, 403, media_type="text/plain")(scope, receive, send)
        elif path == "/login" and self._accounts:
            response = await self._login(request, lang)
            await response(scope, receive, send)
        elif path == "/logout":
            await self._logout()(scope, receive, send)
        elif who is not None and who.role == "guest" and path.startswith(CLOSED_TO_GUESTS):
            await JSONResponse({"detail": say(lang, "error.guest")}, 403)(scope, receive, send)
        elif who is not None or path.startswith(PUBLIC) or self._own_start(scope):
            _vouch(scope, who or Visitor("", "guest"), lang)
            await self._pass(scope, receive, send, who, lang)
        elif "text/html" in headers.get("accept", ""):
            query = f"?{request.url.query}" if request.url.query else ""
            await self._login_page(query, lang)(scope, receive, send)
        else:
            await JSONResponse({"detail": say(lang, "login.needed")}, 401)(scope, receive, send)

    # who ----------------------------------------------------------------------------------------

    def _who(self, headers: Headers) -> Visitor | None:
        if not self._accounts:
            return LOCAL
        session = cookie_value(headers.get("cookie", ""), self._accounts.cookie)
        account = self._accounts.who(session)
        return Visitor(account.name, account.role) if account else None

    def _own_start(self, scope: Scope) -> bool:
        """Let Gradio's own start-up call in, once: it comes without a cookie."""
        if scope["path"] != STARTUP or self._started:
            return False
        self._started = True
        return (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1")

    # log in and out -----------------------------------------------------------------------------

    async def _login(self, request: Request, lang: Lang) -> Response:
        if request.method != "POST":
            return RedirectResponse("./", 303)
        body = await _small_body(request)
        form = parse_qs(body.decode(errors="replace"))
        name, password = (form.get(key, [""])[0] for key in ("username", "password"))
        address = request.client.host if request.client else ""
        session, wait = await run_in_threadpool(
            self._accounts.log_in, name.strip(), password, address
        )
        browser = "text/html" in request.headers.get("accept", "")
        wanted = form.get("next", [""])[0]
        if session is None:
            text = (
                say(lang, "login.wait", seconds=round(wait)) if wait else say(lang, "login.wrong")
            )
            if browser:
                return self._login_page(wanted, lang, text, name, 429 if wait else 401)
            return JSONResponse({"detail": text}, 429 if wait else 401)
        response: Response = JSONResponse({"success": True})
        if browser:
            there = wanted if _SAFE_NEXT.fullmatch(wanted) else ""
            response = RedirectResponse(f"./{there}", 303)
        response.set_cookie(
            self._accounts.cookie,
            session,
            max_age=SESSION_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    def _logout(self) -> Response:
        response = RedirectResponse("./", 303)
        response.delete_cookie(self._accounts.cookie)
        return response

    def _login_page(
        self, wanted: str, lang: Lang, error: str = "", name: str = "", status: int = 401
    ) -> Response:
        page = login.page(lang, error=error, name=name, wanted=wanted)
        return HTMLResponse(page, status, headers={"cache-control": "no-store"})

    # pass ---------------------------------------------------------------------------------------

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, who: Visitor | None, lang: Lang
    ) -> None:
        """Hand the request on; dress some answers on their way back."""
        path = scope["path"].rstrip("/") or "/"
        dress = self._dress
        if who is None or dress is None or scope["method"] != "GET" or not dress.wants(path, who):
            await self._app(scope, receive, hardened(send))
            return
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self._app(scope, receive, collect)
        body = b"".join(parts)
        headers = MutableHeaders(raw=start["headers"])
        if start["status"] == 200:
            body = dress.dress(path, body.decode(), who, lang).encode()
            if "br" in Headers(scope=scope).get("accept-encoding", ""):
                body = brotli.compress(body, quality=4)  # Gradio packs files only: 10 times less
                headers["content-encoding"] = "br"
            headers["vary"] = "accept-encoding, cookie"
            headers["content-length"] = str(len(body))
            headers["cache-control"] = "no-store"
        send = hardened(send)
        await send(start)
        await send({"type": "http.response.body", "body": body})


def _vouch(scope: Scope, who: Visitor, lang: Lang) -> None:
    """Put our headers on the request, whatever came in under their names."""
    kept = [(k, v) for k, v in scope["headers"] if not k.lower().startswith(b"x-ladder-")]
    scope["headers"] = [
        *kept,
        (b"x-ladder-user", quote(who.name).encode()),
        (b"x-ladder-role", who.role.encode()),
        (HEADER.encode(), lang.encode()),
    ]


async def _small_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_FORM_BYTES:
            return b""
    return body
