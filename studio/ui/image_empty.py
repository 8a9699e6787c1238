"""What the place of the result says before there is one: how it works, or how to get a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.chat.desk import Person
from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.planner.image_result import ImagePlan
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image_rungs import title
from studio.ui.image_state import WorkerState, about
from studio.ui.image_workers import ENGINE
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.core.recipes import Recipe
    from studio.jobs.jobs import Run
    from studio.studio import Studio


@dataclass(frozen=True)
class Offer:
    """A recipe that is offered to somebody without a worker, and what its plan says."""

    recipe: Recipe
    plan: ImagePlan | None = None

    @property
    def fits(self) -> bool:
        """True when this machine can hold it."""
        return self.plan is not None and self.plan.fits


def empty(lang: str, studio: Studio, state: WorkerState, person: Person) -> str:
    """Return an empty state that teaches, for this kind of visitor and what runs now."""
    if state.ready:
        return w.empty(lang, "image.empty.ready", icon_name="wand")
    if person.guest:
        key = "image.empty.coming" if state.run is not None else "image.empty.closed"
        return w.empty(lang, key, icon_name="clock")
    if state.run is not None:
        return _coming(lang, studio, state.run)
    cards = "".join(_offer(lang, found) for found in offers(studio))
    more = (
        f'<button type="button" class="l-button quiet" data-image-fold data-image-up>'
        f"{w.icon('sliders')}<span>{w.esc(say(lang, 'image.empty.all'))}</span></button>"
    )
    starts = f'<div class="l-img-starts">{cards}</div>{more}'
    said = w.empty(lang, "image.empty.none", icon_name="power", actions=[starts])
    return f"{said}{_address(lang)}"


def offers(studio: Studio) -> list[Offer]:
    """Return the smallest recipe and the real one that draws fastest here, fitting or not."""
    mine = [recipe for recipe in studio.recipes.list() if recipe.engine == ENGINE]
    smoke = [_planned(studio, recipe) for recipe in mine if "/smoke" in recipe.name]
    real = [
        _planned(studio, recipe)
        for recipe in mine
        if "/smoke" not in recipe.name and _whole(studio, recipe)
    ]
    real.sort(key=_rank)
    return [*smoke[:1], *real[:1]]


def _planned(studio: Studio, recipe: Recipe) -> Offer:
    try:
        return Offer(recipe, studio.image_plan(studio.ask_for(recipe)))
    except StudioError:
        return Offer(recipe)


def _whole(studio: Studio, recipe: Recipe) -> bool:
    """Tell whether a recipe makes real pictures and everything it names is there."""
    if recipe.settings.get("load_format") == "dummy":
        return False
    try:
        engine, config = studio.validate(recipe.engine, recipe.settings)
        engine.check(config, ROOT)
    except StudioError:
        return False
    return True


def _rank(offer: Offer) -> tuple[bool, float]:
    first = offer.plan.first if offer.plan is not None else None
    return not offer.fits, first.picture_s if offer.fits and first is not None else 0.0


def _offer(lang: str, offer: Offer) -> str:
    """Return a recipe as a card that starts it, or that says why it cannot be started here."""
    recipe, plan = offer.recipe, offer.plan
    head = f"<b>{w.esc(recipe.title[lang])}</b><span>{w.esc(recipe.about[lang])}</span>"
    if plan is None or not plan.fits or plan.first is None:
        said = say(lang, "image.empty.no_room")
        return f'<div class="l-pick l-img-start">{head}{w.tag(said, tone="warn")}</div>'
    time = say(
        lang,
        "image.empty.expected",
        time=about(lang, plan.first.picture_s),
        rung=title(lang, plan.chosen),
    )
    return (
        f'<button type="button" class="l-pick l-img-start" data-act="start" '
        f'data-value="{w.esc(recipe.name)}">{head}<em>{w.icon("play")}{w.esc(time)}</em></button>'
    )


def _address(lang: str) -> str:
    """Return the field for a server that is not ours."""
    label, hint = (w.esc(say(lang, f"image.empty.address{key}")) for key in ("", "_hint"))
    return (
        f'<div class="l-inline-form l-img-address"><label class="l-grow">{label}'
        f'<input type="url" data-image-address placeholder="{hint}" spellcheck="false"></label>'
        f'<button type="button" class="l-button" data-image-connect>{w.icon("plug")}'
        f"<span>{w.esc(say(lang, 'image.empty.connect'))}</span></button></div>"
    )


def _coming(lang: str, studio: Studio, run: Run) -> str:
    progress = studio.progress(run.id)
    share = progress.done / progress.total if progress and progress.total else None
    bar = w.bar(share) if run.state is not State.QUEUED else ""
    reason = translate(lang, run.reason) if run.reason else ""
    chip = f'<div class="l-actions">{w.chip(lang, run)}</div>'
    parts = f'{chip}{bar}<p class="l-sub">{w.esc(reason)}</p>'
    return w.empty(lang, "image.empty.coming", icon_name="clock", actions=[parts])
