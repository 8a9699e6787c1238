"""What the form of a study asks for, and how its answers become the settings of the study.

Numbers and switches are the engine's own fields. Cases are chosen by buttons; settings laid over
every case, the load and the matrix are rows of a name and a value, written as in a recipe.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from studio.core.errors import RecipeInvalid, StudioError
from studio.core.recipes import Recipe, parse_overrides
from studio.engines.study_config import StudyConfig
from studio.launch import Launch
from studio.studies.cells import OF_CASE
from studio.studies.studies import ENGINE, FOLDER, NESTED
from studio.ui import widgets as w
from studio.ui.forms.form import Extras, fields_of, form
from studio.ui.i18n import say

if TYPE_CHECKING:
    from studio.studio import Studio

PAIRS = ("common", "load", "images", "matrix")
"""Settings that are mappings and may be changed in the form."""
KEPT = frozenset({*PAIRS, "cases", "measure", "ask", "chart", "expect", "results", "extra_args"})
"""Settings that the form does not ask for as the engine declares them."""


def study_recipes(studio: Studio) -> list[Recipe]:
    """Return the studies that can be asked: those for a small machine first, then by name."""
    found = studio.recipes.list(engine=ENGINE)
    return sorted(
        found, key=lambda recipe: (not short(recipe.name).startswith("smoke"), recipe.name)
    )


def short(name: str) -> str:
    """Return a recipe's name without its folder."""
    return name.rpartition("/")[2]


