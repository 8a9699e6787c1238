"""Every sentence exists in both languages, under the same key, with the same placeholders."""

from __future__ import annotations

import ast
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.core.settings import ROOT
from studio.core.spec import State
from studio.telemetry.doctor import Finding
from studio.ui import i18n

SOURCES = sorted([*(ROOT / "studio").rglob("*.py"), *(ROOT / "tabs").glob("*.py")])
ASKS = {"T": 0, "say": 1}
"""Functions that take a key, and where."""
_ASKS = re.compile(rf"\b(?:{'|'.join(ASKS)})\s*\(")


def used_keys() -> Iterator[tuple[str, str, bool]]:
    """Yield (where, key, whole); a key made by an f-string counts up to its first brace."""
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        if not _ASKS.search(text):  # three of four; parsing takes its time
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = ASKS.get(name)
            if place is None or len(node.args) <= place:
                continue
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            for arg in _branches(node.args[place]):
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str):
                    yield where, arg.value, True
                elif isinstance(arg, ast.JoinedStr) and isinstance(arg.values[0], ast.Constant):
                    yield where, str(arg.values[0].value), False


def _branches(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.IfExp):
        return [*_branches(node.body), *_branches(node.orelse)]
    return [node]


def test_both_languages_have_the_same_files_and_keys():
    names = {lang: {p.name for p in i18n.locales_dir(lang).glob("*.yaml")} for lang in i18n.LANGS}
    assert names["en"] == names["zh"]
    for name in names["en"]:
        en, zh = (i18n.read_words(i18n.locales_dir(lang) / name) for lang in i18n.LANGS)
        assert en.keys() == zh.keys(), name


def test_no_key_is_in_two_files_and_none_was_read_as_something_else():
    seen: dict[str, Path] = {}
    for path in i18n.locales_dir("en").glob("*.yaml"):
        for key in i18n.read_words(path):
            assert key not in seen, f"{key} is in {seen[key]} and {path}"
            assert key.rpartition(".")[2] not in ("True", "False", "None"), f"quote {key} in {path}"
            seen[key] = path


def test_placeholders_are_the_same_in_both_languages():
    for key, text in i18n.words("en").items():
        assert fields(text) == fields(i18n.words("zh")[key]), key


def fields(text: str) -> set[str]:
    """Return the names in braces."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_no_sentence_is_empty_or_left_untranslated():
    english = i18n.words("en")
    for key, text in i18n.words("zh").items():
        assert text.strip() and english[key].strip(), key
        chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
        assert chinese or (text == english[key] and len(text.split()) <= 2) or "{" in text, key


def test_every_key_that_the_code_asks_for_exists():
    words = i18n.words("en")
    missing = [
        f"{where}: {key}"
        for where, key, whole in used_keys()
        if not (key in words if whole else any(known.startswith(key) for known in words))
    ]
    assert not missing


def test_every_state_has_a_word_and_every_tab_a_title():
    for state in State:
        assert f"state.{state}" in i18n.words("en")
    for path in (ROOT / "tabs").glob("[!_]*.py"):
        assert f"tab.{path.stem.replace('_', '-')}" in i18n.words("zh")


def test_the_doctors_sentences_fit_its_findings():
    for key in i18n.words("en"):
        if key.startswith("doctor."):
            parts = key.split(".")
            assert len(parts) in (3, 4) and parts[-1] in ("title", "detail", "fix"), key
    finding = Finding("disk", "warn", {"free": "9", "home": "/h"})
    assert "9 GiB" in finding.as_line() and "9 GiB" in finding.as_line("zh")
    assert "--home" in finding.as_dict()["fix"]


def test_say_fills_values_in_and_shows_a_missing_key_as_it_is():
    assert i18n.say("en", "time.ago", span="3 min") == "3 min ago"
    assert i18n.say("zh", "time.ago", span="3 分钟") == "3 分钟前"
    assert i18n.say("en", "no.such.key") == "no.such.key"


def test_the_browser_gets_every_word_of_its_language():
    script = i18n.words_script("zh")
    table = json.loads(script.removeprefix("window.ladder_words=").removesuffix(";"))
    assert table == i18n.words("zh")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("a=1; ladder_lang=zh", "zh"),
        ("ladder_lang=en;b=2", "en"),
        ("", ""),
        ("xladder_lang=zh", ""),
    ],
)
def test_cookies_are_read(header: str, value: str):
    assert i18n.cookie_value(header, i18n.COOKIE) == value
