"""The front's jobs: steps, previews, cancelling, a full queue."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

from engines.image_edit.conftest import serving
from PIL import Image


def test_a_job_tells_its_steps_previews_and_remaining_time(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("slow", num_inference_steps=20, preview_every=2)
            status = await worker.see(job, lambda now: now["step"] >= 2 and now["preview"] > 0)
            assert status["state"] == "running" and status["steps"] == 20
            assert 0 < status["eta_s"] < 5 and status["elapsed_s"] > 0 and status["rung"] == "whole"
            preview = await worker.http.get(f"/v1/images/jobs/{job}/preview")
            assert preview.headers["content-type"] == "image/png"  # as its name says
            assert Image.open(io.BytesIO(preview.content)).size == (32, 32)
            early = await worker.http.get(f"/v1/images/jobs/{job}/pictures/0")
            assert early.status_code == 409
            assert (await worker.until(job, "done"))["preview"] == 10
            assert (await worker.http.get(f"/v1/images/jobs/{job}/pictures/1")).status_code == 404

    asyncio.run(edit())


def test_a_job_that_runs_is_cancelled_and_the_next_one_served(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("slow", num_inference_steps=200)
            await worker.see(job, lambda now: now["step"] >= 1)
            pid = worker.front.keeper.pid
            told = (await worker.http.delete(f"/v1/images/jobs/{job}")).json()
            assert told["cancelling"]
            status = await worker.until(job, "cancelled", timeout_s=5)
            assert status["error"] is None
            assert (await worker.post("next")).status_code == 200
            assert worker.front.keeper.pid == pid  # nothing was loaded again
            again = (await worker.http.delete(f"/v1/images/jobs/{job}")).json()
            assert again["state"] == "cancelled"

    asyncio.run(edit())


def test_a_job_that_waits_is_cancelled_at_once(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            first = await worker.submit("slow", num_inference_steps=200)
            second = await worker.submit("second")
            third = await worker.submit("third")
            assert (await worker.status(third))["position"] == 2
            told = (await worker.http.delete(f"/v1/images/jobs/{second}")).json()
            assert told["state"] == "cancelled"
            assert (await worker.status(third))["position"] == 1
            await worker.http.delete(f"/v1/images/jobs/{first}")
            await worker.until(third, "done")
            done = json.loads((tmp_path / "jobs" / second / "done.json").read_text())
            assert done["state"] == "cancelled"

    asyncio.run(edit())


def test_a_job_is_cancelled_while_the_model_loads(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path, load="hang") as worker:
            assert (await worker.http.get("/health")).status_code == 503
            job = await worker.submit("x")
            await worker.until(job, "loading")
            told = (await worker.http.delete(f"/v1/images/jobs/{job}")).json()
            assert told["state"] == "cancelled"

    asyncio.run(edit())


def test_a_full_queue_says_so(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path, max_queue=1) as worker:
            await worker.ready()
            first = await worker.submit("slow", num_inference_steps=200)
            await worker.until(first, "running")
            await worker.submit("waits")
            answer = await worker.post("too many", "jobs")
            assert answer.status_code == 429 and answer.headers["retry-after"]
            assert "as many as this server queues" in answer.json()["error"]["message"]

    asyncio.run(edit())


def test_unknown_jobs_and_paths_are_named(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving(tmp_path) as worker:
            for path in ("jobs/nothing", "jobs/../../etc/passwd", "jobs/a%2F..%2Fb/preview"):
                answer = await worker.http.get(f"/v1/images/{path}")
                assert answer.status_code == 404 and answer.json()["error"]["message"]
            assert (await worker.http.get("/v1/images/edits")).status_code == 405

    asyncio.run(ask())
