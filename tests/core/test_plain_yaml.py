"""Plain YAML is read as ruamel.yaml reads it, or left to it."""

from typing import Any

import pytest
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from studio.core.plain_yaml import NotPlain, read_plain
from studio.core.settings import ROOT

SHIPPED = sorted((ROOT / "recipes").rglob("*.yaml"))
PLAIN = (
    "a: b\n",
    "- 1\n- -2\n- 2.50\n- 1.5e-3\n- 1.\n- true\n- False\n- yes\n- ~\n-\n- Null\n",
    "a: 'it''s'\nb: \"tab\\t, \\u738b\"\nc: |\n  two\n  lines\nd: >-\n  one\n  line\n",
    "{a: [1, {b: c}], d: }",
    "王芳: 问  # a remark\n",
    "a: &x [1, &y {b: c}]\nd: *x\ne: *y\n",
    "--- word",
    "a: http://x:80/y#z\n",
    "true",
)
NOT_PLAIN = (
    "",
    "a: 1\na: 2",  # twice
    "1: a",
    "a: 010",
    "a: 0x1F",
    "a: 1_000",
    "a: 1e3",
    "a: .inf",
    "a: 2020-01-01",
    "a: 12:30:45",
    "a: *x",
    "a: &x [*x]",
    "a: &x 1\nb: &x 2\nc: *x",
    "a: {<<: {b: 1}}",
    "a: !!str 1",
    "a: !own 1",
    "%YAML 1.1\n---\na: yes",
    "a\n---\nb",
    "a: [1",
    "a:\n\tb: 1",
    "a: b\u2028c: d",
    "[" * 3000,
    "a: " + "9" * 5000,
)


def typed(value: Any) -> Any:
    """Tell 1 from True, and keep the order of keys."""
    if isinstance(value, dict):
        return [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value


@pytest.mark.parametrize("text", PLAIN)
def test_plain_texts_are_read_alike(text: str):
    assert typed(read_plain(text)) == typed(YAML(typ="safe", pure=True).load(text))


@pytest.mark.parametrize("path", SHIPPED[::8], ids=lambda path: path.stem)
def test_shipped_recipes_are_plain_and_read_alike(path):
    text = path.read_text(encoding="utf-8")
    assert typed(read_plain(text)) == typed(YAML(typ="safe", pure=True).load(text))


def test_nearly_all_that_is_shipped_is_plain():
    slow = []
    for path in SHIPPED:
        try:
            read_plain(path.read_text(encoding="utf-8"))
        except NotPlain:
            slow.append(path.stem)
    assert len(slow) * 10 <= len(SHIPPED), slow


@pytest.mark.parametrize("text", NOT_PLAIN, ids=lambda text: repr(text[:12]))
def test_what_two_readers_could_take_differently_is_left_to_the_other(text: str):
    with pytest.raises(NotPlain):
        read_plain(text)


@pytest.mark.parametrize("text", ["a: 'b", "a: b: c", "{a: 1", "- a\nb: c"])
def test_no_mistake_is_passed_over(text: str):
    with pytest.raises(YAMLError):
        YAML(typ="safe", pure=True).load(text)
    with pytest.raises(NotPlain):
        read_plain(text)
