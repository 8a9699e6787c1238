"""A settings model becomes a form: every field once, with its words, kind and limits."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, Literal

import pytest

from studio.core.settings import Settings
from studio.engines.engine import EngineConfig, ServerConfig, knob
from studio.studio import Studio
from studio.ui.forms.form import Extras, fields_of, form, group_name, groups_of


class Sample(ServerConfig):
    model: str = knob(title="Model", help="A folder.", zh=("模型", "一个目录。"), min_length=1)
    cards: int = knob(1, title="Cards", help="How many.", zh=("卡数", "几张卡。"), ge=1, le=8)
    share: float = knob(0.9, title="Share", help="Of each.", zh=("比例", "每卡。"), gt=0, le=1)
    length: int | None = knob(
        None, title="Length", help="Tokens.", zh=("长度", "token 数。"), group="memory", ge=16
    )
    kind: Literal["auto", "fast"] = knob(
        "auto", title="Kind", help="Which.", zh=("种类", "哪种。"), group="memory"
    )
    eager: bool = knob(False, title="Eager", help="Now.", zh=("立即", "马上。"), group="memory")
    cache: bool | None = knob(None, title="Cache", help="Keep.", zh=("缓存", "保留。"))
    extras: list[str] = knob([], title="More", help="Words.", zh=("更多", "词。"), group="expert")


class Page(HTMLParser):
    """Collects the controls by name and checks that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.controls: dict[str, tuple[str, dict[str, Any]]] = {}
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag in ("input", "select", "textarea") and dict(attrs).get("name"):
            self.controls[dict(attrs)["name"]] = (tag, dict(attrs))
        if tag not in ("input", "option", "use", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("option", "use"):
            assert self.open.pop() == tag


def page(lang: str, values: dict[str, Any], **more: Any) -> Page:
    found = Page()
    found.feed(form(lang, Sample, values, **more))
    assert found.open == []
    return found


def test_every_field_has_one_control_of_its_kind() -> None:
    controls = page("en", {}).controls
    assert set(controls) == set(Sample.model_fields)
    kinds = {item.name: item.kind for item in fields_of(Sample)}
    assert kinds == {
        "extra_args": "lines",
        "host": "text",
        "port": "integer",
        "api_key": "secret",
        "model": "text",
        "cards": "integer",
        "share": "number",
        "length": "integer",
        "kind": "choice",
        "eager": "switch",
        "cache": "tristate",
        "extras": "lines",
    }
    assert controls["api_key"][1]["type"] == "password"
    assert controls["cards"][1]["min"] == "1" and controls["cards"][1]["max"] == "8"
    assert controls["kind"][0] == "select" and controls["extras"][0] == "textarea"


def test_groups_begin_with_main_and_end_with_expert() -> None:
    assert list(groups_of(Sample)) == ["main", "memory", "server", "expert"]


def test_values_are_filled_in_and_escaped() -> None:
    html = form("en", Sample, {"model": '"><script>x</script>', "eager": True, "length": 99})
    assert "<script>" not in html
    assert re.search(r'name="length"[^>]* value="99"', html)
    assert re.search(r'name="eager"[^>]* checked', html)


def test_words_are_in_the_visitors_language_and_found_in_both() -> None:
    chinese = form("zh", Sample, {})
    assert "几张卡。" in chinese and "How many." not in chinese
    assert 'data-words="cards cards 卡数 几张卡。"' in chinese


def test_suggestions_and_hidden_fields() -> None:
    extras = Extras(suggestions={"model": ["a/b", "c"]}, hidden=frozenset({"port"}))
    found = page("en", {}, extras=extras)
    assert "port" not in found.controls
    html = form("en", Sample, {}, extras=extras)
    assert '<option value="a/b">' in html and 'list="f-model-list"' in html


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_every_engine_has_a_form_with_named_groups(settings: Settings, lang: str) -> None:
    for engine in Studio(settings).engines.values():
        assert issubclass(engine.Config, EngineConfig)
        html = form(lang, engine.Config, {})
        for name in engine.Config.model_fields:
            assert f'data-name="{name}"' in html
        for group in groups_of(engine.Config):
            assert group_name(lang, group)
        for item in fields_of(engine.Config):
            assert item.title[lang] and item.help[lang], (engine.id, item.name)
            assert item.help.zh != item.help.en, (engine.id, item.name)
