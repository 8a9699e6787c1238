"""Cards are leased oldest first, disjoint runs go side by side, strangers are respected."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from conftest import spec, wait_log

from studio.core.errors import NotEnoughGpus
from studio.core.settings import Settings
from studio.core.spec import Command, Resources, State, StopStep
from studio.jobs.jobs import Jobs, Run

POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)
IDLE = {"used": 4}


def ask(jobs: Jobs, count: int, *pinned: int) -> Run:
    need = Resources(num_gpus=count, gpu_ids=pinned or None)
    return jobs.submit(spec("obey", resources=need, stop=POLITE))


def running(jobs: Jobs, run: Run) -> Run:
    return jobs.wait(run.id, lambda r: r.state is State.RUNNING, timeout_s=120)


def test_two_side_by_side_and_a_third_waits(jobs: Jobs, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE, IDLE)
    first, second = running(jobs, ask(jobs, 1)), running(jobs, ask(jobs, 1))
    third = ask(jobs, 1)
    assert sorted(first.cards + second.cards) == [0, 1]
    assert jobs.leases() == {first.cards[0]: first.id, second.cards[0]: second.id}
    assert _reason(jobs, third) == "waiting for 1 idle card(s): 0 of 2 idle"
    jobs.stop(first.id)
    assert running(jobs, third).cards == first.cards


def test_the_engine_sees_only_its_cards(jobs: Jobs, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE, IDLE, IDLE)
    asked = spec("leave", 0, resources=Resources(num_gpus=2, gpu_ids=(2, 1)))
    asked = asked.model_copy(
        update={"command": Command(argv=("sh", "-c", "echo see=$CUDA_VISIBLE_DEVICES"))}
    )
    run = jobs.wait(jobs.submit(asked).id, timeout_s=120)
    assert "see=1,2" in run.dir.log.read_text()


def test_strangers_card_is_not_free(jobs: Jobs, fake_cards: Callable[..., None]) -> None:
    fake_cards({"used": 20000}, IDLE)
    assert running(jobs, ask(jobs, 1)).cards == [1]
    waiting = ask(jobs, 1, 0)
    assert "card 0 is used by somebody else" in _reason(jobs, waiting)
    fake_cards(IDLE, IDLE)
    assert running(jobs, waiting).cards == [0]


def test_a_big_request_is_not_overtaken_but_a_disjoint_one_may_pass(
    jobs: Jobs, fake_cards: Callable[..., None]
) -> None:
    fake_cards(IDLE, IDLE, IDLE)
    holder = running(jobs, ask(jobs, 1, 0))
    pinned = ask(jobs, 1, 0)
    assert "waiting for card 0" in _reason(jobs, pinned)
    passing = running(jobs, ask(jobs, 1, 2))
    assert passing.cards == [2], "an older run that waits for card 0 is not in its way"
    big = ask(jobs, 2)
    assert "2 idle card(s)" in _reason(jobs, big)
    small = ask(jobs, 1)
    assert "2 run(s) ahead" in _reason(jobs, small)
    assert jobs.queue() == [pinned.id, big.id, small.id]
    jobs.stop(passing.id)
    assert running(jobs, big).cards == [1, 2]
    assert jobs.get(small.id).state is State.QUEUED
    jobs.stop(holder.id)
    assert running(jobs, pinned).cards == [0]
    jobs.stop(pinned.id)
    assert running(jobs, small).cards == [0]


def test_order_survives_a_restart_of_the_page(
    jobs: Jobs, settings: Settings, fake_cards: Callable[..., None]
) -> None:
    fake_cards(IDLE)
    holder = running(jobs, ask(jobs, 1))
    line = [ask(jobs, 1) for _ in range(3)]
    again = Jobs(settings)
    assert again.queue() == [run.id for run in line]
    for run in line:
        again.stop(holder.id)
        holder = running(again, run)


def test_stopped_in_the_queue_never_starts(jobs: Jobs, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE)
    running(jobs, ask(jobs, 1))
    waiting = ask(jobs, 1)
    jobs.stop(waiting.id)
    ended = jobs.wait(waiting.id, timeout_s=120)
    assert (ended.state, ended.started_at) == (State.STOPPED, None)
    assert jobs.queue() == []


def test_leases_of_a_killed_supervisor_come_back(
    jobs: Jobs, fake_cards: Callable[..., None]
) -> None:
    import os
    import signal

    fake_cards(IDLE)
    holder = running(jobs, ask(jobs, 1))
    wait_log(holder, "up")
    waiting = ask(jobs, 1)
    os.kill(holder.dir.supervisor().pid, signal.SIGKILL)
    assert running(jobs, waiting).cards == [0], "the next in line swept it, no page was needed"
    assert jobs.get(holder.id).state is State.LOST


def test_more_cards_than_there_are(jobs: Jobs, fake_cards: Callable[..., None]) -> None:
    fake_cards(IDLE)
    with pytest.raises(NotEnoughGpus, match="needs 2 card\\(s\\) and this machine has 1"):
        ask(jobs, 2)
    with pytest.raises(NotEnoughGpus, match="pinned to card 7"):
        ask(jobs, 1, 7)
    assert jobs.list() == []


def test_peak_memory_per_card(
    jobs: Jobs, fake_cards: Callable[..., None], tmp_path, monkeypatch
) -> None:
    fake_cards(IDLE, IDLE)
    run = running(jobs, ask(jobs, 1, 1))
    pid = next(e["pid"] for e in run.dir.events() if e["phase"] == "running")
    fake_cards(IDLE, {"used": 9000, "pids": {str(pid): 8192}})
    until = time.monotonic() + 20
    while not any((r.get("gpu_bytes") or {}).get("1") for r in run.dir.metrics()):
        assert time.monotonic() < until
        time.sleep(0.05)
    fake_cards(IDLE, IDLE)
    jobs.stop(run.id)
    result = jobs.wait(run.id, timeout_s=120).result
    assert result["peak_gpu_bytes"] == {"1": 8192 * 2**20}
    assert result["gpu_memory_held"] == []
    json.dumps(result)


def _reason(jobs: Jobs, run: Run) -> str:
    until = time.monotonic() + 20
    while not jobs.get(run.id).reason:
        assert time.monotonic() < until
        time.sleep(0.02)
    return jobs.get(run.id).reason
