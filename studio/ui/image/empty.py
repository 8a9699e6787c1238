"""What the place of the result says before there is one: how it works, or how to get a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.chat.desk import Person
from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.planner.image_result import ImagePlan
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image.rungs import about, title
from studio.ui.image.state import WorkerState
from studio.ui.image.workers import ENGINE
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
    """Return a recipe as a card: what its plan says, starting it, and its ladder beside the form.

    One that does not fit says what it lacks, and has the ladder all the same: another machine, a
    smaller size or quantization are chosen there.
    """
    recipe, plan = offer.recipe, offer.plan
    head = f"<b>{w.esc(recipe.title[lang])}</b><span>{w.esc(recipe.about[lang])}</span>"
    ladder = (
        f'<button type="button" class="l-button small" data-image-plan="{w.esc(recipe.name)}">'
        f"{w.icon('layers')}<span>{w.esc(say(lang, 'image.empty.ladder'))}</span></button>"
    )
    first = plan.first if plan is not None and plan.fits else None
    if plan is None or first is None:
        why = _lacks(lang, plan)
        told = f"<small>{w.esc(why)}</small>" if why else ""
        said = w.tag(say(lang, "image.empty.no_room"), tone="warn")
        return (
            f'<div class="l-pick l-img-start">{head}{said}{told}'
            f'<div class="l-actions">{ladder}</div></div>'
        )
    rung, time = title(lang, plan.chosen), about(lang, first.picture_s)
    said = say(lang, "image.empty.expected", time=time, rung=rung)
    takes = translate(lang, first.why)
    if plan.download_bytes:
        fetched = say(lang, "image.empty.download", size=units.size(plan.download_bytes))
        takes = f"{takes} {fetched}"
    start = w.action(
        say(lang, "image.empty.start"), "start", recipe.name, icon_name="play", kind="primary small"
    )
    return (
        f'<div class="l-pick l-img-start">{head}<em>{w.esc(said)}</em>'
        f"<small>{w.esc(takes)}</small>"
        f'<div class="l-actions">{start}{ladder}</div></div>'
    )


def _lacks(lang: str, plan: ImagePlan | None) -> str:
    """Return what the least demanding rung lacks; empty where nothing could be worked out."""
    least = [rung for rung in plan.rungs if rung.host_bytes] if plan else []
    return translate(lang, least[-1].why) if least else ""


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
