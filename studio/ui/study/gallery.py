"""The studies as cards: the question, what it needs, whether it can run here, what it last said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.core.recipes import Recipe
from studio.core.spec import State
from studio.studies.record import Phase, Record, worked_s
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import one_line, translate
from studio.ui.study.look import Seen, StudyLooks
from studio.ui.study.needs import Needs, StudyFault, StudyNeeds
from studio.ui.study.settings import study_recipes
from studio.ui.verdicts.banner import counts

if TYPE_CHECKING:
    from studio.studio import Studio


class Gallery:
    """Draws the cards; what the machine can do is kept for a moment."""

    def __init__(self, studio: Studio, looks: StudyLooks) -> None:
        self._studio, self._looks = studio, looks
        self._needs = StudyNeeds(studio)

    def cards(self, lang: str) -> str:
        """Return every study as a card; those under way stand first."""
        recipes = study_recipes(self._studio)
        if not recipes:
            return w.empty(lang, "study.none", icon_name="scale")
        newest = {recipe.name: self._looks.newest(recipe.name) for recipe in recipes}
        recipes.sort(key=lambda recipe: not _alive(newest[recipe.name]))
        cards = "".join(self._card(lang, recipe, newest[recipe.name]) for recipe in recipes)
        return f'<div class="l-studies">{cards}</div>'

    def head(self, lang: str, recipe: Recipe) -> str:
        """Return the question of one study, what it needs and what is expected of it."""
        found = self._needs.of(recipe)
        return (
            f'<div class="l-study-head"><h2>{w.esc(recipe.title[lang])}</h2>'
            f"<p>{w.esc(recipe.about[lang])}</p>{needs_html(lang, found)}"
            f'<div class="l-tags">{possible_html(lang, found)}</div></div>'
        )

    def _card(self, lang: str, recipe: Recipe, newest: Seen | None) -> str:
        found = self._needs.of(recipe)
        return (
            f'<button type="button" class="l-study" data-study-open="{w.esc(recipe.name)}">'
            f"<b>{w.esc(recipe.title[lang])}</b>"
            f'<span class="l-study-about">{w.esc(recipe.about[lang])}</span>'
            f"{needs_html(lang, found, _took(newest))}"
            f'<span class="l-study-foot">{_last(lang, newest) or possible_html(lang, found)}</span>'
            "</button>"
        )


def needs_html(lang: str, found: Needs | StudyFault, took_s: float | None = None) -> str:
    """Return how many cards, which programs and how many cases a study has, and how long it took.

    How long it takes is only known here where it was asked before.
    """
    if isinstance(found, StudyFault):
        return ""
    took = say(lang, "study.needs.took", time=units.duration(lang, took_s)) if took_s else ""
    parts = [
        ("gpu", count(lang, "study.needs.card", found.cards) if found.cards else "no_card"),
        ("layers", count(lang, "study.needs.case", len(found.cells))),
        ("box", ", ".join(translate(lang, program) for program in found.programs)),
        ("clock", took),
    ]
    shown = "".join(
        f"<span>{w.icon(icon)}"
        f"{w.esc(say(lang, 'study.needs.no_card') if text == 'no_card' else text)}</span>"
        for icon, text in parts
        if text
    )
    return f'<span class="l-study-needs">{shown}</span>'


def possible_html(lang: str, found: Needs | StudyFault) -> str:
    """Return whether the study can be measured on this machine, and what is built first."""
    if isinstance(found, StudyFault):
        return w.tag(one_line(lang, found.error), tone="bad", icon_name="alert")
    able, of = len(found.possible), len(found.cells)
    if not able:
        return w.tag(_why_not(lang, found), icon_name="minus")
    if able < of:
        text = say(lang, "study.can.some", n=able, of=of)
        shown = w.tag(text, tone="warn", icon_name="alert")
    else:
        shown = w.tag(say(lang, "study.can.yes"), tone="ok", icon_name="check")
    if found.to_build:
        names = ", ".join(found.to_build)
        shown = w.Html(shown + w.tag(say(lang, "study.can.build", name=names), icon_name="hammer"))
    return shown


def _why_not(lang: str, found: Needs) -> str:
    """Return why no case can be measured: too few cards, else what the first one says."""
    least = min((item.cards for item in found.cells), default=0)
    if least > found.cards_here:
        needed = count(lang, "study.needs.card", least)
        return say(lang, "study.can.cards", needed=needed, here=units.number(found.cards_here))
    why = found.cells[0].missing
    reason = translate(lang, why.message).rstrip("。.") if why is not None else ""
    return " · ".join(filter(None, (say(lang, "study.can.no"), reason)))


def count(lang: str, key: str, number: int) -> str:
    """Return `1 case` or `3 cases`: `<key>` says one, `<key>s` several."""
    return say(lang, key if number == 1 else f"{key}s", n=units.number(number))


def _last(lang: str, newest: Seen | None) -> str:
    """Return what the newest results are: a state while it runs or failed, else the outcome."""
    if newest is None:
        return ""
    told = "" if newest.alive or newest.broken_off else counts(lang, newest.verdicts)
    badge = w.badge(lang, newest.state) if newest.alive or not told else ""
    return f"{badge}{told}{w.when(lang, newest.begun_at)}"


def _took(newest: Seen | None) -> float | None:
    """Return the seconds that the newest results took, when nothing of them is missing."""
    if newest is None or newest.results is None or newest.state is not State.DONE:
        return None
    rows = Record(newest.results.folder).rows()
    own = [row["phase"] for row in rows if not row["cell"]]
    return worked_s(rows) if own and own[-1] == Phase.DONE else None


def _alive(newest: Seen | None) -> bool:
    return newest is not None and newest.alive
