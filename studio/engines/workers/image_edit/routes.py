"""The paths of the front: edits as OpenAI has them, jobs to ask for later, health, ladder, figures.

Everything under /v1 and /ladder wants the key when there is one; /health and /metrics are for
supervisors and scrapers and tell nothing of anybody's pictures.
"""

from __future__ import annotations

import asyncio
import hmac
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from .answers import EXCEPTIONS, completed, ended_before_client_left, failure, no_disk, streamed
from .asked import PREVIEWS, Asked, Defaults
from .desk import Desk
from .figures import Figures
from .intake import OPERATOR, PictureRefused, mask, output_size, picture, png
from .job import Job
from .keeper import Keeper
from .log import say, started
from .refused import Refused
from .uploads import Uploads
from .wire import Files, content, read

KEY_VARIABLE = "STUDIO_ENDPOINT_KEY"
LIMITS = OPERATOR
AT_ONCE = 2
"""Uploads that are decoded at the same time; each may take some hundred megabytes."""
OPEN = frozenset({"/health", "/metrics"})
BODY_BYTES = (LIMITS.most + 1) * LIMITS.max_bytes * 4 // 3 + 2**20
"""Of one request: every picture and a mask, in base64, and the words."""

Handler = Callable[[Request], Awaitable[Response]]


