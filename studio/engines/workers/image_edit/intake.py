"""Make a picture that somebody sent fit to be edited: checked, upright, RGB on white, pixels only.

The front of the worker asks it for every upload, and the studio before it keeps one; so nothing
but the standard library and Pillow is imported. Formats are told by content, sizes are read from
the header before a pixel is decoded, and no other reader of Pillow is ever opened.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What is read, told by content. A photograph with a second frame behind it (MPO) is a JPEG."""
LONGEST = 20
"""A side may be so many times the other: beyond, nothing of the short one is left to edit."""
MULTIPLE = 32
"""Sides of a result; diffusers' own `calculate_dimensions` rounds to it."""
MARKED = 128
"""A mask's grey from which on a pixel is to be edited."""
SAME_SHAPE = 0.02
"""By how much a mask's aspect may differ from its picture's, for roundings."""


class PictureRefused(ValueError):
    """A picture that cannot be taken: `message` says what is wrong, `hint` what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a person may send."""

    max_bytes: int = 40 * 2**20
    """Of one file."""
    max_pixels: int = 50_000_000
    """Area before scaling, read from the header."""
    kept_pixels: int = 4 * 2**20
    """Area after scaling; an editor looks at references of about one megapixel."""
    most: int = 3
    """Pictures in one request; the model was trained with so many."""


OPERATOR = Limits()
GUEST = Limits(max_bytes=8 * 2**20, max_pixels=24_000_000, kept_pixels=2 * 2**20)


def picture(data: bytes, limits: Limits = OPERATOR) -> Image.Image:
    """Return a picture upright, in RGB on white, scaled down to what is worth keeping.

    Raises PictureRefused with the reason: no picture, damaged, too large, too long, animated.
    """
    return _read(data, limits, _on_white)


def mask(data: bytes, size: tuple[int, int], limits: Limits = OPERATOR) -> Image.Image:
    """Return a mask of `size` (width, height) in grey: white where the picture is to be edited.

    A mask with transparency marks what is transparent, as OpenAI's does; an opaque one what is
    white. Raises PictureRefused as `picture` does, when its shape is another than the picture's,
    and when it marks nothing.
    """
    marks = _read(data, limits, _marks)
    if abs(marks.width / marks.height * size[1] / size[0] - 1) > SAME_SHAPE:
        raise PictureRefused(
            f"The mask is {marks.width} x {marks.height} and its picture {size[0]} x {size[1]}: "
            "the shapes differ.",
            hint="Draw the mask on the first picture, in the same size.",
        )
    if marks.size != size:
        marks = marks.resize(size, Image.Resampling.BILINEAR)
    if marks.getextrema()[1] < MARKED:  # pyright: ignore[reportOperatorIssue]
        raise PictureRefused(
            "The mask marks nothing: no part of it is white or transparent.",
            hint="Paint what shall be edited, or leave the mask out.",
        )
    return marks


def png(image: Image.Image) -> bytes:
    """Return a picture as PNG, written fast: the pipe reads it once."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def output_size(width: int, height: int, pixels: int = 1024 * 1024) -> tuple[int, int]:
    """Return the size of a result in the shape of a picture, with about `pixels` in all.

    Source: `calculate_dimensions`, diffusers 0.42, pipeline_qwenimage_edit_plus.py.
    """
    wide = math.sqrt(pixels * width / height)
    sides = (wide, wide * height / width)
    first, second = (max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE) for side in sides)
    return first, second


# inside -----------------------------------------------------------------------------------------


def _read(data: bytes, limits: Limits, become: Callable[[Image.Image], Image.Image]) -> Image.Image:
    if len(data) > limits.max_bytes:
        raise PictureRefused(
            f"The file has {len(data) / 2**20:.0f} MB; "
            f"at most {limits.max_bytes / 2**20:.0f} are taken.",
            hint="Save it smaller, or as JPEG.",
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, limits)  # first: some readers decode when asked for more
            _check_still(image)
            made = become(_pixels(image, limits.kept_pixels))
            made.info.clear()  # comments, profiles, places
            return made
    except PictureRefused:
        raise
    except Image.DecompressionBombError:
        raise _too_many_pixels(limits) from None
    except Image.UnidentifiedImageError:
        raise PictureRefused(
            "This is not a picture that the studio reads.",
            hint="PNG, JPEG, WebP, GIF and BMP are; save it as one of them.",
        ) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, MemoryError) as error:
        raise PictureRefused(
            "The picture is damaged: it cannot be read to its end.",
            hint="Open it in another program and save it again.",
        ) from error


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _too_many_pixels(limits)
    if max(width, height) > LONGEST * min(width, height):
        raise PictureRefused(
            f"The picture is {width} x {height}: no model reads one that long and thin.",
            hint=f"One side may be at most {LONGEST} times the other; cut it into pieces.",
        )


def _too_many_pixels(limits: Limits) -> PictureRefused:
    return PictureRefused(
        f"The picture has more than {limits.max_pixels / 1e6:.0f} megapixels.",
        hint="Scale it down first.",
    )


def _check_still(image: Image.Image) -> None:
    """Refuse animations: nobody could tell which of their frames was meant."""
    if image.format != "MPO" and getattr(image, "is_animated", False):
        raise PictureRefused(
            "The picture is animated, and the editor works on a single one.",
            hint="Save the frame you mean as PNG or JPEG.",
        )


def _pixels(image: Image.Image, kept_pixels: int) -> Image.Image:
    """Return the pixels upright and scaled down, in any of L, LA, RGB, RGBA, CMYK, ...

    It is scaled before it is converted: a copy of the whole would cost its memory again.
    """
    share = math.sqrt(kept_pixels / (image.width * image.height))
    if share < 1:
        image.draft("RGB", (int(image.width * share), int(image.height * share)))  # JPEG: 1/2, 1/4
    ImageOps.exif_transpose(image, in_place=True)
    shown: Image.Image = image
    if shown.mode.startswith("I"):  # 16-bit greys: Pillow's own conversion cuts them off
        shown = shown.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if shown.mode in ("1", "P", "PA") or "transparency" in shown.info:
        shown = shown.convert("RGBA" if shown.has_transparency_data else "RGB")
    share = math.sqrt(kept_pixels / (shown.width * shown.height))
    if share < 1:
        size = (max(1, int(shown.width * share)), max(1, int(shown.height * share)))
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    shown.load()
    return shown


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        image = Image.new("RGB", layered.size, "white")
        image.paste(layered, mask=layered.getchannel("A"))
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _marks(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema()[0] < 255:  # pyright: ignore[reportOperatorIssue]
            return alpha.point(lambda value: 255 - value)
    return image.convert("RGB").convert("L")
