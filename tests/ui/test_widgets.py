"""Shared HTML: nothing from outside is ever taken as markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from studio.core.spec import State
from studio.ui import widgets as w
from studio.ui.assets import FOLDER

EVIL = "<img src=x onerror=alert(1)>\"'&"


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that they close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in ("input", "br", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("use",):
            assert self.open.pop() == tag


def parsed(html: str) -> Tags:
    """Parse, and insist that every tag is closed."""
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    return tags


@pytest.mark.parametrize(
    "html",
    [
        w.tag(EVIL),
        w.card(EVIL),
        w.table([(EVIL, EVIL)]),
        w.rows([EVIL], [[EVIL]], numeric=[0]),
        w.bar(0.5, label=EVIL),
        w.stack([(EVIL, 1.0, EVIL)], 2.0, label=EVIL),
        w.note(EVIL),
        w.code(EVIL),
        w.link(EVIL, EVIL, run=EVIL),
        w.action(EVIL, EVIL, EVIL, confirm=EVIL),
        w.live(EVIL, text=EVIL),
        w.icon(EVIL, title=EVIL),
    ],
)
def test_text_from_outside_is_escaped(html: str):
    tags = parsed(html)
    assert "img" not in tags.seen
    assert not [name for name, _ in tags.attributes if name.startswith("on")]


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("state", list(State))
def test_a_state_is_never_told_by_colour_alone(lang: str, state: State):
    html = w.badge(lang, state)
    parsed(html)
    assert f"l-{state}" in html and f"#{w.STATE_ICONS[state]}" in html
    assert re.sub(r"<[^>]+>", "", html).strip()


def test_every_icon_that_is_named_exists():
    have = {path.stem for path in (FOLDER / "icons").glob("*.svg")}
    named = set(w.STATE_ICONS.values())
    for folder in ("studio/ui", "tabs"):
        for path in (FOLDER.parent / folder).glob("*.py"):
            text = path.read_text()
            named |= set(re.findall(r"icon_name=\"([\w-]+)\"", text))
            named |= set(re.findall(r"\bicon\(\"([\w-]+)\"", text))
            named |= set(re.findall(r"\bicon=\"([\w-]+)\"", text))
    assert named <= have, named - have


def test_html_is_kept_and_text_is_not():
    assert w.table([("a", w.Html("<b>x</b>")), ("c", "<b>")]).count("<b>") == 1


def test_a_bar_stays_within_its_track_and_may_be_of_unknown_length():
    assert "width:100.0%" in w.bar(7.0) and "width:0.0%" in w.bar(-1.0)
    assert "l-unknown" in w.bar(None) and "aria-valuenow" not in w.bar(None)


def test_what_does_not_fit_is_hatched():
    fits = w.stack([("weights", 10.0, "weights")], 24.0)
    over = w.stack([("weights", 20.0, "weights"), ("KV", 10.0, "cache")], 24.0)
    assert "l-over" not in fits
    assert 'class="l-over" style="width:20.00%"' in over


def test_moments_show_the_exact_time_on_hover():
    assert re.search(r'<time data-ladder-at="1000" title="1970-01-01 .*">', w.when("en", 1000.4))
    assert w.when("en", None) == "–"
