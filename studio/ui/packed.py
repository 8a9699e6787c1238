"""Files that never change under their address: packed once, kept by the browser for ever."""

from __future__ import annotations

from functools import cache

import brotli
from starlette.datastructures import Headers
from starlette.responses import Response

FOR_EVER = "public, max-age=31536000, immutable"


def sent(headers: Headers, content: bytes, kind: str, age: str = FOR_EVER) -> Response:
    """Return content as the browser with these headers of a request reads it."""
    told = {"cache-control": age, "vary": "accept-encoding"}
    if "br" in headers.get("accept-encoding", ""):
        content = pack(content)
        told["content-encoding"] = "br"
    return Response(content, media_type=kind, headers=told)


@cache
def pack(content: bytes) -> bytes:
    """Return content packed with Brotli, remembered: Gradio packs again at every request."""
    return brotli.compress(content, quality=4)
