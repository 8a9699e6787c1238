"""The form of a load test: whom to ask, which loads, what it comes to, the command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.settings import ROOT
from studio.engines.found import local_models
from studio.jobs.rundir import script
from studio.loadtest import TOOLS, load_ask
from studio.ui import widgets as w
from studio.ui.bench.plan import LoadPlans
from studio.ui.forms.form import Extras
from studio.ui.forms.work import Asked, Planned, WorkForm
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.core.spec import Endpoint
    from studio.engines.engine import Engine
    from studio.studio import Launch, Studio

FILLED_IN = frozenset({"server", "server_run", "study", "case", "results"})
"""Fields that the studio fills in, never a person."""
PRESETS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "concurrency": (
        ("1 · 4 · 16", {"concurrency": [1, 4, 16], "request_rate": []}),
        (
            "1 … 256",
            {"concurrency": [1, 2, 4, 8, 16, 32, 64, 128, 256], "request_rate": []},
        ),
    ),
    "request_rate": (("1 … 32", {"request_rate": [1, 2, 4, 8, 16, 32], "concurrency": []}),),
    "input_len": (("128 · 512 · 2048", {"input_len": [128, 512, 2048]}),),
}
"""Buttons below a field that fill it in."""
HIDDEN_KEY = "••••"


def offers(engine: Engine) -> bool:
    """Tell whether an engine makes load."""
    return engine.id in TOOLS


def filled(studio: Studio, asked: Asked, *, secret: bool = True) -> Launch:
    """Return what a form asks for with everything that is known of the server filled in.

    Without `secret` a key is left out, for what is only looked at. Raises StudioError.
    """
    settings = dict(asked.settings)
    base = asked.launch(studio)
    if not settings.get("base_url"):
        return base  # the missing field is told by its validation
    made = load_ask(studio, str(settings.pop("base_url")), settings, tool=asked.engine)
    if not secret and made.settings.get("api_key"):
        made = dataclasses.replace(made, settings={**made.settings, "api_key": HIDDEN_KEY})
    return dataclasses.replace(made, recipe=base.recipe, title=base.title or made.title)


class LoadForm:
    """The left half of the Load test view."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._plans = LoadPlans(studio)
        self._recent = Recent(1.5)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        work = WorkForm(
            studio=self._studio,
            tab="bench",
            offers=offers,
            plan=self._plan,
            forms=self._forms,
            extras=self._extras(),
            order=TOOLS,
            first="vllm-bench/smoke",
            above=self._above,
            wants=self._wants,
            plan_title="bench.plan.title",
        )
        return [*work.routes(), Route("bench/endpoints", self.endpoints)]

    def endpoints(self, request: Request) -> dict[str, Any]:
        """Return what answers now, as buttons that fill in the address."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(lang, lambda: self._endpoints(lang)))

    # pieces -------------------------------------------------------------------------------------

    def _plan(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        return self._plans.draw(lang, filled(self._studio, asked), asked, on)

    def _forms(self, launch: Launch, asked: Asked) -> Mapping[str, str]:
        spec = self._studio.preview(filled(self._studio, asked, secret=False))
        return {"sh": script(spec), **spec.command.files}

    def _extras(self) -> Callable[[Engine], Extras]:
        models = [*local_models(ROOT, self._studio.settings.home)]

        def extras(engine: Engine) -> Extras:
            known = [endpoint.base_url for endpoint in self._studio.endpoints()]
            fields = engine.Config.model_fields
            below = {name: _presets(choices) for name, choices in PRESETS.items() if name in fields}
            return Extras(
                suggestions={"base_url": known, "tokenizer": models},
                hidden=FILLED_IN,
                below=below,
            )

        return extras

    def _above(self, lang: str) -> str:
        title = w.esc(say(lang, "bench.whom"))
        return f'<h3 class="l-part-title">{title}</h3>{w.live("bench/endpoints", every_s=5)}'

    def _wants(self, lang: str, asked: Asked) -> str:
        if asked.settings.get("base_url"):
            return ""
        return w.note(say(lang, "bench.choose_server"), tone="accent", icon_name="up")

    def _endpoints(self, lang: str) -> str:
        found = self._studio.endpoints()
        if not found:
            serve = w.link(say(lang, "bench.no_server.serve"), "serve", recipe="vllm/smoke")
            return w.empty(lang, "bench.no_server", icon_name="plug", actions=[serve])
        cards = "".join(self._endpoint(lang, endpoint) for endpoint in found)
        return f'<div class="l-b-endpoints">{cards}</div>'

    def _endpoint(self, lang: str, endpoint: Endpoint) -> str:
        # the other fields that a server decides are left to what is known of it at the launch
        values = {"base_url": endpoint.base_url, "model": "", "tokenizer": ""}
        where = endpoint.base_url.partition("://")[2].removesuffix("/v1")
        kind = say(lang, "bench.own_server" if endpoint.run_id else "bench.foreign_server")
        if endpoint.routes:
            kind = say(lang, "bench.router")
        return (
            f'<button type="button" class="l-pick" aria-pressed="false" '
            f'data-bench-endpoint="{w.esc(endpoint.base_url)}" '
            f'data-form-set="{w.esc(json.dumps(values))}"><b>{w.esc(endpoint.name)}</b>'
            f'<span class="l-pick-engine">{w.esc(where)}</span>'
            f"<span>{w.esc(', '.join(endpoint.models) or kind)}</span></button>"
        )


def _presets(choices: tuple[tuple[str, dict[str, Any]], ...]) -> Callable[[str], str]:
    def below(lang: str) -> str:
        chips = "".join(
            f'<button type="button" class="l-blank" data-form-set="{w.esc(json.dumps(values))}">'
            f"{w.esc(name)}</button>"
            for name, values in choices
        )
        return f'<div class="l-b-presets">{chips}</div>'

    return below
