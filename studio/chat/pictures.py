"""Make a picture that somebody gave fit for a model: checked, upright, scaled, without metadata.

What a picture costs in tokens is Qwen2-VL's rule: it is scaled until both sides are multiples of
`patch * merge` pixels and the area lies between two limits; every square of that side is one
token. Nothing here knows where pictures are kept; see `studio.chat.album`.
"""

from __future__ import annotations

import hashlib
import io
import math
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops, ImageOps

from studio.core.errors import StudioError
from studio.core.spec import Frozen, Pictures

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""What is read, told by content. All other readers of Pillow stay closed."""
MOST = 8
"""Pictures in one message when the endpoint does not say."""
LONGEST = 200
"""A side may be so many times the other; beyond, Qwen2-VL's own processor refuses."""
UNKNOWN = Pictures(max_pixels=2048 * 2048)
"""Taken when nobody knows how an endpoint sees: large enough to read a page of text."""
JPEG_QUALITY = 90
LOSSLESS_PIXELS = 256 * 256
"""Pictures up to this area stay free of JPEG's noise, whatever they show."""
FLAT_SHARE = 0.6
"""Where so many pixels equal their neighbour it is a drawing or a screenshot: PNG keeps those
sharp and small. Counting colours would take every grey photograph for a drawing."""
MARKS = 2
"""Tokens around a picture: vision start and vision end."""


class PictureRefused(StudioError):
    """A picture that cannot be taken, or that this endpoint cannot see."""


class Limits(Frozen):
    """What a person may give."""

    max_bytes: int = 40 * 2**20
    max_pixels: int = 50_000_000
    """Area before scaling, read from the header before anything is decoded."""
    kept_pixels: int | None = None
    """Area after scaling; None: what the model sees, or UNKNOWN if that is more."""
    most: int = MOST
    """Pictures in one message."""
    most_kept: int | None = None
    """Pictures in all conversations together."""


OPERATOR = Limits()
GUEST = Limits(
    max_bytes=8 * 2**20, max_pixels=24_000_000, kept_pixels=1280 * 28 * 28, most=3, most_kept=60
)


class Picture(NamedTuple):
    """A picture ready to be kept and sent."""

    data: bytes
    suffix: str
    """`png` or `jpg`."""
    width: int
    height: int
    source: tuple[int, int]
    """Width and height before scaling, as a person sees it."""

    @property
    def name(self) -> str:
        """File name by content: the same picture has the same name."""
        return f"{hashlib.sha256(self.data).hexdigest()}.{self.suffix}"


def prepare(data: bytes, limits: Limits = OPERATOR, spec: Pictures | None = None) -> Picture:
    """Return a picture upright, in RGB on white, scaled to what is worth keeping.

    That is what `spec` can see, and never less than a person wants to look at again.
    Raises PictureRefused with the reason: no picture, damaged, too large, too long.
    """
    if len(data) > limits.max_bytes:
        raise PictureRefused(
            f"The file has {len(data) / 2**20:.0f} MB; "
            f"at most {limits.max_bytes / 2**20:.0f} are taken.",
            hint="Save it smaller, or as JPEG.",
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size, limits)  # first: some readers decode when asked for more
            source = _upright_size(image)
            size = fit(*source, _kept(spec, limits))
            return _encode(_pixels(image, source, size), source)
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


