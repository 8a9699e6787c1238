"""What browsers ask about studies: the gallery, the form, the plan, and one study's results.

All of them only look; operators alone may ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.core.recipes import Recipe
from studio.core.spec import State
from studio.studies import studies
from studio.studies.record import Phase
from studio.ui import charts, units
from studio.ui import widgets as w
from studio.ui.forms.work import Asked
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.sentences import translate
from studio.ui.study.cases import cases_html, phase_badge
from studio.ui.study.gallery import Gallery
from studio.ui.study.look import Seen, StudyLooks
from studio.ui.study.plan import study_plan
from studio.ui.study.points import points_html
from studio.ui.study.settings import setting_names, study_form, study_recipes
from studio.ui.study.verdict import hopes_html, titles, verdicts_html
from studio.ui.verdicts.banner import counts

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_RESULTS = 20
PLAN_S = 5.0


class StudyRoutes:
    """The places of the view."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._looks = StudyLooks(studio)
        self._gallery = Gallery(studio, self._looks)
        self._recent, self._plans = Recent(1.5), Recent(PLAN_S)

    def routes(self) -> Sequence[Route]:
        """Return what the browser asks for."""
        return [
            Route("study/work", self.work),
            Route("study/cards", self.cards),
            Route("study/question", self.question),
            Route("study/form", self.form),
            Route("study/plan", self.plan),
            Route("study/list", self.list),
            Route("study/head", self.head),
            Route("study/verdict", self.verdict),
            Route("study/cases", self.cases),
            Route("study/charts", self.charts),
            Route("study/points", self.points),
        ]

    # left ---------------------------------------------------------------------------------------

    def work(self, request: Request) -> dict[str, Any]:
        """Return the frame of the gallery and of the form, in the visitor's language."""
        lang = lang_of(request)
        said = {key: w.esc(say(lang, f"form.{key}")) for key in ("command", "save", "save_name")}
        save = (
            f'<input type="text" data-save-name maxlength="60" placeholder="{said["save_name"]}" '
            f'aria-label="{said["save_name"]}">'
            f'<button type="button" class="l-button" data-act="save" data-ask data-value="">'
            f"{w.icon('save')}<span>{said['save']}</span></button>"
        )
        html = (
            '<div class="l-work" data-work="study"><div class="l-study-all">'
            f'<p class="l-about">{w.esc(say(lang, "study.lead"))}</p>'
            f"{w.live('study/cards', every_s=3)}</div>"
            '<div class="l-study-one">'
            '<fieldset class="l-bare" data-work-form><div class="l-skeleton"></div></fieldset>'
            f'<h3 class="l-part-title">{w.esc(say(lang, "study.plan.cases"))}</h3>'
            '<div class="l-plan" data-work-plan><div class="l-skeleton"></div></div>'
            f'<details class="l-command"><summary>{w.icon("terminal")}<b>{said["command"]}</b>'
            '<span class="l-muted" data-work-told></span></summary>'
            "<div data-work-preview></div></details>"
            '<div class="l-launch"><button type="button" class="l-button primary big" '
            f'data-act="launch" data-ask data-value="">{w.icon("play")}<span>'
            f"{w.esc(say(lang, 'study.launch'))}</span></button>"
            '<span class="l-verdict" data-work-verdict></span>'
            f'<details class="l-save"><summary class="l-button quiet">{w.icon("save")}'
            f"<span>{said['save']}</span></summary>"
            f'<div class="l-actions">{save}</div></details></div></div></div>'
        )
        return fragment(request, html, final=True)

    def cards(self, request: Request) -> dict[str, Any]:
        """Return every study as a card."""
        lang = lang_of(request)
        html = self._recent.get(("cards", lang), lambda: self._gallery.cards(lang))
        return fragment(request, html)

    def question(self, request: Request) -> dict[str, Any]:
        """Return the question of the study that is open, and the way back to all of them.

        A link names results, and what they are results of may be another study than their folder
        is called after: then the answer says which.
        """
        lang, name = lang_of(request), request.query_params.get("study", "")
        if not name:
            return fragment(request, "")
        back = (
            '<button type="button" class="l-button quiet l-study-back" data-study-back>'
            f"{w.icon('left')}<span>{w.esc(say(lang, 'study.all'))}</span></button>"
        )
        try:
            head = self._gallery.head(lang, self._recipe(name))
        except NotFound:  # a study of the user's own that is gone; its results are still there
            head = self._head_without(lang, name, request.query_params.get("name", ""))
        return fragment(request, back + head)

    def _head_without(self, lang: str, study: str, name: str) -> str:
        """Return the head of results whose folder is not called after a study that is here."""
        try:
            seen = self._looks.find(name) if name else None
        except NotFound:
            seen = None
        own = seen.recipe if seen is not None else ""
        if own and own != study and any(own == one.name for one in study_recipes(self._studio)):
            return (
                f'<i hidden data-study-is="{w.esc(own)}" data-name="{w.esc(name)}"></i>'
                f"{self._gallery.head(lang, self._recipe(own))}"
            )
        title = seen.results.title(lang) if seen is not None and seen.results else ""
        return f'<div class="l-study-head"><h2>{w.esc(title or _bare(study))}</h2></div>'

    def form(self, request: Request) -> dict[str, Any]:
        """Return the form of a study, or of what was typed before."""
        lang, asked = lang_of(request), request.query_params
        kept = Asked.read(asked["ask"]) if asked.get("ask") else None
        wanted = (kept.recipe if kept else "") or asked.get("recipe", "")
        try:
            recipe = self._recipe(wanted)
        except NotFound:  # never the form of another study
            note = w.note(say(lang, "study.unknown", name=_bare(wanted)), icon_name="info")
            html = f"<div data-form>{note}</div>"
            return {"engine": studies.ENGINE, "recipe": wanted, "html": html, "cards": []}
        typed = kept.settings if kept is not None and kept.settings else None
        html = study_form(lang, recipe, typed, setting_names(self._studio, recipe))
        return {"engine": recipe.engine, "recipe": recipe.name, "html": html, "cards": []}

    def plan(self, request: Request) -> dict[str, Any]:
        """Return what the form's study will run, or what is wrong with it."""
        lang, text = lang_of(request), request.query_params.get("ask", "")
        asked = Asked.read(text)
        try:
            recipe = self._recipe(asked.recipe)
        except NotFound:
            verb = say(lang, "study.launch")  # the form says it
            return {"plan": "", "preview": "", "faults": [], "blocked": True, "verb": verb}
        return self._plans.get(
            (lang, text), lambda: study_plan(self._studio, lang, recipe, asked.settings)
        )

    # right --------------------------------------------------------------------------------------

    def list(self, request: Request) -> dict[str, Any]:
        """Return the results of the study that is open, newest first."""
        lang, asked = lang_of(request), request.query_params
        recipe, name = asked.get("study", ""), asked.get("name", "")
        found = self._looks.all(recipe)[:MOST_RESULTS] if recipe or name else []
        if not found:
            return fragment(request, "")
        chosen = name or found[0].key
        rows = "".join(_result(lang, seen, chosen) for seen in found)
        return fragment(request, f'<div class="l-study-results">{rows}</div>')

    def head(self, request: Request) -> dict[str, Any]:
        """Return state, times, progress and buttons; without results, what would come of it."""
        lang = lang_of(request)
        seen, gone = self._seen(request)
        if gone:
            return fragment(request, w.note(say(lang, "study.gone"), icon_name="alert"))
        if seen is None:
            if not request.query_params.get("study"):
                return fragment(request, "")
            try:
                hopes = hopes_html(lang, self._recipe(request.query_params["study"]))
            except NotFound:
                hopes = ""
            return fragment(request, w.empty(lang, "study.empty", icon_name="scale") + hopes)
        return fragment(request, head_html(lang, seen))

    def verdict(self, request: Request) -> dict[str, Any]:
        """Return the verdicts, as soon as they are known."""
        return self._part(request, verdicts_html)

    def cases(self, request: Request) -> dict[str, Any]:
        """Return what each case is doing."""
        return self._part(request, cases_html)

    def charts(self, request: Request) -> dict[str, Any]:
        """Return the places of the charts that the study names; they fill themselves."""
        return self._part(request, charts_html)

    def points(self, request: Request) -> dict[str, Any]:
        """Return the table of points."""
        return self._part(request, points_card)

    # inside -------------------------------------------------------------------------------------

    def _part(self, request: Request, draw: Any) -> dict[str, Any]:
        lang = lang_of(request)
        seen, _ = self._seen(request)
        return fragment(request, draw(lang, seen) if seen is not None else "")

    def _seen(self, request: Request) -> tuple[Seen | None, bool]:
        """Return the results asked for, and whether they are gone."""
        asked = request.query_params
        if not asked.get("study") and not asked.get("name"):
            return None, False
        try:
            return self._looks.find(asked.get("name", ""), asked.get("study", "")), False
        except NotFound:
            return None, True

    def _recipe(self, name: str) -> Recipe:
        if name:
            return self._studio.recipes.get(name)
        found = study_recipes(self._studio)
        if not found:
            raise NotFound("There is no recipe for this tab.")
        return found[0]


