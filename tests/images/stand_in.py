"""A stand-in for the worker's front: its HTTP contract with a clock that a test turns by hand.

It makes no picture of its own: a result is the first picture with its colours inverted. What the
real front and the real pipeline do is tested in tests/e2e; here it is about the studio's side.

    with StandIn() as worker:
        worker.endpoint                       # what the studio is told
        worker.step("job-1", 3)               # the job is at step 3
        worker.finish("job-1")
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from PIL import Image, ImageOps

from studio.core.settings import Settings
from studio.core.spec import Endpoint
from studio.images.desk import ImageDesk
from studio.studio import Studio

LADDER = {
    "status": "ready",
    "rung": "fp8",
    "why": "It fits: 21.0 of 22.9 GiB on card 0.",
    "ladder": [
        {"rung": "whole", "fits": False, "why": "It failed: out of memory.", "step_s": 0.8},
        {"rung": "fp8", "fits": True, "why": "", "step_s": 0.9, "measured_step_s": 0.9125},
    ],
    "falls": [{"from": "whole", "to": "fp8", "reason": "out of memory while loading", "at": 1.0}],
}


def png(size: tuple[int, int] = (64, 48), colour: str = "teal") -> bytes:
    """Return a small picture."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


class StandIn:
    """A worker on a free port. `auto` finishes a job as soon as somebody looks at it."""

    def __init__(self, *, auto: bool = False, jobs: bool = True, key: str = "") -> None:
        self.auto = auto
        self.takes_jobs = jobs
        """False: an endpoint that knows `/v1/images/edits` alone, as vllm-omni."""
        self.key = key
        self.forms: list[dict[str, Any]] = []
        """Fields of the requests; files as lists of bytes."""
        self.jobs: dict[str, dict[str, Any]] = {}
        self.results: dict[str, list[bytes]] = {}
        self.refuse: tuple[int, dict[str, Any]] | None = None
        """Answer the next request with this instead."""
        self.release = threading.Event()
        """Endpoints without jobs answer when it is set."""
        self.release.set()
        self.artifacts: Path | None = None
        """Folder that ended jobs are written to, as the real front does."""

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of this worker, as the studio lists it."""
        return Endpoint(
            id="run-1" if self.takes_jobs else "url-1",
            name="tiny",
            kind="images",
            base_url=f"http://127.0.0.1:{self.port}/v1",
            models=("tiny-edit",),
            api_key=self.key,
            run_id="run-1" if self.takes_jobs else None,
        )

    def __enter__(self) -> Self:
        owner = self

        class Handler(_Handler):
            worker = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; a second time does no harm."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    # what happens to a job ----------------------------------------------------------------------

    def take(self, form: dict[str, Any]) -> dict[str, Any]:
        self.forms.append(form)
        job = f"job-{len(self.forms)}"
        count = int(form.get("n", 1))
        seed = int(form.get("seed", 0))
        self.jobs[job] = {
            "job": job,
            "state": "queued",
            "position": sum(one["state"] == "queued" for one in self.jobs.values()) + 1,
            "step": 0,
            "steps": int(form.get("num_inference_steps", 40)),
            "variant": 0,
            "variants": count,
            "elapsed_s": 0.0,
            "eta_s": 12.0,
            "preview": 0,
            "rung": "whole",
            "notes": [],
            "error": None,
            "seeds": [seed + k for k in range(count)],
            "pictures": 0,
            "timings": {},
            "peaks": {},
            "cached": {},
            "settings": {
                "num_inference_steps": int(form.get("num_inference_steps", 40)),
                "true_cfg_scale": float(form.get("true_cfg_scale", 4.0)),
            },
        }
        return self.jobs[job]

    def step(self, job: str, step: int) -> None:
        """Let a job be at a step, with a preview."""
        self.jobs[job] |= {"state": "running", "position": 0, "step": step, "preview": step}

    def finish(self, job: str) -> None:
        """Let a job come to its pictures."""
        form = self.forms[int(job.removeprefix("job-")) - 1]
        self.results[job] = [inverted(form["image"][0])] * self.jobs[job]["variants"]
        told = {"state": "done", "position": 0, "step": self.jobs[job]["steps"]}
        timings = {"step_s": 0.5, "total_s": 20.0}
        self.end(job, **told, pictures=len(self.results[job]), timings=timings)

    def end(self, job: str, **told: Any) -> None:
        """Let a job end some way."""
        self.jobs[job] |= told
        if self.artifacts is not None:
            folder = self.artifacts / "jobs" / job
            folder.mkdir(parents=True, exist_ok=True)
            for k, data in enumerate(self.results.get(job, [])):
                (folder / f"out-{k}.png").write_bytes(data)
            (folder / "done.json").write_text(json.dumps(self.jobs[job]))


def inverted(data: bytes) -> bytes:
    """Return a picture with its colours inverted, as PNG."""
    file = io.BytesIO()
    ImageOps.invert(Image.open(io.BytesIO(data)).convert("RGB")).save(file, "PNG")
    return file.getvalue()


class _Handler(BaseHTTPRequestHandler):
    worker: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if not self._allowed():
            return
        worker, path = self.worker, self.path
        if path == "/v1/models":
            return self._json(200, {"data": [{"id": "tiny-edit", "owned_by": "ladder-studio"}]})
        if path == "/v1/images/edits":
            return self._error(405, "Method Not Allowed")
        if not worker.takes_jobs:
            return self._error(404, "Not Found")
        if path == "/health":
            return self._json(200, {key: LADDER[key] for key in ("status", "rung", "why")})
        if path == "/ladder":
            return self._json(200, LADDER)
        job, _, rest = path.removeprefix("/v1/images/jobs/").partition("/")
        if job not in worker.jobs:
            return self._error(404, "There is no such job here.")
        if worker.auto and worker.jobs[job]["state"] == "queued":
            worker.finish(job)
        if not rest:
            return self._json(200, worker.jobs[job])
        if rest == "preview":
            return self._bytes(200 if worker.jobs[job]["preview"] else 404, b"RIFFpreviewWEBP")
        return self._bytes(200, worker.results[job][int(rest.rpartition("/")[2])])

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        form = _form(self.headers.get("Content-Type", ""), self.rfile.read(length))
        if not self._allowed():
            return
        worker = self.worker
        if worker.refuse is not None:
            (code, body), worker.refuse = worker.refuse, None
            return self._json(code, body)
        if self.path == "/v1/images/jobs" and worker.takes_jobs:
            job = worker.take(form)
            return self._json(202, {key: job[key] for key in ("job", "position", "eta_s")})
        if self.path == "/v1/images/edits":
            worker.forms.append(form)
            worker.release.wait(20)
            made = base64.b64encode(inverted(form["image"][0])).decode()
            rows = [{"b64_json": made}] * int(form.get("n", 1))
            return self._json(200, {"created": int(time.time()), "data": rows})
        self._error(404, "Not Found")

    def do_DELETE(self) -> None:
        if not self._allowed():
            return
        job = self.worker.jobs.get(self.path.rpartition("/")[2])
        if job is None:
            return self._error(404, "There is no such job here.")
        if job["state"] not in ("done", "failed", "cancelled"):
            self.worker.end(job["job"], state="cancelled", position=0)
        self._json(200, job)

    def _allowed(self) -> bool:
        if self.worker.key and self.headers.get("Authorization") != f"Bearer {self.worker.key}":
            self._error(401, "Unauthorized")
            return False
        return True

    def _error(self, code: int, message: str) -> None:
        self._json(code, {"error": {"message": message, "type": "invalid_request_error"}})

    def _json(self, code: int, body: Any) -> None:
        self._bytes(code, json.dumps(body).encode(), "application/json")

    def _bytes(self, code: int, data: bytes, kind: str = "image/png") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True


def _form(kind: str, body: bytes) -> dict[str, Any]:
    """Read a multipart form: plain fields as text, files as lists of bytes."""
    head = f"Content-Type: {kind}\r\n\r\n".encode()
    found: dict[str, Any] = {}
    for part in message_from_bytes(head + body, policy=policy.HTTP).iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        if part.get_filename():
            found.setdefault(str(name).removesuffix("[]"), []).append(data)
        else:
            found[str(name)] = data.decode()
    return found


def studio_before(worker: StandIn, home: Path, port: int) -> Studio:
    """Return a studio whose only worker is the stand-in; everything before it is real."""
    made = Studio(Settings(home=home, port=port))
    run = home / "runs" / "run-1"
    (run / "artifacts").mkdir(parents=True)
    worker.artifacts = run / "artifacts"
    made.images = ImageDesk(home / "images", lambda: [worker.endpoint], lambda _: (run, True))
    return made
