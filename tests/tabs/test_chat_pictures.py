"""Pictures in the Chat tab: attached, priced, sent, shown again, and nobody else's."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from chat.sse_server import FakeChat, Script
from PIL import Image, ImageDraw

from studio.chat.conversations import Conversations
from studio.chat.desk import Desk
from studio.chat.pictures import GUEST, MOST, PictureRefused
from studio.core.errors import NotAllowed
from studio.core.settings import ROOT, Settings
from studio.core.spec import Endpoint, Pictures
from studio.studio import Studio
from studio.ui.chat import bubbles as chat_bubbles
from studio.ui.chat.layout import lay_out
from studio.ui.chat.parts import BROWSER, person_of
from studio.ui.chat.pickers import Pickers, samples
from studio.ui.chat.pictures import Attach, sample_folder
from studio.ui.chat.shelf import Shelf
from studio.ui.chat.talk import Talk
from studio.ui.i18n import words

SETTINGS = ["", "", "", "", "", "", ""]
SEES = Pictures(max_pixels=2408448, most=4)


class Page:
    """The tab's handlers over three endpoints: one that sees, one that does not, one unknown."""

    def __init__(self, studio: Studio, url: str) -> None:
        with gr.Blocks():
            self.parts = lay_out().parts
        common: dict[str, Any] = {"base_url": url, "models": ("tiny",)}
        self.known = [
            Endpoint(id="sees", name="seeing", run_id="r1", pictures=SEES, **common),
            Endpoint(id="blind", name="reading", run_id="r2", text_only=True, **common),
            Endpoint(id="url-1", name="somewhere", **common),
        ]
        self.desk = Desk(studio.settings.chats_dir, lambda: self.known)
        self.pickers = Pickers(studio, self.desk, self.parts)
        self.talk = Talk(self.desk, self.parts)
        self.shelf = Shelf(self.desk, self.parts, self.talk, self.pickers)
        self.attach = Attach(studio, self.desk, self.parts, self.pickers)
        self.request: Any = who()

    @property
    def store(self) -> Conversations:
        return self.desk.conversations(person_of(self.request))

    def add(self, *files: Path, attached: str = "", endpoint: str = "sees") -> tuple[str, str]:
        out = self.attach.add(self.request, [str(f) for f in files], attached, endpoint)
        return out[self.parts.attached], out[self.parts.strip]

    def ask(self, text: str, attached: str = "", conversation: str = "", *picked: Any) -> list:
        values = [*(picked or ("sees", "", False, "", "")), *SETTINGS, attached]
        return collect(self.talk.ask(self.request, text, conversation, *values))


def who(name: str = "local", role: str = "operator", lang: str = "en", **cookies: str) -> Any:
    cookie = "; ".join(f"{key}={value}" for key, value in cookies.items())
    headers = {"x-ladder-user": name, "x-ladder-role": role, "cookie": cookie}
    return SimpleNamespace(headers={**headers, "x-ladder-lang": lang}, cookies=cookies)


def event(kind: Any, **data: Any) -> Any:
    return kind(None, data)


def collect(stream: Any) -> list[dict]:
    async def run() -> list[dict]:
        return [out async for out in stream]

    return asyncio.run(run())


def texts(bubbles: list[dict]) -> list[str]:
    return [bubble["content"][0]["text"] for bubble in bubbles]


def sent_sizes(body: dict) -> list[list[tuple[int, int]]]:
    """Return the sizes of the pictures in each question of a request."""
    found = []
    for message in body["messages"]:
        if message["role"] == "user":
            content = message["content"]
            parts = content if isinstance(content, list) else []
            uris = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
            raw = [base64.b64decode(uri.partition(",")[2]) for uri in uris]
            found.append([Image.open(io.BytesIO(data)).size for data in raw])
    return found


