"""What charts on a page ask for: the figure of one chart, and Plotly itself, once.

`bench/chart?kind=scaling&results=a,b&metric=..&case=..&at=..&base=..&limit=..&model=..` answers a
`charts.place.plain`; nothing new, only its version. `plotly.js` comes from the plotly package that
is installed, packed once and kept by browsers until the package changes.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import brotli
import orjson
from starlette.requests import Request
from starlette.responses import Response

from studio.bench.saved import Results
from studio.ui import charts
from studio.ui.charts import sources
from studio.ui.charts.place import ROUTE, plain
from studio.ui.charts.sheet import plotly_file
from studio.ui.i18n import lang_of
from studio.ui.recent import Recent
from studio.ui.routes import Route

if TYPE_CHECKING:
    from studio.bench.saved import Saved
    from studio.studio import Studio

FRESH_S = 0.9
PLOTLY = "plotly.js"
BROTLI_QUALITY = 5


def routes(studio: Studio) -> Sequence[Route]:
    """Return the routes of charts; a tab with charts adds them to its own."""
    view = ChartRoutes(studio.saved)
    return [Route(ROUTE, view.chart), Route(PLOTLY, serve_plotly)]


class ChartRoutes:
    """Draws charts from saved points; viewers of the same one share the work."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self._recent = Recent(FRESH_S)

    def chart(self, request: Request) -> dict[str, Any]:
        """Return one chart, or only its version when the browser has it."""
        lang, asked = lang_of(request), dict(request.query_params)
        have = asked.pop("have", "")
        key = (lang, *sorted(asked.items()))
        drawn = self._recent.get(key, lambda: self._draw(lang, asked))
        if have == drawn["version"]:
            return {"version": have}
        return drawn

    def _draw(self, lang: str, asked: dict[str, str]) -> dict[str, Any]:
        found = sources.folders(self._saved, asked.get("results", "").split(","))
        points = sources.points_of(
            found, cases=asked.get("case", "").split(","), model=asked.get("model", "")
        )
        limit = asked.get("limit", "")
        drawings = [
            charts.draw(
                asked.get("kind", ""),
                points,
                lang,
                narrow=narrow,
                metric=asked.get("metric", ""),
                at=asked.get("at", ""),
                base=asked.get("base", ""),
                limit=float(limit) if _is_number(limit) else None,
                names=sources.titles(found, lang),
            )
            for narrow in (False, True)
        ]
        drawn = plain(*drawings) | {"file": _file_name(asked, found), "plotly": plotly_url()}
        mark = f"{zlib.crc32(orjson.dumps(drawn, option=orjson.OPT_NON_STR_KEYS)):08x}"
        return {"version": mark, **drawn}


def serve_plotly(request: Request) -> Response:
    """Send Plotly's script, packed as the browser can unpack it."""
    accepts = request.headers.get("accept-encoding", "")
    packing = "br" if "br" in accepts else "gzip" if "gzip" in accepts else ""
    current = request.query_params.get("v") == version("plotly")
    age = "public, max-age=31536000, immutable" if current else "no-cache"
    headers = {"cache-control": age, "vary": "accept-encoding"}
    if packing:
        headers["content-encoding"] = packing
    return Response(_plotly(packing), media_type="text/javascript", headers=headers)


def plotly_url() -> str:
    """Return the address of Plotly's script, which changes with its version."""
    return f"ladder/{PLOTLY}?v={version('plotly')}"


@cache
def _plotly(packing: str) -> bytes:
    script = plotly_file().read_bytes()
    if packing == "br":
        return brotli.compress(script, mode=brotli.MODE_TEXT, quality=BROTLI_QUALITY)
    return gzip.compress(script, 6) if packing == "gzip" else script


def _file_name(asked: dict[str, str], folders: Sequence[Results]) -> str:
    parts = [folders[0].name if folders else "charts", asked.get("kind", "")]
    return "-".join(part for part in [*parts, asked.get("metric", "")] if part)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()
