"""What the Chat tab's handlers do, called as Gradio calls them, against a model with a script."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from chat.sse_server import FakeChat, Script, steady

from studio.chat.conversations import Conversations
from studio.chat.desk import Desk
from studio.chat.errors import SENTENCES
from studio.core.errors import NotAllowed, NotFound, RecipeInvalid, RunBusy, StudioError
from studio.core.settings import ROOT, Settings
from studio.studio import Studio
from studio.ui.chat import bubbles as chat_bubbles
from studio.ui.chat.layout import lay_out
from studio.ui.chat.parts import BROWSER, Choices, person_of
from studio.ui.chat.pickers import Pickers
from studio.ui.chat.shelf import Shelf
from studio.ui.chat.talk import Talk
from studio.ui.i18n import words

SETTINGS = ["", "", "", "", "", "", ""]


class Page:
    """The tab's handlers with their parts, and whoever asks."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Blocks():
            self.parts = lay_out().parts
        self.desk = Desk(studio.settings.chats_dir, studio.endpoints)
        self.talk = Talk(self.desk, self.parts)
        self.pickers = Pickers(studio, self.desk, self.parts)
        self.shelf = Shelf(self.desk, self.parts, self.talk, self.pickers)
        self.request: Any = who()

    def store(self) -> Conversations:
        return self.desk.conversations(person_of(self.request))

    def ask(self, question: str, conversation: str = "", *picked: Any) -> list[dict]:
        values = [*(picked or ("", "", False, "", "")), *SETTINGS]
        return collect(self.talk.ask(self.request, question, conversation, *values))

    def left(self, out: dict) -> str:
        return texts(out[self.parts.left])


def who(name: str = "local", role: str = "operator", **cookies: str) -> Any:
    """Return a request as the gate vouches for it."""
    cookie = "; ".join(f"{key}={value}" for key, value in cookies.items())
    headers = {"x-ladder-user": name, "x-ladder-role": role, "cookie": cookie}
    return SimpleNamespace(headers=headers, cookies=cookies)


def event(kind: Any, **data: Any) -> Any:
    return kind(None, data)


def collect(stream: Any) -> list[dict]:
    async def run() -> list[dict]:
        return [out async for out in stream]

    return asyncio.run(run())


def texts(bubbles: list[dict]) -> str:
    return " | ".join(bubble["content"][0]["text"] for bubble in bubbles)


@pytest.fixture
def model() -> Iterator[FakeChat]:
    with FakeChat({"tiny": Script(pieces=["我是", "小梯"]), "big": Script(pieces=["big"])}) as up:
        yield up


@pytest.fixture
def page(settings: Settings, model: FakeChat) -> Page:
    studio = Studio(settings)
    studio.external.add(model.url)
    return Page(studio)


def test_a_question_is_answered_kept_and_titled(page: Page) -> None:
    outs = page.ask("你是谁？")
    assert outs[0][page.parts.box]["value"] == "", "the box empties at once"
    assert outs[0][page.parts.box]["stop_btn"]
    assert page.left(outs[0]) == "你是谁？", "the question shows before any token"
    last = outs[-1]
    assert "我是小梯" in page.left(last) and "2 tokens" in page.left(last)
    assert not last[page.parts.box]["stop_btn"]
    assert "你是谁？" in last[page.parts.listing]
    [head] = page.store().list()
    kept = page.store().load(head.id).messages
    assert [m["role"] for m in kept] == ["user", "assistant"]
    figures = kept[1]["studio"]
    assert figures["ended"] == "done" and figures["model"] == "tiny" and figures["tokens"] == 2
    assert figures["ttft_s"] > 0 and "side" not in figures


def test_follow_up_sends_the_history(page: Page, model: FakeChat) -> None:
    ident = page.ask("one")[-1][page.parts.conversation]
    page.ask("two", ident)
    sent = [m["content"] for m in model.requests[-1]["messages"]]
    assert sent == ["one", "我是小梯", "two"]
    values = ["", "", False, "", "", "Be brief.", "0.5", "", "9", "3", "0", "END"]
    collect(page.talk.ask(page.request, "three", ident, *values))
    body = model.requests[-1]
    assert [m["content"] for m in body["messages"]] == ["Be brief.", "three"]
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.5, 9, 3)
    assert body["stop"] == ["END"]


