"""Whose turn it is at the front: users by turns, the queue, what is forgotten, waiting times."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from engines.image_edit.conftest import drawn

from studio.engines.workers.image_edit import desk as desks
from studio.engines.workers.image_edit.asked import Defaults, check
from studio.engines.workers.image_edit.desk import Desk
from studio.engines.workers.image_edit.estimates import Estimates
from studio.engines.workers.image_edit.job import Job


def queued(desk: Desk, user: str) -> Job:
    asked = check({"prompt": "x", "user": user}, Defaults())
    job = Job(desk.folder, asked, (64, 64), num_pictures=1, masked=False)
    desk.submit(job)
    return job


def test_users_take_turns(tmp_path: Path) -> None:
    async def wait_for_turns() -> None:
        desk = Desk(tmp_path, Estimates())
        first, second, third = (queued(desk, "ann") for _ in range(3))
        assert [desk.position(job) for job in (first, second, third)] == [1, 2, 3]
        assert await desk.next() is first
        guest = queued(desk, "bob")
        late = queued(desk, "eve")
        assert list(desk.order()) == [guest, late, second, third]
        assert [desk.position(job) for job in (first, guest, second)] == [0, 1, 3]
        order = []
        for _ in range(4):
            assert desk.running is not None
            desk.leave(desk.running)
            order.append(await desk.next())
            if order[-1] is guest:
                again = queued(desk, "bob")
        assert order == [guest, late, second, again]  # bob's second waits behind ann's second

    asyncio.run(wait_for_turns())


def test_whoever_leaves_the_queue_holds_nobody_up(tmp_path: Path) -> None:
    async def wait_for_turns() -> None:
        desk = Desk(tmp_path, Estimates())
        running, gone, stays = queued(desk, "ann"), queued(desk, "bob"), queued(desk, "eve")
        assert await desk.next() is running
        assert desk.drop(gone) and not desk.drop(gone) and not desk.drop(running)
        back = queued(desk, "bob")
        assert list(desk.order()) == [stays, back]

    asyncio.run(wait_for_turns())


def test_old_jobs_are_forgotten_with_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forget() -> None:
        monkeypatch.setattr(desks, "REMEMBERED", 3)
        desk = Desk(tmp_path, Estimates())
        jobs = []
        for _ in range(5):
            jobs.append(queued(desk, "ann"))
            jobs[-1].keep([drawn()], None)
            assert await desk.next() is jobs[-1]
            jobs[-1].end("done")
            desk.leave(jobs[-1])
        assert [job.folder.exists() for job in jobs] == [False, True, True, True, True]
        jobs[1].ended_at = time.time() - desks.REMEMBERED_S - 1
        queued(desk, "ann")
        assert not jobs[1].folder.exists()

    asyncio.run(forget())


def test_waiting_time_is_the_ladders_at_first_and_measured_then(tmp_path: Path) -> None:
    async def estimate() -> None:
        estimates = Estimates()
        desk = Desk(tmp_path, estimates)
        job = queued(desk, "ann")
        asked = job.asked
        job.size = (1024, 1024)
        assert desk.eta_s(job, 1) is None
        estimates.expect([{"rung": "fp8", "step_s": 2.0}])
        desk.rung = job.rung = "fp8"
        assert desk.eta_s(job, 1) == asked.steps * 2.0
        desk.stands_at = time.monotonic() + 100
        assert desk.eta_s(job, 1) == pytest.approx(asked.steps * 2.0 + 100, abs=1)
        desk.stands_at = None
        asked.true_cfg_scale = 1.0
        assert desk.eta_s(job, 1) == asked.steps * 1.0  # one pass of the transformer, not two
        asked.true_cfg_scale = 4.0
        estimates.measured(job, "step", 1.0)
        estimates.measured(job, "encode", 3.0)
        assert desk.eta_s(job, 1) == asked.steps * 1.0 + 3.0
        behind = queued(desk, "ann")
        behind.size = (1024, 1024)
        assert desk.eta_s(behind, 2) == 2 * (asked.steps * 1.0 + 3.0)
        behind.size = (1024, 512)  # half of the result's tokens, and all of the reference's
        estimates.measured(job, "decode", 8.0)
        assert estimates.seconds(behind, "fp8") == asked.steps * 0.75 + 3.0 + 4.0

    asyncio.run(estimate())