# drawing ----------------------------------------------------------------------------------------


def head_html(lang: str, seen: Seen) -> str:
    """Return the head of one study's results."""
    state = phase_badge(lang, Phase.ELSEWHERE) if seen.elsewhere else w.badge(lang, seen.state)
    facts = [state, f"<h3>{w.esc(seen.name or _run_name(seen))}</h3>"]
    if seen.run is not None:
        facts.append(w.link(say(lang, "study.run"), "runs", run=seen.run.id))
    alive = " data-study-alive" if seen.alive else ""
    return (
        f'<div class="l-study-bar"{alive}><div class="l-study-title">{"".join(facts)}</div>'
        f'<div class="l-study-line">{_line(lang, seen)}</div>{_far(lang, seen)}'
        f'<div class="l-actions">{"".join(_buttons(lang, seen))}</div></div>'
    )


def charts_html(lang: str, seen: Seen) -> str:
    """Return the charts that the study names first."""
    if not seen.name or not seen.points:
        return ""
    return "".join(
        charts.place(kind, results=[seen.name], live=seen.alive) for kind in charts_of(seen)
    )


def charts_of(seen: Seen) -> list[str]:
    """Return the kinds of chart worth a look: those the study names, else what fits its points."""
    told = seen.results.about.settings.get("chart") if seen.results else ""
    named = [told] if isinstance(told, str) and told else list(told or [])
    return [kind for kind in named if kind in charts.CHARTS]


