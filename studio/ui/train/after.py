"""What can be done with a training's result: resume, serve and compare, merge, evaluate, quantize.

The Results part of the run pane. Its buttons carry `data-act`; what they do is in `act`, what a
link opens is the form of the engine that does it, filled in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
from starlette.requests import Request

from studio.core.spec import State
from studio.engines import training_log
from studio.engines.trained import Trained, result
from studio.jobs.jobs import Run
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say, words
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs.curvefeed import SavedFeed
from studio.ui.train import tuned

if TYPE_CHECKING:
    from studio.studio import Studio

NEXT = (
    ("llamafactory-export", "merge"),
    ("llamafactory-predict", "evaluate"),
    ("lm-eval", "lm_eval"),
    ("llm-compressor", "quantize"),
)
"""Engines after a training, and the words of the link to their forms."""
_WHOLE_ONLY = ("llm-compressor",)
_ADAPTER_ONLY = ("llamafactory-export",)


class Results:
    """The Results part of one pane."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(1.5)
        self._feed = SavedFeed()

    def routes(self) -> list[Route]:
        """Return what the part asks for again and again."""
        return [Route("run/{id}/after", self._answer)]

    def view(self, lang: str, run: Run) -> str:
        """Return a place that keeps itself current: checkpoints come, servers start."""
        return w.live(f"run/{run.id}/after", every_s=2)

    def act(self, run: Run, event: Any, lang: str) -> str | None:
        """Resume or serve, as a button says; a resumed training is shown next."""
        if event.act == "resume":
            return self._studio.resume(run.id, int(event.value)).id
        if event.act == "serve-tuned":
            made = tuned.found_in(run, event.value)
            started = tuned.serve(self._studio, run, made)
            key = "train.serving" if started else "train.hung_on"
            name = started.spec.name if started else tuned.called(run, made)
            gr.Info(say(lang, key, name=w.esc(name)), duration=5)
        if event.act == "serve-base":
            name = tuned.serve_base(self._studio, run).spec.name
            gr.Info(say(lang, "train.serving", name=w.esc(name)), duration=5)
        return None

    def _answer(self, request: Request) -> dict[str, Any]:
        lang, run_id = lang_of(request), request.path_params["id"]
        html = self._recent.get((lang, run_id), lambda: self._html(lang, run_id))
        return fragment(request, html)

    def _html(self, lang: str, run_id: str) -> str:
        run = self._studio.jobs.get(run_id)
        made, end = self._feed.saved(run), result(run.dir)
        parts = [self._result(lang, run, end) if end else "", self._told(lang, run)]
        if made:
            rows = "".join(self._row(lang, run, item) for item in made)
            title = say(lang, "train.checkpoints", n=len(made))
            size = units.size(sum(item.bytes for item in made))
            body = f'<ul class="l-checkpoints">{rows}</ul>'
            parts.append(w.card(title, body, side=w.tag(size, icon_name="disk")))
        if any(parts):
            return f'<div class="l-after">{"".join(filter(None, parts))}</div>'
        key = "train.nothing_yet" if run.state.alive else "train.nothing_left"
        return w.note(say(lang, key), icon_name="clock" if run.state.alive else "info")

    def _told(self, lang: str, run: Run) -> str:
        """Return the closing figures, in the words we have for them."""
        told = {name: f.value for name, f in self._studio.results(run.id).items()}
        rows = []
        for name, value in (told or training_log.figures(run.dir)).items():
            key = f"train.figure.{name}"
            title = say(lang, key) if key in words(lang) else name
            seconds = name.endswith("_runtime")
            rows.append((title, units.duration(lang, value) if seconds else units.number(value)))
        return w.card(say(lang, "train.figures"), w.table(rows)) if rows else ""

    def _result(self, lang: str, run: Run, made: Trained) -> str:
        lead = say(lang, f"train.made_{made.kind}")
        body = (
            f'<p class="l-made">{w.icon("check")}<span>{w.esc(lead)}</span>'
            f"{w.tag(units.size(made.bytes))}</p>{w.code(str(made.folder))}"
            f"{self._steps(lang, run, made)}"
        )
        if run.state is State.STOPPED:
            body = w.note(say(lang, "train.stopped_early"), icon_name="info") + body
        return w.card(say(lang, "train.result"), body, tone="ok")

    def _row(self, lang: str, run: Run, made: Trained) -> str:
        facts = [units.size(made.bytes)]
        if made.eval_loss is not None:
            facts.insert(0, f"eval {units.number(made.eval_loss)}")
        best = w.tag(say(lang, "train.best"), tone="ok", icon_name="star") if made.best else ""
        resumed = ""
        if made.resumable and not run.state.alive:
            text = say(lang, "train.resume")
            resumed = w.action(text, "resume", str(made.step), icon_name="play", kind="small")
        facts_html = f"<span>{w.esc(' · '.join(facts))}</span>{w.when(lang, made.made_at)}"
        steps = self._steps(lang, run, made, small=True, first=resumed)
        return (
            f'<li><div class="l-checkpoint"><b>{w.esc(say(lang, "train.step_n", n=made.step))}</b>'
            f"{best}{facts_html}</div>{steps}</li>"
        )

    def _steps(
        self, lang: str, run: Run, made: Trained, *, small: bool = False, first: str = ""
    ) -> str:
        """Return the buttons for what comes next."""
        if made.kind == "other":
            note = f'<span class="l-muted">{w.esc(say(lang, "train.states_only"))}</span>'
            return f'<div class="l-actions">{first}{note}</div>'
        found = [first, self._serving(lang, run, made, small=small)]
        for engine_id, key in NEXT:
            engine = self._studio.engines.get(engine_id)
            if engine is None or _useless(engine_id, made):
                continue
            settings = tuned.next_settings(self._studio, engine_id, run, made)
            text = say(lang, f"train.{key}")
            query = {"engine": engine_id, "with": tuned.query(settings)}
            found.append(w.link(text, "train", **query))
        return f'<div class="l-actions">{"".join(filter(None, found))}</div>'

    def _serving(self, lang: str, run: Run, made: Trained, *, small: bool) -> str:
        """Return the way to talk to it: start it, wait for it, or chat with base beside it."""
        value = "" if made.step is None else str(made.step)
        kind = "small" if small else "primary"
        served = tuned.served_at(self._studio, run, made)
        if served is not None:
            query = {"endpoint": served.endpoint, "model": served.model}
            key = "train.chat"
            if served.base_endpoint:
                key = "train.compare_chat"
                query = {
                    "endpoint": served.base_endpoint,
                    "model": served.base_model,
                    "compare": served.endpoint,
                    "model_b": served.model,
                }
            button = w.link(say(lang, key), "chat", **query)
            base = "" if served.base_endpoint else self._base(lang, run)
            return button.replace('class="l-link"', f'class="l-button {kind} l-goto"', 1) + base
        server = tuned.starting(self._studio, made)
        if server is not None:
            return w.chip(lang, server)
        text = say(lang, "train.serve_compare" if made.kind == "adapter" else "train.serve")
        return w.action(text, "serve-tuned", value, icon_name="chat", kind=kind)

    def _base(self, lang: str, run: Run) -> str:
        """Return the way to have the base answer as well, for a whole model that was trained."""
        server = tuned.base_starting(self._studio, run)
        if server is not None:
            return w.chip(lang, server)
        return w.action(say(lang, "train.serve_base"), "serve-base", icon_name="plus", kind="small")


def _useless(engine_id: str, made: Trained) -> bool:
    only = _WHOLE_ONLY if made.kind == "adapter" else _ADAPTER_ONLY
    return engine_id in only
