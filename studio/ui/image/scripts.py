"""Editing for scripts: `image_edit`, `_status`, `_cancel`, `_gallery` and `_batch`.

API events without controls; what they make is the caller's own, as on the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from studio.chat.album import uri_of
from studio.chat.desk import Person
from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings, did_you_mean
from studio.images.request import EditInvalid, EditRequest, EditSettings
from studio.ui.chat.parts import person_of
from studio.ui.chat.scripts import bytes_of
from studio.ui.door.gate import require_operator

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_LISTED = 200


class ImageScripts:
    """What a script may do."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._desk = studio.images

    def image_edit(
        self,
        request: gr.Request,
        pictures: list[Any],
        prompt: str,
        settings: dict[str, Any] | None = None,
        mask: Any = None,
        endpoint: str = "",
    ) -> dict[str, Any]:
        """Put an edit in line and return it at once; `image_status` tells what became of it.

        A picture is a data URI, or a file as `gradio_client.handle_file` uploads it; the first of
        one to three is edited. `settings` are those of the form: num_inference_steps, seed, ...
        """
        person = person_of(request)
        most = self._desk.limits(person)
        if len(pictures) > most.max_pictures:
            raise EditInvalid(
                f"{len(pictures)} pictures are too many: the model takes {most.max_pictures}.",
                hint="Leave some out; the first one sets the shape.",
            )
        asked = EditRequest(
            pictures=tuple(bytes_of(item, most.max_bytes) for item in pictures),
            mask=bytes_of(mask, most.max_bytes) if mask else None,
            settings=settings_of({**(settings or {}), "prompt": prompt}),
        )
        return self._desk.submit(person, asked, endpoint=endpoint).summary()

    def image_status(
        self, request: gr.Request, ident: str, with_pictures: bool = False
    ) -> dict[str, Any]:
        """Return how far an edit is: state, position, step, steps, eta_s, error, timings.

        With `with_pictures`, `pictures` holds the results as data URIs once there are any.
        """
        person = person_of(request)
        look = self._desk.look(person, ident)
        return {**look.as_dict(), "pictures": self._pictures(person, ident, with_pictures)}

    def image_cancel(self, request: gr.Request, ident: str) -> dict[str, Any]:
        """Cancel an edit, in line or at work; return what it is then."""
        return self._desk.cancel(person_of(request), ident).as_dict()

    def image_gallery(
        self, request: gr.Request, before: str = "", limit: int = 48
    ) -> list[dict[str, Any]]:
        """Return one's own edits, newest first; `before` is the last id of the page before."""
        limit = max(1, min(int(limit), MOST_LISTED))
        items = self._desk.items(person_of(request), before=before, limit=limit)
        return [item.summary() for item in items]

    def image_batch(
        self,
        request: gr.Request,
        folder: str,
        prompt: str,
        settings: dict[str, Any] | None = None,
        out: str = "",
    ) -> dict[str, Any]:
        """Edit every picture of a folder on this server with one prompt; return the batch."""
        require_operator(request)
        person, batches = person_of(request), self._studio.batches
        asked = settings_of({**(settings or {}), "prompt": prompt})
        made = batches.create(person, Path(folder), asked, out=out)
        return batches.start(person, made.plan.id).summary()

    def _pictures(self, person: Person, ident: str, wanted: bool) -> list[str]:
        names = self._desk.item(person, ident).out if wanted else ()
        return [uri_of(self._desk.file(person, ident, name).read_bytes()) for name in names]


def settings_of(values: dict[str, Any]) -> EditSettings:
    """Return checked settings; raise RecipeInvalid with a sentence per fault, unknown names too."""
    known = list(EditSettings.model_fields)
    if wrong := [name for name in values if name not in known]:
        raise RecipeInvalid(
            f"An edit has no setting {wrong[0]}.",
            hint=did_you_mean(wrong[0], known) or f"There are: {', '.join(known)}.",
        )
    return check_settings(EditSettings, values, "Settings of the edit")
