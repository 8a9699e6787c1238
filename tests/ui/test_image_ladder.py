"""The live ladder: what a worker tells, drawn for an operator."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from studio.core.spec import Command, RunSpec, State
from studio.engines.workers.image_edit.ladder import Ask, choose, rungs
from studio.engines.workers.image_edit.machine import GIB, Card, Machine
from studio.engines.workers.image_edit.sizes import published
from studio.planner.result import CardMemory
from studio.studio import Studio
from studio.ui.image.ladder import LadderLook, Ladders, Told, live, read_told, rows_of
from studio.ui.serving.view import CardUse

TOTAL = 24 * GIB


def told(*, skip: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Return what a front says of the true model on two cards of 24 GiB."""
    cards = tuple(Card(n, "RTX 4090", TOTAL, 23 * GIB, 8.9) for n in range(2))
    machine = Machine(cards, 100 * GIB, 128 * GIB, cores=16)
    ask = Ask(skip=skip or {})
    ladder = rungs(published(), machine, ask)
    rung = choose(ladder, ask)
    return {
        "status": "ready",
        "rung": rung.name,
        "why": rung.why,
        "loaded": {"seconds": 41.0, "peaks": {"cards": [20 * GIB, 19 * GIB], "host": 18 * GIB}},
        "ladder": [one.as_dict() for one in ladder],
        "falls": [],
        "skipped": skip or {},
        "queued": 3,
        "running": True,
        **more,
    }


def fallen() -> dict[str, Any]:
    """Return what it says after the split ran out of memory at step 3."""
    reason = "out of memory at step 3"
    said = told(skip={"split": reason})
    fall = {"from": "split", "to": said["rung"], "reason": reason, "at": time.time() - 60}
    return {**said, "falls": [fall]}


def look(said: dict[str, Any], **more: Any) -> LadderLook:
    """Return what is known: two cards in use, 12 pictures made."""
    return LadderLook(
        told=read_told(said),
        jobs={"done": 12, "failed": 1, "cancelled": 0},
        cards=tuple(CardUse(index=n, used_bytes=20e9, total_bytes=TOTAL) for n in range(2)),
        totals={n: CardMemory(n, "RTX 4090", TOTAL, 0) for n in range(2)},
        host_bytes=17e9,
        host_total_bytes=128 * GIB,
        **more,
    )


def run(state: State = State.READY, port: int | None = 8000, **env: str) -> Any:
    """Return as much of a run as the ladder looks at."""
    spec = RunSpec(
        id="01k0000000", name="edit", engine="image-edit", port=port, created_at=0.0,
        command=Command(argv=("true",), env=env),
    )  # fmt: skip
    return SimpleNamespace(id=spec.id, state=state, spec=spec, cards=(0, 1))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_which_rung_runs_what_it_takes_and_what_waits(lang: str) -> None:
    page = live(lang, run(), look(told()))
    assert "imageworker." not in page and "live." not in page
    assert page.count("l-rung-runs") == 1
    assert page.count('data-act="rung"') >= 3, "every rung that is possible can be taken"
    assert "data-confirm" in page and "data-form-set" not in page
    for text in ("18.6", "24.0 GiB", ">12<", ">3<"):
        assert text in page, text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_fall_is_told_with_time_and_reason(lang: str) -> None:
    page = live(lang, run(), look(fallen()))
    assert "l-rung-fell" in page and "<time" in page
    reason = {"en": "out of memory at step 3", "zh": "第 3 步"}[lang]
    assert reason in page
    assert "l-falls" in page


def test_rows_stand_as_they_do() -> None:
    rows = {row.name: row for row in rows_of(look(fallen()))}
    assert rows["split"].standing == "fell" and rows["split"].at is not None
    assert rows["whole"].standing == "no"
    running = [row for row in rows.values() if row.standing == "runs"]
    assert len(running) == 1
    card = running[0].cards[0]
    assert card.total_bytes == TOTAL and card.over_bytes == 0
    assert sum(part.bytes for part in card.parts) == TOTAL


def test_measured_seconds_replace_expected_ones() -> None:
    said = told()
    row = next(row for row in said["ladder"] if row["rung"] == said["rung"])
    row |= {"measured_step_s": 1.0, "measured_encode_s": 2.0, "measured_decode_s": 3.0}
    assert read_told(said).picture_s == pytest.approx(45.0), "2 + 40 x 1 + 3"
    page = live("en", run(), look(said))
    assert "measured here" in page and "45 s" in page


@pytest.mark.parametrize(
    ("status", "tone"), [("loading", "clock"), ("reloading", "l-tone-warn"), ("failed", "bad")]
)
def test_other_states(status: str, tone: str) -> None:
    assert tone in live("en", run(), look(told(status=status)))


def test_before_it_answers_and_after_it_has_ended() -> None:
    nothing = LadderLook(told=Told())
    assert "chooses a rung" in live("en", run(State.STARTING), nothing)
    assert "In line" in live("en", run(State.QUEUED), nothing)
    ended = LadderLook(told=Told(), jobs={"done": 4, "failed": 0, "cancelled": 1})
    page = live("zh", run(State.STOPPED), ended)
    assert ">4<" in page and "l-rungs" not in page
    assert "l-note" in live("en", run(State.FAILED), nothing)


def test_what_is_not_a_ladder_draws_nothing_and_breaks_nothing() -> None:
    for odd in ({}, {"ladder": None, "falls": None}, {"ladder": ["x", {}], "rung": None}):
        assert live("en", run(), look({**odd}))


@pytest.fixture
def front() -> Iterator[SimpleNamespace]:
    """A front that answers /ladder, as long as it is told to."""
    asked: list[str | None] = []
    answer: dict[str, Any] = {"status": 200}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            body = json.dumps(told()).encode()
            self.send_response(answer["status"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()

    yield SimpleNamespace(port=server.server_address[1], asked=asked, answer=answer)
    server.shutdown()
    server.server_close()


def test_a_worker_is_asked_with_its_key_and_once_for_all_viewers(studio: Studio, front: Any):
    ladders = Ladders(studio)
    mine = run(port=front.port, STUDIO_ENDPOINT_KEY="secret")
    assert [ladders.told(mine).rung for _ in range(5)] == [told()["rung"]] * 5
    assert front.asked == ["Bearer secret"]


def test_a_worker_that_is_silent_for_a_moment_keeps_its_ladder(studio: Studio, front: Any):
    ladders = Ladders(studio)
    mine = run(port=front.port)
    before = ladders.told(mine)
    front.answer["status"] = 500
    until = time.monotonic() + 10
    while len(front.asked) < 2 and time.monotonic() < until:
        assert ladders.told(mine) == before
        time.sleep(0.2)
    assert len(front.asked) >= 2 and ladders.told(mine) == before


def test_one_that_has_ended_or_is_not_there_is_not_waited_for(studio: Studio):
    ladders = Ladders(studio)
    began = time.monotonic()
    assert ladders.told(run(State.FAILED)) == Told()
    assert ladders.told(run(State.QUEUED, port=None)) == Told()
    assert ladders.told(run(port=1)) == Told()
    assert time.monotonic() - began < 5
