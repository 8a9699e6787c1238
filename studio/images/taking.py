"""Pictures as somebody gave them made fit to be kept and sent; the worker's own rules decide.

`studio.engines.workers.image_edit.intake` reads them: formats by content, sizes before pixels,
upright, RGB on white, nothing but pixels. What it refuses becomes an EditInvalid here.
"""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from studio.engines.workers.image_edit import intake
from studio.images.request import EditInvalid, Limits

THUMB_SIDE = 384
READ = ("PNG", "JPEG", "WEBP")
"""What an endpoint may answer with."""


class Taken(NamedTuple):
    """A picture ready to be kept and sent."""

    data: bytes
    """As PNG."""
    width: int
    height: int


def taken(pictures: tuple[bytes, ...], limits: Limits) -> list[Taken]:
    """Return the pictures of a request; raise EditInvalid with the reason."""
    if not pictures:
        raise EditInvalid("There is no picture to edit.", hint="Give one to three pictures.")
    if len(pictures) > limits.max_pictures:
        raise EditInvalid(
            f"{len(pictures)} pictures are too many: the model takes {limits.max_pictures}.",
            hint="Leave some out; the first one sets the shape.",
        )
    try:
        return [_taken(intake.picture(data, _rules(limits))) for data in pictures]
    except intake.PictureRefused as error:
        raise EditInvalid(error.message, hint=error.hint) from error


def mask_taken(data: bytes, first: Taken, limits: Limits) -> Taken:
    """Return a mask in the size of the first picture: white is edited; raise EditInvalid."""
    try:
        return _taken(intake.mask(data, (first.width, first.height), _rules(limits)))
    except intake.PictureRefused as error:
        raise EditInvalid(error.message, hint=error.hint) from error


def small(data: bytes) -> bytes:
    """Return a kept picture as a small WebP for lists."""
    with Image.open(io.BytesIO(data), formats=READ) as image:
        image.draft("RGB", (THUMB_SIDE, THUMB_SIDE))
        shown = image.convert("RGB")
    shown.thumbnail((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def result(data: bytes) -> Taken:
    """Return a picture that an endpoint made, as PNG; raise ValueError when it is none."""
    try:
        with Image.open(io.BytesIO(data), formats=READ) as image:
            size = image.size
            if size[0] * size[1] > intake.OPERATOR.max_pixels:
                raise ValueError("the picture is too large")
            if image.format == "PNG":
                image.verify()
                return Taken(data, *size)
            return _taken(image.convert("RGB"))
    except (OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from error


def _rules(limits: Limits) -> intake.Limits:
    return intake.Limits(
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        kept_pixels=limits.kept_pixels,
        most=limits.max_pictures,
    )


def _taken(image: Image.Image) -> Taken:
    return Taken(intake.png(image), image.width, image.height)
