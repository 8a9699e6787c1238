"""The keeper: falls of a rung and the same job again, crashes, kills, and when it gives up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from engines.image_edit.conftest import serving

from studio.engines.workers.image_edit import keeper as keepers
from studio.engines.workers.image_edit.worked import note_failed, read


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a crashed pipe again without a pause."""
    monkeypatch.setattr(keepers, "AGAIN_S", 0.01)


def count(start: int = 0, *, by: int) -> Iterator[int]:
    """Count what the kernel is said to have killed, one look after the other."""
    while True:
        yield start
        start += by


def test_out_of_memory_in_a_job_falls_a_rung_and_does_the_job_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("oom:whole@3,fp8@5 blue", seed=4)
            status = await worker.until(job, "done")
            assert status["rung"] == "cpu" and status["seeds"] == [4] and status["pictures"] == 1
            assert status["notes"] == [
                "Fell from whole to fp8: out of memory at step 3.",
                "Fell from fp8 to cpu: out of memory at step 5.",
            ]
            told = (await worker.http.get("/ladder")).json()
            assert [(fall["from"], fall["to"]) for fall in told["falls"]] == [
                ("whole", "fp8"),
                ("fp8", "cpu"),
            ]
            assert told["skipped"]["fp8"] == "out of memory at step 5"
            assert not told["ladder"][0]["fits"] and "step 3" in told["ladder"][0]["why"]
            next_one = await worker.submit("green")
            assert (await worker.until(next_one, "done"))["rung"] == "cpu"

    asyncio.run(edit())
    log = capsys.readouterr().out
    assert log.count("fell from whole to fp8: out of memory at step 3") == 1


def test_out_of_memory_while_loading_falls_too_and_the_server_answers_meanwhile(
    tmp_path: Path,
) -> None:
    async def edit() -> None:
        async with serving(tmp_path, load="oom:whole,fp8") as worker:
            job = await worker.submit("blue")
            status = await worker.until(job, "done")
            assert status["rung"] == "cpu"
            assert status["notes"][-1] == "Fell from fp8 to cpu: out of memory while loading."

    asyncio.run(edit())


def test_health_stays_good_while_a_lower_rung_loads(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            await worker.ready()
            job = await worker.submit("oom:whole@1 slow")
            seen = set()
            while (await worker.status(job))["state"] != "done":
                answer = await worker.http.get("/health")
                seen.add((answer.status_code, answer.json()["status"]))
                await asyncio.sleep(0.005)
            assert seen == {(200, "ready"), (200, "reloading")}

    asyncio.run(edit())


def test_a_kill_by_the_kernel_is_host_memory_and_falls(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path, load="kill:whole") as worker:
            counted = count(by=1)
            worker.front.keeper._kills = lambda: next(counted)
            told = await worker.ready()
            assert told["rung"] == "fp8"
            skipped = (await worker.http.get("/ladder")).json()["skipped"]
            assert skipped == {"whole": "the kernel killed it for host memory"}

    asyncio.run(edit())


def test_a_kill_by_somebody_else_is_a_crash_of_that_job_alone(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            await worker.ready()
            counted = count(by=0)
            worker.front.keeper._kills = lambda: next(counted)
            job = await worker.submit("kill")
            status = await worker.until(job, "failed")
            assert "signal 9" in status["error"]["message"]
            assert (await worker.post("next")).json()["rung"] == "whole"

    asyncio.run(edit())


def test_a_kill_nobody_counts_is_taken_for_host_memory(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path, load="kill:whole") as worker:
            worker.front.keeper._kills = lambda: None
            assert (await worker.ready())["rung"] == "fp8"

    asyncio.run(edit())


def test_a_crash_fails_its_job_with_the_last_lines_and_the_next_is_served(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            await worker.ready()
            first = worker.front.keeper.pid
            answer = await worker.post("crash")
            assert answer.status_code == 500
            assert "exit code 3" in answer.json()["error"]["message"]
            waiting = await worker.submit("next")
            assert (await worker.until(waiting, "done"))["rung"] == "whole"
            assert worker.front.keeper.pid != first
            failed = next(
                told
                for path in (tmp_path / "jobs").glob("*/done.json")
                if (told := json.loads(path.read_text()))["state"] == "failed"
            )
            assert failed["error"]["log"] == ["Traceback: something broke inside"]
            assert "image_crashes_total 1.0" in (await worker.http.get("/metrics")).text

    asyncio.run(edit())


def test_words_of_the_pipe_that_make_no_sense_fail_the_job_instead_of_keeping_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("garble")
            assert "signal 9" in (await worker.until(job, "failed"))["error"]["message"]
            assert (await worker.post("next")).status_code == 200

    asyncio.run(edit())
    assert "KeyError: 'pictures'" in capsys.readouterr().err


def test_three_crashes_at_the_start_end_the_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def start() -> None:
        async with serving(tmp_path, load="crash") as worker:
            job = await worker.submit("never")
            assert await asyncio.wait_for(worker.living, 20) == keepers.CRASHED
            status = await worker.status(job)
            assert status["state"] == "failed"
            assert "three times" in status["error"]["message"]
            assert "ImportError: no torch here" in status["error"]["message"]
            answer = await worker.post("later", "jobs")
            assert answer.status_code == 503 and "three times" in answer.text
            health = await worker.http.get("/health")
            assert health.status_code == 503 and health.json()["status"] == "failed"

    asyncio.run(start())
    assert "cannot be started" in capsys.readouterr().out


def test_no_rung_ends_the_server_with_its_own_code(tmp_path: Path) -> None:
    async def start() -> None:
        async with serving(tmp_path, load="oom:whole,fp8,cpu") as worker:
            job = await worker.submit("never")
            assert await asyncio.wait_for(worker.living, 20) == keepers.NO_RUNG
            assert (await worker.status(job))["error"]["message"] == "No rung fits this machine."

    asyncio.run(start())


def test_one_impossible_request_does_not_end_the_server(tmp_path: Path) -> None:
    async def edit() -> None:
        state = tmp_path / "state"
        note_failed(state, "this machine", "split", "failed long ago")
        async with serving(tmp_path, state_dir=str(state)) as worker:
            await worker.ready()
            job = await worker.submit("oom:whole@1,fp8@1,cpu@1")
            await worker.see(job, lambda now: now["state"] != "queued")
            note_failed(state, "this machine", "whole", "out of memory")  # as the pipe does
            status = await worker.until(job, "failed")
            assert "memory that this picture needs" in status["error"]["message"]
            assert "smaller size" in status["error"]["hint"]
            later = await worker.submit("small")
            assert (await worker.until(later, "done"))["rung"] == "whole"
            assert list(read(state, "this machine").failed) == ["split"]

    asyncio.run(edit())


def test_a_cancelled_job_is_not_done_again_after_a_fall(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("oom:whole@2 blue")
            await worker.until(job, "loading")
            await worker.http.delete(f"/v1/images/jobs/{job}")
            assert (await worker.until(job, "cancelled", "done"))["state"] == "cancelled"
            assert (await worker.post("next")).status_code == 200

    asyncio.run(edit())
