"""What a study will run, before it does: every case with its cards, its command, or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from studio.core.errors import StudioError
from studio.core.recipes import Recipe
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import one_line, translate, translate_error
from studio.ui.study.gallery import count
from studio.ui.study.needs import CellNeeds, Needs, needs
from studio.ui.study.settings import case_title, settings_of, study_launch, study_line

if TYPE_CHECKING:
    from studio.studio import Studio


def study_plan(studio: Studio, lang: str, recipe: Recipe, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the answer that `assets/js/form.js` shows: the plan, the command, what is wrong."""
    verb = say(lang, "study.launch")
    try:
        settings = settings_of(recipe, asked)
        found = needs(studio, settings)
        studio.preview(study_launch(recipe, settings))
    except StudioError as error:
        note = w.note(one_line(lang, error), tone="bad", icon_name="alert")
        return {"plan": note, "preview": "", "faults": [], "blocked": True, "verb": verb}
    able, of = len(found.possible), len(found.cells)
    key = "study.plan.verdict" if able == of else "study.plan.verdict_some"
    return {
        "plan": cells_html(studio, lang, recipe, found),
        "preview": w.code(study_line(recipe, settings)),
        "faults": [],
        "blocked": False,
        "told": say(lang, "study.plan.told"),
        "verdict": say(lang, key, n=able, of=of) if able else say(lang, "study.plan.none"),
        "fits": able == of,
        "verb": verb if able else say(lang, "form.launch_anyway"),
        "confirm": "" if able else say(lang, "study.plan.anyway"),
    }


def cells_html(studio: Studio, lang: str, recipe: Recipe, found: Needs) -> str:
    """Return every cell of a study as a line that unfolds into its command."""
    tone = "l-tone-ok" if len(found.possible) == len(found.cells) else ""
    rows = sum(item.rows for item in found.possible)
    told = [count(lang, "study.needs.case", len(found.cells))]
    told += [count(lang, "study.plan.row", rows)] if rows else []
    lead = " · ".join(told)
    lines = "".join(_cell(studio, lang, recipe, item) for item in found.cells)
    build = ""
    if found.to_build:
        names = ", ".join(found.to_build)
        build = w.note(say(lang, "study.can.build", name=names), icon_name="hammer")
    return (
        f'<p class="l-plan-lead {tone}">{w.esc(lead)}</p>{build}'
        f'<div class="l-case-plans">{lines}</div>'
    )


def _cell(studio: Studio, lang: str, recipe: Recipe, item: CellNeeds) -> str:
    cell = item.cell
    facts = []
    if item.cards:
        facts.append(w.tag(count(lang, "study.needs.card", item.cards), icon_name="gpu"))
    if cell.copies > 1:
        facts.append(w.tag(say(lang, "study.plan.copies", n=cell.copies)))
    if item.missing is not None:
        facts.append(w.tag(say(lang, "study.plan.no"), icon_name="minus"))
    else:
        facts.append(w.tag(count(lang, "study.plan.row", item.rows)))
    changed = " ".join(f"{key}={units_plain(value)}" for key, value in cell.condition.items())
    body = _body(studio, lang, item)
    return (
        f'<details class="l-case-plan"><summary>{w.icon("right")}'
        f"<b>{w.esc(case_title(lang, recipe, cell.name))}</b>"
        f"<small>{w.esc(cell.launch.recipe or cell.launch.engine)}</small>"
        f'<span class="l-tags">{"".join(facts)}</span></summary>'
        f"{f'<p><code>{w.esc(changed)}</code></p>' if changed else ''}{body}</details>"
    )


def _body(studio: Studio, lang: str, item: CellNeeds) -> str:
    why = ""
    if item.missing is not None:
        text = " ".join(part for part in translate_error(lang, item.missing) if part)
        why = f"<p>{w.esc(text)}</p>"
    try:
        script = studio.preview_script(item.cell.launch)
    except StudioError as error:
        return why or f"<p>{w.esc(translate(lang, error.message))}</p>"
    return f"{why}{w.code(script)}"


def units_plain(value: Any) -> str:
    """Return a setting as it would be written on a command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return units.number(value) if isinstance(value, float) else str(value)
