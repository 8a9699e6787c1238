"""Bring what is pending to its end: ask the endpoint, or read what an ended worker left behind.

An item without an end is looked at whenever somebody looks: the worker's account of its job is
the truth while it lives, `artifacts/jobs/<job>/` of its run folder afterwards. Endpoints that
take no jobs are waited for: `studio.images.waiting`.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.errors import EndpointDown, NotFound, StudioError
from studio.core.spec import Endpoint
from studio.images import client
from studio.images.gallery import Gallery
from studio.images.item import Fault, Item, ItemState
from studio.images.results import ended, keep, seeds_from
from studio.images.waiting import Waits

LOST_S = 86_400.0
"""A job at an external worker that has not been reachable for so long is given up."""
SILENT_S = 5.0
"""How long an external endpoint that did not answer is not asked again, so that lists are quick."""
LOOKS_KEPT = 256
RunFolder = Callable[[str], tuple[Path, bool] | None]
"""Tells a run's folder and whether it lives; None for a run that is not there any more."""


class Settling:
    """What is known of pending items. Shared by everybody who looks."""

    def __init__(self, endpoints: Callable[[], list[Endpoint]], run_folder: RunFolder) -> None:
        self._endpoints = endpoints
        self._run_folder = run_folder
        self.waits = Waits()
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._last: dict[str, client.Job] = {}
        self._silent: dict[str, float] = {}

    def look(self, gallery: Gallery, item: Item) -> tuple[Item, client.Job]:
        """Return the item, ended if its end could be found, and how far its job is."""
        with self._one(item.id):
            item = gallery.get(item.id)  # another look may have ended it
            if item.end is not None:
                return item, client.Job(job=item.asked.job, state=str(item.state))
            if not item.asked.job:
                return self.waits.look(gallery, item)
            item, job = self._look_at_job(gallery, item)
            if item.end is not None:
                self._last.pop(item.id, None)
            return item, job

    def preview(self, item: Item) -> bytes | None:
        """Return the latest preview; None while there is none, or where none is made."""
        endpoint = self._endpoint(item)
        if endpoint is None or not item.asked.job:
            return None
        try:
            return client.preview(endpoint, item.asked.job)
        except StudioError:
            return None

    def cancel(self, gallery: Gallery, item: Item) -> None:
        """Cancel an item at its endpoint; where nobody can be asked it just ends."""
        self.waits.cut(item)
        endpoint = self._endpoint(item)
        if item.asked.job and endpoint is not None:
            try:
                client.cancel(endpoint, item.asked.job)
                return
            except EndpointDown:
                pass  # it has gone: nothing is left to cancel, and the item ends below
        gallery.finish(item.id, ended(ItemState.CANCELLED, rung=self._known(item).rung))

    # inside -------------------------------------------------------------------------------------

    def _look_at_job(self, gallery: Gallery, item: Item) -> tuple[Item, client.Job]:
        endpoint = self._endpoint(item)
        if endpoint is not None and time.monotonic() < self._silent.get(endpoint.id, 0.0):
            return self._out_of_reach(gallery, item)
        try:
            if endpoint is not None:
                job = client.status(endpoint, item.asked.job)
                self._remember(item, job)
                return (self._collect(gallery, item, endpoint, job) if job.ended else item), job
        except NotFound:
            pass  # restarted, or forgotten there: the folder knows
        except EndpointDown:
            if endpoint is not None and endpoint.run_id is None:
                self._silent[endpoint.id] = time.monotonic() + SILENT_S
        if item.asked.run_id is None:
            return self._out_of_reach(gallery, item)
        return self._look_at_folder(gallery, item)

    def _collect(self, gallery: Gallery, item: Item, endpoint: Endpoint, job: client.Job) -> Item:
        """Fetch and keep the pictures of a job that has ended."""
        numbers = range(job.pictures if job.state == "done" else 0)
        pictures = [client.picture(endpoint, item.asked.job, k) for k in numbers]
        return _kept(gallery, item, job, pictures)

    def _look_at_folder(self, gallery: Gallery, item: Item) -> tuple[Item, client.Job]:
        found = self._run_folder(item.asked.run_id) if item.asked.run_id else None
        if found is None:
            fault = Fault(
                message="The worker is gone, and what it made of this picture with it.",
                hint="Use the settings again with a worker that runs.",
            )
            return self._fail(gallery, item, fault)
        folder, alive = found
        left = folder / "artifacts" / "jobs" / item.asked.job
        job = _left_behind(left)
        if job is not None and job.ended:
            numbers = range(job.pictures if job.state == "done" else 0)
            try:
                pictures = [(left / f"out-{k}.png").read_bytes() for k in numbers]
                return _kept(gallery, item, job, pictures), job
            except OSError:
                alive = False  # the pictures were removed
        if alive:
            return item, self._known(item)
        fault = Fault(
            message="The worker ended before the picture was done.",
            hint="Start it again and use the settings once more; its log says why.",
        )
        return self._fail(gallery, item, fault)

    def _out_of_reach(self, gallery: Gallery, item: Item) -> tuple[Item, client.Job]:
        if time.time() - item.asked.created_at < LOST_S:
            return item, self._known(item)
        fault = Fault(
            message="The endpoint has not been reached for a day.",
            hint="Check its address, then use the settings again.",
        )
        return self._fail(gallery, item, fault)

    def _fail(self, gallery: Gallery, item: Item, fault: Fault) -> tuple[Item, client.Job]:
        known = self._known(item)
        end = ended(ItemState.FAILED, rung=known.rung, error=fault)
        return gallery.finish(item.id, end), known

    def _endpoint(self, item: Item) -> Endpoint | None:
        found = (e for e in self._endpoints() if e.id == item.asked.endpoint_id)
        return next(found, None)

    def _known(self, item: Item) -> client.Job:
        return self._last.get(item.id) or client.Job(job=item.asked.job)

    def _remember(self, item: Item, job: client.Job) -> None:
        with self._lock:
            self._last.pop(item.id, None)
            self._last[item.id] = job
            while len(self._last) > LOOKS_KEPT:
                del self._last[next(iter(self._last))]

    def _one(self, ident: str) -> threading.Lock:
        """Return the lock of one item: two looks at once would fetch its pictures twice."""
        with self._lock:
            found = self._locks.pop(ident, None) or threading.Lock()
            self._locks[ident] = found
            while len(self._locks) > LOOKS_KEPT:
                del self._locks[next(iter(self._locks))]
            return found


def _kept(gallery: Gallery, item: Item, job: client.Job, pictures: list[bytes]) -> Item:
    """Keep what a job came to."""
    asked, used = item.settings, job.settings
    end = ended(
        ItemState(job.state),
        seeds=job.seeds or seeds_from(asked.seed, len(pictures)),
        steps=_whole(used.get("num_inference_steps")) or job.steps or asked.num_inference_steps,
        true_cfg_scale=_real(used.get("true_cfg_scale")) or asked.true_cfg_scale,
        rung=job.rung,
        timings=job.timings,
        peaks=job.peaks,
        cached=job.cached,
        notes=job.notes,
        error=job.error,
    )
    return keep(gallery, item, end, pictures)


def _left_behind(folder: Path) -> client.Job | None:
    try:
        return client.read_job(json.loads((folder / "done.json").read_bytes()))
    except (OSError, ValueError, StudioError):
        return None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
