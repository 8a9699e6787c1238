"""The HTML of a chart's place on a page. It fills itself when it is seen."""

from __future__ import annotations

import json
from collections.abc import Iterable

from studio.ui.charts import picture
from studio.ui.charts.drawing import Drawing
from studio.ui.widgets import Html, esc

ROUTE = "bench/chart"
EVERY_S = 4.0
ONCE_S = 86400.0


def place(
    kind: str,
    *,
    results: Iterable[str] = (),
    metric: str = "",
    case: str = "",
    at: str = "",
    base: str = "",
    limit: float | None = None,
    model: str = "",
    every_s: float = EVERY_S,
    live: bool = True,
) -> Html:
    """Return a place for one chart, drawn from folders of results, or from everything of a model.

    A study's folder brings its cases' folders along. `case` keeps some cases only (commas between
    them), `metric`, `at`, `base` and `limit` are those of `charts.draw`. With `live=False` it is
    drawn once: for what cannot change any more.
    """
    asked = {
        "kind": kind,
        "results": ",".join(results),
        "metric": metric,
        "case": case,
        "at": at,
        "base": base,
        "limit": "" if limit is None else f"{limit:g}",
        "model": model,
    }
    query = esc(json.dumps({key: value for key, value in asked.items() if value}))
    every = every_s if live else ONCE_S
    return Html(
        f'<figure class="l-chart" data-ladder-live="{ROUTE}" data-every="{every:g}" '
        f'data-show="chart" data-query="{query}" data-first="{query}" data-kind="{esc(kind)}" '
        "data-ladder-keep></figure>"
    )


def plain(wide: Drawing, narrow: Drawing) -> dict[str, object]:
    """Return a chart as `assets/js/charts.js` draws it, for wide screens and telephones."""
    return {
        "kind": wide.kind,
        "title": wide.title,
        "about": wide.about,
        "read": wide.read,
        "empty": wide.empty,
        "notes": [note._asdict() for note in wide.notes],
        "table": {"head": wide.head, "rows": wide.table},
        "wide": _drawn(wide),
        "narrow": _drawn(narrow),
        "picture": picture.layout(wide),
    }


def _drawn(drawing: Drawing) -> dict[str, object] | None:
    if drawing.figure is None:
        return None
    return {**drawing.figure, "keys": [key._asdict() for key in drawing.keys]}
