"""What browsers ask about data sets: the list, one of them, a file before it is added, pictures.

Operators only. All but the upload just look.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from studio.chat.conversations import Conversations
from studio.core.errors import NotFound, RecipeInvalid
from studio.core.spec import State
from studio.ui import widgets as w
from studio.ui.data import change as datachange
from studio.ui.data import faults as datafaults
from studio.ui.data import lengths as datalengths
from studio.ui.data import look as datalook
from studio.ui.data import rows as datarows
from studio.ui.data import view as dataview
from studio.ui.data.upload import Uploads
from studio.ui.door.gate import visitor
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.data.model import DataSet, Mapping
    from studio.studio import Studio

FRESH_S = 0.9
STEADY_S = 30.0
"""How long a page of rows or faults is kept while somebody looks at it."""
WORKERS = ("data-work", "llamafactory-lengths")
"""Engines whose runs are shown as work on data sets."""
FAILED_SHOWN_S = 900.0
"""How long work that failed is told of above the list."""
MOST_CHATS = 200
GIB = 2**30


def uploads_of(studio: Studio) -> Uploads:
    """Return where files from browsers arrive."""
    limit = round(studio.settings.largest_upload_gib * GIB)
    return Uploads(studio.settings.home, limit)


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the Data tab asks for."""
    views = Views(studio)
    return [
        Route("data/left", views.left),
        Route("data/list", views.sets),
        Route("data/one", views.one),
        Route("data/look", views.look),
        Route("data/chats", views.chats),
        Route("data/file/{key}", views.file),
        Route("data/picture/{key}/{row:int}/{index:int}", views.picture),
        Route("data/upload", views.uploads.receive, method="POST"),
    ]


