"""The Results view of the Bench tab: the table of everything measured, one folder, a comparison."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from studio.core.errors import NotFound, RecipeInvalid
from studio.core.ids import new_id
from studio.loadtest import resume_ask
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.bench import words as bench_words
from studio.ui.bench.comparison import Comparisons
from studio.ui.bench.one import OneResult
from studio.ui.bench.table import Asked, Tables
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.i18n import lang_of, say
from studio.ui.quality.routes import voter
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.bench.point import Point
    from studio.studio import Studio

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
HEARD = "(said) => window.ladder.bench.heard(said)"
FACTS = ("at", "seconds", "status", "engine", "version", "model", "server", "cards", "card_name")
"""Columns of a CSV file that every point has, after folder and id."""


def build(studio: Studio) -> None:
    """Lay out the frame that the browser fills, and what its buttons call."""
    do = Handlers(studio)
    view = acts_html(w.live("bench/results", every_s=3600), elem_id="bench-results")
    said = gr.Textbox(visible="hidden", elem_id="bench-said")
    view.click(guard(do.act), None, said, **QUIET).success(None, said, None, js=HEARD)


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the view asks for."""
    views = Views(studio)
    return [
        Route("bench/results", views.frame),
        Route("bench/table", views.table),
        Route("bench/csv", views.csv),
        Route("bench/definitions", views.definitions),
        Route("bench/raw/{name}/{path:path}", views.raw),
        *OneResult(studio).routes(),
        *Comparisons(studio).routes(),
    ]


class Handlers:
    """What the buttons of the view call; the answer is read by `assets/js/benchviews.js`."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def act(self, event: gr.EventData, request: gr.Request) -> str:
        """Delete folders of results, or go on with a sweep; return JSON: what was done."""
        require_operator(request)
        told: dict[str, Any] = {"act": event.act, "at": new_id()}
        if event.act == "delete":
            names = _names(event.value)
            for name in names:
                self._studio.saved.delete(name)
            told["names"] = names
            text = say(lang_of(request), "bench.deleted", n=len(names))
            gr.Info(text, duration=3)
        elif event.act == "resume":
            told["run"] = self._studio.launch(resume_ask(self._studio, str(event.value))).id
        return json.dumps(told)


class Views:
    """What the browser asks for; shared between viewers for a moment where that is safe."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._tables = Tables(studio)
        self._recent = Recent(0.5)

    def frame(self, request: Request) -> dict[str, Any]:
        """Return the frame of the view: filters, the place of the table, of one folder."""
        return fragment(request, frame(lang_of(request)), final=True)

    def table(self, request: Request) -> dict[str, Any]:
        """Return a page of the table."""
        lang, query = lang_of(request), dict(request.query_params)
        choices = query.pop("choices", "") == "1"
        key = (lang, choices, tuple(sorted(query.items())))
        return self._recent.get(
            key, lambda: self._tables.answer(lang, Asked.read(query), choices=choices)
        )

    def csv(self, request: Request) -> Response:
        """Send every point that fits, all figures of each."""
        asked = Asked.read(dict(request.query_params))
        if asked.by == "folders":
            points = [point for _, found in self._tables.folders(asked) for point in found]
        else:
            points = self._tables.points(asked)
        return download(table_of(points), "points.csv", "text/csv; charset=utf-8")

    def definitions(self, request: Request) -> dict[str, Any]:
        """Return what every figure means, as the inside of a dialog."""
        return {"html": bench_words.definitions(lang_of(request))}

    def raw(self, request: Request) -> Response:
        """Send a file of a folder of results, never to be run by the browser."""
        results = self._studio.saved.get(request.path_params["name"])
        name = request.path_params["path"]
        path = (results.folder / name).resolve()
        within = path.is_relative_to(results.folder.resolve()) and path.is_file()
        if within and results.about.kind == "quality":  # blind votes stay blind
            file = str(path.relative_to(results.folder.resolve()))
            within = self._studio.quality.may_send(results.name, file, voter(request))
        if not within:
            raise NotFound(f"There is no file {name} in {results.name}.")
        headers = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
        return FileResponse(path, filename=f"{results.name}-{path.name}", headers=headers)


def download(text: str, name: str, kind: str) -> Response:
    """Return text that the browser saves as a file."""
    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}"}
    return Response(text, media_type=kind, headers=headers)


