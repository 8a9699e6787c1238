"""Words in English and Chinese. Sentences live in `assets/locales/{en,zh}/*.yaml`, never in code.

Two doors:

- `T("runs.stop")` is for anything Gradio draws: labels, info, placeholders, buttons, choices,
  Markdown. The browser puts the words in, so one page serves both languages.
- `say(lang, "runs.stopped", name=run.spec.name)` is for what the server writes itself: our own
  HTML, toasts, errors. Get `lang` with `lang_of(request)`.

All files of a language are merged, so each tab keeps its words (and its title, `tab.<id>`) in a
file of its own. Placeholders are `{name}`; a literal brace is doubled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from studio.core.settings import ROOT

Lang = Literal["en", "zh"]

LANGS: tuple[Lang, ...] = ("en", "zh")
COOKIE = "ladder_lang"
HEADER = "x-ladder-lang"
"""Set by the gate, from cookie, settings and Accept-Language, on every request that passes it."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_log = logging.getLogger(__name__)


AnyRequest = Any
"""A request of Gradio (whose attributes pyright cannot see) or of Starlette."""


def T(key: str) -> Any:
    """Return a label that the browser translates."""
    from gradio.i18n import I18nData  # heavy, and the command line needs our words without it

    return I18nData(key)


def say(lang: str, key: str, /, **values: object) -> str:
    """Return the sentence in one language, with its values filled in."""
    text = words(lang).get(key)
    if text is None:
        _log.warning("no words for %s in %s", key, lang)
        return key
    return text.format_map(values)


def lang_of(request: AnyRequest | None) -> Lang:
    """Return the language of whoever asks; English when nobody said."""
    if request is None:
        return "en"
    told = request.headers.get(HEADER)
    if told in LANGS:
        return cast(Lang, told)
    return choose(cookie_value(request.headers.get("cookie", ""), COOKIE), "auto", request.headers)


def choose(cookie: str, setting: str, headers: Mapping[str, str]) -> Lang:
    """Decide on a language: the visitor's own choice, the studio's setting, then the browser's."""
    for told in (cookie, setting):
        if told in LANGS:
            return cast(Lang, told)
    for part in headers.get("accept-language", "").split(","):
        tag = part.partition(";")[0].strip().lower()[:2]
        if tag in LANGS:
            return cast(Lang, tag)
    return "en"


def cookie_value(header: str, name: str) -> str:
    """Return one cookie out of a Cookie header; empty when it is not there."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


@cache
def words(lang: str) -> dict[str, str]:
    """Return every sentence of one language by its dotted key."""
    merged: dict[str, str] = {}
    for path in sorted(locales_dir(lang).glob("*.yaml")):
        merged.update(read_words(path))
    return merged


@cache
def words_script(lang: str) -> str:
    """Return the words of one language as a script for the browser."""
    table = json.dumps(words(lang), ensure_ascii=False, separators=(",", ":"))
    return f"window.ladder_words={table};"


def locales_dir(lang: str) -> Path:
    """Return the folder of one language."""
    return ROOT / "assets" / "locales" / lang


def read_words(path: Path) -> dict[str, str]:
    """Read one locale file and flatten it: `{a: {b: x}}` becomes `{"a.b": x}`."""
    table = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader) or {}
    return dict(_flat(table, ""))


def _flat(table: Mapping[str, Any], prefix: str) -> Any:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)
