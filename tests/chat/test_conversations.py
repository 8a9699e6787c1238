"""Conversations on disk: what is written is there again, torn lines cost themselves only."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from studio.chat.conversations import Conversations, owner_folder, shorten
from studio.chat.export import as_jsonl, as_markdown, file_name
from studio.core.errors import NotFound, StudioError
from studio.core.ids import new_id


@pytest.fixture
def mine(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path, "ann")


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str, **extra) -> dict:
    return {"role": "assistant", "content": text, "studio": {"tokens": 3, **extra}}


def file_of(tmp_path: Path, ident: str) -> Path:
    return next(tmp_path.rglob(f"{ident}.jsonl"))


def test_written_and_read_again(mine: Conversations, tmp_path: Path) -> None:
    ident = mine.create()
    mine.append(ident, user("你是谁？\n第二行"))
    mine.append(ident, assistant("我是小梯。", ttft_s=0.1))
    again = Conversations(tmp_path, "ann").load(ident)
    assert again.head.title == "你是谁？ 第二行"
    assert again.messages == [user("你是谁？\n第二行"), assistant("我是小梯。", ttft_s=0.1)]
    first, *rest = file_of(tmp_path, ident).read_text().splitlines()
    assert json.loads(first)["id"] == ident and len(rest) == 2
    assert file_of(tmp_path, ident).parent.stat().st_mode & 0o077 == 0, "nobody else may look"


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_torn_last_line_loses_nothing_else(mine: Conversations, tmp_path: Path, cut: int) -> None:
    ident = mine.create()
    mine.append(ident, user("one"), assistant("two"), user("three 三"))
    path = file_of(tmp_path, ident)
    path.write_bytes(path.read_bytes()[:-cut])
    kept = mine.load(ident).messages
    assert kept[:2] == [user("one"), assistant("two")]
    mine.append(ident, user("four"))
    assert mine.load(ident).messages[-1] == user("four")
    assert mine.load(ident).messages[:2] == [user("one"), assistant("two")]


def test_broken_head_still_has_its_messages(mine: Conversations, tmp_path: Path) -> None:
    ident = mine.create("title")
    mine.append(ident, user("one"))
    path = file_of(tmp_path, ident)
    path.write_text("garbage\n" + path.read_text().split("\n", 1)[1])
    assert mine.load(ident).messages == [user("one")]
    assert mine.list()[0].id == ident
    path.write_text("")
    assert mine.load(ident).messages == []


def test_edit_replaces_all_and_keeps_the_head(mine: Conversations, tmp_path: Path) -> None:
    ident = mine.create()
    mine.append(ident, user("one"), assistant("two"))
    mine.replace(ident, [user("uno")])
    assert mine.load(ident).messages == [user("uno")]
    assert mine.load(ident).head.title == "one"
    assert [p.suffix for p in file_of(tmp_path, ident).parent.iterdir()] == [".jsonl"]


def test_rename_keeps_the_place_and_delete_removes(mine: Conversations, tmp_path: Path) -> None:
    second, first = mine.create("second"), mine.create("first")
    os.utime(file_of(tmp_path, second), (1000, 1000))
    assert [h.title for h in mine.list()] == ["first", "second"]
    mine.rename(second, "  another\nname ")
    assert [h.title for h in mine.list()] == ["first", "another name"]
    with pytest.raises(StudioError):
        mine.rename(second, "  ")
    mine.delete(second)
    assert [h.id for h in mine.list()] == [first]
    with pytest.raises(NotFound):
        mine.delete(second)


def test_draft_of_a_killed_studio_is_part_of_the_conversation(mine: Conversations) -> None:
    ident = mine.create()
    mine.append(ident, user("one"))
    mine.save_draft(ident, [assistant("hal", ended="cut")])
    assert mine.load(ident).messages[-1]["content"] == "hal"
    mine.settle(ident)
    mine.settle(ident)
    mine.append(ident, user("two"))
    assert [m["content"] for m in mine.load(ident).messages] == ["one", "hal", "two"]
    mine.save_draft(ident, [assistant("x")])
    mine.delete(ident)
    mine.save_draft(ident, [assistant("x")])
    assert mine.list() == []


def test_others_are_out_of_reach(mine: Conversations, tmp_path: Path) -> None:
    ident = mine.create("secret")
    other = Conversations(tmp_path, "bob")
    assert other.list() == [] and other.search("secret") == []
    for act in (other.load, other.delete, lambda i: other.append(i, user("x"))):
        with pytest.raises(NotFound):
            act(ident)
    assert mine.load(ident).head.title == "secret"


@pytest.mark.parametrize(
    "bad", ["", "..", "../ann/x", "i" * 18, "a/b", "\0", "01m7yxra83x32cwe9p/"]
)
def test_ids_that_are_none(mine: Conversations, bad: str) -> None:
    mine.create()
    for act in (mine.load, mine.delete, lambda i: mine.rename(i, "t"), mine.drop_draft):
        with pytest.raises(NotFound):
            act(bad)


def test_owner_folders_are_safe_and_never_collide() -> None:
    names = ["ann", "Ann", "ANN", "a/../b", "..", "", ".", "王小明", "王小红", "a" * 300, "ann "]
    folders = [owner_folder(name) for name in names]
    assert len(set(folders)) == len(folders)
    assert folders[0] == "ann" and owner_folder("") == owner_folder("local")
    for folder in folders:
        assert "/" not in folder and not folder.startswith(".") and len(folder) < 60


def test_thousand_conversations_list_quickly(mine: Conversations, tmp_path: Path) -> None:
    ids = [mine.create(f"title {n}") for n in range(3)]
    folder = file_of(tmp_path, ids[0]).parent
    for n in range(1000):
        ident = new_id(1_700_000_000 + n)
        head = {"id": ident, "title": f"number {n}", "created_at": n}
        rows = [head, user(f"question {n}"), *[assistant("words " * 40)] * 10]
        path = folder / f"{ident}.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
        os.utime(path, (1_700_000_000 + n,) * 2)
    began = time.perf_counter()
    heads = mine.list()
    cold = time.perf_counter() - began
    began = time.perf_counter()
    assert len(mine.list(limit=50)) == 50
    warm = time.perf_counter() - began
    assert len(heads) == 1003 and heads[3].title == "number 999"
    assert cold < 0.5 and warm < 0.1, (cold, warm)
    began = time.perf_counter()
    assert mine.search("QUESTION 77")[0].head.title == "number 779"
    assert time.perf_counter() - began < 1.0


def test_search_finds_words_in_texts_and_titles(mine: Conversations) -> None:
    ident = mine.create()
    mine.append(ident, user("什么是“张量并行”？"), assistant('It "splits"\nevery <b>layer</b>.'))
    for words in ("张量", '"SPLITS" every', "<b>lay", "  every  <b>"):
        assert [hit.head.id for hit in mine.search(words)] == [ident], words
    assert "splits" in mine.search("layer")[0].snippet
    assert mine.search("tokens") == [], "the studio's own keys are not searched"
    assert mine.search("zebra") == [] and len(mine.search("")) == 1


def test_export_is_plain_openai_and_readable_markdown(mine: Conversations) -> None:
    ident = mine.create()
    answer = assistant("4", model="tiny", reasoning="2+2\nis 4")
    mine.append(ident, {"role": "system", "content": "Be brief."}, user("2+2?"), answer)
    conversation = mine.load(ident)
    rows = [json.loads(line) for line in as_jsonl(conversation).splitlines()]
    assert [set(row) for row in rows] == [{"role", "content"}] * 3
    text = as_markdown(conversation)
    assert text.startswith("# 2+2?\n") and "Assistant · tiny" in text and "> 2+2\n> is 4" in text
    assert file_name(conversation, "md") == "2-2.md"


def test_titles_are_one_short_line() -> None:
    assert shorten("# Hello\n\n**world**") == "Hello world"
    assert len(shorten("word " * 100)) <= 61 and shorten("word " * 100).endswith("…")
    assert len(shorten("字" * 100)) == 61


def test_half_an_emoji_can_be_written(mine: Conversations) -> None:
    ident = mine.create()
    mine.append(ident, assistant("ok \ud83d"))
    assert mine.load(ident).messages[0]["content"].startswith("ok ")
