"""The Data tab: data is handed in and chosen on the left, read and changed on the right."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.chat.conversations import Conversations, owner_folder
from studio.core.errors import RecipeInvalid
from studio.ui import widgets as w
from studio.ui.actions import acts_html
from studio.ui.data import lengths as datalengths
from studio.ui.data import routes as dataroutes
from studio.ui.data import work as datawork
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.i18n import lang_of, say
from studio.ui.routes import Route
from studio.ui.scripts import scripted
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.data.model import DataSet
    from studio.jobs.jobs import Run
    from studio.studio import Studio

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
DONE = "() => window.ladder.data.done()"


def build(studio: Studio) -> None:
    """Lay out what is handed in with the list of data sets, and the one that is shown."""
    do = Handlers(studio)
    with gr.Row(elem_classes="l-halves"):
        with gr.Column(scale=5, min_width=320, elem_classes="l-side"):
            left = acts_html(w.live("data/left", every_s=3600), elem_id="data-left")
        with gr.Column(scale=8, min_width=320, elem_classes="l-main l-follow"):
            one = acts_html(_shown(""), elem_id="data-one")
    for source in (left, one):
        source.click(guard(do.act), None, one, **QUIET).success(None, None, None, js=DONE)
    scripted(
        do.data_list,
        do.data_look,
        do.data_add,
        do.data_report,
        do.data_rows,
        do.data_apply,
        do.data_lengths,
        do.data_from_chat,
        do.data_delete,
    )


class Handlers:
    """What the tab's controls call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._uploads = dataroutes.uploads_of(studio)

    def act(self, event: gr.EventData, request: gr.Request) -> Any:
        """Do what a button says; return what the right half shows then."""
        require_operator(request)
        lang, act, value = lang_of(request), event.act, event.value
        if act == "stop":
            run = self._studio.jobs.stop(value)
            gr.Info(say(lang, "runs.stopped_toast", name=w.esc(run.spec.name)), duration=3)
            return gr.skip()
        if act == "delete":
            self._studio.data.delete(value)
            gr.Info(say(lang, "data.deleted", name=w.esc(value)), duration=3)
            return _shown(value.rpartition(".v")[0], page="rows")
        asked = _read(value)
        if act == "add":
            return self._tell(lang, self._add(asked))
        if act == "take":
            made = self._take(asked.get("conversations", []), str(asked["name"]), request)
            return self._tell(lang, [made])
        if act == "apply":
            op, key = str(asked.pop("op")), str(asked.pop("set"))
            return self._tell(lang, self._apply(key, op, asked))
        if act == "lengths":
            run = self._lengths(str(asked.pop("set")), asked)
            gr.Info(say(lang, "data.counting"), duration=3)
            name, _, version = run.spec.config["dataset"].rpartition(".v")
            found = (name, version) if version.isdigit() else (run.spec.config["dataset"], "")
            return _shown(*found, page="lengths")
        return gr.skip()

    # for scripts --------------------------------------------------------------------------------

    def data_list(self, request: gr.Request) -> list[dict[str, Any]]:
        """Return every data set in its newest version."""
        require_operator(request)
        return _plain(self._studio.data.list())

    def data_look(
        self, path: str, mapping: dict[str, str] | None, request: gr.Request
    ) -> dict[str, Any]:
        """Return what a file on this server is taken for; nothing is imported."""
        require_operator(request)
        found = self._studio.data.look(dataroutes.source(self._uploads, "", path), mapping or None)
        return {
            "format": found.format,
            "kind": found.kind,
            "columns": list(found.columns),
            "mapping": found.mapping,
            "rows": list(found.rows),
            "faults": [fault.as_dict() for fault in found.faults],
        }

    def data_add(
        self, path: str, name: str, mapping: dict[str, str] | None, request: gr.Request
    ) -> dict[str, Any]:
        """Import a file on this server; return the data set, or the id of the run that does it."""
        require_operator(request)
        return _plain(self._add({"path": path, "name": name, "mapping": mapping or {}}))[0]

    def data_report(self, name: str, request: gr.Request) -> dict[str, Any]:
        """Return what the import of a data set found: every fault with its line."""
        require_operator(request)
        return self._studio.data.report(name).as_dict()

    def data_rows(
        self, name: str, offset: int, limit: int, request: gr.Request
    ) -> list[dict[str, Any]]:
        """Return some rows of a data set."""
        require_operator(request)
        return self._studio.data.rows(name, int(offset), min(1000, int(limit)))

    def data_apply(
        self, name: str, op: str, values: dict[str, Any], request: gr.Request
    ) -> list[dict[str, Any]]:
        """Deduplicate, filter, split, sample, convert or merge; return what was made."""
        require_operator(request)
        return _plain(self._apply(name, op, dict(values)))

    def data_lengths(self, name: str, settings: dict[str, Any], request: gr.Request) -> str:
        """Count the tokens of every row; return the id of the run."""
        require_operator(request)
        return self._lengths(name, dict(settings)).id

    def data_from_chat(
        self, conversations: list[str], name: str, request: gr.Request
    ) -> dict[str, Any]:
        """Make a data set of one's own conversations, by their ids."""
        return _plain([self._take(conversations, name, request)])[0]

    def data_delete(self, name: str, request: gr.Request) -> str:
        """Delete a data set, or one version of it such as `faq.v2`."""
        require_operator(request)
        self._studio.data.delete(name)
        return name

    # inside -------------------------------------------------------------------------------------

    def _add(self, asked: dict[str, Any]) -> list[DataSet] | Run:
        upload = str(asked.get("upload") or "")
        path = dataroutes.source(self._uploads, upload, str(asked.get("path") or ""))
        made = datawork.add(
            self._studio,
            path,
            str(asked["name"]),
            asked.get("mapping") or None,
            upload=bool(upload),
        )
        if upload and isinstance(made, list):
            self._uploads.forget(upload)
        return made

    def _apply(self, key: str, op: str, values: dict[str, Any]) -> list[DataSet] | Run:
        return datawork.apply(self._studio, key, op, values)

    def _lengths(self, key: str, settings: dict[str, Any]) -> Run:
        return datalengths.start(self._studio, key, settings)

    def _take(self, idents: list[str], name: str, request: gr.Request) -> DataSet:
        owner, chats = require_operator(request).name, self._studio.settings.chats_dir
        if not idents:
            raise RecipeInvalid(
                "No conversation was chosen.", hint="Tick those that the data set is made of."
            )
        own = Conversations(chats, owner)
        told = [own.load(ident) for ident in idents]
        return self._studio.data.from_conversations(
            [{"title": item.head.title, "messages": item.messages} for item in told],
            name,
            pictures=chats / owner_folder(owner) / "pictures",
        )

    def _tell(self, lang: str, made: list[DataSet] | Run) -> Any:
        """Say what was made, and show it."""
        if not isinstance(made, list):
            gr.Info(say(lang, "data.working"), duration=4)
            return gr.skip()
        names = ", ".join(
            found.name if found.version < 2 else f"{found.name} v{found.version}" for found in made
        )
        rows = sum(found.rows for found in made)
        gr.Info(say(lang, "data.made", name=w.esc(names), n=f"{rows:,}"), duration=5)
        return _shown(made[0].name)


def _shown(name: str, version: str = "", page: str = "rows") -> str:
    """Return the live place of one data set; the stamp makes every answer a new one."""
    return w.live("data/one", name=name, version=version, page=page, stamp=datawork.stamp())


def _read(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise RecipeInvalid(
            "This is not what a form sends.", hint="Reload the page and try again."
        ) from error


def _plain(made: list[DataSet] | Run) -> list[dict[str, Any]]:
    """Return plain values; `path` is called `file`, or Gradio's client would fetch it."""
    if not isinstance(made, list):
        return [{"run": made.id}]
    return [_renamed({**found.as_dict(), "origin": _renamed(found.origin)}) for found in made]


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    return {"file" if key == "path" else key: value for key, value in row.items()}


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the tab looks at again and again."""
    return dataroutes.routes(studio)


TAB = Tab(id="data", icon="data", order=60, build=build, routes=routes)