def test_nothing_is_written_when_nobody_can_answer(page: Page) -> None:
    with pytest.raises(NotFound):
        page.ask("hi", "", "url-gone", "", False, "", "")
    bad = ["", "", False, "", "", "", "hot", "", "", "", "", ""]
    with pytest.raises(RecipeInvalid, match="temperature"):
        collect(page.talk.ask(page.request, "hi", "", *bad))
    with pytest.raises(RecipeInvalid, match="turns"):
        Choices.of([*bad[:6], "", "", "", "", "-1", ""]).num_turns()
    assert page.store().list() == []
    assert collect(page.talk.ask(page.request, "  ", "", *bad))[0].keys() == {page.parts.box}


def test_retry_edit_and_undo(page: Page, model: FakeChat) -> None:
    ident = page.ask("one")[-1][page.parts.conversation]
    page.ask("two", ident)
    values = ["", "big", False, "", "", *SETTINGS]
    messages = page.store().load(ident).messages
    second = texts(chat_bubbles.bubbles("en", messages)).split(" | ").index("two")

    retry = event(gr.RetryData, index=second, value="two")
    out = collect(page.talk.retry(retry, page.request, ident, *values))[-1]
    kept = page.store().load(ident).messages
    assert [m["content"] for m in kept] == ["one", "我是小梯", "two", "big"]
    assert " | two | big | " in page.left(out)

    edit = event(gr.EditData, index=0, value="uno\n", previous_value="one")
    collect(page.talk.edit(edit, page.request, ident, *values))
    kept = page.store().load(ident).messages
    assert [m["content"] for m in kept] == ["uno", "big"]
    assert model.requests[-1]["messages"] == [{"role": "user", "content": "uno"}]

    undo = event(gr.UndoData, index=0, value="uno")
    out = page.talk.undo(undo, page.request, ident)
    assert out[page.parts.box]["value"] == "uno" and out[page.parts.left] == []
    assert page.store().load(ident).messages == []


def test_compare_asks_both_and_keeps_both(page: Page, model: FakeChat) -> None:
    model.models = {"tiny": steady(200, 0.1), "big": steady(200, 0.1)}
    [known] = page.studio.endpoints()
    picked = (known.id, "tiny", True, known.id, "big")
    values = [*picked, "", "", "", "40", "", "", ""]
    began = time.perf_counter()
    last = collect(page.talk.ask(page.request, "count", "", *values))[-1]
    assert time.perf_counter() - began < 1.5
    left, right = texts(last[page.parts.left]), texts(last[page.parts.right])
    assert "tiny" in left and "big" not in left and "big" in right
    ident = last[page.parts.conversation]
    kept = page.store().load(ident).messages[1:]
    assert [(m["studio"]["side"], m["studio"]["model"]) for m in kept] == [
        ("a", "tiny"),
        ("b", "big"),
    ]
    model.models = {"tiny": Script(pieces=["x"])}
    page.ask("next", ident, known.id, "tiny", False, "", "")
    assert len(model.requests[-1]["messages"]) == 3, "one side's history, not both"


def test_stop_from_the_page(page: Page, model: FakeChat) -> None:
    model.models = {"tiny": steady(50, 0.0)}

    async def run() -> dict:
        last: dict = {}
        async for out in page.talk.ask(page.request, "count", "", "", "", False, "", "", *SETTINGS):
            ident = out.get(page.parts.conversation) or last.get(page.parts.conversation)
            last = {**last, **out}
            if len(page.left(last)) > 60:
                page.talk.stop(page.request, ident)
        return last

    began = time.perf_counter()
    last = asyncio.run(run())
    assert time.perf_counter() - began < 5
    kept = page.store().load(last[page.parts.conversation]).messages[-1]
    assert kept["studio"]["ended"] == "stopped" and kept["content"].startswith("word0")
    assert "chat-mark" in page.left(last)