@pytest.fixture
def file(tmp_path: Path):
    """Draw a picture file; each call draws another one."""
    count = iter(range(100))

    def draw(width: int, height: int, kind: str = "png") -> Path:
        n = next(count)
        path = tmp_path / f"picture{n}.{kind}"
        image = Image.new("RGB", (width, height), (n * 20, 90, 200 - n * 20))
        ImageDraw.Draw(image).ellipse((0, 0, width // 2, height // 2), fill=(255, 0, 0))
        image.save(path)
        return path

    return draw


@pytest.fixture
def model() -> Iterator[FakeChat]:
    with FakeChat({"tiny": Script(pieces=["red"])}) as up:
        yield up


@pytest.fixture
def page(settings: Settings, model: FakeChat) -> Page:
    return Page(Studio(settings), model.url)


def test_a_picture_shows_what_it_costs_before_it_is_sent(page: Page, file) -> None:
    large, small = file(2688, 2016, "jpg"), file(504, 504)
    attached, strip = page.add(large, small)
    assert "≈ 3,074 tokens" in strip and "2688 × 2016 scaled to 1792 × 1344" in strip
    assert "≈ 326 tokens" in strip and "504 × 504" in strip
    assert "2 pictures, ≈ 3,400 tokens" in strip
    assert not large.exists() and not small.exists(), "the upload says where it was taken"
    assert len(json.loads(attached)) == 2 == len(page.store.album.names())
    elsewhere = page.attach.redraw(page.request, attached, "url-1")[page.parts.strip]
    assert "tokens" not in elsewhere and "2688 × 2016 scaled to 2352 × 1764" in elsewhere
    page.request.headers["x-ladder-lang"] = "zh"
    chinese = page.attach.redraw(page.request, attached, "sees")[page.parts.strip]
    assert "2688 × 2016 缩小为 1792 × 1344" in chinese and "共 2 张" in chinese


def test_follow_ups_carry_the_picture(page: Page, file, model: FakeChat) -> None:
    attached, _ = page.add(file(2688, 2016, "jpg"), file(64, 64))
    outs = page.ask("Which colour?", attached)
    assert outs[0][page.parts.attached] == "" == outs[0][page.parts.strip], "the box empties"
    assert sent_sizes(model.requests[-1]) == [[(1792, 1344), (64, 64)]]
    assert model.requests[-1]["messages"][0]["content"][-1] == {
        "type": "text",
        "text": "Which colour?",
    }
    ident = outs[-1][page.parts.conversation]
    shown = texts(outs[-1][page.parts.left])
    assert shown[0].count("ladder/chat/picture/") == 2 and shown[1] == "Which colour?"
    page.ask("And the shape?", "", ident)
    assert sent_sizes(model.requests[-1]) == [[(1792, 1344), (64, 64)], []]
    stored = page.store.load(ident).messages[0]["content"]
    assert [part["type"] for part in stored] == ["image_url", "image_url", "text"]
    assert all(p["image_url"]["url"].startswith("picture:") for p in stored[:2])
    opened = page.shelf.arrive(event(gr.EventData, query={}), page.request, "", "")
    assert "chat-pictures" in texts(opened[page.parts.left]["value"])[0]


def test_a_picture_alone_is_a_question(page: Page, file, model: FakeChat) -> None:
    attached, _ = page.add(file(64, 64))
    ident = page.ask("", attached)[-1][page.parts.conversation]
    assert sent_sizes(model.requests[-1]) == [[(64, 64)]]
    page.ask("What was that?", "", ident)
    assert page.store.list()[0].title == "What was that?"
    assert page.ask("  ")[0].keys() == {page.parts.box}


def test_retry_edit_and_undo_keep_the_pictures(page: Page, file, model: FakeChat) -> None:
    attached, _ = page.add(file(64, 64))
    ident = page.ask("one", attached)[-1][page.parts.conversation]
    values = ["sees", "", False, "", "", *SETTINGS]
    drawn = texts(chat_bubbles.bubbles("en", page.store.load(ident).messages))

    retry = event(gr.RetryData, index=1, value="one")
    collect(page.talk.retry(retry, page.request, ident, *values))
    assert sent_sizes(model.requests[-1]) == [[(64, 64)]]

    count = len(model.requests)
    unchanged = event(gr.EditData, index=0, value=drawn[0], previous_value=drawn[0])
    [out] = collect(page.talk.edit(unchanged, page.request, ident, *values))
    assert out.keys() == {page.parts.box} and len(model.requests) == count
    edit = event(gr.EditData, index=1, value="uno", previous_value="one")
    collect(page.talk.edit(edit, page.request, ident, *values))
    assert sent_sizes(model.requests[-1]) == [[(64, 64)]]
    assert model.requests[-1]["messages"][0]["content"][-1]["text"] == "uno"

    undo = event(gr.UndoData, index=1, value="uno")
    out = page.talk.undo(undo, page.request, ident)
    assert out[page.parts.box]["value"] == "uno" and out[page.parts.left] == []
    back = out[page.parts.attached]
    assert json.loads(back)[0][1:] == [64, 64]
    page.ask("again", back, ident)
    assert sent_sizes(model.requests[-1]) == [[(64, 64)]]


def test_both_sides_of_a_comparison_see(page: Page, file, model: FakeChat) -> None:
    attached, _ = page.add(file(2688, 2016, "jpg"))
    page.ask("one", attached, "", "sees", "", True, "url-1", "")
    sizes = sorted(sent_sizes(body)[0][0] for body in model.requests)
    assert sizes == [(1792, 1344), (2352, 1764)], "each in the size that its endpoint takes"


def test_an_endpoint_without_eyes_refuses_before_anything_is_sent(page: Page, file, model) -> None:
    attached, strip = page.add(file(64, 64), endpoint="blind")
    assert "reading reads text alone" in strip
    assert 'data-act="use" data-value="sees"' in strip, "one click to one that sees"
    for picked in (("blind", "", False, "", ""), ("sees", "", True, "blind", "")):
        with pytest.raises(PictureRefused, match=r"reading reads text alone.*vllm/smoke-vl"):
            page.ask("hi", attached, "", *picked)
    assert page.store.list() == [] and model.requests == []
    page.known = [endpoint for endpoint in page.known if endpoint.id != "sees"]
    strip = page.attach.redraw(page.request, attached, "blind")[page.parts.strip]
    assert 'data-act="start" data-value="vllm/smoke-vl"' in strip
    ident = page.ask("hi", "", "", "blind", "", False, "", "")[-1][page.parts.conversation]
    assert page.store.load(ident).messages[0]["content"] == "hi"


def test_what_was_asked_before_counts_too(page: Page, file, model: FakeChat) -> None:
    attached, _ = page.add(*(file(64, 64) for _ in range(3)))
    ident = page.ask("three", attached)[-1][page.parts.conversation]
    more, _ = page.add(file(64, 64), file(64, 64))
    with pytest.raises(PictureRefused, match=r"at most 4 pictures.*would carry 5"):
        page.ask("two more", more, ident)
    assert len(page.store.load(ident).messages) == 2
    with pytest.raises(PictureRefused, match="text alone"):
        page.ask("go on", "", ident, "blind", "", False, "", "")
    values = ["blind", "", False, "", "", "", "", "", "", "", "0", "", ""]
    collect(page.talk.ask(page.request, "without history", ident, *values))
    assert sent_sizes(model.requests[-1]) == [[]]


def test_at_most_so_many_in_one_message(page: Page, file) -> None:
    attached, strip = page.add(*(file(32, 32) for _ in range(6)))
    assert len(json.loads(attached)) == 4 and "At most 4 pictures" in strip
    _, strip = page.add(*(file(32, 32) for _ in range(MOST + 1)), endpoint="url-1")
    assert f"At most {MOST} pictures" in strip


def test_what_is_no_picture_is_said_and_the_others_stay(page: Page, file, tmp_path: Path) -> None:
    note = tmp_path / "<b>notes.txt"
    note.write_text("hello")
    attached, strip = page.add(file(32, 32), note, tmp_path / "gone.png")
    assert len(json.loads(attached)) == 1
    assert "&lt;b&gt;notes.txt: This is not a picture" in strip and "The upload is gone" in strip


def test_taken_out_again(page: Page, file) -> None:
    attached, _ = page.add(file(32, 32), file(48, 48))
    first = json.loads(attached)[0][0]
    act = event(gr.EventData, act="remove", value=first)
    out = page.attach.act(act, page.request, attached, "sees")
    assert first not in out[page.parts.attached] and first not in page.store.album.names()
    assert page.shelf.new(page.request)[page.parts.attached] == ""


@pytest.mark.parametrize(
    "said",
    ["nonsense", '[["../../x.png", 1, 1]]', "[[]]", '{"a": 1}', f'[["{"0" * 64}.png", 1, 1]]'],
)
def test_what_a_page_claims_is_not_believed(page: Page, said: str, model: FakeChat) -> None:
    page.ask("hi", said)
    assert model.requests[-1]["messages"] == [{"role": "user", "content": "hi"}]


def test_guests_have_limits_and_their_own_pictures(page: Page, file, model: FakeChat) -> None:
    mine, _ = page.add(file(64, 64))
    one, two = (who("visitor", "guest", **{BROWSER: c * 32}) for c in "ab")
    page.request = one
    attached, strip = page.add(*(file(48, 48) for _ in range(GUEST.most + 1)))
    assert len(json.loads(attached)) == GUEST.most and f"At most {GUEST.most}" in strip
    page.ask("hi", attached)
    page.ask("hi", mine)
    assert model.requests[-1]["messages"] == [{"role": "user", "content": "hi"}], "not theirs"
    attached, strip = page.add(file(2688, 2016, "jpg"))
    assert "scaled to 1148 × 840" in strip
    name = page.store.album.names()[0]
    page.request = two
    assert not page.store.album.has(name)
    _, strip = page.add(file(8000, 4000, "jpg"))
    assert "more than 24 megapixels" in strip
    blind, strip = page.add(file(64, 64), endpoint="blind")
    assert blind and 'data-act="use"' not in strip and 'data-act="start"' not in strip
    for act in ("start", "use"):
        with pytest.raises(NotAllowed):
            page.attach.act(event(gr.EventData, act=act, value="sees"), two, "", "sees")


def test_a_guest_cannot_fill_the_disk(page: Page, file, monkeypatch: pytest.MonkeyPatch) -> None:
    page.request = who("visitor", "guest", **{BROWSER: "a" * 32})
    monkeypatch.setattr(
        "studio.ui.chat.pictures.limits_of",
        lambda guest: GUEST.model_copy(update={"most_kept": 2}),
    )
    attached, strip = page.add(file(32, 32), file(33, 33), file(34, 34))
    assert len(json.loads(attached)) == 2 and "as many as a guest may" in strip


def test_sample_questions_bring_their_pictures(page: Page, model: FakeChat) -> None:
    sees, blind = page.known[:2]
    assert {picture for _, picture in samples("en", blind)} == {""}
    for lang in ("en", "zh"):
        rows = samples(lang, sees)
        assert len(rows) == 3 and all((sample_folder() / picture).is_file() for _, picture in rows)
    text, picture = samples("en", sees)[1]
    values = ["sees", "", False, "", "", *SETTINGS, ""]
    select = event(gr.SelectData, index=1, value={"text": text, "icon": {"path": "/etc/passwd"}})
    collect(page.talk.sample(select, page.request, "", *values))
    size = Image.open(sample_folder() / picture).size
    assert sent_sizes(model.requests[-1]) == [[size]]
    wrong = event(gr.SelectData, index=7, value={"text": "another", "files": ["/etc/passwd"]})
    collect(page.talk.sample(wrong, page.request, "", *values))
    assert model.requests[-1]["messages"] == [{"role": "user", "content": "another"}]
    greeted = page.attach.redraw(page.request, "", "sees")[page.parts.left]
    assert greeted["examples"][0]["icon"]["url"].startswith("ladder/chat/sample/")


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_tiny_model_was_trained_on_the_sample_questions(lang: str) -> None:
    worker = (ROOT / "studio/engines/workers/shape_talk.py").read_text(encoding="utf-8")
    for row in words(lang)["chat.picture.samples"].splitlines():
        assert f'"{row.partition(" ")[2]}"' in worker
