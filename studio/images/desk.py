"""Who may edit what where, and what became of it: the one way in for page, scripts and commands.

    desk = studio.images
    item = desk.submit(person, EditRequest(pictures=(data,), settings=EditSettings(prompt="...")))
    while not (look := desk.look(person, item.id)).ended:
        ...
    desk.file(person, item.id, look.item.out[0])

`person` is who asks (`studio.chat.desk.Person`). A guest has one job at a time, keeps the last
results only, sees nobody else's and reaches READY runs alone.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from studio.chat.conversations import owner_folder
from studio.chat.desk import Person
from studio.core.errors import DiskFull, NotFound, RunBusy, StudioError
from studio.core.ids import new_id
from studio.core.spec import Endpoint
from studio.images import client, pngmeta
from studio.images.curl import curl_of
from studio.images.gallery import PAGE, Gallery
from studio.images.item import Asked, Item
from studio.images.look import Look, account_of
from studio.images.request import (
    GUEST,
    OPERATOR,
    EditRequest,
    EditSettings,
    Limits,
    check_settings,
    size_of,
)
from studio.images.settling import RunFolder, Settling
from studio.images.taking import Taken, mask_taken, small, taken

GUESTS = ".guests"
"""Folder of the guests' galleries; no owner's name begins with a dot."""
GUESTS_KEPT_S = 7 * 86_400.0
"""A guest who has not come back for so long is forgotten with all pictures."""
OWNERS_KEPT = 64
LEAST_FREE_BYTES = 2**30
"""Room that has to be left on the disk before a picture is taken."""


class ImageDesk:
    """Everything the Image edit tab, its scripts and `image` commands ask for."""

    def __init__(
        self,
        images_dir: Path,
        endpoints: Callable[[], list[Endpoint]],
        run_folder: RunFolder,
    ) -> None:
        """Keep galleries in `images_dir`; `run_folder` tells a run's folder and whether it lives.

        It returns None for a run that is not there any more.
        """
        self._dir = images_dir
        self._endpoints = endpoints
        self._settling = Settling(endpoints, run_folder)
        self._lock = threading.RLock()
        self._galleries: dict[str, Gallery] = {}
        self._submitting: set[str] = set()
        self._tidied = 0.0

    # in -----------------------------------------------------------------------------------------

    def submit(
        self,
        person: Person,
        request: EditRequest,
        *,
        endpoint: str = "",
        group: str = "",
        source: str = "",
    ) -> Item:
        """Check a request, hand it to an endpoint (the first without a name) and keep it.

        Returns at once, with the item pending. Raises EditInvalid for a request that cannot be
        made, RunBusy for a guest whose last one is not done, EndpointDown, DiskFull.
        """
        limits, gallery = self.limits(person), self.gallery(person)
        check_settings(request.settings, limits)
        chosen = self.endpoint(person, endpoint)
        with self._turn(person, gallery, limits):
            self._check_room()
            pictures, mask = _taken(request, limits)
            sent = EditRequest(
                pictures=tuple(picture.data for picture in pictures),
                mask=mask.data if mask else None,
                settings=_complete(request.settings),
            )
            part = gallery.begin(_files(sent))
            try:
                job = self._hand_over(person, chosen, sent, group)
            except BaseException:
                gallery.drop(part)
                raise
            asked = Asked(
                id=new_id(),
                created_at=time.time(),
                settings=sent.settings,
                endpoint_id=chosen.id,
                endpoint=chosen.name,
                run_id=chosen.run_id,
                job=job,
                num_before=len(pictures),
                has_mask=mask is not None,
                size_before=(pictures[0].width, pictures[0].height),
                group=group,
                source=source[:200],
            )
            item = gallery.add(part, asked)
        if not job:
            self._settling.waits.start(gallery, item, chosen, sent)
        if limits.kept is not None:
            gallery.keep(limits.kept)
        self._tidy(gallery)
        return item

    def cancel(self, person: Person, ident: str) -> Look:
        """Cancel an edit, in line or at work; one that has ended stays as it is."""
        gallery = self.gallery(person)
        item = gallery.get(ident)
        if item.end is None:
            self._settling.cancel(gallery, item)
        return self.look(person, ident)

    def delete(self, person: Person, ident: str) -> None:
        """Remove an edit and its pictures; one under way is cancelled first. Raise NotFound."""
        gallery = self.gallery(person)
        item = gallery.get(ident)
        if item.end is None:
            self._settling.cancel(gallery, item)
        gallery.delete(ident)

    # out ----------------------------------------------------------------------------------------

    def limits(self, person: Person) -> Limits:
        """Return what this person may ask for."""
        return GUEST if person.guest else OPERATOR

    def endpoints(self, person: Person) -> list[Endpoint]:
        """Return what this person may use; guests see READY runs only, never a key's use."""
        return [e for e in self._endpoints() if e.run_id is not None or not person.guest]

    def endpoint(self, person: Person, name: str = "") -> Endpoint:
        """Return one by id or name, the first when none is named; raise NotFound."""
        found = self.endpoints(person)
        if not found:
            raise NotFound(
                "Nothing is running that edits pictures.",
                hint="Start a worker in the Image edit tab, or wait until one is ready.",
            )
        if not name:
            return found[0]
        for endpoint in found:
            if name in (endpoint.id, endpoint.name):
                return endpoint
        raise NotFound(f"The endpoint {name} is not running any more.", hint="Choose another one.")

    def look(self, person: Person, ident: str) -> Look:
        """Return an edit as it is now, its results fetched when they are there.

        Raises NotFound. A worker that does not answer for a moment is no error: the last known
        state stays.
        """
        gallery = self.gallery(person)
        item = gallery.get(ident)
        if item.end is not None:
            return Look(item, account_of(item), bool(item.asked.job))
        item, job = self._settling.look(gallery, item)
        return Look(item, job if item.end is None else account_of(item), bool(item.asked.job))

    def items(self, person: Person, *, before: str = "", limit: int = PAGE) -> list[Item]:
        """Return a page of a gallery, newest first; `before` is the last id of the page before.

        What is pending is looked at first, so that a page that was closed finds its results.
        """
        gallery = self.gallery(person)
        for item in gallery.pending():
            if not before or item.id < before:
                try:
                    self._settling.look(gallery, item)
                except StudioError:
                    continue  # said where this item is looked at by itself
        return gallery.list(before=before, limit=limit)

    def pending(self, person: Person) -> list[Look]:
        """Return what is under way, oldest first: for a page that was opened again."""
        gallery = self.gallery(person)
        found = [self.look(person, item.id) for item in gallery.pending()]
        return [look for look in found if not look.ended]

    def item(self, person: Person, ident: str) -> Item:
        """Return one edit as it is on disk; raise NotFound."""
        return self.gallery(person).get(ident)

    def file(self, person: Person, ident: str, name: str) -> Path:
        """Return the path of `out-0.png`, `before-0.png`, `after.webp`, ...; raise NotFound."""
        return self.gallery(person).file(ident, name)

    def preview(self, person: Person, ident: str) -> bytes | None:
        """Return the latest preview of an edit under way, as WebP; None while there is none."""
        item = self.gallery(person).get(ident)
        return self._settling.preview(item) if item.end is None else None

    def reuse(self, person: Person, ident: str) -> EditRequest:
        """Return an edit's pictures, mask and settings, to be asked again; raise NotFound."""
        gallery = self.gallery(person)
        item = gallery.get(ident)
        mask = gallery.file(ident, "mask.png").read_bytes() if item.asked.has_mask else None
        return EditRequest(
            pictures=tuple(gallery.file(ident, name).read_bytes() for name in item.before),
            mask=mask,
            settings=item.settings,
        )

    def read_back(self, data: bytes) -> EditSettings | None:
        """Return the settings inside a PNG that this studio made; None when it has none."""
        return pngmeta.read(data)

    def ladder(self, person: Person, endpoint: str = "") -> dict[str, Any]:
        """Return a worker's rungs, which one runs and why; raise EndpointDown."""
        return client.ladder(self.endpoint(person, endpoint))

    def health(self, person: Person, endpoint: str = "") -> client.WorkerHealth:
        """Return how a worker is; raise EndpointDown."""
        return client.health(self.endpoint(person, endpoint))

    def curl(self, person: Person, request: EditRequest, endpoint: str = "") -> str:
        """Return the same request as a `curl` command, without a key."""
        return curl_of(request, self.endpoint(person, endpoint))

    def curl_again(
        self, person: Person, ident: str, endpoint: str = "", *, kept_files: bool = False
    ) -> str:
        """Return a kept edit as a `curl` command, without a key; raise NotFound.

        `kept_files` names the files in the gallery, for somebody who sits at this machine.
        """
        gallery = self.gallery(person)
        item = gallery.get(ident)
        masked = item.asked.has_mask
        request = EditRequest(
            pictures=(b"",) * item.asked.num_before,
            mask=b"" if masked else None,
            settings=item.settings,
        )
        names = (item.asked.source,) if item.asked.source else ()
        mask = ""
        if kept_files:
            names = tuple(str(gallery.file(ident, name)) for name in item.before)
            mask = str(gallery.file(ident, "mask.png")) if masked else ""
        return curl_of(request, self.endpoint(person, endpoint), names=names, mask=mask)

    def gallery(self, person: Person) -> Gallery:
        """Return somebody's own gallery."""
        home = self._dir / GUESTS if person.guest else self._dir
        folder = home / owner_folder(person.owner)
        with self._lock:
            found = self._galleries.pop(str(folder), None)
            found = found or Gallery(folder, with_logs=not person.guest)
            self._galleries[str(folder)] = found
            while len(self._galleries) > OWNERS_KEPT:
                del self._galleries[next(iter(self._galleries))]
            return found

    # inside -------------------------------------------------------------------------------------

    @contextmanager
    def _turn(self, person: Person, gallery: Gallery, limits: Limits) -> Iterator[None]:
        """Hold a guest's turn while a request is handed over; raise RunBusy when it is taken.

        Checked before a picture is opened: whoever has to wait costs nothing.
        """
        if limits.jobs is None:
            yield
            return
        busy = RunBusy(
            "Your last picture is not done yet.", hint="Wait for it, or cancel it first."
        )
        with self._lock:
            if person.owner in self._submitting:
                raise busy
            self._submitting.add(person.owner)
        try:
            looks = [self.look(person, item.id) for item in gallery.pending()]
            if sum(not look.ended for look in looks) >= limits.jobs:
                raise busy
            yield
        finally:
            self._submitting.discard(person.owner)

    def _hand_over(
        self, person: Person, endpoint: Endpoint, request: EditRequest, group: str
    ) -> str:
        """Put a request in line; return its job, empty where the endpoint takes none."""
        if not client.has_jobs(endpoint):
            return ""
        return client.submit(endpoint, request, user=_user(person, group)).job

    def _check_room(self) -> None:
        home = next(path for path in (self._dir, *self._dir.parents) if path.exists())
        if shutil.disk_usage(home).free < LEAST_FREE_BYTES:
            raise DiskFull(
                f"No room left to keep pictures in {self._dir}.",
                hint="Delete old pictures or runs, or move the home with --home.",
            )

    def _tidy(self, gallery: Gallery) -> None:
        """Once in an hour: remove what crashes left, and guests who do not come back."""
        if time.monotonic() - self._tidied < 3600 and self._tidied:
            return
        self._tidied = time.monotonic()
        gallery.tidy()
        old = time.time() - GUESTS_KEPT_S
        guests = self._dir / GUESTS
        for folder in guests.iterdir() if guests.is_dir() else ():
            if folder.stat().st_mtime < old:
                shutil.rmtree(folder, ignore_errors=True)


def _taken(request: EditRequest, limits: Limits) -> tuple[list[Taken], Taken | None]:
    pictures = taken(request.pictures, limits)
    mask = request.mask
    return pictures, mask_taken(mask, pictures[0], limits) if mask is not None else None


def _files(sent: EditRequest) -> dict[str, bytes]:
    files = {f"before-{k}.png": data for k, data in enumerate(sent.pictures)}
    if sent.mask is not None:
        files["mask.png"] = sent.mask
    return {**files, "before.webp": small(sent.pictures[0])}


def _complete(asked: EditSettings) -> EditSettings:
    """Draw the seed that nobody gave, so that the result can be made again."""
    update: dict[str, Any] = {"prompt": asked.prompt.strip()}
    if asked.size != "auto":
        update["size"] = "{}x{}".format(*size_of(asked.size))
    if asked.seed is None:
        update["seed"] = secrets.randbelow(2**31)
    return asked.model_copy(update=update)


def _user(person: Person, group: str) -> str:
    """Return what the worker is told of who asks: enough to tell people apart, no name.

    Users take turns there; a batch is somebody of its own, so that its owner need not wait for it.
    """
    own = hashlib.sha256(f"{person.owner}\0{group}".encode()).hexdigest()
    return own[:16]