class Front:
    """The application: its routes, and the loop that gives the pipe one job after the other."""

    def __init__(
        self, desk: Desk, keeper: Keeper, figures: Figures, defaults: Defaults, *, key: str = ""
    ) -> None:
        self.desk = desk
        self.keeper = keeper
        self._figures = figures
        self._defaults = defaults
        self._key = key.encode()
        self._decoding = asyncio.Semaphore(AT_ONCE)
        routes = {
            "/v1/images/edits": {"POST": self._edits},
            "/v1/images/generations": {"POST": self._generations},
            "/v1/images/jobs": {"POST": self._submit},
            "/v1/images/jobs/{job}": {"GET": self._status, "DELETE": self._cancel},
            "/v1/images/jobs/{job}/preview": {"GET": self._preview},
            "/v1/images/jobs/{job}/pictures/{number:int}": {"GET": self._picture},
            "/v1/models": {"GET": self._models},
            "/health": {"GET": self._health},
            "/ladder": {"GET": self._ladder},
            "/metrics": {"GET": self._metrics},
        }
        app = Starlette(
            routes=[
                Route(path, self._guarded(handler), methods=[method])
                for path, handlers in routes.items()
                for method, handler in handlers.items()
            ],
            exception_handlers=EXCEPTIONS,
        )
        self.app = Uploads(app, BODY_BYTES)

    async def live(self) -> int:
        """Work until the keeper gives up or `close`; return the exit code."""
        working = asyncio.create_task(self._work())
        living = asyncio.create_task(self.keeper.live())
        try:
            await asyncio.wait({working, living}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                working.result()  # raises: it never ends by itself
            return living.result()
        finally:
            working.cancel()
            living.cancel()
            if not self.desk.closed:
                failed = self.keeper.status == "failed"
                self._drop_queue(self.keeper.why if failed else "The image server has ended.")

    async def close(self, reason: str) -> None:
        """End the pipe and every job, with the reason; return when the pipe is gone."""
        self._drop_queue(reason)
        await self.keeper.close(reason)

    async def _work(self) -> None:
        while True:
            job = await self.desk.next()
            say(started(job))
            await self.keeper.edit(job)
            self.desk.leave(job)

    def _drop_queue(self, reason: str) -> None:
        for job in self.desk.close(reason):
            self._finish(job, reason)

    def _finish(self, job: Job, reason: str = "") -> None:
        """End a job that never ran."""
        job.end("cancelled", message=reason, hint="Send it again later." if reason else "")
        self.desk.record(job)
        self._figures.jobs.labels("cancelled").inc()

    # edits --------------------------------------------------------------------------------------

    async def _edits(self, request: Request) -> Response:
        job = await self._take(request)
        if job.asked.stream:
            return StreamingResponse(self._stream(job), media_type="text/event-stream")
        if not await ended_before_client_left(job, request):
            self._stop(job)
            raise ClientDisconnect
        if job.state != "done":
            raise failure(job)
        return JSONResponse(await completed(job))

    async def _generations(self, request: Request) -> Response:
        raise Refused(
            400,
            "This model edits pictures; it cannot make one from words alone.",
            hint="POST /v1/images/edits with a picture.",
            code="unsupported",
        )

    async def _submit(self, request: Request) -> Response:
        job = await self._take(request, default_previews=True)
        status = self.desk.status(job)
        told = {name: status[name] for name in ("job", "state", "position", "eta_s", "seeds")}
        where = f"/v1/images/jobs/{job.id}"
        return JSONResponse(told | {"size": status["settings"]["size"]}, 202, {"Location": where})

    async def _take(self, request: Request, *, default_previews: bool = False) -> Job:
        """Read, check and queue an edit; raise Refused with the reason."""
        self.desk.check_room()
        asked, files = await read(request, self._defaults)
        if asked.preview_every is None:
            wanted = default_previews or asked.stream
            asked.preview_every = max(1, asked.steps // PREVIEWS) if wanted else 0
        try:
            async with self._decoding:
                job = await asyncio.to_thread(self._prepare, asked, files)
        finally:
            files.close()
        try:
            self.desk.submit(job)
        except Refused:  # the queue filled up meanwhile
            shutil.rmtree(job.folder, ignore_errors=True)
            raise
        return job

    def _prepare(self, asked: Asked, files: Files) -> Job:
        """Open the pictures and keep them; the first refused one refuses the request, named."""
        name = "image"
        try:
            pictures = []
            for index, given in enumerate(files.pictures):
                name = f"image {index + 1}" if len(files.pictures) > 1 else "image"
                pictures.append(picture(content(given), LIMITS))
            name, marks = "mask", None
            if files.mask is not None:
                marks = mask(content(files.mask), pictures[0].size, LIMITS)
        except PictureRefused as error:
            raise Refused(
                400, f"{name}: {error.message}", hint=error.hint, code="invalid_image"
            ) from error
        width, height = pictures[0].size
        size = asked.size or output_size(width, height, self._defaults.default_pixels)
        count, masked = len(pictures), marks is not None
        job = Job(self.desk.folder, asked, size, num_pictures=count, masked=masked)
        try:
            job.keep([png(one) for one in pictures], png(marks) if marks else None)
        except OSError as error:
            shutil.rmtree(job.folder, ignore_errors=True)
            raise no_disk(error) from error
        return job

    async def _stream(self, job: Job) -> AsyncIterator[str]:
        """Yield OpenAI's events of a streamed edit; a client that leaves cancels its job."""
        try:
            async for event in streamed(job):
                yield event
        finally:
            self._stop(job)

    # jobs ---------------------------------------------------------------------------------------

    async def _status(self, request: Request) -> Response:
        return JSONResponse(self.desk.status(self._job(request)))

    async def _cancel(self, request: Request) -> Response:
        job = self._job(request)
        self._stop(job)
        return JSONResponse(self.desk.status(job))

    async def _preview(self, request: Request) -> Response:
        job = self._job(request)
        if job.preview is None or not job.preview.is_file():
            raise Refused(404, "There is no preview of this job yet.")
        kind = {".png": "image/png", ".jpg": "image/jpeg"}.get(job.preview.suffix, "image/webp")
        return FileResponse(job.preview, media_type=kind, headers={"Cache-Control": "no-store"})

    async def _picture(self, request: Request) -> Response:
        job, number = self._job(request), request.path_params["number"]
        if not job.over:
            raise Refused(409, f"The job is {job.state}; its pictures come at its end.")
        if number >= len(job.pictures):
            raise Refused(404, f"The job has {len(job.pictures)} pictures, counted from 0.")
        if not job.pictures[number].is_file():
            raise Refused(404, "The picture's file is not there any more.")
        return FileResponse(job.pictures[number], media_type="image/png")

    def _job(self, request: Request) -> Job:
        return self.desk.get(request.path_params["job"])

    def _stop(self, job: Job) -> None:
        """Cancel a job wherever it is; one that is over stays as it is."""
        if job.over or job.cancelling:
            return
        if job is self.desk.running:
            self.keeper.cancel(job)
        elif self.desk.drop(job):
            self._finish(job)
            say(f"{job.name} cancelled while it waited")

    # about the server ---------------------------------------------------------------------------

    async def _health(self, request: Request) -> Response:
        keeper = self.keeper
        told = {
            "status": keeper.status,
            "rung": keeper.rung,
            "why": keeper.why,
            "queued": self.desk.queued,
            "running": self.desk.running.id if self.desk.running else None,
        }
        return JSONResponse(told, 200 if keeper.status in ("ready", "reloading") else 503)

    async def _ladder(self, request: Request) -> Response:
        keeper = self.keeper
        return JSONResponse(
            {
                "status": keeper.status,
                "rung": keeper.rung,
                "why": keeper.why,
                "loaded": keeper.loaded,
                "ladder": keeper.ladder(),
                "falls": keeper.falls,
                "skipped": keeper.skipped,
                "queued": self.desk.queued,
                "running": self.desk.running is not None,
            }
        )

    async def _models(self, request: Request) -> Response:
        names = self._defaults.models[:1] or ("image-edit",)
        rows = [{"id": name, "object": "model", "owned_by": "ladder-studio"} for name in names]
        return JSONResponse({"object": "list", "data": rows})

    async def _metrics(self, request: Request) -> Response:
        page = self._figures.page(self.desk.queued)
        return Response(page, headers={"Content-Type": self._figures.content_type})

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if self._key and request.url.path not in OPEN:
                scheme, _, told = request.headers.get("authorization", "").partition(" ")
                right = hmac.compare_digest(told.strip().encode("latin-1"), self._key)
                if not right or scheme.lower() != "bearer":
                    raise Refused(
                        401,
                        "The API key is missing or wrong.",
                        hint="Send it as Authorization: Bearer KEY.",
                    )
            return await handler(request)

        return guarded
