"""Say in Chinese what the studio's inner parts say in English: errors, reasons, progress.

`raise NotFound(f"There is no run {run_id}.")` stays as it is; whoever shows it calls

    translate(lang, error.message)          "没有运行 01jd…。"

The pairs are in `assets/locales/sentences.zh.yaml`, as templates with numbered placeholders. A
text that no template fits is taken apart into its sentences; what is unknown stays English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unicodedata import east_asian_width

import yaml

from studio.core.errors import StudioError
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.ui.i18n import words

Kind = Literal["sentences", "clauses", "values"]
"""What a pair is: something said for itself, something said for itself or as a part of something
else (a reason, progress), or only ever a part."""
Role = Literal["whole", "item", "value"]
"""What a text is: all that is shown, an item of a list such as the faults in some settings, or
what stands in the gap of a sentence, where a stranger's words may stand as well."""

LONGEST = 4000
"""Longer texts are compared as a whole only, and not remembered."""
MOST_SENTENCES = 24
DEEPEST = 4
"""How often a value may itself be a sentence with values."""

_FITTING: dict[Role, tuple[Kind, ...]] = {
    "whole": ("sentences", "clauses"),
    "item": ("sentences", "clauses", "values"),
    "value": ("clauses", "values"),
}
_PLACE = re.compile(r"\{(\w+)\}")
_GAP = re.compile(r"( ?)\{(\w+)\}( ?)")
_END = re.compile(r"(?<=[.!?])\s+")


def translate(lang: str, text: str) -> str:
    """Return a sentence of the studio's own in the visitor's language; unknown ones as they are."""
    if lang != "zh" or not text:
        return text
    if len(text) > LONGEST:
        return _known(text, "whole") or text
    return _translated(text)


def translate_error(lang: str, error: StudioError) -> tuple[str, str]:
    """Return what happened and what to do, in the visitor's language."""
    return translate(lang, error.message), translate(lang, error.hint)


def one_line(lang: str, error: StudioError) -> str:
    """Return an error as one line in the visitor's language."""
    return _joined([part for part in translate_error(lang, error) if part])


class Template(NamedTuple):
    """One sentence with gaps: the literal pieces around them, their names, and the Chinese."""

    pieces: tuple[str, ...]
    names: tuple[str, ...]
    chinese: str
    kind: Kind

    @classmethod
    def of(cls, english: str, chinese: str, kind: Kind) -> Template:
        """Take an English sentence apart at its placeholders."""
        parts = _PLACE.split(english)
        return cls(tuple(parts[::2]), tuple(parts[1::2]), chinese, kind)

    @property
    def weight(self) -> int:
        """How many characters have to be the same: the more, the surer."""
        return sum(map(len, self.pieces))

    @property
    def wordless(self) -> bool:
        """True for a mere `{0}: {1}`, which fits nearly everything."""
        return not any(char.isalpha() for piece in self.pieces for char in piece)

    def values(self, text: str) -> list[str] | None:
        """Return what stands in the gaps, each as short as can be; None when it does not fit.

        One pass from left to right, so even a hostile text takes linear time.
        """
        first, *middle, last = self.pieces
        at, end = len(first), len(text) - len(last)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return None
        found = []
        for piece in middle:
            cut = text.find(piece, at, end)
            if cut < 0:
                return None
            found.append(text[at:cut].strip())
            at = cut + len(piece)
        return [*found, text[at:end].strip()]

    def filled(self, values: list[str]) -> str:
        """Return the Chinese; the space around a gap is for Latin letters and digits only."""
        by_name = dict(zip(self.names, values, strict=True))

        def put(gap: re.Match[str]) -> str:
            value = by_name[gap[2]]
            before = "" if not value or _wide(value[0]) else gap[1]
            after = "" if not value or _wide(value[-1]) else gap[3]
            return f"{before}{value}{after}"

        return _GAP.sub(put, self.chinese)