def table_of(points: Sequence[Point]) -> str:
    """Return points as CSV: folder, id, facts, `condition.*`, then every figure by its name."""
    keys = list(dict.fromkeys(key for point in points for key in point.condition))
    figures = sorted({name for point in points for name in point.figures}, key=bench_words.rank)
    out = io.StringIO()
    writer = csv.writer(out)
    more = ("study", "case", "repeat", "seed", "error")
    head = ["results", "id", *FACTS, *more, *(f"condition.{key}" for key in keys), *figures]
    writer.writerow(head)
    for point in points:
        facts = [_cell(getattr(point, name)) for name in (*FACTS, *more)]
        given = [_cell(point.condition.get(key)) for key in keys]
        values = [point.figures.get(name, "") for name in figures]
        writer.writerow([point.results, _cell(point.id), *facts, *given, *values])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """Keep a spreadsheet from taking text for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


def _names(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except ValueError:
        found = text
    names = [found] if isinstance(found, str) else found
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise RecipeInvalid("This is not what a form sends.", hint="Reload the page and try again.")
    return names


# the frame --------------------------------------------------------------------------------------


def frame(lang: str) -> str:
    """Return the frame of the view in one language; `assets/js/benchtable.js` fills it."""
    none = w.empty(
        lang,
        "bench.none",
        icon_name="bench",
        actions=[
            w.link(say(lang, "bench.none.load"), "bench", view="load"),
            w.link(say(lang, "bench.none.study"), "bench", view="studies"),
        ],
    )
    return (
        '<div class="l-bench" data-bench-results>'
        f"<div data-bench-none hidden>{none}</div>"
        f'<div class="l-b-list" data-bench-list>{_filters(lang)}{_bar(lang)}'
        '<div class="l-b-table" data-bench-table><div class="l-skeleton"></div></div>'
        f"{_pager(lang)}{_chosen(lang)}</div>"
        "<div data-bench-one hidden></div></div>"
    )


def _filters(lang: str) -> str:
    hint = w.esc(say(lang, "bench.find"))
    selects = "".join(
        f"<label hidden><span>{w.esc(say(lang, f'bench.filter.{name}'))}</span>"
        f'<select name="{name}" data-all="{w.esc(say(lang, "bench.any"))}"></select></label>'
        for name in ("model", "server", "study", "engine", "kind", "status")
    )
    dates = "".join(
        f"<label><span>{w.esc(say(lang, f'bench.filter.{name}'))}</span>"
        f'<input type="date" name="{name}"></label>'
        for name in ("since", "until")
    )
    return (
        '<div class="l-b-filters" data-bench-filters role="search">'
        f'<div class="l-find">{w.icon("search")}<input type="search" name="find" '
        f'placeholder="{hint}" aria-label="{hint}"></div>'
        f'<button type="button" class="l-button l-b-more" data-bench-more aria-expanded="false">'
        f"{w.icon('filter')}<span>{w.esc(say(lang, 'bench.filters'))}</span></button>"
        f"{selects}{dates}"
        f'<button type="button" class="l-button quiet small" data-bench-clear hidden>'
        f"{w.icon('cross')}<span>{w.esc(say(lang, 'bench.clear'))}</span></button></div>"
    )


def _bar(lang: str) -> str:
    ways = "".join(
        f'<button type="button" data-bench-by="{by}" aria-pressed="false">'
        f"{w.esc(say(lang, f'bench.by.{by}'))}</button>"
        for by in ("folders", "points")
    )
    return (
        f'<div class="l-b-bar"><div class="l-switch">{ways}</div>'
        '<span class="l-muted" data-bench-count role="status"></span>'
        '<span class="l-b-gap"></span><details class="l-b-columns">'
        f'<summary class="l-button small">'
        f"{w.icon('sliders')}<span>{w.esc(say(lang, 'bench.columns'))}</span></summary>"
        "<div data-bench-columns></div></details>"
        f'<button type="button" class="l-button small" data-bench-what="">{w.icon("book")}'
        f"<span>{w.esc(say(lang, 'bench.definitions'))}</span></button>"
        f'<a class="l-button small" download data-bench-csv>{w.icon("download")}CSV</a></div>'
    )


def _pager(lang: str) -> str:
    back, on = w.esc(say(lang, "bench.back")), w.esc(say(lang, "bench.on"))
    return (
        '<div class="l-b-pager" data-bench-pager hidden><span data-bench-range></span>'
        f'<button type="button" class="l-button small" data-bench-page="-1" aria-label="{back}">'
        f'{w.icon("left")}</button><button type="button" class="l-button small" '
        f'data-bench-page="1" aria-label="{on}">{w.icon("right")}</button></div>'
    )


def _chosen(lang: str) -> str:
    delete = w.action(say(lang, "bench.delete"), "delete", icon_name="trash", kind="danger")
    return (
        '<div class="l-b-chosen" data-bench-chosen hidden><b data-bench-number></b>'
        f'<span class="l-muted" data-bench-hint>{w.esc(say(lang, "bench.choose_more"))}</span>'
        f'<span class="l-b-gap"></span><button type="button" class="l-button primary" '
        f"data-bench-compare>{w.icon('scale')}<span>{w.esc(say(lang, 'bench.compare'))}</span>"
        f'</button>{delete}<button type="button" class="l-button quiet" data-bench-unchoose>'
        f"{w.esc(say(lang, 'bench.unchoose'))}</button></div>"
    )