class Views:
    """The places of the tab."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)
        self._steady = Recent(STEADY_S)
        self.uploads = uploads_of(studio)

    # the left half ------------------------------------------------------------------------------

    def left(self, request: Request) -> dict[str, Any]:
        """Return the frame of the left half: what is handed in, and where the list stands."""
        html = datalook.left(lang_of(request), self.uploads.largest_bytes)
        return fragment(request, html, final=True)

    def sets(self, request: Request) -> dict[str, Any]:
        """Return the data sets, and the work on them under way."""
        lang, find = lang_of(request), request.query_params.get("find", "").strip().lower()
        key = ("sets", lang, find, request.query_params.get("stamp", ""))
        html = self._recent.get(key, lambda: self._sets(lang, find))
        return fragment(request, html)

    def look(self, request: Request) -> dict[str, Any]:
        """Return what a file is taken for: an upload by its id, or a path on this server."""
        asked = request.query_params
        path = source(self.uploads, asked.get("upload", ""), asked.get("path", ""))
        mapping = read_mapping(asked.get("mapping", ""))
        found = self._studio.data.look(path, mapping, upload="upload" in asked)

        def picture(_: int, name: str) -> str:
            return datarows.embedded(path.parent, name)

        return {"html": datalook.look(lang_of(request), found, path.name, picture)}

    def chats(self, request: Request) -> dict[str, Any]:
        """Return the visitor's own conversations, each with a box to tick."""
        lang = lang_of(request)
        own = Conversations(self._studio.settings.chats_dir, visitor(request).name)
        heads = own.list(MOST_CHATS)
        if not heads:
            none = w.note(say(lang, "data.chats.none"), icon_name="chat")
            return fragment(request, none + w.link(say(lang, "data.chats.open"), "chat"))
        boxes = "".join(
            f'<label><input type="checkbox" name="conversations" value="{w.esc(head.id)}">'
            f"<span>{w.esc(head.title or say(lang, 'data.chats.untitled'))}</span>"
            f"{w.when(lang, head.updated_at)}</label>"
            for head in heads
        )
        label = w.esc(say(lang, "data.look.name"))
        html = (
            f'<div data-gathered class="l-adding"><p class="l-sub">'
            f"{w.esc(say(lang, 'data.chats.told'))}</p>"
            f'<div class="l-chat-picks">{boxes}</div><div class="l-look-name"><label>{label}'
            f'<input type="text" name="name" required maxlength="60" '
            f'pattern="{datalook.NAME_PATTERN}" value="my_chats" spellcheck="false"></label>'
            f'<button type="button" class="l-button quiet" data-check-all>'
            f"{w.esc(say(lang, 'data.chats.all'))}</button>"
            '<button type="button" class="l-button" data-act="take" data-gather data-value="">'
            f"{w.icon('plus')}<span>{w.esc(say(lang, 'data.chats.go'))}</span></button></div></div>"
        )
        return fragment(request, html)

    # the right half -----------------------------------------------------------------------------

    def one(self, request: Request) -> dict[str, Any]:
        """Return one data set, open on the page that is asked for."""
        lang, asked = lang_of(request), dict(request.query_params)
        asked.pop("have", None)
        key = ("one", lang, *sorted(asked.items()))
        return fragment(request, self._recent.get(key, lambda: self._one(lang, asked)))

    def file(self, request: Request) -> Response:
        """Send the rows of a version, never to be run by the browser."""
        found = self._studio.data.get(request.path_params["key"])
        headers = {"content-security-policy": "sandbox", "x-content-type-options": "nosniff"}
        name = f"{found.key}{found.path.suffix}"
        return FileResponse(
            found.path, filename=name, headers=headers, media_type="application/octet-stream"
        )

    def picture(self, request: Request) -> Response:
        """Send a small copy of a picture that a row of a data set names."""
        asked = request.path_params
        data, suffix = datarows.thumbnail(
            self._studio.data, asked["key"], asked["row"], asked["index"]
        )
        kind = "image/jpeg" if suffix == "jpg" else "image/png"
        headers = {"cache-control": "private, max-age=600", "x-content-type-options": "nosniff"}
        return Response(data, media_type=kind, headers=headers)

    # inside -------------------------------------------------------------------------------------

    def _sets(self, lang: str, find: str) -> str:
        sets = self._studio.data.list()
        shown = [found for found in sets if find in f"{found.name} {found.kind}".lower()]
        versions = {
            found.name: len(self._studio.data.versions(found.name))
            for found in shown
            if found.version > 1
        }
        html = dataview.listing(lang, shown, versions, self._works())
        if not find and all(found.built_in for found in sets):
            html = w.note(say(lang, "data.only_samples")) + html
        return html

    def _one(self, lang: str, asked: dict[str, str]) -> str:
        name, data = asked.get("name", ""), self._studio.data
        if not name:
            return w.empty(lang, "data.pick", icon_name="data")
        version = asked.get("version", "")
        try:
            found = data.get(f"{name}.v{version}" if version else name)
        except NotFound:
            return w.empty(lang, "data.gone", icon_name="data", name=name)
        versions = [found] if found.built_in else data.versions(found.name)
        page = asked.get("page", "rows")
        make = {
            "faults": self._faults,
            "lengths": self._lengths,
            "change": self._change,
            "register": self._register,
        }.get(page, self._rows)
        offset = int(asked["offset"]) if asked.get("offset", "").isdigit() else 0
        if make in (self._rows, self._faults):  # a version never changes, so neither do these
            told = [asked.get(part, "") for part in ("find", "from", "code")]
            key = (lang, found.key, found.created_at, page, offset, *told)
            body = self._steady.get(key, lambda: make(lang, found, offset, asked))
        else:
            body = make(lang, found, offset, asked)
        return dataview.one(lang, found, versions, page if make != self._rows else "rows", body)

    def _rows(self, lang: str, found: DataSet, offset: int, asked: dict[str, str]) -> str:
        find, step = asked.get("find", "").strip(), dataview.PAGE_ROWS
        numbers, more, told = None, False, ""
        if find:
            start = int(asked["from"]) if asked.get("from", "").isdigit() else 0
            hits = datarows.search(
                self._studio.data, found, find, start=start, offset=offset, limit=step
            )
            rows, numbers, more = hits.rows, hits.numbers, hits.more
            if hits.tired:
                told = dataview.search_on(lang, hits.looked_at, found.rows)
        else:
            rows = self._studio.data.rows(found.key, offset, step)
        html = dataview.rows_page(
            lang,
            rows,
            offset=offset,
            total=None if find else found.rows,
            more=more,
            find=find,
            numbers=numbers,
            ended=not told,
            picture=lambda row, index, name: (
                f'<img loading="lazy" alt="{w.esc(name)}" title="{w.esc(name)}" '
                f'src="ladder/data/picture/{w.esc(found.key)}/{row}/{index}">'
            ),
        )
        return html + told

    def _faults(self, lang: str, found: DataSet, offset: int, asked: dict[str, str]) -> str:
        try:
            report = self._studio.data.report(found.key)
        except NotFound:  # made of other data sets, which were checked when they came
            return w.note(say(lang, "data.faults.made"), tone="ok", icon_name="check")
        first = w.note(say(lang, "data.faults.import")) if found.version > 1 else ""
        return first + datafaults.page(lang, report, code=asked.get("code", ""), offset=offset)

    def _lengths(self, lang: str, found: DataSet, offset: int, asked: dict[str, str]) -> str:
        return datalengths.page(lang, self._studio, found)

    def _change(self, lang: str, found: DataSet, offset: int, asked: dict[str, str]) -> str:
        others = [
            other
            for other in self._studio.data.list()
            if other.kind == found.kind and other.name != found.name
        ]
        return datachange.page(lang, found, others)

    def _register(self, lang: str, found: DataSet, offset: int, asked: dict[str, str]) -> str:
        path = self._studio.data.register()
        entries = json.loads(path.read_text(encoding="utf-8"))
        return dataview.register_page(lang, found, entries.get(found.key, {}), str(path))

    def _works(self) -> list[dataview.Work]:
        """Return the runs that work on data sets, and those that failed lately; oldest first."""
        since = time.time() - FAILED_SHOWN_S
        runs = [
            run
            for engine in WORKERS
            for run in self._studio.jobs.list(engine=engine, limit=10)
            if run.state.alive or (run.state is State.FAILED and (run.ended_at or 0) > since)
        ]
        runs.sort(key=lambda run: run.id)
        return [dataview.Work(run, self._studio.progress(run.id)) for run in runs]


def source(uploads: Uploads, upload: str, path: str) -> Path:
    """Return the file that is meant: an upload by its id, or a path on this server."""
    if upload:
        return uploads.path(upload)
    if not path.strip():
        raise NotFound("No file was named.", hint="Drop one, or type its path on this server.")
    found = Path(path.strip()).expanduser()
    if not found.is_absolute():
        raise NotFound(f"{found} is not a full path.", hint="Begin it with a slash.")
    if not found.is_file():
        raise NotFound(f"There is no file {found} on this server.", hint="Check the path.")
    return found


def read_mapping(text: str) -> Mapping | None:
    """Return which column is what, as the browser sends it; None leaves it to the studio."""
    if not text:
        return None
    try:
        told = json.loads(text)
        return {str(column): str(role) for column, role in told.items()}
    except (ValueError, AttributeError) as error:
        raise RecipeInvalid("This is not a mapping of columns.", hint="Reload the page.") from error