def test_a_closed_browser_leaves_what_had_arrived(page: Page, model: FakeChat) -> None:
    model.models = {"tiny": steady(50, 0.0)}

    async def leave() -> str:
        stream = page.talk.ask(page.request, "count", "", "", "", False, "", "", *SETTINGS)
        count, ident = 0, ""
        async for out in stream:
            ident = out.get(page.parts.conversation) or ident
            count += 1
            if count == 4:
                with pytest.raises(RunBusy):
                    again = page.talk.ask(
                        page.request, "x", ident, "", "", False, "", "", *SETTINGS
                    )
                    await again.__anext__()
                break
        await stream.aclose()
        return ident

    ident = asyncio.run(leave())
    kept = page.store().load(ident).messages
    assert [m["role"] for m in kept] == ["user", "assistant"]
    assert kept[1]["studio"]["ended"] == "cut" and kept[1]["content"]
    out = page.shelf.arrive(event(gr.EventData, query={}), page.request, "", "")
    assert out[page.parts.conversation] == ident, "the page shows it again when it is reloaded"
    assert "chat-mark" in texts(out[page.parts.left]["value"])


def test_a_link_opens_a_comparison_of_two_models(page: Page) -> None:
    page.ask("before")
    [end] = page.studio.endpoints()
    query = {"endpoint": end.id, "model": "big", "compare": end.id, "model_b": "tiny"}
    out = page.shelf.arrive(event(gr.EventData, query=query), page.request, "", "")
    parts = page.parts
    assert out[parts.compare] is True and out[parts.right]["visible"]
    picked = (parts.endpoint, parts.model, parts.endpoint_b, parts.model_b)
    assert [out[part]["value"] for part in picked] == [end.id, "big", end.id, "tiny"]
    assert out[parts.endpoint_b]["choices"] and out[parts.endpoint_b]["visible"]
    assert out[parts.conversation] == "" and out[parts.left]["value"] == []
    assert out[parts.left]["placeholder"], "an empty chat still greets"
    gone = page.shelf.arrive(
        event(gr.EventData, query={**query, "compare": "gone"}), page.request, "", ""
    )
    assert parts.compare not in gone


def test_a_failing_answer_is_shown_in_the_readers_language(page: Page, model: FakeChat) -> None:
    model.models = {"tiny": Script(pieces=["half"], die_after=1, finish=None)}
    page.request.headers["x-ladder-lang"] = "zh"
    last = page.ask("hi")[-1]
    assert "half" in page.left(last) and "断开了连接" in page.left(last)
    model.models = {"tiny": Script(pieces=["whole"])}
    page.ask("again", last[page.parts.conversation])
    assert [m["content"] for m in model.requests[-1]["messages"]] == ["hi", "half", "again"]


def test_list_open_rename_delete_search(page: Page) -> None:
    first = page.ask("张量并行是什么？")[-1][page.parts.conversation]
    second = page.ask("What is a run?")[-1][page.parts.conversation]
    act = lambda name, value: page.shelf.act(  # noqa: E731 - shorter than a def, used four times
        event(gr.EventData, act=name, value=value), page.request, second, ""
    )
    opened = act("open", first)
    assert opened[page.parts.conversation] == first and "张量" in page.left(opened)
    renamed = act("rename", json.dumps({"id": first, "title": "<b>bold</b>"}))
    assert "&lt;b" in renamed[page.parts.listing] and "<b>bold" not in renamed[page.parts.listing]
    assert "What is a run?" in page.shelf.search(page.request, "RUN?", "")
    assert "张量" not in page.shelf.search(page.request, "zebra", "")
    gone = act("delete", second)
    assert gone[page.parts.conversation] == "" and gone[page.parts.left] == []
    assert [head.id for head in page.store().list()] == [first]
    with pytest.raises(NotFound):
        act("open", second)


def test_what_somebody_else_asked_is_out_of_reach(page: Page) -> None:
    ident = page.ask("secret")[-1][page.parts.conversation]
    page.request = who("bob")
    with pytest.raises(NotFound):
        page.shelf.act(event(gr.EventData, act="open", value=ident), page.request, "", "")
    with pytest.raises(NotFound):
        page.talk.undo(event(gr.UndoData, index=0, value=""), page.request, ident)
    page.talk.stop(page.request, ident)
    begun = page.ask("mine", ident)[-1][page.parts.conversation]
    assert begun != ident, "another's id begins a new conversation"
    assert len(page.store().list()) == 1


