"""Read plain YAML with libyaml: a tenth of the time that ruamel.yaml takes in pure Python.

Plain is what recipes are made of: mappings with texts as keys, lists, quoted texts, and words and
numbers that mean the same to everybody. Whatever else there is (tags, dates, `0x1F`, a mistake) is
left to ruamel.yaml, which knows YAML 1.2 and says where a mistake is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?")
_DISPUTED = re.compile("[\t\x85\u2028\u2029\ufeff]")
"""What the two readers take for different things: a tab, and ends of lines of YAML 1.1."""
_TEXT = re.compile(r"[^-+.0-9=<].*", re.DOTALL)


class NotPlain(Exception):
    """The text is more than plain YAML, or less than YAML."""


def read_plain(text: str) -> Any:
    """Return what a YAML 1.2 text says; raise NotPlain when another reader must say it."""
    if not yaml.__with_libyaml__ or text.startswith("%") or _DISPUTED.search(text):
        raise NotPlain
    try:
        return _Reader(text).document()
    except (yaml.YAMLError, StopIteration, RecursionError, ValueError) as error:
        raise NotPlain from error


class _Reader:
    """Builds values from libyaml's events."""

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        self._anchors: dict[str, Any] = {}

    def document(self) -> Any:
        """Return the one document of the stream."""
        for _ in ("stream", "document"):
            next(self._events)  # its start
        found = self._value(next(self._events))
        next(self._events)
        if not isinstance(next(self._events), yaml.StreamEndEvent):
            raise NotPlain
        return found

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise NotPlain
            return self._anchors[event.anchor]
        if event.tag or event.anchor in self._anchors:
            raise NotPlain
        if isinstance(event, yaml.ScalarEvent):
            found = event.value if event.style else _word(event.value)
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._items()
        else:
            found = self._mapping()
        if event.anchor:
            self._anchors[event.anchor] = found
        return found

    def _items(self) -> list[Any]:
        items = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event))
        return items

    def _mapping(self) -> dict[str, Any]:
        mapping = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name = self._value(event)
            if not isinstance(name, str) or name in mapping:
                raise NotPlain
            mapping[name] = self._value(next(self._events))
        return mapping


def _word(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if not _TEXT.fullmatch(text):
        raise NotPlain
    return text