def points_card(lang: str, seen: Seen) -> str:
    """Return the table of points and the ways to take them away."""
    if seen.look is None:
        return ""
    foot = ""
    if seen.name and seen.points:
        foot = w.link(say(lang, "study.in_results"), "bench", view="results", name=seen.name)
    body = points_html(lang, seen.points, titles(lang, seen))
    side = w.tag(units.number(len(seen.points))) if seen.points else ""
    return w.card(say(lang, "study.points"), body, foot=foot, side=side)


def _result(lang: str, seen: Seen, chosen: str) -> str:
    on = chosen in (seen.name, seen.run.id if seen.run else "")
    told = "" if seen.alive or seen.broken_off else counts(lang, seen.verdicts)
    badge = w.badge(lang, seen.state) if seen.alive or not told else ""
    return (
        f'<button type="button" class="l-study-result" data-study-show="{w.esc(seen.key)}" '
        f'data-study="{w.esc(seen.recipe)}" aria-pressed="{str(on).lower()}">{badge}{told}'
        f"{w.when(lang, seen.begun_at)}</button>"
    )


def _bare(study: str) -> str:
    return study.removeprefix(studies.FOLDER)


def _run_name(seen: Seen) -> str:
    return seen.run.spec.name if seen.run is not None else ""


def _line(lang: str, seen: Seen) -> str:
    parts = [f"<span>{w.esc(say(lang, 'study.started'))} {w.when(lang, seen.begun_at)}</span>"]
    if seen.look is not None and (seen.alive or seen.look.ended_at):
        span = units.duration(lang, seen.look.worked_s)
        parts.append(f"<span>{w.esc(say(lang, 'study.elapsed'))} <b>{w.esc(span)}</b></span>")
    if seen.alive and seen.progress is not None and (seen.progress.remaining_s or 0) >= 1:
        left = units.duration(lang, seen.progress.remaining_s)
        parts.append(f"<span>{w.esc(say(lang, 'study.left'))} <b>{w.esc(left)}</b></span>")
    if seen.look is not None and seen.look.rows:
        text = say(lang, "study.of_rows", done=seen.look.rows_done, total=seen.look.rows)
        parts.append(f"<span>{w.esc(say(lang, 'study.rows'))} <b>{w.esc(text)}</b></span>")
    return "".join(parts)


def _far(lang: str, seen: Seen) -> str:
    if seen.elsewhere:
        return w.note(say(lang, "study.elsewhere"), icon_name="info")
    if not seen.alive:
        if seen.look is not None and seen.look.reason:
            return w.note(translate(lang, seen.look.reason), tone="warn", icon_name="alert")
        return ""
    if seen.look is not None and seen.look.rows:
        told = seen.progress.text if seen.progress else ""
        text = titles(lang, seen).get(told) or translate(lang, told)
        return w.bar(seen.look.rows_done / seen.look.rows, label=text)
    return w.bar(None)


def _buttons(lang: str, seen: Seen) -> list[str]:
    found = []
    if seen.alive:
        stopping = seen.state is State.STOPPING
        act, key = ("study-stop-now", "stop_now") if stopping else ("study-stop", "stop")
        text = say(lang, f"study.{key}")
        found.append(w.action(text, act, seen.key, icon_name="square", kind="danger"))
    elif seen.name and seen.look is not None and not all(c.phase.settled for c in seen.look.cells):
        text = say(lang, "study.resume")
        found.append(w.action(text, "study-resume", seen.name, icon_name="play", kind="primary"))
    if seen.name and seen.points:
        found += [_page(lang, seen.name, kind) for kind in ("report", "journal")]
    if seen.name and not seen.alive:
        found.append(
            w.action(
                say(lang, "study.delete"),
                "study-delete",
                seen.name,
                icon_name="trash",
                kind="quiet",
                confirm=say(lang, "study.delete_confirm", name=seen.name),
            )
        )
    return found


def _page(lang: str, name: str, kind: str) -> str:
    """Return a link to the report or the journal, in a page of its own."""
    icon = {"report": "chart", "journal": "book"}[kind]
    return (
        f'<a class="l-button" target="_blank" href="ladder/bench/{kind}/{w.esc(name)}" '
        f'title="{w.esc(say(lang, f"study.{kind}_hint"))}">{w.icon(icon)}'
        f"<span>{w.esc(say(lang, f'study.{kind}'))}</span></a>"
    )
