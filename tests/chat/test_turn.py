"""One question, one or two answers: shown as they come, stopped, cut, kept."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script, steady

from studio.chat.answer import Answer, Ending
from studio.chat.client import Sampling, stream
from studio.chat.conversations import Conversations
from studio.chat.history import to_send
from studio.chat.thinking import split
from studio.chat.turn import Turn
from studio.core.spec import Endpoint

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def server():
    with FakeChat() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path, "ann")


def answer(server: FakeChat, model: str = "tiny", **about) -> Answer:
    endpoint = Endpoint(id="x", name="fake", base_url=server.url, models=(model,))
    return Answer(
        lambda: stream(endpoint, ASK, sampling=Sampling(max_tokens=200)), model=model, **about
    )


async def watch(turn: Turn, stop_after: int | None = None) -> list[tuple[float, str]]:
    """Follow a turn as a page does; return when each update came and what it showed."""
    seen, began = [], time.perf_counter()
    async for looks in turn.updates():
        if looks is not None:
            seen.append((time.perf_counter() - began, looks["a"].text))
            if stop_after is not None and len(seen) >= stop_after:
                turn.stop()
    return seen


def test_first_piece_at_once_then_at_most_25_a_second(server: FakeChat) -> None:
    server.models = {"tiny": steady(500, 0.05)}
    turn = Turn({"a": answer(server)})
    seen = asyncio.run(watch(turn))
    look = turn.answers["a"].look()
    assert look.ending is Ending.DONE and look.text.split()[-1] == "word199"
    assert seen[0][0] - 0.05 < 0.1, "the first piece does not wait for the throttle"
    assert 5 <= len(seen) <= 16, f"0.4 s of answer in {len(seen)} updates"
    assert look.done is not None and look.done.tokens_per_s == pytest.approx(500, rel=0.15)


def test_stop_keeps_what_had_arrived(server: FakeChat, store: Conversations) -> None:
    server.models = {"tiny": steady(50, 0.0)}
    ident = store.create("t")
    turn = Turn({"a": answer(server, endpoint="fake")}, store, ident)
    began = time.perf_counter()
    asyncio.run(watch(turn, stop_after=3))
    assert time.perf_counter() - began < 1.5
    turn.close()
    turn.close()
    [kept] = store.load(ident).messages
    assert kept["content"].startswith("word0") and "word100" not in kept["content"]
    figures = kept["studio"]
    assert figures["ended"] == "stopped" and figures["endpoint"] == "fake"
    assert figures["counted"] == "chunks" and figures["tokens"] == len(kept["content"].split())
    assert figures["ttft_s"] < 0.5 and figures["tokens_per_s"] == pytest.approx(50, rel=0.4)


def test_closed_browser_cuts_and_keeps(server: FakeChat, store: Conversations) -> None:
    server.models = {"tiny": steady(50, 0.0)}
    ident = store.create("t")
    turn = Turn({"a": answer(server)}, store, ident)

    async def leave() -> None:
        async for _ in turn.updates():
            break

    asyncio.run(leave())
    turn.close()
    assert store.load(ident).messages[0]["studio"]["ended"] == "cut"
    deadline = time.monotonic() + 2
    while not server.gone and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.gone, "the engine is told to stop"


def test_draft_is_on_disk_while_it_arrives(
    server: FakeChat, store: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.chat.turn.DRAFT_S", 0.05)
    server.models = {"tiny": steady(100, 0.0)}
    ident = store.create("t")
    turn = Turn({"a": answer(server)}, store, ident)

    async def killed() -> str:
        async for _ in turn.updates():
            left = store.load(ident).messages
            if left:
                return left[0]["content"]
        raise AssertionError(turn.answers["a"].look())

    assert asyncio.run(killed()).startswith("word0")
    turn.close()
    assert len(store.load(ident).messages) == 1, "the draft gave way to the answer"


def test_failure_is_kept_with_its_code(server: FakeChat, store: Conversations) -> None:
    server.models = {"tiny": Script(pieces=["a", "b"], die_after=1)}
    ident = store.create("t")
    turn = Turn({"a": answer(server)}, store, ident)
    asyncio.run(watch(turn))
    turn.close()
    [kept] = store.load(ident).messages
    assert kept["content"] == "a" and kept["studio"]["ended"] == "failed"
    assert kept["studio"]["error"]["code"] == "cut"


def test_two_sides_at_the_same_time(server: FakeChat, store: Conversations) -> None:
    server.models = {"tiny": steady(400, 0.2), "big": steady(400, 0.2)}
    ident = store.create("t")
    sides = {"a": answer(server, side="a"), "b": answer(server, "big", side="b")}
    turn = Turn(sides, store, ident)
    began = time.perf_counter()
    asyncio.run(watch(turn))
    assert time.perf_counter() - began < 1.2, "0.7 s each, not one after the other"
    turn.close()
    kept = [message["studio"] for message in store.load(ident).messages]
    assert [(s["side"], s["model"]) for s in kept] == [("a", "tiny"), ("b", "big")]


def test_silence_beats_so_that_a_closed_browser_is_noticed(
    server: FakeChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.chat.turn.BEAT_S", 0.05)
    server.models = {"tiny": Script(first_s=30)}
    turn = Turn({"a": answer(server)})

    async def beat() -> object:
        async for looks in turn.updates():
            return looks
        raise AssertionError

    assert asyncio.run(beat()) is None
    turn.close()


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain", ("", "plain", False)),
        ("<think>hm</think>\n\n4", ("hm", "4", False)),
        ("\n<think>\nhm", ("hm", "", True)),
        ("<thi", ("", "", False)),
        ("<", ("", "", False)),
        ("<b>bold", ("", "<b>bold", False)),
        ("hm, so\n</think>\n4", ("hm, so", "4", False)),
        ("write `</think>` at the end", ("", "write `</think>` at the end", False)),
        ("```\n<think>\n</think>\n```", ("", "```\n<think>\n</think>\n```", False)),
        ("<think></think>4", ("", "4", False)),
    ],
)
def test_thoughts_are_taken_off(text: str, expected: tuple) -> None:
    assert tuple(split(text)) == expected


def test_inline_thoughts_are_kept_apart_and_timed(server: FakeChat) -> None:
    pieces = ["<th", "ink>", "2+2", " is 4", "</think>", "\n\n", "4"]
    server.models = {"tiny": Script(pieces=pieces, rate=50)}
    one = answer(server)
    turn = Turn({"a": one})
    asyncio.run(watch(turn))
    message = one.message()
    assert (message["content"], message["studio"]["reasoning"]) == ("4", "2+2 is 4")
    assert 0.0 < message["studio"]["thought_s"] < 1.0


def said(role: str, content: str, side: str | None = None) -> dict:
    extra = {"studio": {"side": side}} if side else {}
    return {"role": role, "content": content, **extra}


def test_history_is_what_was_asked_for() -> None:
    talk = [said("user", "1"), said("assistant", "one", "a"), said("assistant", "eins", "b")]
    talk += [said("user", "lost"), said("assistant", "")]
    talk += [said("user", "2"), said("assistant", "two"), said("user", "3")]

    def sent(**options) -> list[str]:
        return [m["content"] for m in to_send(talk, **options)]

    assert sent() == ["1", "one", "2", "two", "3"]
    assert sent(turns=1) == ["2", "two", "3"]
    assert sent(turns=0) == ["3"] and sent(turns=99) == sent()
    assert sent(side="b") == ["1", "eins", "2", "two", "3"]
    assert sent(turns=0, system="Be brief.") == ["Be brief.", "3"]
    assert all("studio" not in m for m in to_send(talk))
    assert to_send([]) == []