def test_guests_are_told_apart_by_their_browsers(page: Page, model: FakeChat) -> None:
    with pytest.raises(NotAllowed):
        person_of(who("visitor", "guest"))
    with pytest.raises(NotAllowed):
        person_of(who("visitor", "guest", **{BROWSER: "../../ann"}))
    one, two = (who("visitor", "guest", **{BROWSER: c * 32}) for c in "ab")
    assert person_of(one).owner != person_of(two).owner
    assert person_of(one).guest and not person_of(who()).guest
    page.request = one
    with pytest.raises(NotFound):
        page.ask("hi")  # the external endpoint is not for guests
    for forbidden in (
        lambda: page.pickers.show_start(one),
        lambda: page.pickers.connect(one, model.url, ""),
        lambda: page.pickers.act(event(gr.EventData, act="start", value="vllm/smoke"), one, ""),
        lambda: page.pickers.act(event(gr.EventData, act="forget", value="url-x"), one, ""),
    ):
        with pytest.raises(NotAllowed):
            forbidden()
    out = page.pickers.refresh(one, "", "", "")
    assert out[page.parts.start]["visible"] and not out[page.parts.address]["visible"]


def test_start_panel_connects_and_forgets(page: Page, model: FakeChat) -> None:
    [known] = page.studio.external.list()
    request, parts = page.request, page.parts
    panel = page.pickers.show_start(request)
    assert known.base_url in panel[parts.ways] and "vllm/smoke" in panel[parts.ways]
    assert not panel[parts.talk]["visible"]
    out = page.pickers.act(event(gr.EventData, act="forget", value=known.id), request, known.id)
    assert page.studio.external.list() == [] and known.base_url not in out[parts.ways]
    empty = page.pickers.refresh(request, "", known.id, "")
    assert empty[parts.start]["visible"] and "chat-first" in empty[parts.ways]
    reading = page.pickers.refresh(request, "some conversation", known.id, "")
    assert reading[parts.talk]["visible"] and reading[parts.add]["variant"] == "primary"
    with pytest.raises(StudioError):
        page.pickers.connect(request, "http://127.0.0.1:1", "")
    out = page.pickers.connect(request, f"127.0.0.1:{model.port}", "")
    assert out[parts.talk]["visible"] and out[parts.endpoint]["value"].startswith("url-")
    models = page.pickers.choose(request, out[parts.endpoint]["value"], "big")
    assert (models["choices"], models["value"], models["visible"]) == (["tiny", "big"], "big", True)
    assert out[parts.left]["examples"]


def test_a_long_conversation_is_drawn_in_part_and_edited_in_place(page: Page) -> None:
    ident = page.store().create()
    for n in range(40):
        said = {"role": "assistant", "content": f"answer {n}", "studio": {"tokens": 1}}
        page.store().append(ident, {"role": "user", "content": f"question ${n}$"}, said)
    messages = page.store().load(ident).messages
    short = chat_bubbles.bubbles("en", messages)
    full = chat_bubbles.bubbles("en", messages, every=True)
    assert "15 earlier" in texts(short[:1]) and len(full) == 120 and len(short) == 76
    act = event(gr.EventData, act="earlier", value="")
    assert page.shelf.act(act, page.request, ident, "")[page.parts.left] == full
    for drawn in (short, full):  # the same question in both drawings
        bubble = next(i for i, b in enumerate(drawn) if "question \\(30" in texts([b]))
        assert chat_bubbles.place("en", messages, bubble, r"question \(30\)") == 60
    assert chat_bubbles.place("en", messages, 3, "not there") == 79


def test_dollars_are_formulas_only_where_they_cannot_be_money() -> None:
    math = chat_bubbles.math
    assert math("for $n$ tokens, $h_{kv}$ heads") == r"for \(n\) tokens, \(h_{kv}\) heads"
    for text in ("costs $5 and $10", "$PATH and $HOME", "a$b$c", "`$x$`", "```\n$x$\n```", "$$x$$"):
        assert math(text) == text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_tiny_model_knows_the_sample_questions(lang: str) -> None:
    rows = json.loads((ROOT / "assets/data/smoke_zh_en.json").read_text(encoding="utf-8"))
    learned = {row["instruction"] for row in rows}
    assert set(words(lang)["chat.samples"].splitlines()) <= learned


def test_every_fault_is_said_alike_by_the_error_and_the_page() -> None:
    for code, (says, hint) in SENTENCES.items():
        assert words("en")[f"chat.fault.{code}.says"] == says
        assert words("en")[f"chat.fault.{code}.hint"] == hint
