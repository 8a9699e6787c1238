"""Which engines the Train tab offers, what it knows about their fields, and how they are written.

Suggestions while typing, the data sets as buttons below their field, the template that fits the
model, the pages of the command preview, and the box that takes a LLaMA-Factory YAML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.data.model import DataSet
from studio.engines.found import local_adapters, local_models
from studio.engines.template_names import templates_for
from studio.engines.templates import TEMPLATES
from studio.engines.training_yaml_read import from_yaml
from studio.export.training import training_yaml
from studio.jobs.rundir import script
from studio.studio import Launch
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.forms.form import Extras
from studio.ui.forms.work import Asked
from studio.ui.i18n import lang_of, say
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.engines.engine import Engine
    from studio.studio import Studio

LLAMAFACTORY = "llamafactory-train"
ENGINES = (
    LLAMAFACTORY,
    "train-script",
    "llamafactory-export",
    "llamafactory-predict",
    "lm-eval",
    "llm-compressor",
)
"""The engines of the tab, as their blank forms stand."""

MODEL_FIELDS = ("model_name_or_path", "model", "ref_model", "model_path")
ADAPTER_FIELDS = ("adapter_name_or_path", "adapter", "adapter_path")
DATA_FIELDS = ("dataset", "eval_dataset")
LARGEST_YAML = 256 * 1024
PLACEHOLDER = """model_name_or_path: Qwen/Qwen2.5-7B-Instruct
stage: sft
finetuning_type: lora
dataset: …"""


def offers(engine: Engine) -> bool:
    """Tell whether an engine belongs to the tab."""
    return engine.id in ENGINES


def training_extras(studio: Studio) -> Callable[[Engine], Extras]:
    """Return what is offered while a model, a template, an adapter or a data set is typed."""

    def extras(engine: Engine) -> Extras:
        named = (
            str(recipe.settings[key])
            for recipe in studio.recipes.list()
            for key in MODEL_FIELDS
            if key in recipe.settings
        )
        home = studio.settings.home
        models = list(dict.fromkeys([*local_models(ROOT, home), *named]))
        sets = studio.data.list()
        offered: dict[str, list[str]] = {
            **dict.fromkeys(MODEL_FIELDS, models),
            **dict.fromkeys(ADAPTER_FIELDS, local_adapters(home)),
            **{key: [item.name for item in sets] for key in DATA_FIELDS},
            "template": TEMPLATES,
        }
        below = {name: _chips(sets) for name in DATA_FIELDS if name in engine.Config.model_fields}
        return Extras(suggestions=offered, below=below)

    return extras


def training_hint(studio: Studio) -> Callable[[str, Asked], str]:
    """Return what is noticed about an ask: the template that fits its model, one click to take."""

    def hint(lang: str, asked: Asked) -> str:
        if "template" not in studio.engine(asked.engine).Config.model_fields:
            return ""
        model = next((str(asked.settings[k]) for k in MODEL_FIELDS if asked.settings.get(k)), "")
        fitting = templates_for(model, ROOT)
        chosen = str(asked.settings.get("template") or "")
        if not fitting or chosen in fitting:
            return ""
        changes = w.esc(json.dumps({"template": fitting[0]}))
        take = w.esc(say(lang, "train.take_template", name=fitting[0]))
        text = w.esc(say(lang, "train.template_fits", name=fitting[0], model=_short(model)))
        return (
            f'<p class="l-note l-tone-accent">{w.icon("wand")}<span>{text}</span>'
            f'<button type="button" class="l-button small" data-form-set="{changes}">{take}'
            "</button></p>"
        )

    return hint


def training_forms(studio: Studio) -> Callable[[Launch, Asked], Mapping[str, str]]:
    """Return the pages of the preview: command, every file that is written, a YAML to take away."""

    def forms(launch: Launch, asked: Asked) -> Mapping[str, str]:
        spec = studio.preview(launch)
        pages = {"sh": script(spec), **spec.command.files}
        if launch.engine == LLAMAFACTORY:
            pages["portable"] = portable_yaml(studio, launch)
        return pages

    return forms


def portable_yaml(studio: Studio, launch: Launch) -> str:
    """Return a launch as a YAML that runs without the studio; raise RecipeInvalid."""
    engine, config = studio.validate(launch.engine, launch.settings)
    has_gpu, data = studio.envs.variant() == "cuda", str(studio.settings.home / "data")
    return training_yaml(engine, config, cards=launch.cards, has_gpu=has_gpu, data_dir=data)


# a YAML becomes the form ------------------------------------------------------------------------


def yaml_box(lang: str) -> str:
    """Return the box that takes a LLaMA-Factory YAML; `assets/js/trainform.js` sends it."""
    said = {key: w.esc(say(lang, f"train.yaml.{key}")) for key in ("title", "help", "file", "go")}
    return (
        f'<details class="l-yaml" data-yaml data-ladder-keep><summary>{w.icon("file")}'
        f"<b>{said['title']}</b></summary><p>{said['help']}</p>"
        f'<textarea rows="7" spellcheck="false" aria-label="{said["title"]}" '
        f'placeholder="{w.esc(PLACEHOLDER)}"></textarea>'
        f'<div class="l-actions"><button type="button" class="l-button" data-yaml-go>'
        f"{w.icon('right')}<span>{said['go']}</span></button>"
        f'<label class="l-button quiet">{w.icon("upload")}<span>{said["file"]}</span>'
        '<input type="file" accept=".yaml,.yml,.json" data-yaml-file hidden></label></div>'
        "<div data-yaml-told></div></details>"
    )


async def read_yaml(request: Request) -> dict[str, Any]:
    """Answer a pasted YAML with the form it means, and what was left out or put elsewhere."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_YAML:
            raise RecipeInvalid(
                "This is too long for a YAML of settings.",
                hint="Paste the file that `llamafactory-cli train` is given.",
            )
    lang = lang_of(request)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise RecipeInvalid("This file is not text in UTF-8.") from error
    found = from_yaml(text)
    ask = {"engine": LLAMAFACTORY, "settings": found.settings}
    return {"ask": ask, "html": _told(lang, found.settings, found.notes)}


def _told(lang: str, settings: dict[str, Any], notes: list[str]) -> str:
    extra = settings.get("extra_args") or []
    fields = len(settings) - bool(extra)
    html = w.note(say(lang, "train.yaml.filled", n=fields), tone="ok", icon_name="check")
    if extra:
        told = say(lang, "train.yaml.extra", n=len(extra), words=" ".join(extra))
        html += w.note(told, icon_name="info")
    if notes:
        items = "".join(f"<li>{w.esc(translate(lang, note))}</li>" for note in notes)
        html += f'<ul class="l-yaml-notes">{items}</ul>'
    return html


# pieces -----------------------------------------------------------------------------------------


def _chips(sets: list[DataSet]) -> Callable[[str], str]:
    """Return the data sets as buttons that put their name into the field above, or take it out."""

    def chips(lang: str) -> str:
        buttons = "".join(
            f'<button type="button" class="l-datachip" data-toggle-word="{w.esc(item.name)}" '
            f'title="{w.esc(item.kind)}">{w.esc(item.name)}'
            f"<small>{w.esc(units.number(item.rows))}</small></button>"
            for item in sets
        )
        more = w.link(say(lang, "train.more_data"), "data")
        return f'<div class="l-datachips">{buttons}{more}</div>'

    return chips


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]
