"""Which workers there are: the line that says what runs now, and the list above the run pane."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.spec import State
from studio.engines.explain import explain
from studio.ui import widgets as w
from studio.ui.forms.form import Extras
from studio.ui.i18n import lang_of, say
from studio.ui.image.rungs import about, title
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs import view as runview
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.engines.engine import Engine
    from studio.jobs.jobs import Run
    from studio.studio import Studio
    from studio.ui.image.ladder import Ladders

ENGINE = "image-edit"
ENDED_SHOWN = 2
"""How many workers that have ended stay in the list, so that a failure is not missed."""
LOOKED_AT = 60


def offers(engine: Engine) -> bool:
    """Tell whether an engine belongs to the tab."""
    return engine.id == ENGINE


def worker_extras(studio: Studio) -> Callable[[Engine], Extras]:
    """Return what is offered while a model is typed: what recipes name."""

    def extras(engine: Engine) -> Extras:
        recipes = (r for r in studio.recipes.list() if r.engine == engine.id)
        named = [str(r.settings["model"]) for r in recipes if "model" in r.settings]
        default = engine.Config.model_fields["model"].default
        return Extras(suggestions={"model": list(dict.fromkeys([str(default), *named]))})

    return extras


def worker_runs(studio: Studio) -> list[Run]:
    """Return the workers that are alive, and the few that ended last, newest first."""
    found, ended = [], 0
    for run in studio.jobs.list(engine=ENGINE, limit=LOOKED_AT):
        if not run.state.alive:
            ended += 1
            if ended > ENDED_SHOWN:
                continue
        found.append(run)
    return found


class Workers:
    """The line and the list, shared between viewers for a moment."""

    def __init__(self, studio: Studio, ladders: Ladders) -> None:
        self._studio, self._ladders = studio, ladders
        self._recent = Recent(1.0)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [
            Route("image-edit/worker", self.now),
            Route("image-edit/workers", self.rows),
            Route("image-worker/none", self.none),
        ]

    def now(self, request: Request) -> dict[str, Any]:
        """Return the line: the worker at work, the failure to look at, or that there is none."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("now", lang), lambda: self._now(lang)))

    def rows(self, request: Request) -> dict[str, Any]:
        """Return the workers, newest first."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("rows", lang), lambda: self._rows(lang)))

    def none(self, request: Request) -> dict[str, Any]:
        """Return what the pane says while no worker is chosen."""
        if not worker_runs(self._studio):
            return fragment(request, "")
        return fragment(request, w.empty(lang_of(request), "imageworker.pick", icon_name="layers"))

    def _now(self, lang: str) -> str:
        runs = worker_runs(self._studio)
        alive = [run for run in runs if run.state.alive]
        if alive:
            return _line(lang, "alive", self._alive(lang, alive[0]), self._doing(lang, alive[0]))
        if runs and runs[0].state in (State.FAILED, State.LOST):
            return _line(lang, "failed", self._failed(lang, runs[0]), _again(lang, runs[0]))
        facts = f"<span>{w.esc(say(lang, 'imageworker.nothing'))}</span>"
        return _line(lang, "none", w.icon("layers") + facts, "")

    def _alive(self, lang: str, run: Run) -> str:
        facts = [w.badge(lang, run.state), f"<b>{w.esc(run.spec.name)}</b>"]
        if run.cards:
            facts.append(w.tag(", ".join(map(str, run.cards)), icon_name="gpu"))
        told = self._ladders.told(run)
        if told.rung:
            facts.append(w.tag(title(lang, told.rung), tone="accent", icon_name="layers"))
        if told.picture_s is not None:
            time = say(lang, "imageworker.a_picture", time=f"≈ {about(lang, told.picture_s)}")
            facts.append(f'<span class="l-muted">{w.esc(time)}</span>')
        elif run.state is State.QUEUED and run.reason:
            facts.append(f'<span class="l-muted">{w.esc(translate(lang, run.reason))}</span>')
        if told.queue:
            facts.append(w.tag(say(lang, "imageworker.in_line", n=told.queue), icon_name="clock"))
        if told.falls:
            text = say(lang, "imageworker.fell", n=len(told.falls))
            facts.append(w.tag(text, tone="warn", icon_name="down"))
        return "".join(facts)

    def _failed(self, lang: str, run: Run) -> str:
        why = explain(run)
        said = why.says[lang] if why is not None else translate(lang, run.reason)
        name = f"<b>{w.esc(run.spec.name)}</b>"
        return f"{w.badge(lang, run.state)}{name}<span>{w.esc(said)}</span>"

    def _doing(self, lang: str, run: Run) -> str:
        act = "stop-now" if run.state is State.STOPPING else "stop"
        return w.action(
            say(lang, f"runs.{act}"), act, run.id, icon_name="square", kind="danger small"
        )

    def _rows(self, lang: str) -> str:
        titles = {recipe.name: recipe.title[lang] for recipe in self._studio.recipes.list()}
        rows = "".join(
            runview.row(
                lang,
                run,
                self._studio.progress(run.id) if run.state.alive else None,
                titles.get(run.spec.recipe or "", ""),
            )
            for run in worker_runs(self._studio)
        )
        return f'<div class="l-servers">{rows}</div>' if rows else ""


def _again(lang: str, run: Run) -> str:
    return w.action(
        say(lang, "runs.relaunch"), "relaunch", run.id, icon_name="refresh", kind="small"
    )


def _line(lang: str, state: str, facts: str, buttons: str) -> str:
    """Return the line; the browser folds what is below by `data-image-worker`."""
    more, less = (w.esc(say(lang, f"imageworker.{key}")) for key in ("more", "less"))
    toggle = (
        f'<button type="button" class="l-button quiet small" data-image-fold '
        f'aria-controls="image-worker-body" aria-expanded="false">{w.icon("down")}'
        f'<span class="l-when-shut">{more}</span><span class="l-when-open">{less}</span></button>'
    )
    return (
        f'<div class="l-image-now" data-image-worker="{state}">'
        f'<div class="l-image-facts">{facts}</div>'
        f'<div class="l-actions">{buttons}{toggle}</div></div>'
    )