def settings_of(recipe: Recipe, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study's settings: the recipe's, with what the form says instead.

    What the form shows and does not name has the engine's default, as in every form. Expectations
    about a case that is left out are left out with it. Raise RecipeInvalid for lines that cannot be
    read.
    """
    found = {key: value for key, value in recipe.settings.items() if key in KEPT}
    found |= {key: value for key, value in asked.items() if key not in KEPT}
    for name in PAIRS:
        if name in asked:
            found[name] = _mapping(asked[name])
    if asked.get("cases"):
        chosen = [name for name in str(asked["cases"]).split(",") if name]
        found |= only(chosen, found)
    return found


def study_launch(recipe: Recipe, settings: dict[str, Any]) -> Launch:
    """Return a study as a launch that is named after its recipe."""
    return Launch(
        engine=ENGINE,
        settings=settings,
        name=short(recipe.name),
        title=recipe.title.en,
        recipe=recipe.name,
        cards=0,
    )


def study_line(recipe: Recipe, settings: Mapping[str, Any]) -> str:
    """Return the same study as one line for a terminal; what is as in the recipe is left out."""
    words: list[str] = []
    whole = {key: _default(key) for key in recipe.settings} | dict(settings)
    for key, value in whole.items():
        base = recipe.settings.get(key)
        if value == base or (base is None and value == _default(key)):
            continue
        if key == "common" or (key in NESTED and not set(base or {}) - set(value)):
            head = "" if key == "common" else f"{key}."
            words += [
                f"{head}{name}={said(inner)}"
                for name, inner in value.items()
                if inner != (base or {}).get(name)
            ]
        else:
            words.append(f"{key}={said(value)}")
    name = short(recipe.name) if recipe.name.startswith(FOLDER) else recipe.name
    return shlex.join(["python", "app.py", "study", name, *words])


def _default(key: str) -> Any:
    field = StudyConfig.model_fields.get(key)
    return None if field is None else field.get_default(call_default_factory=True)


def study_form(
    lang: str, recipe: Recipe, asked: Mapping[str, Any] | None, names: Iterable[str] = ()
) -> str:
    """Return the form of a study, with what was typed before where somebody typed.

    `names` are offered while the name of a common setting is typed.
    """
    values = dict(recipe.settings) if asked is None else dict(asked)
    known = [item.name for item in fields_of(StudyConfig)]
    shown = {key: value for key, value in values.items() if key in known and key not in KEPT}
    head = cases_field(lang, recipe, str((asked or {}).get("cases") or ""))
    rows = {
        name: pairs_field(lang, recipe, name, (asked or {}).get(name)) for name in _pairs_of(recipe)
    }
    html = form(lang, StudyConfig, shown, extras=Extras(hidden=KEPT))
    options = "".join(f'<option value="{w.esc(name)}"></option>' for name in names)
    offered = f'<datalist id="study-names">{options}</datalist>'
    own = f'<div class="l-fields">{head}{rows.pop("common")}</div>{offered}'
    html = html.replace('<div class="l-fields">', own + '<div class="l-fields">', 1)
    folded = "".join(_folded(lang, recipe, name, field) for name, field in rows.items())
    return html.replace('<div class="l-groups">', f'<div class="l-groups">{folded}', 1)


def setting_names(studio: Studio, recipe: Recipe) -> list[str]:
    """Return the settings that the cases of a study know, and those of every case."""
    found = dict.fromkeys(OF_CASE)
    for case in _cases(recipe).values():
        try:
            engine = case.get("engine") or studio.recipes.get(case["recipe"]).engine
            found |= dict.fromkeys(studio.engine(engine).Config.model_fields)
        except StudioError:
            continue
    return list(found)


# fields of our own ------------------------------------------------------------------------------


def cases_field(lang: str, recipe: Recipe, chosen: str) -> str:
    """Return the cases as buttons; at least one stays pressed."""
    cases = _cases(recipe)
    chips = "".join(
        f'<button type="button" class="l-case-chip" data-case="{w.esc(name)}" aria-pressed="true" '
        f'title="{w.esc(name)}">{w.icon("check")}{w.esc(case_title(lang, recipe, name))}</button>'
        for name in cases
    )
    every = ",".join(cases)
    control = (
        f'<input type="text" name="cases" value="{w.esc(chosen or every)}">'
        f'<div class="l-cases-pick">{chips}</div>'
    )
    return _field(lang, "cases", "hidden", every, control)


def pairs_field(lang: str, recipe: Recipe, name: str, given: Any) -> str:
    """Return a mapping as rows of a name and a value."""
    default = [f"{key}={said(value)}" for key, value in (recipe.settings.get(name) or {}).items()]
    lines = default if given is None else [str(line) for line in given]
    words = {
        key: w.esc(say(lang, f"study.pair.{key}")) for key in ("name", "value", "add", "remove")
    }
    listed = ' list="study-names"' if name == "common" else ""
    row = (
        f'<div class="l-pair-row"><input type="text"{listed} spellcheck="false" autocomplete="off" '
        f'placeholder="{words["name"]}" aria-label="{words["name"]}"><i>=</i>'
        f'<input type="text" spellcheck="false" autocomplete="off" '
        f'placeholder="{words["value"]}" aria-label="{words["value"]}">'
        f'<button type="button" data-pair-gone title="{words["remove"]}" '
        f'aria-label="{words["remove"]}">{w.icon("cross")}</button></div>'
    )
    area = w.esc("\n".join(lines))
    control = (
        f'<textarea name="{name}" rows="2">{area}</textarea><div class="l-pair-rows" data-pairs>'
        f'<template>{row}</template><button type="button" class="l-button small" data-pair-more>'
        f"{w.icon('plus')}<span>{words['add']}</span></button></div>"
    )
    return _field(lang, name, "pairs", default, control)


def case_title(lang: str, recipe: Recipe, name: str) -> str:
    """Return what a case is called; a matrix adds its values to the name."""
    base, _, more = name.partition(" · ")
    told = (_cases(recipe).get(base) or {}).get("title")
    title = told.get(lang) or told.get("en") if isinstance(told, Mapping) else None
    return " · ".join(filter(None, (str(title or base), more)))


def said(value: Any) -> str:
    """Return a value as a recipe would write it, so that it is read back the same."""
    if isinstance(value, str):
        try:
            plain = parse_overrides([f"x={value}"])["x"] == value
        except RecipeInvalid:
            plain = False
        return value if plain else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


# inside -----------------------------------------------------------------------------------------


def _field(lang: str, name: str, look: str, default: Any, control: str) -> str:
    """Return a field as `assets/js/form.js` reads it; its words are the engine's."""
    item = next(item for item in fields_of(StudyConfig) if item.name == name)
    kind = "lines" if look == "pairs" else "text"
    reset = w.esc(say(lang, "form.reset"))
    found = f"{name} {item.title.en} {item.title.zh} {item.help[lang]}".lower()
    return (
        f'<div class="l-field l-wide l-field-{look}" data-name="{name}" data-kind="{kind}" '
        f'data-default="{w.esc(json.dumps(default, ensure_ascii=False))}" '
        f'data-words="{w.esc(found)}"><div class="l-field-head">'
        f"<label>{w.esc(item.title[lang])}</label><code>{name}</code>"
        f'<button type="button" data-reset title="{reset}" aria-label="{reset}" hidden>'
        f"{w.icon('refresh')}</button></div>{control}<small>{w.esc(item.help[lang])}</small></div>"
    )


def _folded(lang: str, recipe: Recipe, name: str, field: str) -> str:
    """Return a field of rows as a group of its own that says its values while it is shut."""
    item = next(item for item in fields_of(StudyConfig) if item.name == name)
    told = ", ".join(f"{key} {said(value)}" for key, value in recipe.settings[name].items())
    return (
        f'<details class="l-group" data-group="{name}"><summary>{w.icon("right")}'
        f"<b>{w.esc(item.title[lang])}</b>"
        f'<span class="l-group-count" data-changed></span><small>{w.esc(told)}</small></summary>'
        f'<div class="l-fields">{field}</div></details>'
    )


def _cases(recipe: Recipe) -> dict[str, Any]:
    found = recipe.settings.get("cases")
    return dict(found) if isinstance(found, Mapping) else {}


def _pairs_of(recipe: Recipe) -> Iterable[str]:
    """Yield the mappings that make sense: common always, the others where the study has them."""
    return [name for name in PAIRS if name == "common" or recipe.settings.get(name)]


def _mapping(lines: Any) -> dict[str, Any]:
    if isinstance(lines, Mapping):
        return dict(lines)
    if not isinstance(lines, Sequence) or isinstance(lines, str):
        raise RecipeInvalid("This is not what a form sends.", hint="Reload the page and try again.")
    return parse_overrides([str(line) for line in lines if str(line).strip()])


def only(chosen: Sequence[str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chosen cases, and the expectations that are about them alone."""
    cases = {name: case for name, case in settings.get("cases", {}).items() if name in chosen}
    kept = [
        wanted
        for wanted in settings.get("expect", [])
        if all(
            str(wanted.get(key) or "").partition(" · ")[0] in ("", *cases)
            for key in ("of", "against")
        )
    ]
    return {"cases": cases, "expect": kept}
