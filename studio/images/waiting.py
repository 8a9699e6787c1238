"""Endpoints that take no jobs: a thread asks, waits for the whole answer and keeps it.

It holds a lock on the item's folder meanwhile. Whoever finds an item without an end and its lock
free knows that the studio was closed in between: nobody will ever get that answer.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from studio.chat.errors import Cancelled
from studio.core.errors import NotFound, StudioError
from studio.core.spec import Endpoint
from studio.images import client
from studio.images.gallery import Gallery
from studio.images.item import End, Fault, Item, ItemState
from studio.images.request import EditRequest
from studio.images.results import ended, keep, seeds_from


class _Wait(NamedTuple):
    handle: client.Waiting
    began: float


class Waits:
    """The requests that threads of this process wait for."""

    def __init__(self) -> None:
        self._waits: dict[str, _Wait] = {}

    def start(self, gallery: Gallery, item: Item, endpoint: Endpoint, request: EditRequest) -> None:
        """Ask an endpoint, in a thread that keeps what it answers."""
        wait = self._waits[item.id] = _Wait(client.Waiting(), time.time())
        held = _hold(gallery.folder / item.id)
        threading.Thread(
            target=self._work,
            args=(gallery, item, endpoint, request, wait, held),
            name=f"edit-{item.id}",
            daemon=True,
        ).start()

    def cut(self, item: Item) -> None:
        """Close the connection of a request that waits here."""
        wait = self._waits.get(item.id)
        if wait is not None:
            wait.handle.cut()

    def look(self, gallery: Gallery, item: Item) -> tuple[Item, client.Job]:
        """Return the item, ended if nobody waits for it any more, and since when it runs."""
        since = time.time() - item.asked.created_at
        job = client.Job(state="running", elapsed_s=since, variants=item.settings.n)
        if item.id in self._waits:
            return item, job
        held = _hold(gallery.folder / item.id)
        if held is None:
            return item, job  # another process waits for it
        os.close(held)
        item = gallery.get(item.id)
        if item.end is None:
            fault = Fault(
                message="The studio was closed while the endpoint was at work.",
                hint="An endpoint without jobs answers once: use the settings again.",
            )
            item = gallery.finish(item.id, ended(ItemState.FAILED, error=fault))
        return item, job

    def _work(
        self,
        gallery: Gallery,
        item: Item,
        endpoint: Endpoint,
        request: EditRequest,
        wait: _Wait,
        held: int | None,
    ) -> None:
        try:
            end, pictures = _answered(item, endpoint, request, wait)
            keep(gallery, item, end, pictures)
        except NotFound:
            return  # deleted meanwhile
        finally:
            self._waits.pop(item.id, None)
            if held is not None:
                os.close(held)


def _answered(
    item: Item, endpoint: Endpoint, request: EditRequest, wait: _Wait
) -> tuple[End, list[bytes]]:
    """Return how a request ended, and its pictures."""
    try:
        answer = client.edit(endpoint, request, wait.handle)
    except Cancelled:
        return ended(ItemState.CANCELLED), []
    except StudioError as error:
        fault = Fault(message=error.message, hint=error.hint)
        return ended(ItemState.FAILED, error=fault), []
    end = ended(
        ItemState.DONE,
        seeds=answer.seeds or seeds_from(item.settings.seed, len(answer.pictures)),
        steps=item.settings.num_inference_steps,
        timings={"total_s": round(time.time() - wait.began, 3)},
    )
    return end, answer.pictures


def _hold(folder: Path) -> int | None:
    """Take the lock of an item's folder until the descriptor is closed; None when it is taken."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
