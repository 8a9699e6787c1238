"""What a page by itself needs to show charts without the studio: styles, words, scripts, Plotly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from studio.core.errors import NotFound
from studio.ui.assets import FOLDER
from studio.ui.i18n import words

STYLES = ("tokens", "widgets", "charts")

_STAND_IN = (
    "window.ladder = { views: {}, words: WORDS, say(key) { return this.words[key] ?? key; } };"
)
_DRAW = """for (const [id, chart] of CHARTS) {
  ladder.charts.put(document.getElementById(id), chart);
}"""


@cache
def styles() -> str:
    """Return the style sheets that charts and tables are drawn with."""
    return "\n".join((FOLDER / "css" / f"{name}.css").read_text("utf-8") for name in STYLES)


def scripts(lang: str, drawn: Iterable[tuple[str, dict[str, object]]]) -> str:
    """Return the scripts that draw charts into the elements with these ids, Plotly among them.

    They are 4.8 MB and ask nothing of any server; empty when there is nothing to draw.
    """
    charts = [[ident, plain] for ident, plain in drawn]
    if not charts:
        return ""
    told = {key: text for key, text in words(lang).items() if key.startswith("charts.")}
    parts = (
        plotly_file().read_text("utf-8"),
        _STAND_IN.replace("WORDS", _json(told)),
        (FOLDER / "js" / "charts.js").read_text("utf-8"),
        _DRAW.replace("CHARTS", _json(charts)),
    )
    return "".join(f"<script>{_whole(part)}</script>\n" for part in parts)


def plotly_file() -> Path:
    """Return Plotly's script within its package, which is not imported; raise NotFound."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise NotFound("Plotly is not installed.", hint="Run `pip install 'plotly>=6'`.")
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _whole(script: str) -> str:
    """Keep a script from ending the element that it stands in."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