@lru_cache(2048)
def _translated(text: str) -> str:
    whole = _known(text, "whole")
    if whole is not None:
        return whole
    parts = _END.split(text)
    found = [_known(part, "whole") for part in parts] if len(parts) <= MOST_SENTENCES else []
    if not any(found):
        return text
    return _joined([known or part for known, part in zip(found, parts, strict=True)])


def _known(text: str, role: Role, depth: int = 0) -> str | None:
    """Return the Chinese of a text that is known throughout; None when it is not.

    Best is a template whose values hold no sentence of their own; then several sentences, each
    known; then, if it is all that is shown, a template with anything in its gaps.
    """
    if depth > DEEPEST or not text:
        return None
    return (
        _exact(text, role)
        or _by_template(text, role, depth, tight=True)
        or (_by_sentences(text, role, depth) if role != "value" else None)
        or _by_template(text, role, depth, tight=False)
    )


def _exact(text: str, role: Role) -> str | None:
    found = (pairs().get((text, kind)) for kind in _FITTING[role])
    return next((chinese for chinese in found if chinese), None)


def _by_template(text: str, role: Role, depth: int, *, tight: bool) -> str | None:
    for template in _templates():
        if template.kind not in _FITTING[role]:
            continue
        values = template.values(text)
        if values is None or any(_too_much(value, role, tight) for value in values):
            continue
        inner: Role = "item" if template.wordless else "value"
        known = [_known(value, inner, depth + 1) for value in values]
        if template.wordless and not any(known):
            continue
        return template.filled([k or v for k, v in zip(known, values, strict=True)])
    return None


def _by_sentences(text: str, role: Role, depth: int) -> str | None:
    """Return the Chinese of several sentences in a row, longest known stretches first."""
    parts = _END.split(text) if len(text) <= LONGEST else []
    if not 1 < len(parts) <= MOST_SENTENCES:
        return None
    found, start = [], 0
    while start < len(parts):
        for end in range(len(parts), start, -1):
            stretch = " ".join(parts[start:end])
            known = _exact(stretch, role) or _by_template(stretch, role, depth, tight=True)
            if known:
                found.append(known)
                start = end
                break
        else:
            return None
    return _joined(found)


def _too_much(value: str, role: Role, tight: bool) -> bool:
    """Tell whether a gap would swallow a sentence; only the outermost text may hold several."""
    if tight and ": " in value:
        return True
    return (tight or role != "whole") and _END.search(value) is not None


def _joined(sentences: list[str]) -> str:
    """Put sentences in a row; after Chinese punctuation comes no space."""
    text = ""
    for sentence in sentences:
        gap = " " if text and not _wide(text[-1]) else ""
        text += gap + sentence
    return text


def _wide(char: str) -> bool:
    return char in "“”" or east_asian_width(char) in "WF"


def sentences_path() -> Path:
    """Return the file of pairs. It lies beside the languages, so that no page has to load it."""
    return ROOT / "assets" / "locales" / "sentences.zh.yaml"


@cache
def pairs() -> dict[tuple[str, Kind], str]:
    """Return the Chinese of every template; run states and the chat's faults are words already."""
    tree = yaml.safe_load(sentences_path().read_text(encoding="utf-8"))
    kinds: tuple[Kind, ...] = ("sentences", "clauses", "values")
    found: dict[tuple[str, Kind], str] = {}
    for kind in kinds:
        found |= {(english, kind): chinese for english, chinese in _leaves(tree[kind])}
    chinese = words("zh")
    for state in State:
        found[(str(state), "values")] = chinese[f"state.{state}"]
    for key, english in words("en").items():
        if key.startswith("chat.fault."):
            found[(english, "sentences")] = chinese[key]
    return found


def _leaves(tree: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for group in tree.values():
        yield from ((str(english), str(chinese)) for english, chinese in group.items())


@cache
def _templates() -> list[Template]:
    """Return the pairs that have placeholders, the surest first."""
    found = [
        Template.of(english, chinese, kind)
        for (english, kind), chinese in pairs().items()
        if _PLACE.search(english)
    ]
    return sorted(found, key=lambda template: -template.weight)
