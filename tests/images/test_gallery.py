"""The gallery: pages of many items, half-made folders, and other owners."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from studio.core.errors import NotFound
from studio.core.ids import new_id
from studio.images.gallery import Gallery
from studio.images.item import Asked, End, ItemState
from studio.images.request import EditSettings

MANY = 10_000


def item(gallery: Gallery, at: float = 0.0, prompt: str = "x") -> str:
    part = gallery.begin({"before-0.png": b"p", "before.webp": b"w"})
    ident = new_id(at or None)
    settings = EditSettings(prompt=prompt)
    gallery.add(part, Asked(id=ident, created_at=at or time.time(), settings=settings))
    return ident


def end(state: str = "done", **facts) -> End:
    return End(state=ItemState(state), ended_at=time.time(), **facts)


def test_written_once(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "ann")
    assert gallery.list() == [] and gallery.pending() == []
    ident = item(gallery, prompt="夜景 \udc80")
    assert [i.id for i in gallery.pending()] == [ident]
    first = gallery.finish(ident, end(num_out=1), {"out-0.png": b"1", "after.webp": b"w"})
    assert first.state is ItemState.DONE and first.thumb == "after.webp"
    again = gallery.finish(ident, end("failed"), {"out-0.png": b"2"})
    assert again == first and gallery.file(ident, "out-0.png").read_bytes() == b"1"
    assert gallery.pending() == [] and not os.listdir(gallery.folder / "pending")
    assert Gallery(tmp_path / "ann").get(ident) == first


def test_pages_of_many_items_are_quick(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "ann")
    newest = [item(gallery, at=2_000_000_000 + n) for n in range(60)]
    for n in range(MANY):
        os.mkdir(f"{gallery.folder}/{new_id(1_000_000_000 + n)}")
    began = time.perf_counter()
    page = gallery.list(limit=48)
    took = time.perf_counter() - began
    assert [i.id for i in page] == newest[:-49:-1]
    assert took < 0.5, took
    assert [i.id for i in gallery.list(before=page[-1].id, limit=12)] == newest[11::-1]


def test_the_oldest_make_room(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path / "guest")
    made = [item(gallery, at=1_700_000_000 + n) for n in range(5)]
    for ident in made[1:]:
        gallery.finish(ident, end())
    gallery.keep(2)
    assert gallery.ids() == [made[4], made[3], made[0]], "what is under way stays"


def test_what_a_crash_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gallery = Gallery(tmp_path / "ann")
    ident = item(gallery)
    part = gallery.begin({"before-0.png": b"p"})
    assert gallery.ids() == [ident]
    gallery.tidy()
    assert part.exists(), "it may still be written"
    os.utime(part, (1, 1))
    gallery.tidy()
    assert not part.exists() and gallery.ids() == [ident]
    (gallery.folder / ident / "end.json").write_text('{"state": "do')
    assert gallery.get(ident).state is ItemState.PENDING, "half a file is none"


def test_nothing_else_can_be_named(tmp_path: Path) -> None:
    gallery, other = Gallery(tmp_path / "ann"), Gallery(tmp_path / "bob")
    ident = item(gallery)
    (gallery.folder / ident / "secret.txt").write_text("x")
    for name in ("item.json", "secret.txt", "../secret", "out-0.png", "before-0.png/..", ""):
        with pytest.raises(NotFound):
            gallery.file(ident, name)
    for wrong in ("", "..", ".", "pending", f"../ann/{ident}", ident.upper()):
        with pytest.raises(NotFound):
            gallery.get(wrong)
    with pytest.raises(NotFound):
        other.get(ident)
    with pytest.raises(NotFound):
        gallery.begin({"evil.sh": b""})
