"""What goes out: pictures in an answer or a stream, and what went wrong in a sentence."""

from __future__ import annotations

import asyncio
import base64
import errno
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from .job import Job
from .refused import Refused

ALIVE_S = 10.0
"""Pause after which a stream says that it is alive."""


async def completed(job: Job) -> dict[str, Any]:
    """Return the answer of an edit that is done: OpenAI's, and what this worker knows beside it."""
    return {
        "created": int(job.ended_at or 0),
        "data": [{"b64_json": await _base64(path)} for path in job.pictures],
        "job": job.id,
        "seeds": job.seeds,
        "size": f"{job.size[0]}x{job.size[1]}",
        "output_format": "png",
        "rung": job.rung,
        "timings": job.timings,
        "notes": job.notes,
    }


async def streamed(job: Job) -> AsyncIterator[str]:
    """Yield OpenAI's events of a streamed edit until the job is over: previews, then pictures."""
    sent = 0
    while not job.over:
        try:
            await asyncio.wait_for(job.changed(), ALIVE_S)
        except TimeoutError:
            yield ": alive\n\n"
        if job.previews > sent and job.preview is not None and not job.over:
            sent = job.previews
            yield _event(
                "image_edit.partial_image",
                b64_json=await _base64(job.preview),
                partial_image_index=sent - 1,
                output_format=job.preview.suffix.removeprefix("."),
                step=job.step,
                job=job.id,
            )
    if job.state != "done":
        yield f"event: error\ndata: {bytes(failure(job).answer().body).decode()}\n\n"
        return
    for path, seed in zip(job.pictures, job.seeds, strict=False):
        yield _event(
            "image_edit.completed",
            b64_json=await _base64(path),
            output_format="png",
            size=f"{job.size[0]}x{job.size[1]}",
            seed=seed,
            job=job.id,
            rung=job.rung,
            timings=job.timings,
        )


async def ended_before_client_left(job: Job, request: Request) -> bool:
    """Wait for the end of a job or of its client's patience; tell which it was."""
    ending = asyncio.ensure_future(job.ended())
    leaving = asyncio.ensure_future(_leave(request))
    try:
        await asyncio.wait({ending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return ending.done()
    finally:
        ending.cancel()
        leaving.cancel()


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def failure(job: Job) -> Refused:
    """Return a job's end as the answer to who waited for it."""
    if job.state == "cancelled" and job.error is None:
        return Refused(409, "The job was cancelled.", code="cancelled")
    told = job.error or {"message": "The job failed.", "hint": ""}
    if job.bad:
        return Refused(400, told["message"], hint=told["hint"])
    status = 503 if job.state == "cancelled" else 500
    return Refused(status, told["message"], hint=told["hint"], code=f"job_{job.state}")


def no_disk(error: OSError) -> Refused:
    """Return a file that cannot be written as an answer; a full disk has its own status."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refused(507, "The disk is full.", hint="Make room where the runs are kept.")
    return Refused(500, f"A file could not be read or written: {error.strerror or error}.")


# inside -----------------------------------------------------------------------------------------


async def _base64(path: Path) -> str:
    return base64.b64encode(await asyncio.to_thread(path.read_bytes)).decode()


def _event(kind: str, **facts: Any) -> str:
    body = json.dumps({"type": kind, "created_at": int(time.time()), **facts})
    return f"event: {kind}\ndata: {body}\n\n"


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "There is no such path here.", 405: "This path takes another method."}
    message = sentences.get(error.status_code, str(error.detail))
    return Refused(error.status_code, message).answer()


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _disk_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    return no_disk(error).answer()


async def _unexpected(request: Request, error: Exception) -> Response:
    message, hint = "Something unexpected happened.", "The server's log says more."
    return Refused(500, message, hint=hint).answer()


EXCEPTIONS: Mapping[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    Refused: _refused,
    HTTPException: _http_error,
    ClientDisconnect: _left,
    OSError: _disk_error,
    Exception: _unexpected,
}
"""How the application answers what its handlers raise."""
