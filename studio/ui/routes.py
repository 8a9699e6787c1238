"""Small JSON routes under `/ladder/`, for what the page looks at again and again.

They cost no Gradio event and no queue place, so twenty viewers are cheap:

    Route("run/{id}/log", tail, guest=False)   # answers GET /ladder/run/01jd.../log?offset=0

A handler takes Starlette's request (`request.path_params["id"]`, `request.query_params`) and
returns plain values, sent as JSON, or a Response. A plain `def` runs in a thread and may block.
`StudioError` becomes a 4xx answer `{"error": ..., "hint": ...}`. All of them lie behind the gate;
guests reach only those with `guest=True`, and `visitor(request)` tells who asks.
Routes only look: anything that changes something is a Gradio event with an `api_name`. The one
exception is a file too large for Gradio's way (`method="POST"`, `studio.ui.data.upload`).
"""

from __future__ import annotations

import inspect
import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.core.errors import NotAllowed, NotFound, StudioError
from studio.ui.door.gate import visitor
from studio.ui.i18n import lang_of, say
from studio.ui.sentences import translate_error

PREFIX = "/ladder/"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """One address under `/ladder/` and who answers it."""

    path: str
    """Below `/ladder/`, in Starlette's notation: `run/{id}/log`."""
    handler: Callable[[Request], Any]
    """A coroutine function runs in the server's own thread and must not block."""
    guest: bool = False
    method: str = "GET"


class Routes:
    """Middleware that answers `/ladder/…` itself and passes everything else on."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route]) -> None:
        self._app = app
        self._router = Router(
            [Path(PREFIX + r.path, _endpoint(r), methods=[r.method]) for r in routes]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        try:
            await self._router(scope, receive, send)
        except HTTPException as error:  # no such route, or not by this method
            refusal = reply({"error": error.detail, "hint": ""}, error.status_code)
            await refusal(scope, receive, send)


def reply(value: Any, status: int = 200) -> Response:
    """Return plain values as JSON that nobody caches."""
    return Response(
        orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_DATACLASS),
        status_code=status,
        media_type="application/json",
        headers={"cache-control": "no-store"},
    )


def fragment(request: Request, html: str, *, final: bool = False) -> dict[str, Any]:
    """Return HTML for a `widgets.live` place, or only its version when the browser has it.

    `final` tells the place to stop asking.
    """
    version = f"{zlib.crc32(html.encode()):08x}"
    answer: dict[str, Any] = {"version": version, "final": final}
    if request.query_params.get("have") != version:
        answer["html"] = html
    return answer


def _endpoint(route: Route) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        try:
            if not route.guest and visitor(request).role != "operator":
                raise NotAllowed(say(lang_of(request), "error.guest"))
            if inspect.iscoroutinefunction(route.handler):
                value = await route.handler(request)
            else:
                value = await run_in_threadpool(route.handler, request)
        except StudioError as error:
            status = {NotFound: 404, NotAllowed: 403}.get(type(error), 400)
            message, hint = translate_error(lang_of(request), error)
            return reply({"error": message, "hint": hint}, status)
        except Exception as error:
            _log.error("/ladder/%s failed", route.path, exc_info=error)
            text = say(lang_of(request), "error.bug", kind=type(error).__name__)
            return reply({"error": text, "hint": ""}, 500)
        return value if isinstance(value, Response) else reply(value)

    return answer
