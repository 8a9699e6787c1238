"""Talk to an endpoint that edits pictures: the studio's own worker, or any OpenAI-compatible one.

The studio's worker takes a request as a job, tells each step and draws a preview. Others
(vllm-omni, SGLang) know `/v1/images/edits` alone and answer once, at the end: `edit`. Every
failure is a StudioError: one sentence and what to do. What the server says itself is handed on.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import secrets
import threading
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from studio.chat.client import list_models
from studio.chat.errors import Cancelled, EndpointFailed
from studio.chat.refusals import sentence
from studio.chat.wire import Timeouts, Wire
from studio.core.errors import EndpointDown, NotFound, RunBusy
from studio.core.spec import Endpoint, Frozen
from studio.images.item import Fault
from studio.images.request import EditInvalid, EditRequest

ASKING = Timeouts(connect_s=3.0, first_s=15.0, gap_s=15.0)
SENDING = Timeouts(connect_s=5.0, first_s=120.0, gap_s=60.0)
WAITING = Timeouts(connect_s=5.0, first_s=6 * 3600.0, gap_s=600.0)
"""For an endpoint without jobs: the whole edit passes before the first byte."""
MAX_REPLY_BYTES = 512 * 2**20
ENDED = ("done", "failed", "cancelled")


class Accepted(NamedTuple):
    """A job that was put in line."""

    job: str
    position: int
    eta_s: float | None


class Job(Frozen):
    """How far a job is, as the worker tells; also what it leaves behind in `done.json`."""

    job: str = ""
    state: str = "queued"
    """queued, loading, encoding, running, decoding, done, failed or cancelled."""
    position: int | None = None
    """Place in line: 1 is next; 0 when it does not wait."""
    step: int = 0
    steps: int = 0
    variant: int = 0
    variants: int = 1
    queued_s: float | None = None
    elapsed_s: float | None = None
    """Since it left the line."""
    eta_s: float | None = None
    preview: int = 0
    """Counts up with every new preview; 0 while there is none."""
    rung: str = ""
    notes: tuple[str, ...] = ()
    cancelling: bool = False
    error: Fault | None = None
    seeds: tuple[int, ...] = ()
    pictures: int = 0
    timings: dict[str, Any] = Field(default_factory=dict)
    peaks: dict[str, Any] = Field(default_factory=dict)
    cached: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the worker really used, its own defaults filled in."""

    @property
    def ended(self) -> bool:
        """True when nothing more will come."""
        return self.state in ENDED


class WorkerHealth(Frozen):
    """How a worker says it is; of others than the studio's own only whether they are ready."""

    status: str = "loading"
    """loading, ready, or reloading after a fall."""
    rung: str = ""
    why: str = ""


class Edited(NamedTuple):
    """What an endpoint without jobs answered."""

    pictures: list[bytes]
    seeds: tuple[int, ...]


def has_jobs(endpoint: Endpoint) -> bool:
    """Tell whether an endpoint takes jobs: the studio's worker does, also somebody else's.

    Asks an external endpoint, which takes a moment; raises EndpointDown when it is not there.
    """
    if endpoint.run_id is not None:
        return True
    status, _, _ = _exchange(endpoint, "GET", _root(endpoint) + "/ladder", timeouts=ASKING)
    return status == 200


def submit(endpoint: Endpoint, request: EditRequest, *, user: str = "") -> Accepted:
    """Put a request in line and return at once; raise EditInvalid, RunBusy or EndpointDown."""
    url = f"{_base(endpoint)}/images/jobs"
    said = _told(endpoint, "POST", url, form=_form(endpoint, request, user), timeouts=SENDING)
    return Accepted(str(said.get("job", "")), int(said.get("position") or 0), said.get("eta_s"))


def status(endpoint: Endpoint, job: str) -> Job:
    """Return how far a job is; raise NotFound when the worker does not know it."""
    said = _told(endpoint, "GET", _job_url(endpoint, job), timeouts=ASKING)
    return read_job(said)


def preview(endpoint: Endpoint, job: str) -> bytes | None:
    """Return the latest preview as a small WebP; None while there is none."""
    url = _job_url(endpoint, job) + "/preview"
    code, data, _ = _exchange(endpoint, "GET", url, timeouts=ASKING)
    return data if code == 200 and data else None


