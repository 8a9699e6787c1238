"""Batches: one after the other, stopped, killed and taken up again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from images.conftest import ANN, GUEST
from images.stand_in import StandIn, png

from studio.core.errors import NotAllowed, NotFound, RunBusy
from studio.images import batch as batches
from studio.images.batch import Batches
from studio.images.batch_files import BatchLook, BatchState
from studio.images.desk import ImageDesk
from studio.images.request import EditInvalid, EditSettings

NIGHT = EditSettings(prompt="make it night", num_inference_steps=4)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "POLL_S", 0.01)
    monkeypatch.setattr(batches, "TAKE_S", 0.05)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "photos"
    found.mkdir()
    for name in ("c.png", "a.jpg", "b.webp"):
        (found / name).write_bytes(png())
    (found / "notes.txt").write_text("no picture")
    (found / ".hidden.png").write_bytes(png())
    return found


def until(
    found: Batches, ident: str, right: Callable[[BatchLook], bool], timeout_s: float = 10
) -> BatchLook:
    deadline = time.monotonic() + timeout_s
    while not right(look := found.look(ANN, ident)):
        assert time.monotonic() < deadline, look
        time.sleep(0.01)
    return look


def test_a_folder(desk: ImageDesk, worker: StandIn, folder: Path, tmp_path: Path) -> None:
    worker.auto = True
    out = tmp_path / "out"
    found = Batches(desk)
    made = found.create(ANN, folder, NIGHT, out=str(out))
    assert (made.state, made.total, made.plan.name) == (BatchState.STOPPED, 3, "photos")
    found.start(ANN, made.plan.id)
    look = until(found, made.plan.id, lambda look: look.state is BatchState.DONE)
    assert [row.state for row in look.rows] == ["done"] * 3 and look.eta_s is None
    assert look.plan.names == ("a.jpg", "b.webp", "c.png")
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b.png", "c.png"]
    items = desk.items(ANN)
    assert {item.asked.group for item in items} == {made.plan.id}
    assert [item.asked.source for item in items] == ["c.png", "b.webp", "a.jpg"]
    assert [row["name"] for row in look.summary()["rows"]] == ["a.jpg", "b.webp", "c.png"]
    found.delete(ANN, made.plan.id)
    assert found.list(ANN) == [] and len(desk.items(ANN)) == 3


def test_one_after_the_other_stopped_and_resumed(desk: ImageDesk, worker: StandIn) -> None:
    given = [(f"{n}.png", png()) for n in range(3)]
    found = Batches(desk)
    ident = found.create(ANN, given, NIGHT).plan.id
    found.start(ANN, ident)
    until(found, ident, lambda look: look.current is not None)
    with pytest.raises(RunBusy, match="at work already"):
        found.start(ANN, ident)
    with pytest.raises(RunBusy):
        found.delete(ANN, ident)
    worker.finish("job-1")
    look = until(found, ident, lambda look: look.count("done") == 1 and look.current is not None)
    assert len(worker.forms) == 2 and look.eta_s is not None
    assert found.stop(ANN, ident).state in (BatchState.STOPPING, BatchState.STOPPED)
    look = until(found, ident, lambda look: look.state is BatchState.STOPPED)
    assert [row.state for row in look.rows] == ["done", "cancelled"]
    assert worker.jobs["job-2"]["state"] == "cancelled"
    worker.auto = True
    found.start(ANN, ident)
    look = until(found, ident, lambda look: look.state is BatchState.DONE)
    assert len(worker.forms) == 4, "what was done is not done again"


def test_a_page_that_was_killed(
    new_desk: Callable[[], ImageDesk], worker: StandIn, folder: Path
) -> None:
    found = Batches(new_desk())
    ident = found.create(ANN, folder, NIGHT).plan.id

    class Killed(BaseException):
        pass

    def die(look: BatchLook, _) -> None:
        raise Killed

    with pytest.raises(Killed):
        found.work(ANN, ident, die)
    worker.finish("job-1")  # meanwhile
    later = Batches(new_desk())
    look = later.look(ANN, ident)
    assert look.state is BatchState.INTERRUPTED and look.current is not None
    worker.auto = True
    later.start(ANN, ident)
    until(later, ident, lambda look: look.state is BatchState.DONE)
    assert len(worker.forms) == 3, "the job that ended meanwhile counts"


def test_what_was_cancelled_with_the_killed_page_is_done_again(
    desk: ImageDesk, worker: StandIn, folder: Path
) -> None:
    found = Batches(desk)
    ident = found.create(ANN, folder, NIGHT, endpoint="gone").plan.id

    def interrupt(look: BatchLook, _) -> None:
        raise KeyboardInterrupt

    with pytest.raises(NotFound, match="gone is not running"):
        found.work(ANN, ident, interrupt)
    with pytest.raises(KeyboardInterrupt):
        found.work(ANN, ident, interrupt, endpoint="tiny")
    look = found.look(ANN, ident)
    assert look.state is BatchState.STOPPED and look.current is not None
    desk.cancel(ANN, look.current.item)
    worker.auto = True
    found.start(ANN, ident, endpoint="tiny")
    look = until(found, ident, lambda look: look.state is BatchState.DONE)
    assert look.count("done") == 3 and len(worker.forms) == 4


def test_what_fails_is_named_and_tried_again(
    desk: ImageDesk, worker: StandIn, folder: Path
) -> None:
    worker.auto = True
    (folder / "a.jpg").write_bytes(b"<svg>")
    found = Batches(desk)
    ident = found.create(ANN, folder, NIGHT).plan.id
    found.start(ANN, ident)
    look = until(found, ident, lambda look: look.state is BatchState.DONE)
    assert (look.count("done"), look.count("failed")) == (2, 1)
    assert "not a picture" in look.rows[0].error
    (folder / "a.jpg").write_bytes(png())
    found.start(ANN, ident)
    look = until(found, ident, lambda look: look.count("done") == 3)
    assert len(worker.forms) == 3


def test_a_worker_that_goes_halts_it(desk: ImageDesk, worker: StandIn, folder: Path) -> None:
    found = Batches(desk)
    ident = found.create(ANN, folder, NIGHT).plan.id
    worker.close()
    found.start(ANN, ident)
    look = until(found, ident, lambda look: look.halt is not None)
    assert look.state is BatchState.STOPPED and look.halt is not None
    assert "Nothing answers at" in look.halt.error and look.rows == ()
    assert look.summary()["error"] == look.halt.error


def test_who_may(desk: ImageDesk, folder: Path, tmp_path: Path) -> None:
    found = Batches(desk)
    with pytest.raises(NotAllowed):
        found.create(GUEST, folder, NIGHT)
    assert found.list(GUEST) == []
    with pytest.raises(NotFound, match="cannot be read"):
        found.create(ANN, tmp_path / "nowhere", NIGHT)
    for sources, settings, out in (
        ([], NIGHT, ""),
        (folder, EditSettings(), ""),
        (folder, NIGHT, "relative"),
    ):
        with pytest.raises(EditInvalid):
            found.create(ANN, sources, settings, out=out)
    for ident in ("", "..", "0" * 18):
        with pytest.raises(NotFound):
            found.look(ANN, ident)
