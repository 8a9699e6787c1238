"""Adapters on a running server: what hangs on it, one more, and off again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.requests import Request

from studio.core.spec import Endpoint, State
from studio.engines.found import local_adapters
from studio.jobs.jobs import Run
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.studio import Studio


class AdapterPart:
    """The Adapters page of the run pane."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> list[Route]:
        """Return what the page of one run asks for again and again."""
        return [Route("run/{id}/adapters", self._answer)]

    def view(self, lang: str, run: Run) -> str:
        """Return a place that keeps itself current: what hangs on the server changes."""
        return w.live(f"run/{run.id}/adapters", every_s=2)

    def _answer(self, request: Request) -> dict[str, Any]:
        run = self._studio.jobs.get(request.path_params["id"])
        html = self._html(lang_of(request), run)
        return fragment(request, html, final=not run.state.alive)

    def _html(self, lang: str, run: Run) -> str:
        """Return the adapters as a table, and a form for one more."""
        if run.state is not State.READY:
            return w.note(say(lang, "serve.lora.not_ready"), icon_name="clock")
        endpoint = next((e for e in self._studio.endpoints() if e.run_id == run.id), None)
        if endpoint is None or not endpoint.hot_lora:
            return w.note(say(lang, "serve.lora.off"), icon_name="info")
        return self._table(lang, run, endpoint) + self._form(lang)

    def act(self, run: Run, event: Any, lang: str) -> None:
        """Load or unload an adapter, as a button says."""
        if event.act == "lora-load":
            asked = json.loads(event.value or "{}")
            name, folder = asked.get("name", "").strip(), asked.get("folder", "").strip()
            self._studio.load_adapter(run.id, name, folder)
            gr.Info(say(lang, "serve.lora.loaded", name=w.esc(name)), duration=4)
        elif event.act == "lora-unload":
            self._studio.unload_adapter(run.id, event.value)
            gr.Info(say(lang, "serve.lora.unloaded", name=w.esc(event.value)), duration=4)

    def _table(self, lang: str, run: Run, endpoint: Endpoint) -> str:
        hung = {row["name"]: row["folder"] for row in run.dir.adapters() if row["op"] == "load"}
        now = run.dir.hung_on()
        rows = []
        for model in endpoint.models:
            chat = w.link(say(lang, "serve.chat"), "chat", endpoint=endpoint.id, model=model)
            off = ""
            if model in now:
                off = w.action(
                    say(lang, "serve.lora.unload"),
                    "lora-unload",
                    model,
                    icon_name="minus",
                    kind="small",
                )
            kind = say(lang, "serve.lora.hung" if model in now else "serve.lora.at_start")
            rows.append((model, kind, hung.get(model, "–"), w.Html(f"{chat} {off}")))
        head = [say(lang, f"serve.lora.{key}") for key in ("name", "since", "folder")]
        return w.card(say(lang, "serve.lora.title"), w.rows([*head, ""], rows))

    def _form(self, lang: str) -> str:
        found = local_adapters(self._studio.settings.home)
        options = "".join(f'<option value="{w.esc(path)}"></option>' for path in found)
        words = {key: w.esc(say(lang, f"serve.lora.{key}")) for key in ("name", "folder")}
        load = (
            '<button type="button" class="l-button primary" data-act="lora-load" data-collect>'
            f"{w.icon('plus')}<span>{w.esc(say(lang, 'serve.lora.load'))}</span></button>"
        )
        body = (
            '<div class="l-inline-form" data-collected>'
            f'<label><span>{words["name"]}</span><input name="name" type="text" maxlength="60" '
            'spellcheck="false"></label>'
            f'<label class="l-grow"><span>{words["folder"]}</span><input name="folder" type="text" '
            'list="lora-folders" spellcheck="false" placeholder="/models/my-lora">'
            f'<datalist id="lora-folders">{options}</datalist></label>{load}</div>'
            f'<p class="l-muted">{w.esc(say(lang, "serve.lora.help"))}</p>'
        )
        return w.card(say(lang, "serve.lora.add"), body)
