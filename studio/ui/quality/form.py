"""A new comparison: which engines the form is for, and what is one click away below its fields."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.engines.quality import QualityConfig
from studio.quality.contestants import SPLIT
from studio.quality.questions import QuestionFile, question_files
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.forms.form import Extras, fields_of
from studio.ui.forms.work import Asked, Planned
from studio.ui.i18n import lang_of, say
from studio.ui.plan.view import figures_html
from studio.ui.quality.room import category
from studio.ui.sentences import one_line

if TYPE_CHECKING:
    from studio.engines.engine import Engine
    from studio.launch import Launch
    from studio.studio import Studio

QUALITY = "quality"
ENGINES = (QUALITY, "lm-eval")
"""The engines of the view, as their blank forms stand."""
ASKED = ("answers_from", "judge")
"""Fields that name an endpoint and one of its models."""
PROMPT = "judge_prompt"
"""A mapping in recipes; here a text of several lines."""
OWN = frozenset({PROMPT, "results"})
"""Fields that this view asks for in its own way, or fills in."""


def offers(engine: Engine) -> bool:
    """Tell whether an engine belongs to the view."""
    return engine.id in ENGINES


def quality_extras(studio: Studio) -> Callable[[Engine], Extras]:
    """Return what is offered below the fields: models that answer now, and question files."""

    def extras(engine: Engine) -> Extras:
        if engine.id != QUALITY:
            return Extras()
        below: dict[str, Callable[[str], str]] = {
            name: lambda lang: models(lang, studio) for name in ASKED
        }
        below["questions"] = lambda lang: files(lang, folders(studio))
        return Extras(below=below, hidden=OWN)

    return extras


def folders(studio: Studio) -> list[Path]:
    """Return where question files are looked for: the studio's own, then the user's."""
    return [ROOT / "assets" / "data", studio.settings.home / "data"]


def plan(studio: Studio, lang: str, launch: Launch) -> Planned:
    """Return how much a comparison will ask, and whom; an evaluation has nothing to plan."""
    engine, config = studio.validate(launch.engine, launch.settings)
    if engine.id != QUALITY:
        return Planned(html=w.note(say(lang, "quality.plan.beside")), short="")
    assert isinstance(config, QualityConfig)
    try:
        asking = studio.quality.asking(config)
    except StudioError as error:
        note = w.note(one_line(lang, error), tone="bad", icon_name="alert")
        return Planned(html=note, fits=False)
    facts = [
        (say(lang, "quality.plan.questions"), units.number(asking.questions), ""),
        (say(lang, "quality.plan.answers"), units.number(asking.answers), ""),
        (say(lang, "quality.plan.judgements"), units.number(asking.judgements), ""),
    ]
    names = " · ".join(category(lang, name) for name in asking.categories)
    html = f'<p class="l-plan-lead">{w.esc(names)}</p>{figures_html(facts)}'
    silent = [word for word in config.answers_from if not _answers(studio, word)]
    if silent:
        text = say(lang, "quality.plan.silent", names=", ".join(silent))
        html = w.note(text, tone="warn", icon_name="alert") + html
    elif len(config.answers_from) == 1 and not config.results:
        html += w.note(say(lang, "quality.one_model"))
    key = "quality.plan.unfit" if silent else "quality.plan.fits"
    return Planned(html=html, fits=not silent, short=say(lang, key))


def quality_form(answer: dict[str, Any], request: Request, studio: Studio) -> dict[str, Any]:
    """Return the answer of a form with the judge's prompt in it, as YAML in a box."""
    if answer.get("engine") != QUALITY:
        return answer
    asked = request.query_params
    if asked.get("ask"):
        given = Asked.read(asked["ask"]).settings.get(PROMPT)
    else:
        recipe = answer.get("recipe")
        given = studio.recipes.get(recipe).settings.get(PROMPT) if recipe else None
    field = judge_field(lang_of(request), as_yaml(given))
    return {**answer, "html": answer["html"].replace("</form>", f"{field}</form>")}


def judge_field(lang: str, text: str) -> str:
    """Return the judge's prompt as a box of several lines."""
    item = next(item for item in fields_of(QualityConfig) if item.name == PROMPT)
    return (
        '<div class="l-groups"><details class="l-group"><summary>'
        f"{w.icon('right')}<b>{w.esc(item.title[lang])}</b>"
        '<span class="l-group-count" data-changed></span></summary><div class="l-fields">'
        f'<div class="l-field l-wide" data-name="{PROMPT}" data-kind="text" '
        f'data-default="&quot;&quot;" data-words="{w.esc(item.title.en.lower())}">'
        f'<div class="l-field-head"><label for="f-{PROMPT}">{w.esc(item.title[lang])}</label>'
        f'<code>{PROMPT}</code><button type="button" data-reset hidden>{w.icon("refresh")}'
        f'</button></div><textarea id="f-{PROMPT}" rows="14" spellcheck="false">'
        f"{w.esc(text)}</textarea><small>{w.esc(item.help[lang])}</small></div></div></details>"
        "</div>"
    )


def as_yaml(given: Any) -> str:
    """Return a mapping as it would be written in a recipe; a text as it is."""
    if not given or isinstance(given, str):
        return str(given or "")
    from ruamel.yaml import YAML  # heavy, and needed only when a prompt is looked at

    buffer = io.StringIO()
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.width = 100
    yaml.dump(_blocks(given), buffer)
    return buffer.getvalue()


def models(lang: str, studio: Studio) -> str:
    """Return every model that answers now as a button; where none does, how to get one."""
    chips = ""
    for endpoint in studio.endpoints():
        for model in endpoint.models:
            several = len(endpoint.models) > 1 or len(studio.endpoints()) > 1
            shown = f"{model} @ {endpoint.name}" if several else model
            chips += _chip(f"{endpoint.id}{SPLIT}{model}", shown)
    if not chips:
        text = w.esc(say(lang, "quality.no_endpoint"))
        link = w.link(say(lang, "quality.serve_one"), "serve")
        return f'<div class="l-line-chips"><small>{text}</small>{link}</div>'
    return f'<div class="l-line-chips">{chips}</div>'


def files(lang: str, where: list[Path]) -> str:
    """Return every question file as a button, with how many questions it holds."""
    found = [item for item in question_files(where) if not item.error]
    return f'<div class="l-line-chips">{"".join(_file(lang, item) for item in found)}</div>'


def _file(lang: str, item: QuestionFile) -> str:
    path = item.path
    name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
    text = f"{path.stem.removeprefix('questions-')} · "
    return _chip(name, text + say(lang, "quality.questions_in", n=item.questions))


def _chip(value: str, text: str) -> str:
    return (
        f'<button type="button" data-line-add="{w.esc(value)}" aria-pressed="false" '
        f'title="{w.esc(value)}">{w.esc(text)}</button>'
    )


def _answers(studio: Studio, word: str) -> bool:
    """Tell whether a word names an endpoint that is known now, or is an address."""
    where = word.partition(SPLIT)[0].strip()
    if "://" in where:
        return True
    return any(
        where == endpoint.name or endpoint.id.startswith(where) for endpoint in studio.endpoints()
    )


def _blocks(given: Any) -> Any:
    """Return the same mapping with texts of several lines as blocks."""
    from ruamel.yaml.scalarstring import LiteralScalarString  # with ruamel.yaml itself

    if isinstance(given, dict):
        return {key: _blocks(value) for key, value in given.items()}
    return LiteralScalarString(given) if isinstance(given, str) and "\n" in given else given