def picture(endpoint: Endpoint, job: str, number: int) -> bytes:
    """Return a result as PNG; raise NotFound."""
    url = f"{_job_url(endpoint, job)}/pictures/{number}"
    code, data, _ = _exchange(endpoint, "GET", url, timeouts=SENDING)
    if code != 200:
        raise _refusal(endpoint, url, code, data)
    return data


def cancel(endpoint: Endpoint, job: str) -> None:
    """Cancel a job, in line or at work; one that has ended stays as it is."""
    code, data, _ = _exchange(endpoint, "DELETE", _job_url(endpoint, job), timeouts=ASKING)
    if code not in (200, 202, 204, 404, 409):
        raise _refusal(endpoint, _job_url(endpoint, job), code, data)


def ladder(endpoint: Endpoint) -> dict[str, Any]:
    """Return the worker's rungs, which one runs and why, and the falls so far."""
    return _told(endpoint, "GET", _root(endpoint) + "/ladder", timeouts=ASKING)


def health(endpoint: Endpoint) -> WorkerHealth:
    """Return what the worker says of itself; raise EndpointDown when it says nothing."""
    url = _root(endpoint) + "/health"
    code, data, _ = _exchange(endpoint, "GET", url, timeouts=ASKING)
    said = _json(data)
    if isinstance(said, dict) and isinstance(said.get("status"), str):
        return WorkerHealth.model_validate(_without_nones(said))
    if code == 200:
        return WorkerHealth(status="ready")
    raise _refusal(endpoint, url, code, data)


def edit(endpoint: Endpoint, request: EditRequest, waiting: Waiting | None = None) -> Edited:
    """Ask an endpoint without jobs and wait for the pictures; raise Cancelled when cut."""
    url = f"{_base(endpoint)}/images/edits"
    models = endpoint.models or list_models(endpoint)
    form = _form(
        endpoint.model_copy(update={"models": models}), request, "", response_format="b64_json"
    )
    said = _told(endpoint, "POST", url, form=form, timeouts=WAITING, waiting=waiting)
    rows = said.get("data")
    rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    try:
        pictures = [base64.b64decode(row["b64_json"], validate=True) for row in rows]
    except (KeyError, TypeError, binascii.Error):
        pictures = []
    if not pictures:
        raise EndpointDown(
            f"{_where(endpoint)} answered without a picture.",
            hint="Look at its log; the studio asks for b64_json.",
        )
    seeds = said.get("seeds")
    known = tuple(s for s in seeds if isinstance(s, int)) if isinstance(seeds, list) else ()
    return Edited(pictures, known)


class Waiting:
    """A handle on a request that waits: `cut` ends it from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._cut = False

    def cut(self) -> None:
        """Close the connection; the waiting thread sees Cancelled."""
        with self._lock:
            self._cut, wire = True, self._wire
        if wire is not None:
            wire.close()

    def hold(self, wire: Wire) -> None:
        """Take the connection that may have to be cut."""
        with self._lock:
            self._wire = wire
            if self._cut:
                raise Cancelled


def read_job(said: Any) -> Job:
    """Read a worker's account of a job; raise EndpointDown when it is none."""
    try:
        return Job.model_validate(_without_nones(said))
    except ValidationError as error:
        raise EndpointDown(
            "The worker's account of the job cannot be read.",
            hint="The worker may be of another version than the studio: start it again.",
        ) from error


# inside -----------------------------------------------------------------------------------------


def _told(
    endpoint: Endpoint,
    method: str,
    url: str,
    *,
    timeouts: Timeouts,
    form: tuple[str, bytes] | None = None,
    waiting: Waiting | None = None,
) -> dict[str, Any]:
    code, data, _ = _exchange(endpoint, method, url, timeouts=timeouts, form=form, waiting=waiting)
    if code not in (200, 202):
        raise _refusal(endpoint, url, code, data)
    said = _json(data)
    if not isinstance(said, dict):
        raise _garbled(endpoint)
    return said


