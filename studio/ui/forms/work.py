"""The left half of a work tab: recipes, the form, the plan, the command, one button.

Everything here only looks; the browser keeps what is typed and asks again while it changes.
A tab adds its own act for `launch`, whose value is the ask that `Asked.read` understands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request

from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.core.recipes import Bilingual, Recipe
from studio.core.settings import ROOT
from studio.studio import Launch
from studio.ui import widgets as w
from studio.ui.forms.form import Extras, fields_of, form
from studio.ui.i18n import lang_of, say, words
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.sentences import one_line, translate

if TYPE_CHECKING:
    from studio.engines.engine import Engine
    from studio.studio import Studio

MOST_COPIES = 64
SEEN_AT_ONCE = 9
"""Recipes that are offered without a field to find one."""
FILES = {"portable": "llamafactory.yaml"}
"""Pages that are files under another name than their own."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a form says, as the browser sends it."""

    engine: str
    settings: dict[str, Any]
    recipe: str = ""
    cards: int | list[int] | None = None
    copies: int = 1

    @classmethod
    def read(cls, text: str) -> Asked:
        """Read the JSON of a form; raise RecipeInvalid for anything else."""
        try:
            row = json.loads(text)
            asked = cls(
                engine=str(row["engine"]),
                settings=dict(row["settings"]),
                recipe=str(row.get("recipe") or ""),
                cards=row.get("cards"),
                copies=int(row.get("copies") or 1),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecipeInvalid(
                "This is not what a form sends.", hint="Reload the page and try again."
            ) from error
        if not 1 <= asked.copies <= MOST_COPIES:
            raise RecipeInvalid(f"copies = {asked.copies}: between 1 and {MOST_COPIES}.")
        return asked

    def launch(self, studio: Studio) -> Launch:
        """Return it as a launch, named after its recipe or its model."""
        recipe = studio.recipes.get(self.recipe) if self.recipe else None
        if recipe is not None and recipe.engine != self.engine:
            recipe = None
        return Launch(
            engine=self.engine,
            settings=self.settings,
            name=_name(recipe, self.settings),
            title=recipe.title.en if recipe else "",
            recipe=recipe.name if recipe else None,
            cards=self.cards if self.cards is not None else (recipe.cards if recipe else None),
        )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a tab says about an ask: HTML, whether it fits, and a few words beside the button."""

    html: str
    fits: bool = True
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkForm:
    """One tab's form. `plan` draws what the launch will need; `forms` writes it out."""

    studio: Studio
    tab: str
    offers: Callable[[Engine], bool]
    plan: Callable[[str, Launch, Asked, str], Planned]
    forms: Callable[[Launch, Asked], Mapping[str, str]]
    extras: Callable[[Engine], Extras] = lambda engine: Extras()
    copies: bool = False
    order: Sequence[str] = ()
    """Engines whose blank form is offered, in this order; the others follow."""
    first: str = ""
    """Recipe that the form opens with before anything was typed; else the first one there is."""
    above: Callable[[str], str] = lambda lang: ""
    """What comes before the recipes, in the visitor's language."""
    more: Callable[[str], str] = lambda lang: ""
    """Another way to begin, below the recipes, in the visitor's language."""
    hint: Callable[[str, Asked], str] = lambda lang, asked: ""
    """What a tab notices about an ask, above its plan; also while a setting is missing."""
    wants: Callable[[str, Asked], str] = lambda lang, asked: ""
    """What has to be chosen before there is anything to plan; said instead of a plan."""
    plan_title: str = "form.plan"
    """Key of the words above the plan."""
    _recent: Recent = field(default_factory=lambda: Recent(0.5))

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [
            Route(f"{self.tab}/work", self._work),
            Route(f"{self.tab}/choices", self._choices),
            Route(f"{self.tab}/form", self._form),
            Route(f"{self.tab}/plan", self._plan),
        ]

    # answers ------------------------------------------------------------------------------------

    def _work(self, request: Request) -> dict[str, Any]:
        """Return the frame of the left half, in the visitor's language."""
        lang = lang_of(request)
        said = {key: w.esc(say(lang, f"form.{key}")) for key in ("start", "command")}
        said["plan"] = w.esc(say(lang, self.plan_title))
        copies = ""
        if self.copies:
            copies = (
                f'<label class="l-copies"><span>{w.esc(say(lang, "form.copies"))}</span>'
                f'<input type="number" data-copies min="1" max="{MOST_COPIES}" value="1">'
                f"<small>{w.esc(say(lang, 'form.copies_help'))}</small></label>"
            )
        save = (
            f'<input type="text" data-save-name maxlength="60" '
            f'placeholder="{w.esc(say(lang, "form.save_name"))}" '
            f'aria-label="{w.esc(say(lang, "form.save_name"))}">'
            f'<button type="button" class="l-button" data-act="save" data-ask data-value="">'
            f"{w.icon('save')}<span>{w.esc(say(lang, 'form.save'))}</span></button>"
        )
        html = (
            f'<div class="l-work" data-work="{self.tab}">{self.above(lang)}'
            f'<h3 class="l-part-title">{said["start"]}</h3>{self._finder(lang)}'
            f"{w.live(f'{self.tab}/choices', every_s=10)}{self.more(lang)}"
            '<fieldset class="l-bare" data-work-form><div class="l-skeleton"></div></fieldset>'
            f'{copies}<h3 class="l-part-title">{said["plan"]}</h3>'
            '<div class="l-plan" data-work-plan><div class="l-skeleton"></div></div>'
            f'<details class="l-command"><summary>{w.icon("terminal")}<b>{said["command"]}</b>'
            '<span class="l-muted" data-work-told></span></summary>'
            "<div data-work-preview></div></details>"
            '<div class="l-launch"><button type="button" class="l-button primary big" '
            f'data-act="launch" data-ask data-value="">{w.icon("play")}<span>'
            f"{w.esc(say(lang, 'form.launch'))}</span></button>"
            '<span class="l-verdict" data-work-verdict></span>'
            f'<details class="l-save"><summary class="l-button quiet">{w.icon("save")}'
            f"<span>{w.esc(say(lang, 'form.save'))}</span></summary>"
            f'<div class="l-actions">{save}</div></details></div></div>'
        )
        return fragment(request, html, final=True)

    def _choices(self, request: Request) -> dict[str, Any]:
        """Return the recipes as cards, and the engines for those who begin with nothing."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("choices", lang), lambda: self._cards(lang)))

    def _form(self, request: Request) -> dict[str, Any]:
        """Return the form for a recipe, for an engine with its defaults, or for a kept ask."""
        lang, asked = lang_of(request), request.query_params
        if asked.get("ask"):
            kept = Asked.read(asked["ask"])
            engine, values, recipe, cards = kept.engine, kept.settings, kept.recipe, kept.cards
        elif asked.get("engine"):
            engine, values, recipe, cards = asked["engine"], {}, "", None
        else:
            found = self._recipe(asked.get("recipe", ""))
            engine, values, recipe, cards = found.engine, found.settings, found.name, found.cards
        values = {**values, **_overrides(asked.get("with", ""))}
        made = self.studio.engine(engine)
        if not self.offers(made):
            raise NotFound(f"{made.title} has no form here.", hint="Choose another engine.")
        html = form(lang, made.Config, values, extras=self.extras(made))
        pinned = cards if isinstance(cards, list) else []
        return {"engine": engine, "recipe": recipe, "html": html, "cards": pinned}

    def _plan(self, request: Request) -> dict[str, Any]:
        """Return the plan and the command of what the form says now, or what is wrong with it."""
        lang, asked = lang_of(request), Asked.read(request.query_params.get("ask", ""))
        on = request.query_params.get("on", "")
        verb = say(lang, "form.launch")
        if wanted := self.wants(lang, asked):
            return {"plan": wanted, "preview": "", "faults": [], "blocked": True, "verb": verb}
        try:
            launch = asked.launch(self.studio)
            engine, config = self.studio.validate(launch.engine, launch.settings)
        except StudioError as error:
            model = self.studio.engine(asked.engine).Config
            wrong = [f.name for f in fields_of(model) if _names(error.message, f.name)]
            note = w.note(one_line(lang, error), tone="bad", icon_name="alert")
            note = w.Html(self.hint(lang, asked) + note)
            return {"plan": note, "preview": "", "faults": wrong, "blocked": True, "verb": verb}
        told, blocked = "", False
        planned = self.plan(lang, launch, asked, on)
        html, anyway = self.hint(lang, asked) + planned.html, not planned.fits
        try:
            engine.check(config, ROOT)
        except StudioError as error:
            blocked = True
            html = w.note(one_line(lang, error), tone="bad", icon_name="alert") + html
        try:
            preview = _pages(lang, self.forms(launch, asked))
            told = say(lang, "form.as_it_runs")
        except StudioError as error:
            blocked, preview = True, w.note(one_line(lang, error), tone="bad", icon_name="alert")
        return {
            "plan": html,
            "preview": preview,
            "faults": [],
            "blocked": blocked,
            "told": told,
            "verdict": "" if blocked else planned.short,
            "fits": planned.fits,
            "verb": say(lang, "form.launch_anyway") if anyway and not blocked else verb,
            "confirm": say(lang, "form.anyway_confirm") if anyway and not blocked else "",
        }

    # pieces -------------------------------------------------------------------------------------

    def _finder(self, lang: str) -> str:
        """Return a field that finds recipes, where there are more than one sees at once."""
        if len(self._recipes()) <= SEEN_AT_ONCE:
            return ""
        hint = w.esc(say(lang, "form.find_recipe"))
        return (
            f'<div class="l-find">{w.icon("search")}<input type="search" data-pick-find '
            f'placeholder="{hint}" aria-label="{hint}"></div>'
        )

    def _engines(self) -> list[Engine]:
        found = [engine for engine in self.studio.engines.values() if self.offers(engine)]
        rank = {name: number for number, name in enumerate(self.order)}
        return sorted(found, key=lambda engine: (rank.get(engine.id, len(rank)), engine.title))

    def _recipe(self, name: str) -> Recipe:
        if name:
            return self.studio.recipes.get(name)
        recipes = self._recipes()
        if not recipes:
            raise NotFound("There is no recipe for this tab.")
        return recipes[0]

    def _recipes(self) -> list[Recipe]:
        """Return this tab's recipes: smoke first, then by engine as their blank forms stand."""
        rank = {engine.id: number for number, engine in enumerate(self._engines())}
        mine = [recipe for recipe in self.studio.recipes.list() if recipe.engine in rank]
        return sorted(
            mine,
            key=lambda r: (r.name != self.first, "/smoke" not in r.name, rank[r.engine], r.name),
        )

    def _cards(self, lang: str) -> str:
        engines = self._engines()
        names = {engine.id: w.esc(translate(lang, engine.title)) for engine in engines}
        cards = [
            f'<button type="button" class="l-pick" data-choose="{w.esc(recipe.name)}" '
            f'aria-pressed="false"><b>{w.esc(recipe.title[lang])}</b>'
            f'<span class="l-pick-engine">{names[recipe.engine]}</span>'
            f"<span>{w.esc(recipe.about[lang])}</span></button>"
            for recipe in self._recipes()
        ]
        blank = "".join(
            f'<button type="button" class="l-blank" data-blank="{w.esc(engine.id)}" '
            f'aria-pressed="false">{w.icon("plus")}{names[engine.id]}</button>'
            for engine in engines
        )
        return (
            f'<div class="l-picks">{"".join(cards)}</div>'
            f'<div class="l-blanks"><span>{w.esc(say(lang, "form.blank"))}</span>{blank}</div>'
        )


def _pages(lang: str, forms: Mapping[str, str]) -> str:
    tabs = "".join(
        f'<button type="button" role="tab" data-form-tab="{w.esc(name)}">'
        f"{w.esc(_page_name(lang, name))}</button>"
        for name in forms
    )
    pages = "".join(
        f'<div data-form-page="{w.esc(name)}" hidden>{w.code(text)}{_download(lang, name, text)}'
        "</div>"
        for name, text in forms.items()
    )
    strip = f'<div class="l-pages" role="tablist">{tabs}</div>' if len(forms) > 1 else ""
    return strip + pages


def _page_name(lang: str, name: str) -> str:
    """Return a page's word; a file that is written for the engine goes by its name."""
    key = f"form.page.{name}"
    return say(lang, key) if key in words(lang) else name


def _download(lang: str, name: str, text: str) -> str:
    """Return a link that saves a page which is a file."""
    file = FILES.get(name, name)
    if "." not in file:
        return ""
    return (
        f'<a class="l-link l-download" download="{w.esc(file)}" '
        f'href="data:text/plain;charset=utf-8,{quote(text)}">{w.icon("download")}'
        f"{w.esc(say(lang, 'form.download', file=file))}</a>"
    )


def ask_of(engine: str, settings: dict[str, Any], cards: str = "", copies: int = 1) -> Asked:
    """Return what a script asks for; `cards` is empty, a number, or indices such as `6,7`."""
    wanted: int | list[int] | None = None
    try:
        if "," in cards:
            wanted = [int(part) for part in cards.split(",") if part.strip()]
        elif cards.strip():
            wanted = int(cards)
    except ValueError as error:
        raise RecipeInvalid(
            f"cards = {cards!r}: neither a number nor a list of indices.",
            hint="Say 2 for any two idle cards, or 6,7 for these two.",
        ) from error
    return Asked(engine=engine, settings=settings, cards=wanted, copies=max(1, copies))


def save_recipe(studio: Studio, text: str) -> Recipe:
    """Keep what a form says as one of the user's own recipes; raise RecipeInvalid."""
    asked, name = Asked.read(text), str(json.loads(text).get("name", "")).strip()
    studio.validate(asked.engine, asked.settings)
    base = studio.recipes.get(asked.recipe) if asked.recipe else None
    about = base.about if base else Bilingual(en="My own settings.", zh="我自己的设置。")
    recipe = {
        "engine": asked.engine,
        "title": {"en": name, "zh": name},
        "about": about,
        "cards": asked.cards,
        "settings": asked.settings,
    }
    return studio.recipes.save(name, Recipe.model_validate(recipe))


def _name(recipe: Recipe | None, settings: Mapping[str, Any]) -> str:
    if recipe is not None:
        return recipe.name.rpartition("/")[2]
    for key in ("model", "model_name_or_path", "model_path"):
        if settings.get(key):
            return str(settings[key]).rstrip("/").rpartition("/")[2].lower()
    return ""


def _overrides(text: str) -> dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _names(message: str, field_name: str) -> bool:
    return any(
        message.find(form) >= 0
        for form in (f" {field_name} = ", f" {field_name} is ", f" {field_name}.")
    )
