"""The Serve tab: what to serve and whether it fits on the left, the server at work on the right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.export.forms import forms
from studio.replicas import launch_replicas
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.door.gate import require_operator
from studio.ui.errors import guard
from studio.ui.forms.acts import form_act
from studio.ui.forms.work import Asked, WorkForm, ask_of
from studio.ui.i18n import T, lang_of, say
from studio.ui.plan import view as planview
from studio.ui.plan.planning import MachinePlans
from studio.ui.routes import Route
from studio.ui.runs import routes as runroutes
from studio.ui.runs.pane import QUIET, Part, RunPane
from studio.ui.scripts import scripted
from studio.ui.serving import routes as serveroutes
from studio.ui.serving.adapters import AdapterPart
from studio.ui.serving.form import offers, serving_extras
from studio.ui.serving.servers import Servers, serving_runs
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENGINES = ("vllm", "sglang", "llamafactory-api", "router")


def build(studio: Studio) -> None:
    """Lay out the form, the list of servers and the run pane."""
    do = Handlers(studio)
    adapters = AdapterPart(studio)
    pane = RunPane(
        studio,
        "serve",
        first=[
            Part(id="live", label=T("serve.live"), view=_live),
            Part(id="adapters", label=T("serve.adapters"), view=adapters.view, act=adapters.act),
        ],
    )
    with gr.Row(elem_classes="l-halves"):
        with gr.Column(scale=6, min_width=320, elem_classes="l-side"):
            work = acts_html(w.live("serve/work", every_s=3600), elem_id="serve-work")
        with gr.Column(scale=7, min_width=320, elem_classes="l-main l-follow"):
            servers = acts_html(w.live("serve/servers"), elem_id="serve-servers")
            external = acts_html(w.live("serve/external", every_s=5), elem_id="serve-external")
            with gr.Accordion(T("serve.connect"), open=False, elem_id="serve-connect"):
                with gr.Row():
                    url = gr.Textbox(
                        label=T("serve.url"),
                        placeholder="http://127.0.0.1:11434",
                        elem_id="serve-url",
                        scale=3,
                        min_width=160,
                    )
                    key = gr.Textbox(
                        label=T("serve.key"), type="password", elem_id="serve-key", min_width=120
                    )
                connect = gr.Button(T("serve.connect_go"), elem_id="serve-connect-go")
            pane.lay_out()
    pane.wire(also=[servers])
    work.click(guard(do.act), pane.selected, pane.selected, **QUIET)
    external.click(guard(do.forget), None, None, **QUIET)
    connect.click(guard(do.connect), [url, key], [url, key], **QUIET)
    opened("serve").click(guard(do.asked_for), pane.selected, pane.selected, **QUIET)
    scripted(
        do.serve_launch,
        do.serve_plan,
        do.serve_forms,
        do.serve_endpoints,
        do.lora_load,
        do.lora_unload,
    )


class Handlers:
    """What the tab's controls call; scripts may call those that have an API name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def act(self, selected: str, event: gr.EventData, request: gr.Request) -> str:
        """Launch what the form says, or keep it as a recipe; return the run to show."""
        return form_act(self._studio, selected, event, request, launch=self._launch)

    def forget(self, event: gr.EventData, request: gr.Request) -> None:
        """Forget an address from elsewhere."""
        require_operator(request)
        if event.act == "forget":
            self._studio.external.remove(event.value)

    def connect(self, url: str, key: str, request: gr.Request) -> list[str]:
        """Check an address and keep it."""
        require_operator(request)
        found = self._studio.external.add(url, key)
        gr.Info(say(lang_of(request), "serve.connected", name=w.esc(found.name)), duration=4)
        return ["", ""]

    def asked_for(self, selected: str, event: gr.EventData) -> str:
        """Return the server that a link to this tab names, or the newest."""
        newest = serving_runs(self._studio)
        return event.query.get("run") or selected or (newest[0].id if newest else "")

    # for scripts --------------------------------------------------------------------------------

    def serve_launch(
        self, engine: str, settings: dict[str, Any], cards: str, copies: int, request: gr.Request
    ) -> str:
        """Launch a server: `cards` is empty, a number, or indices such as `6,7`; return its id."""
        require_operator(request)
        return self._launch(ask_of(engine, settings, cards, copies))

    def serve_plan(
        self, engine: str, settings: dict[str, Any], cards: str, request: gr.Request
    ) -> dict[str, Any]:
        """Return what a launch will need and whether it fits, without launching."""
        require_operator(request)
        asked = ask_of(engine, settings, cards)
        return self._studio.plan(asked.launch(self._studio))

    def serve_forms(
        self, engine: str, settings: dict[str, Any], request: gr.Request
    ) -> dict[str, str]:
        """Return a launch written out: shell, docker run, compose."""
        require_operator(request)
        asked = ask_of(engine, settings)
        return forms(self._studio.preview(asked.launch(self._studio)))

    def serve_endpoints(self, request: gr.Request) -> list[dict[str, Any]]:
        """Return what answers now, keys left out."""
        require_operator(request)
        return [e.model_dump(exclude={"api_key"}) for e in self._studio.endpoints()]

    def lora_load(self, run_id: str, name: str, folder: str, request: gr.Request) -> list[str]:
        """Hang an adapter on a running server; return the models it has now."""
        require_operator(request)
        return list(self._studio.load_adapter(run_id, name, folder).models)

    def lora_unload(self, run_id: str, name: str, request: gr.Request) -> list[str]:
        """Take an adapter off a running server; return the models it has now."""
        require_operator(request)
        return list(self._studio.unload_adapter(run_id, name).models)

    # inside -------------------------------------------------------------------------------------

    def _launch(self, asked: Asked) -> str:
        ask = asked.launch(self._studio)
        if asked.copies > 1:
            return launch_replicas(self._studio, ask, asked.copies).router.id
        return self._studio.launch(ask).id


def _live(lang: str, run: Run) -> str:
    return w.live(f"run/{run.id}/served")


def routes(studio: Studio) -> Sequence[Route]:
    """Return what the tab looks at again and again."""
    plans = MachinePlans(studio, studio.serving_plan, planview.plan_html)
    work = WorkForm(
        studio=studio,
        tab="serve",
        offers=offers,
        plan=plans.draw,
        forms=lambda launch, asked: forms(studio.preview(launch), copies=asked.copies),
        extras=serving_extras(studio),
        copies=True,
        order=ENGINES,
    )
    return [
        *work.routes(),
        *Servers(studio).routes(),
        *serveroutes.routes(studio),
        *runroutes.routes(studio),  # the pane's own, for a page with this tab alone
        *AdapterPart(studio).routes(),
    ]


TAB = Tab(id="serve", icon="serve", order=30, build=build, routes=routes)
