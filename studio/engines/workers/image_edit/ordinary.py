"""What an ordinary edit is, and how much of one another edit is.

The ladder states the seconds of an ordinary edit; the front's waiting times and the studio's page
go from them to any edit by the same weights, so that both say the same. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

MEGAPIXEL = 1024 * 1024
"""Area the model was trained at."""
MULTIPLE = 32
Kind = Literal["encode", "step", "decode"]


@dataclass(frozen=True)
class Ordinary:
    """One picture in, one out, as a request gets them that names nothing. Areas in pixels."""

    pixels: int = MEGAPIXEL
    """Of the result, in the first picture's shape."""
    reference_pixels: int = MEGAPIXEL
    """What each given picture is resized to."""
    guided: bool = True
    """Whether a step computes twice, for true CFG."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Ordinary:
        """Read it from the engine's settings; what they leave out has its default."""
        pixels = int(settings.get("default_pixels") or MEGAPIXEL)
        scale = float(settings.get("true_cfg_scale") or 4.0)
        return cls(
            pixels=min(pixels, int(settings.get("max_pixels") or pixels)),
            reference_pixels=int(settings.get("reference_pixels") or MEGAPIXEL),
            guided=not settings.get("lightning") and scale > 1,
        )

    @property
    def side(self) -> int:
        """Side of the result when the first picture is square."""
        return max(MULTIPLE, round(math.sqrt(self.pixels) / MULTIPLE) * MULTIPLE)

    def weight(self, kind: Kind, *, pixels: int, pictures: int, guided: bool) -> float:
        """Return the work of an edit's step, encoding or decoding, in those of an ordinary one.

        A step goes by tokens, of the result and of each reference, and by passes; attention's
        square is left out, so that a large picture takes longer than this says until one was
        measured. A decoding goes by the result's area. An encoding is the same for all: it sees
        the given pictures at the size of the settings.
        """
        if kind == "encode":
            return 1.0
        if kind == "decode":
            return pixels / self.pixels
        tokens = (pixels + pictures * self.reference_pixels) * (2 if guided else 1)
        return tokens / ((self.pixels + self.reference_pixels) * (2 if self.guided else 1))