def rescaled(data: bytes, spec: Pictures) -> bytes:
    """Return a kept picture as a model can see it: the same bytes when they fit."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        size = fit(*image.size, spec)
        if size == image.size:
            return data
        return _encode(_pixels(image, image.size, size), image.size).data


def size_of(path: Path) -> tuple[int, int]:
    """Return width and height from the header of a kept picture; raise OSError."""
    with Image.open(path, formats=FORMATS) as image:
        return image.size


def fit(width: int, height: int, spec: Pictures) -> tuple[int, int]:
    """Return width and height to send: the picture's own unless the model would scale it down.

    Sent in the size that `seen` says, it stays so. Where the model's limits lie so close that it
    would be scaled up again, its own processor is left to do it.
    """
    if not shrinks(width, height, spec):
        return width, height
    size = seen(width, height, spec)
    return size if seen(*size, spec) == size else (width, height)


def shrinks(width: int, height: int, spec: Pictures) -> bool:
    """Tell whether a picture has more pixels than the model takes."""
    factor = spec.patch * spec.merge
    return round(width / factor) * round(height / factor) * factor**2 > spec.max_pixels


def seen(width: int, height: int, spec: Pictures) -> tuple[int, int]:
    """Return width and height as the model's own processor makes them.

    Source: `smart_resize` of transformers 5.19, models/qwen2_vl/image_processing_qwen2_vl.py, the
    same as in qwen-vl-utils, vision_process.py. Python's `round` goes to the even neighbour.
    """
    factor = spec.patch * spec.merge
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if high * wide > spec.max_pixels:
        beta = math.sqrt(height * width / spec.max_pixels)
        high = max(factor, math.floor(height / beta / factor) * factor)
        wide = max(factor, math.floor(width / beta / factor) * factor)
    elif high * wide < spec.min_pixels:
        beta = math.sqrt(spec.min_pixels / (height * width))
        high = math.ceil(height * beta / factor) * factor
        wide = math.ceil(width * beta / factor) * factor
    return wide, high


def tokens(width: int, height: int, spec: Pictures) -> int:
    """Return what a picture costs in the prompt: its squares, and the two marks around them."""
    factor = spec.patch * spec.merge
    wide, high = seen(width, height, spec)
    return (wide // factor) * (high // factor) + MARKS


# inside -----------------------------------------------------------------------------------------


def _kept(spec: Pictures | None, limits: Limits) -> Pictures:
    """Return the area that is worth keeping of a picture, as a rule of scaling."""
    most = max(spec.max_pixels if spec else 0, UNKNOWN.max_pixels)
    most = min(most, limits.kept_pixels or most)
    return UNKNOWN.model_copy(update={"max_pixels": most})


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the size as a person sees it: some cameras store pictures lying on their side."""
    width, height = image.size
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (height, width) if turned else (width, height)


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


def _pixels(image: Image.Image, source: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """Return the first frame upright, in RGB, in its new size, without anything but pixels.

    It is scaled before it is converted: a copy of the whole would cost its memory again.
    """
    if size != source:
        image.draft("RGB", (max(size), max(size)))  # JPEG can be decoded at 1/2, 1/4, 1/8
    ImageOps.exif_transpose(image, in_place=True)
    shown: Image.Image = image
    if shown.mode.startswith("I"):  # 16-bit greys: Pillow's own conversion cuts them off
        shown = shown.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if shown.mode in ("1", "P", "PA") or "transparency" in shown.info:
        shown = shown.convert("RGBA" if shown.has_transparency_data else "RGB")
    if shown.size != size:
        shown = shown.resize(size, Image.Resampling.LANCZOS)
    if shown.has_transparency_data:
        layered = shown.convert("RGBA")
        shown = Image.new("RGB", layered.size, "white")
        shown.paste(layered, mask=layered.getchannel("A"))
    return shown.convert("RGB")


def _encode(image: Image.Image, source: tuple[int, int]) -> Picture:
    flat = image.width * image.height <= LOSSLESS_PIXELS or _is_flat(image)
    file, suffix = io.BytesIO(), "png" if flat else "jpg"
    image.info.clear()  # comments, profiles, places
    if flat:
        image.save(file, "PNG")
    else:
        image.save(file, "JPEG", quality=JPEG_QUALITY)
    return Picture(file.getvalue(), suffix, *image.size, source)


def _is_flat(image: Image.Image) -> bool:
    """Tell whether most pixels have the colour of their left neighbour."""
    steps = ImageChops.difference(image, ImageChops.offset(image, 1, 0))
    same = steps.point(lambda value: 255 if value else 0).convert("L").histogram()[0]
    return same >= FLAT_SHARE * image.width * image.height