def _exchange(
    endpoint: Endpoint,
    method: str,
    url: str,
    *,
    timeouts: Timeouts,
    form: tuple[str, bytes] | None = None,
    waiting: Waiting | None = None,
) -> tuple[int, bytes, str]:
    """Return status, body and content type; raise EndpointDown when there is no answer."""
    wire = Wire(url, timeouts)
    if waiting is not None:
        waiting.hold(wire)
    try:
        response = wire.send(method, api_key=endpoint.api_key, raw=form)
        wire.awaiting_rest()
        try:
            data = response.read(MAX_REPLY_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise wire.failure(error, begun=True) from error
        return response.status, data, response.headers.get("Content-Type", "")
    except EndpointFailed as error:
        raise _garbled(endpoint) if error.code == "garbled" else error from error
    finally:
        wire.close()


def _form(endpoint: Endpoint, request: EditRequest, user: str, **more: str) -> tuple[str, bytes]:
    """Return a request as multipart/form-data: content type and body."""
    asked = request.settings
    fields: dict[str, object] = {
        "model": asked.model or (endpoint.models[0] if endpoint.models else ""),
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "n": asked.n,
        "size": asked.size,
        "num_inference_steps": asked.num_inference_steps,
        "true_cfg_scale": asked.true_cfg_scale,
        "seed": asked.seed,
        "loras": json.dumps(asked.loras) if asked.loras else None,
        "user": user,
        **more,
    }
    name = "image[]" if len(request.pictures) > 1 else "image"
    files = [(name, f"picture-{k}", data) for k, data in enumerate(request.pictures)]
    if request.mask is not None:
        files.append(("mask", "mask", request.mask))
    mark = f"ladder-{secrets.token_hex(16)}"
    body = bytearray()
    for key, value in fields.items():
        if value not in (None, ""):
            body += f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'.encode()
            body += str(value).encode("utf-8", "replace") + b"\r\n"
    for key, file, data in files:
        suffix, kind = _kind(data)
        body += (
            f'--{mark}\r\nContent-Disposition: form-data; name="{key}"; '
            f'filename="{file}.{suffix}"\r\nContent-Type: {kind}\r\n\r\n'
        ).encode()
        body += data + b"\r\n"
    body += f"--{mark}--\r\n".encode()
    return f"multipart/form-data; boundary={mark}", bytes(body)


def _kind(data: bytes) -> tuple[str, str]:
    if data.startswith(b"\x89PNG"):
        return "png", "image/png"
    if data.startswith(b"\xff\xd8"):
        return "jpg", "image/jpeg"
    return ("webp", "image/webp") if data[8:12] == b"WEBP" else ("bin", "application/octet-stream")


def _refusal(endpoint: Endpoint, url: str, code: int, data: bytes) -> Exception:
    """Return what a status other than 200 means; the server's own words where it has some."""
    said = _json(data)
    inner = said.get("error") if isinstance(said, dict) else None
    hint = str(inner.get("hint") or "") if isinstance(inner, dict) else ""
    words, where = sentence(said).removesuffix(hint).strip(), _where(endpoint)
    if code in (401, 403):
        return EndpointFailed("key", where=where)
    if code == 404 and "/images/jobs/" in url:
        return NotFound("The worker does not know this job.", hint="It may have been restarted.")
    if code in (404, 405) and not (isinstance(inner, dict) and "model" in str(inner.get("code"))):
        return EndpointDown(
            f"{where} answers, but edits no pictures at {urlsplit(url).path}.",
            hint="The address of an OpenAI-compatible server usually ends in /v1.",
        )
    if code == 429:
        return RunBusy(
            words or "The worker's queue is full.", hint=hint or "Wait a little and try again."
        )
    if code == 503:
        return EndpointDown(
            words or f"{where} is not ready.", hint=hint or "Wait a little and try again."
        )
    if 400 <= code < 500:
        return EditInvalid(words or f"{where} rejected the request.", hint=hint)
    return EndpointFailed("server", where=where, status=code, reason=words or "no reason given.")


def _garbled(endpoint: Endpoint) -> EndpointDown:
    return EndpointDown(
        f"{_where(endpoint)} sent something that is no answer about pictures.",
        hint="Check that the address belongs to an OpenAI-compatible server.",
    )


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _without_nones(said: Any) -> Any:
    return {k: v for k, v in said.items() if v is not None} if isinstance(said, dict) else said


def _job_url(endpoint: Endpoint, job: str) -> str:
    return f"{_base(endpoint)}/images/jobs/{job}"


def _base(endpoint: Endpoint) -> str:
    return endpoint.base_url.rstrip("/")


def _root(endpoint: Endpoint) -> str:
    return _base(endpoint).removesuffix("/v1")


def _where(endpoint: Endpoint) -> str:
    return urlsplit(endpoint.base_url).netloc.rpartition("@")[2]
