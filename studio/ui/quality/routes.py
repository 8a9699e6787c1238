"""What browsers ask about comparisons: the form, the list, one comparison, the next blind pair.

All of them only look; operators alone may ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.jobs.rundir import script
from studio.quality.votes import ME
from studio.studio import Launch
from studio.ui import widgets as w
from studio.ui.door.gate import LOCAL, visitor
from studio.ui.forms.work import Asked, WorkForm
from studio.ui.i18n import lang_of
from studio.ui.quality import draw as quality_draw
from studio.ui.quality import room as quality_room
from studio.ui.quality.form import offers, plan, quality_extras, quality_form
from studio.ui.quality.look import QualityLooks, Seen
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.studio import Studio

TAB = "quality"
MOST_SHOWN = 20
Draw = Callable[[str, Seen, Request], str]


class QualityRoutes:
    """The places of the view."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._looks = QualityLooks(studio)

    def routes(self) -> Sequence[Route]:
        """Return what the browser asks for."""
        work = WorkForm(
            studio=self._studio,
            tab=TAB,
            offers=offers,
            plan=lambda lang, launch, asked, on: plan(self._studio, lang, launch),
            forms=self._forms,
            extras=quality_extras(self._studio),
            order=("quality", "lm-eval"),
            first="quality/general",
            plan_title="quality.plan.title",
        )
        form = [
            _with_judge(route, self._studio) if route.path == f"{TAB}/form" else route
            for route in work.routes()
        ]
        return [
            *form,
            Route("quality/list", self.list),
            Route("quality/head", self._part(self._head)),
            Route("quality/vote", self._part(self._vote)),
            Route("quality/wins", self._part(self._wins)),
            Route("quality/table", self.table),
            Route("quality/answers", self._part(self._answers)),
            Route("quality/pair", self.pair),
        ]

    def list(self, request: Request) -> dict[str, Any]:
        """Return the comparisons, newest first."""
        lang, name = lang_of(request), request.query_params.get("name", "")
        found = self._looks.all()[:MOST_SHOWN]
        if not found:
            return fragment(request, w.empty(lang, "quality.empty", icon_name="scale"))
        chosen = name or found[0].key
        rows = "".join(_listed(lang, seen, chosen) for seen in found)
        return fragment(request, f'<div class="l-study-results">{rows}</div>')

    def table(self, request: Request) -> dict[str, Any]:
        """Return the table of one comparison, or of everything."""
        lang, everything = lang_of(request), request.query_params.get("all") == "1"
        seen = self._seen(request)
        names = None if everything else [seen.name] if seen is not None and seen.name else []
        found = self._studio.quality.table(names)
        hidden = _hidden(request, seen)
        html = quality_draw.table_html(lang, found, everything=everything, hidden=hidden)
        return fragment(request, html)

    def pair(self, request: Request) -> dict[str, Any]:
        """Return the next blind pair of whoever asks, or that there is none left."""
        lang, name, by = lang_of(request), request.query_params.get("name", ""), voter(request)
        desk = self._studio.quality
        ballot, standing = desk.ballot(name, by), desk.standing(name, by)
        if ballot is None:
            return {"html": quality_room.over(lang, name, standing)}
        return {"html": quality_room.room(lang, name, ballot, standing)}

    # inside -------------------------------------------------------------------------------------

    def _part(self, draw: Draw) -> Callable[[Request], dict[str, Any]]:
        def answer(request: Request) -> dict[str, Any]:
            seen = self._seen(request)
            return fragment(request, draw(lang_of(request), seen, request) if seen else "")

        return answer

    def _head(self, lang: str, seen: Seen, request: Request) -> str:
        return quality_draw.head_html(lang, seen)

    def _vote(self, lang: str, seen: Seen, request: Request) -> str:
        return quality_draw.vote_html(lang, seen, open_eyes=request.query_params.get("eyes") == "1")

    def _wins(self, lang: str, seen: Seen, request: Request) -> str:
        return quality_draw.wins_html(lang, seen, hidden=_hidden(request, seen))

    def _answers(self, lang: str, seen: Seen, request: Request) -> str:
        if not seen.name:
            return ""
        unblind = request.query_params.get("eyes") == "1"
        rows = self._studio.quality.side_by_side(seen.name, voter(request), unblind=unblind)
        return quality_draw.answers_html(lang, rows, self._marks(seen.name))

    def _marks(self, name: str) -> dict[tuple[str, str], float]:
        """Return the judge's mean mark of each answer, by question and label."""
        found: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in self._studio.quality.folder(name).judgements().values():
            if row.mode == "single" and row.rating is not None:
                found[row.question, row.models[0]].append(row.rating)
        return {key: sum(marks) / len(marks) for key, marks in found.items()}

    def _seen(self, request: Request) -> Seen | None:
        try:
            return self._looks.find(request.query_params.get("name", ""), voter(request))
        except NotFound:
            return None

    def _forms(self, launch: Launch, asked: Asked) -> dict[str, str]:
        spec = self._studio.preview(launch)
        return {"sh": script(spec), **spec.command.files}


def voter(request: Any) -> str:
    """Return the name that somebody's votes are kept under: an account's, else as on a terminal."""
    who = visitor(request)
    return ME if who == LOCAL or not who.name else who.name


def _hidden(request: Request, seen: Seen | None) -> bool:
    """Tell whether names would spoil votes that are still to come."""
    return seen is not None and seen.blind and request.query_params.get("eyes") != "1"


def _with_judge(route: Route, studio: Studio) -> Route:
    """Let a form have the judge's prompt as a text of several lines."""

    def answer(request: Request) -> dict[str, Any]:
        return quality_form(route.handler(request), request, studio)

    return replace(route, handler=answer)


def _listed(lang: str, seen: Seen, chosen: str) -> str:
    on = chosen in (seen.name, seen.run.id if seen.run else "")
    title = seen.results.title(lang) if seen.results else (seen.run.spec.name if seen.run else "")
    return (
        f'<button type="button" class="l-study-result" data-quality-show="{w.esc(seen.key)}" '
        f'aria-pressed="{str(on).lower()}">{w.badge(lang, seen.state)}<span>{w.esc(title)}</span>'
        f"{w.when(lang, seen.begun_at)}</button>"
    )
