"""A settings model as a form: plain HTML, made from the fields the engine declares once.

    fields_of(VllmConfig)                         what each setting is: kind, default, limits, words
    form("zh", VllmConfig, {"max_model_len": 4096})

The main fields come first, the rest is folded by topic with a search over all of them. The browser
collects what differs from the defaults (`assets/js/form.js`), so a form, a recipe and a command
line say the same few words. Nothing here checks a value: `check_settings` does, for all doors.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from studio.core.recipes import Bilingual
from studio.engines.engine import EngineConfig
from studio.ui import widgets as w
from studio.ui.i18n import say, words

Kind = Literal[
    "text", "secret", "integer", "number", "switch", "tristate", "choice", "lines", "numbers"
]

MAIN = "main"
SECRETS = ("api_key",)
WIDE = ("base_url", "model", "model_name_or_path", "dataset", "script")
"""Fields that get a row of their own."""


@dataclass(frozen=True, kw_only=True)
class FormField:
    """One setting as a person meets it."""

    name: str
    title: Bilingual
    help: Bilingual
    group: str
    kind: Kind
    default: Any
    required: bool = False
    optional: bool = False
    """True when it may be left empty, which leaves the choice to the engine."""
    choices: tuple[str, ...] = ()
    suggestions: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    unavailable: Mapping[str, Bilingual] = field(default_factory=dict)
    """Choices that exist and cannot be taken, each with its reason."""


@dataclass(frozen=True)
class Extras:
    """What a tab knows about fields that their engine does not."""

    suggestions: Mapping[str, Iterable[str]] = field(default_factory=dict)
    """Values offered while typing, by field."""
    hidden: frozenset[str] = frozenset()
    """Fields the tab asks for in its own way."""
    below: Mapping[str, Callable[[str], str]] = field(default_factory=dict)
    """HTML below a field's control, by field, made for the visitor's language."""


@cache
def fields_of(model: type[EngineConfig]) -> tuple[FormField, ...]:
    """Return a model's fields, in the order in which their engine declares them."""
    return tuple(_field(name, info) for name, info in model.model_fields.items())


def groups_of(model: type[EngineConfig]) -> dict[str, list[FormField]]:
    """Return the fields by topic: `main` first, the others as they first appear, expert last."""
    found: dict[str, list[FormField]] = {MAIN: []}
    for item in fields_of(model):
        found.setdefault(item.group, []).append(item)
    for last in ("server", "expert"):
        if last in found:
            found[last] = found.pop(last)
    return found


def form(
    lang: str,
    model: type[EngineConfig],
    values: Mapping[str, Any],
    *,
    extras: Extras | None = None,
) -> str:
    """Return the form with `values` filled in; a field that is not named has its default."""
    extras = extras or Extras()
    parts, folded = [], []
    for group, items in groups_of(model).items():
        shown = [item for item in items if item.name not in extras.hidden]
        body = "".join(_row(lang, item, values, extras) for item in shown)
        if group == MAIN:
            parts.append(f'<div class="l-fields">{body}</div>')
        elif shown:
            folded.append(
                f'<details class="l-group" data-group="{w.esc(group)}"><summary>'
                f"{w.icon('right')}<b>{w.esc(group_name(lang, group))}</b>"
                f'<span class="l-group-count" data-changed></span>'
                f"<small>{w.esc(', '.join(item.title[lang] for item in shown))}</small></summary>"
                f'<div class="l-fields">{body}</div></details>'
            )
    find = (
        f'<div class="l-find">{w.icon("search")}<input type="search" data-form-find '
        f'placeholder="{w.esc(say(lang, "form.find"))}" '
        f'aria-label="{w.esc(say(lang, "form.find"))}"></div>'
        f'<p class="l-find-none l-muted" data-form-none hidden>{w.esc(say(lang, "form.none"))}</p>'
    )
    return (
        f'<form class="l-form" data-form autocomplete="off" onsubmit="return false">'
        f"{''.join(parts)}{find if folded else ''}"
        f'<div class="l-groups">{"".join(folded)}</div></form>'
    )


def group_name(lang: str, group: str) -> str:
    """Return a topic's name; an engine from elsewhere may have topics we have no word for."""
    key = f"engine.group.{group}"
    return say(lang, key) if key in words(lang) else group.replace("_", " ").capitalize()


# one field --------------------------------------------------------------------------------------


def _field(name: str, info: FieldInfo) -> FormField:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    chinese: Any = extra.get("zh") or {}
    title, text = info.title or name, info.description or ""
    kind, optional, choices = _kind(name, info.annotation)
    limits = {type(item): item for item in info.metadata}
    least = _limit(limits, Ge, Gt)
    return FormField(
        name=name,
        title=Bilingual(en=title, zh=chinese.get("title", title)),
        help=Bilingual(en=text, zh=chinese.get("description", text)),
        group=str(extra.get("group", MAIN)),
        kind=kind,
        default=None if info.is_required() else info.get_default(call_default_factory=True),
        required=info.is_required(),
        optional=optional,
        choices=choices,
        least=least,
        most=_limit(limits, Le, Lt),
        unavailable=_unavailable(extra.get("unavailable")),
    )


def _unavailable(told: Any) -> dict[str, Bilingual]:
    return {name: Bilingual(**reason) for name, reason in (told or {}).items()}


