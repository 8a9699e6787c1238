"""The trainings above the run pane: at work, waiting with their place in line, ended lately."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs import view as runview
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.studio import Studio

ENDED_SHOWN = 6
LOOKED_AT = 200


class Trainings:
    """The list above the run pane."""

    def __init__(self, studio: Studio, engines: Collection[str]) -> None:
        self._studio, self._engines = studio, engines
        self._recent = Recent(0.9)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [Route("train/list", self.rows), Route("train/none", self.none)]

    def rows(self, request: Request) -> dict[str, Any]:
        """Return the trainings: those that run, those in line, and the few that ended last."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(lang, lambda: self._rows(lang)))

    def none(self, request: Request) -> dict[str, Any]:
        """Return what the pane says while no training is chosen."""
        if not training_runs(self._studio, self._engines):
            return fragment(request, "")
        return fragment(request, w.empty(lang_of(request), "train.pick", icon_name="train"))

    def _rows(self, lang: str) -> str:
        runs = training_runs(self._studio, self._engines)
        if not runs:
            return w.empty(lang, "train.empty", icon_name="train")
        titles = {recipe.name: recipe.title[lang] for recipe in self._studio.recipes.list()}
        line = self._studio.jobs.queue()
        rows = "".join(
            f'<div class="l-training">'
            f"{runview.row(lang, run, self._far(run), titles.get(run.spec.recipe or '', ''))}"
            f"{self._waits(lang, run, line)}</div>"
            for run in runs
        )
        return f'<div class="l-servers">{rows}</div>'

    def _waits(self, lang: str, run: Run, line: list[str]) -> str:
        """Return a queued run's place in line and what it waits for; empty for all others."""
        if run.state is not State.QUEUED:
            return ""
        words = []
        if run.id in line:
            words.append(say(lang, "train.in_line", n=line.index(run.id) + 1, of=len(line)))
        before = [name for ident in run.spec.after if (name := self._unfinished(ident))]
        if before:
            words.append(say(lang, "train.after", runs=", ".join(before)))
        elif run.reason:
            words.append(translate(lang, run.reason))
        if not words:
            return ""
        return f'<small class="l-waits">{w.icon("clock")}{w.esc(" · ".join(words))}</small>'

    def _unfinished(self, run_id: str) -> str:
        try:
            run = self._studio.jobs.get(run_id)
        except NotFound:
            return ""
        return run.spec.name if run.state is not State.DONE else ""

    def _far(self, run: Run) -> Any:
        return self._studio.progress(run.id) if run.state.alive else None


def training_runs(studio: Studio, engines: Collection[str]) -> list[Run]:
    """Return the runs of these engines: those alive first, then the few that ended last."""
    alive, ended = [], []
    for run in studio.jobs.list(limit=LOOKED_AT, serves=False):
        if run.spec.engine not in engines:
            continue
        (alive if run.state.alive else ended).append(run)
    return [*alive, *ended[:ENDED_SHOWN]]
