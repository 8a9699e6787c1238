"""What browsers ask about edits: the frame, the edit that is shown, the worker, the gallery.

Open to guests, who see their own pictures alone. All but the upload just look.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from studio.chat.desk import Person
from studio.core.errors import NotFound, StudioError
from studio.engines.workers.image_edit.ordinary import MEGAPIXEL
from studio.images.desk import ImageDesk, Look
from studio.images.request import EditInvalid, size_of
from studio.ui.chat.parts import person_of
from studio.ui.i18n import lang_of
from studio.ui.image import batch as image_batch
from studio.ui.image import desk as image_desk
from studio.ui.image import empty as image_empty
from studio.ui.image import gallery as image_gallery
from studio.ui.image import look as image_look
from studio.ui.image import state as image_state
from studio.ui.image.samples import sample
from studio.ui.image.state import Wish, WorkerStates
from studio.ui.image.tray import Tray
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.studio import Studio

EMPTY_S = 1.5
MOST_SHOWN = 960
"""Edits that one page of a gallery may grow to."""
RULES = "default-src 'none'; sandbox"
"""What a picture opened by its address may do in the browser: nothing."""
KINDS = {"png": "image/png", "webp": "image/webp"}
_UNSAFE = re.compile(r"[^\w-]+")


class ImageViews:
    """The places of the edit desk."""

    def __init__(self, studio: Studio, desk: ImageDesk, tray: Tray) -> None:
        self._studio, self._desk, self._tray = studio, desk, tray
        self._states = WorkerStates(studio, desk)
        self._recent = Recent(EMPTY_S)

    def routes(self) -> Sequence[Route]:
        """Return what the browser asks for."""
        return [
            Route("image/desk", self.desk, guest=True),
            Route("image/now", self.now, guest=True),
            Route("image/worker", self.worker, guest=True),
            Route("image/gallery", self.gallery, guest=True),
            Route("image/batches", self.batches),
            Route("image/sample/{name}", self.sample, guest=True),
            Route("image/upload", self.upload, guest=True, method="POST"),
            Route("image/upload/{id}", self.uploaded, guest=True),
            Route("image/item/{id}", self.item, guest=True),
            Route("image/item/{id}/preview", self.preview, guest=True),
            Route("image/item/{id}/{name}", self.file, guest=True),
        ]

    def desk(self, request: Request) -> dict[str, Any]:
        """Return the frame of the desk, in the visitor's language."""
        person = person_of(request)
        html = image_desk.desk(
            lang_of(request), self._desk.limits(person), operator=not person.guest
        )
        return fragment(request, html, final=True)

    def now(self, request: Request) -> dict[str, Any]:
        """Return the edit that is shown: the one named, else the one under way, else how to begin.

        `final` is set once nothing more will come.
        """
        person, lang, asked = person_of(request), lang_of(request), request.query_params
        look = self._wanted(person, asked.get("id", ""))
        if look is None:

            def empty() -> str:
                return image_empty.empty(lang, self._studio, self._states.now(person), person)

            return fragment(request, self._recent.get((lang, person.guest), empty))
        variant = asked.get("variant", "0")
        curl = "" if person.guest or not look.item.out else self._curl(person, look)
        html = image_look.look_html(
            lang, look, variant=int(variant) if variant.isdigit() else 0, curl=curl
        )
        return {**fragment(request, html, final=look.ended), "id": look.item.id}

    def worker(self, request: Request) -> dict[str, Any]:
        """Return what stands beside the button, and what the form has to know of the worker."""
        person, lang = person_of(request), lang_of(request)
        state = self._states.now(person)
        html = image_state.line(lang, state, _wish(request))
        return {
            **fragment(request, html),
            "ready": state.ready,
            "steps": state.steps,
            "cfg": state.cfg,
            "megapixels": f"{state.ordinary.pixels / MEGAPIXEL:.2g}",
            "loras": list(state.loras),
        }

    def gallery(self, request: Request) -> dict[str, Any]:
        """Return the newest edits of this visitor, as many as the page has room for."""
        told = request.query_params.get("limit", "")
        limit = min(int(told) if told.isdigit() else 24, MOST_SHOWN)
        items = self._desk.items(person_of(request), limit=limit + 1)
        html = image_gallery.gallery_html(lang_of(request), items[:limit], more=len(items) > limit)
        return fragment(request, html)

    def batches(self, request: Request) -> dict[str, Any]:
        """Return the batches of this operator."""
        looks = self._studio.batches.list(person_of(request), image_batch.SHOWN)
        return fragment(request, image_batch.batches_html(lang_of(request), looks))

    def item(self, request: Request) -> Response:
        """Return an edit's settings and pictures, for the form to take them up again."""
        item = self._desk.item(person_of(request), request.path_params["id"])
        told = image_look.settings_json(item)
        pictures = ",".join(f'"{image_look.address(item, name)}"' for name in item.before)
        text = f'{{"settings":{told},"pictures":[{pictures}]}}'
        return Response(text, media_type="application/json", headers={"cache-control": "no-store"})

    # pictures -----------------------------------------------------------------------------------

    async def upload(self, request: Request) -> dict[str, Any]:
        """Take a picture or a mask: the body is the file."""
        arrived = await self._tray.receive(request, person_of(request))
        return arrived._asdict()

    def uploaded(self, request: Request) -> Response:
        """Return a picture that was taken, in full or small."""
        small = "small" in request.query_params
        path = self._tray.file(person_of(request), request.path_params["id"], small=small)
        return _picture(path.read_bytes(), "webp" if small else "png")

    def sample(self, request: Request) -> Response:
        """Return one of the sample pictures."""
        small = "small" in request.query_params
        return _picture(sample(request.path_params["name"], small=small), "png", shared=True)

    def preview(self, request: Request) -> Response:
        """Return the latest preview of an edit under way."""
        data = self._desk.preview(person_of(request), request.path_params["id"])
        if data is None:
            raise NotFound("There is no preview yet.")
        return _picture(data, "webp")

    def file(self, request: Request) -> Response:
        """Return one of an edit's pictures; with `download` as a file with a name to keep."""
        person, name = person_of(request), request.path_params["name"]
        ident = request.path_params["id"]
        data = self._desk.file(person, ident, name).read_bytes()
        answer = _picture(data, name.rpartition(".")[2])
        if "download" in request.query_params:
            prompt = self._desk.item(person, ident).settings.prompt
            slug = _UNSAFE.sub("-", prompt.lower()).strip("-")[:40].strip("-")
            slug = slug.encode("ascii", "ignore").decode().strip("-") or "edit"
            number = name.partition("-")[2].partition(".")[0]
            file = f"{slug}-{ident[-5:]}-{number}.png"
            answer.headers["content-disposition"] = f'attachment; filename="{file}"'
        return answer

    # inside -------------------------------------------------------------------------------------

    def _wanted(self, person: Person, ident: str) -> Look | None:
        if ident:
            try:
                return self._desk.look(person, ident)
            except NotFound:
                return None
        under_way = self._desk.pending(person)
        return under_way[0] if under_way else None

    def _curl(self, person: Person, look: Look) -> str:
        try:
            return self._desk.curl_again(person, look.item.id)
        except StudioError:
            return ""


def _wish(request: Request) -> Wish:
    asked = request.query_params

    def number(name: str) -> float | None:
        try:
            return float(asked[name]) if asked.get(name) else None
        except ValueError:
            return None

    pixels = None
    if asked.get("size", "auto") != "auto":
        try:
            width, height = size_of(asked["size"])
            pixels = width * height
        except EditInvalid:
            pass
    steps, variants, pictures = number("steps"), number("n"), number("pictures")
    return Wish(
        steps=int(steps) if steps else None,
        cfg=number("cfg"),
        variants=max(1, min(8, int(variants or 1))),
        pixels=pixels,
        pictures=max(1, min(3, int(pictures or 1))),
    )


def _picture(data: bytes, suffix: str, *, shared: bool = False) -> Response:
    age = "public, max-age=86400" if shared else "private, max-age=86400, immutable"
    headers = {
        "cache-control": age,
        "vary": "cookie",
        "content-security-policy": RULES,
        "x-content-type-options": "nosniff",
    }
    return Response(data, media_type=KINDS[suffix], headers=headers)
