"""Conversations of the Chat tab as a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from studio.chat.conversations import Conversations
from studio.core.errors import DataInvalid
from studio.data.library import DataSets


def asked(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def told(text: str, ended: str = "done", **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "studio": {"ended": ended, **extra}}


def test_only_finished_answers_count(data: DataSets) -> None:
    talk = [
        {"role": "system", "content": "be kind"},
        asked("one"),
        told("1", reasoning="hm", model="m"),
        asked("never answered"),
        asked("two"),
        told("2 and", "stopped"),
        asked("three"),
        told("", "failed", error={"message": "down"}),
        asked("four"),
        told("4, cut at the", finish_reason="length"),
        asked("five"),
        told("<think>five is\n\nodd</think>\n\n5"),
        asked("six"),
    ]
    made = data.from_conversations([{"title": "t", "messages": talk}], "from chat")
    assert (made.name, made.kind, made.rows) == ("from-chat", "openai", 1)
    assert made.origin["from"] == "chat" and made.origin["titles"] == ["t"]
    assert data.rows("from-chat") == [
        {
            "messages": [
                {"role": "system", "content": "be kind"},
                {"role": "user", "content": "one"},
                {"role": "assistant", "content": "1"},
                {"role": "user", "content": "five"},
                {"role": "assistant", "content": "5"},
            ]
        }
    ]


def test_one_side_of_a_comparison(data: DataSets) -> None:
    talk = [asked("q"), told("left", side="a"), told("right", side="b")]
    data.from_conversations([{"messages": talk}, {"messages": talk, "side": "b"}], "it")
    answers = [row["messages"][-1]["content"] for row in data.rows("it")]
    assert answers == ["left", "right"]


def test_pictures_are_copied(data: DataSets, tmp_path: Path) -> None:
    name = f"{'a' * 64}.png"
    (tmp_path / name).write_bytes(b"\x89PNG")
    parts = [
        {"type": "image_url", "image_url": {"url": f"picture:{name}"}},
        {"type": "text", "text": "what?"},
    ]
    gone = [{"type": "image_url", "image_url": {"url": f"picture:{'b' * 64}.png"}}]
    seen = [{"role": "user", "content": parts}, told("a cat")]
    blind = [{"role": "user", "content": gone}, told("a dog")]
    talks = [{"messages": [*seen, *blind]}, {"messages": blind}]
    made = data.from_conversations(talks, "it", pictures=tmp_path)
    [row] = data.rows("it")
    assert made.pictures == 1 and row["messages"][0]["content"] == "<image>\nwhat?"
    [kept] = row["images"]
    assert Path(kept).parent == data.folder / "it" / "pictures" and Path(kept).is_file()


def test_a_conversation_as_the_chat_keeps_it(data: DataSets, tmp_path: Path) -> None:
    store = Conversations(tmp_path / "chats", "me")
    ident = store.create()
    store.append(ident, asked("hi"), told("hello"))
    kept = store.load(ident)
    data.from_conversations([{"title": kept.head.title, "messages": kept.messages}], "it")
    assert data.rows("it")[0]["messages"] == [
        asked("hi"),
        {"role": "assistant", "content": "hello"},
    ]


def test_nothing_answered_is_nothing_to_learn(data: DataSets) -> None:
    with pytest.raises(DataInvalid):
        data.from_conversations([{"messages": [asked("hi")]}], "it")
    assert [one for one in data.list() if not one.built_in] == []