def _kind(name: str, annotation: Any) -> tuple[Kind, bool, tuple[str, ...]]:
    """Return how a type is asked for, whether it may be empty, and its choices."""
    optional = False
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        optional = len(inner) < len(get_args(annotation))
        annotation = inner[0]
    if get_origin(annotation) is Literal:
        return "choice", optional, tuple(map(str, get_args(annotation)))
    if annotation is bool:
        return ("tristate" if optional else "switch"), optional, ()
    if annotation is int:
        return "integer", optional, ()
    if annotation is float:
        return "number", optional, ()
    if get_origin(annotation) in (list, tuple):
        return ("numbers" if _of_numbers(annotation) else "lines"), True, ()
    return ("secret" if name in SECRETS else "text"), True, ()


def _of_numbers(annotation: Any) -> bool:
    """Tell whether a list holds numbers, which are few and short enough for one line."""
    inner = [part for part in get_args(annotation) if part is not Ellipsis]
    bare = {get_args(part)[0] if get_origin(part) is Annotated else part for part in inner}
    return bool(bare) and bare <= {int, float}


def _limit(limits: dict[type, Any], *kinds: type) -> float | None:
    for kind in kinds:
        if kind in limits:
            item = limits[kind]
            return getattr(item, {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}[kind])
    return None


def _row(lang: str, item: FormField, values: Mapping[str, Any], extras: Extras) -> str:
    value = values.get(item.name, item.default)
    found = f"{item.name} {item.title.en} {item.title.zh} {item.help[lang]}".lower()
    default = json.dumps(item.default, ensure_ascii=False)
    reset = w.esc(say(lang, "form.reset"))
    needed = f' <i title="{w.esc(say(lang, "form.required"))}">*</i>' if item.required else ""
    control, ident = _control(lang, item, value, extras), f"f-{item.name}"
    if item.name in extras.below:
        control += extras.below[item.name](lang)
    wide = " l-wide" if item.kind == "lines" or item.name in WIDE else ""
    reasons = "".join(
        f'<small class="l-unavailable">{w.icon("info")}<b>{w.esc(name)}</b> '
        f"{w.esc(why[lang])}</small>"
        for name, why in item.unavailable.items()
    )
    return (
        f'<div class="l-field l-field-{item.kind}{wide}" data-name="{w.esc(item.name)}" '
        f'data-kind="{item.kind}" data-default="{w.esc(default)}" data-words="{w.esc(found)}">'
        f'<div class="l-field-head"><label for="{ident}">{w.esc(item.title[lang])}{needed}</label>'
        f"<code>{w.esc(item.name)}</code>"
        f'<button type="button" data-reset title="{reset}" aria-label="{reset}" hidden>'
        f"{w.icon('refresh')}</button></div>{control}"
        f'<small id="{ident}-help">{w.esc(item.help[lang])}</small>{reasons}</div>'
    )


def _control(lang: str, item: FormField, value: Any, extras: Extras) -> str:
    name, ident = w.esc(item.name), f"f-{w.esc(item.name)}"
    common = f'id="{ident}" name="{name}" aria-describedby="{ident}-help"'
    if item.kind == "switch":
        on = " checked" if value else ""
        return f'<input type="checkbox" role="switch" class="l-toggle" {common}{on}>'
    if item.kind in ("choice", "tristate"):
        return f"<select {common}>{_options(lang, item, value)}</select>"
    if item.kind == "lines":
        text = "\n".join(map(str, value or ()))
        hint = w.esc(say(lang, "form.lines"))
        return f'<textarea {common} rows="2" placeholder="{hint}">{w.esc(text)}</textarea>'
    if item.kind == "numbers":
        text = ", ".join(map(str, value or ()))
        hint = w.esc(say(lang, "form.numbers"))
        return (
            f'<input type="text" inputmode="decimal" spellcheck="false" autocomplete="off" '
            f'placeholder="{hint}" {common} value="{w.esc(text)}">'
        )
    shown = "" if value is None else w.esc(value)
    if item.kind in ("integer", "number"):
        step = "1" if item.kind == "integer" else "any"
        least = "" if item.least is None else f' min="{item.least:g}"'
        most = "" if item.most is None else f' max="{item.most:g}"'
        hint = f' placeholder="{w.esc(say(lang, "form.auto"))}"' if item.optional else ""
        return (
            f'<input type="number" inputmode="decimal" step="{step}"{least}{most}{hint} '
            f'{common} value="{shown}">'
        )
    kind = "password" if item.kind == "secret" else "text"
    offered = [w.esc(s) for s in extras.suggestions.get(item.name, ())]
    listed = f' list="{ident}-list"' if offered else ""
    options = "".join(f'<option value="{text}"></option>' for text in offered)
    datalist = f'<datalist id="{ident}-list">{options}</datalist>' if offered else ""
    return (
        f'<input type="{kind}" spellcheck="false" autocomplete="off"{listed} {common} '
        f'value="{shown}">{datalist}'
    )


def _options(lang: str, item: FormField, value: Any) -> str:
    if item.kind == "tristate":
        pairs = [("", say(lang, "form.auto"))]
        pairs += [("true", say(lang, "form.on")), ("false", say(lang, "form.off"))]
        current = "" if value is None else str(value).lower()
    else:
        pairs = [("", say(lang, "form.auto"))] if item.optional else []
        pairs += [(choice, choice or say(lang, "form.auto")) for choice in item.choices]
        current = "" if value is None else str(value)
    return "".join(
        f'<option value="{w.esc(key)}"{" selected" if key == current else ""}'
        f"{' disabled' if key in item.unavailable else ''}>{w.esc(text)}</option>"
        for key, text in pairs
    )
