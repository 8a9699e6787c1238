"""The front in one process with the test: the real routes, queue and keeper, a pipe that pretends.

async with serving(tmp_path) as worker:
    job = await worker.submit("make it blue")
    status = await worker.until(job, "done")
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from studio.engines.workers.image_edit import serve
from studio.engines.workers.image_edit.routes import Front

PIPE = Path(__file__).parents[2] / "fakes" / "image_pipe.py"
SETTINGS = {"model": "/models/tiny", "num_inference_steps": 8, "max_pixels": 128 * 128}


def drawn(
    width: int = 40, height: int = 40, kind: str = "PNG", mode: str = "RGB", **how: Any
) -> bytes:
    """Return a picture file of one colour."""
    file = io.BytesIO()
    Image.new(mode, (width, height), how.pop("color", "red")).save(file, kind, **how)
    return file.getvalue()


class Worker:
    """A front that is up, and short ways to ask it."""

    def __init__(self, front: Front, http: httpx.AsyncClient, living: asyncio.Task[int]) -> None:
        self.front = front
        self.http = http
        self.living = living

    async def post(self, prompt: str, path: str = "edits", **fields: Any) -> httpx.Response:
        """Send one red picture and a prompt."""
        files = {"image": ("a.png", drawn(), "image/png")}
        data = {"prompt": prompt, **{name: str(value) for name, value in fields.items()}}
        return await self.http.post(f"/v1/images/{path}", data=data, files=files)

    async def submit(self, prompt: str, **fields: Any) -> str:
        """Queue an edit; return its id."""
        answer = await self.post(prompt, "jobs", **fields)
        assert answer.status_code == 202, answer.text
        return answer.json()["job"]

    async def status(self, job: str) -> dict[str, Any]:
        """Ask for a job."""
        return (await self.http.get(f"/v1/images/jobs/{job}")).json()

    async def until(self, job: str, *states: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait until a job is in one of these states."""
        return await self.see(job, lambda status: status["state"] in states, timeout_s=timeout_s)

    async def see(
        self, job: str, wanted: Callable[[dict[str, Any]], bool], timeout_s: float = 20.0
    ) -> dict[str, Any]:
        """Wait until a job's status is as wanted."""
        until = time.monotonic() + timeout_s
        while not wanted(status := await self.status(job)):
            assert time.monotonic() < until, status
            await asyncio.sleep(0.01)
        return status

    async def ready(self, timeout_s: float = 20.0) -> dict[str, Any]:
        """Wait until the server says that it is ready."""
        until = time.monotonic() + timeout_s
        while (told := (await self.http.get("/health")).json())["status"] != "ready":
            assert time.monotonic() < until, told
            await asyncio.sleep(0.01)
        return told


@asynccontextmanager
async def serving(
    folder: Path, *, load: str = "", rungs: str = "whole,fp8,cpu", **settings: Any
) -> AsyncIterator[Worker]:
    """Serve over the pipe that pretends; whatever still lives at the end is killed."""
    os.environ |= {"FAKE_IMAGE_LOAD": load, "FAKE_IMAGE_RUNGS": rungs}
    command = [sys.executable, str(PIPE), "--config", "image.json"]
    front = serve.build(SETTINGS | settings, command, folder / "jobs")
    living = asyncio.create_task(front.live())
    transport = httpx.ASGITransport(app=front.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://front") as http:
        try:
            yield Worker(front, http, living)
        finally:
            await front.close("The test is over.")
            done, _ = await asyncio.wait({living}, timeout=5)
            assert done, "the front outlived its end"


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the environment back, whatever `serving` told the pipe."""
    for name in ("FAKE_IMAGE_LOAD", "FAKE_IMAGE_RUNGS"):
        monkeypatch.setenv(name, "")
