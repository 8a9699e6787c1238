"""What is asked of an image endpoint: one to three pictures, a prompt, and how to draw.

Field names are those of the HTTP interface (OpenAI's, and diffusers' beside them), so that a
request, a kept item and the text inside a PNG say the same thing in the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pydantic import Field, field_validator

from studio.core.errors import StudioError
from studio.core.spec import Frozen
from studio.engines.workers.image_edit import intake

MAX_SEED = 2**53 - 1
"""JavaScript counts so far without rounding."""
SIDE_STEP = 16
"""Both sides of a result are multiples of so many pixels: the VAE's 8 times the patch's 2."""
SHORTEST_SIDE = 64
LEAST_STEPS = 2
"""The worker refuses one step, which its scheduler divides by nought."""
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")
_LORA = re.compile(r"[\w][\w.\-]{0,63}")


class EditInvalid(StudioError):
    """A request that cannot be made: a picture, a prompt or a setting is out of bounds."""

    exit_code = 2


class EditSettings(Frozen):
    """How to draw. What is None is not sent: the worker's own default holds."""

    prompt: str = ""
    negative_prompt: str = ""
    num_inference_steps: int | None = None
    true_cfg_scale: float | None = None
    seed: int | None = None
    """Of the first variant; the following ones count up. None draws one when it is submitted."""
    n: int = 1
    """Variants of one request."""
    size: str = "auto"
    """`WIDTHxHEIGHT`, or `auto`: the shape of the first picture at the worker's usual area."""
    model: str = ""
    loras: dict[str, float] = Field(default_factory=dict)
    """Styles that the worker has loaded, by name, with their weights. Never paths."""

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _writable(cls, text: str) -> str:
        """Take out what no UTF-8 file can hold: a lone half of an emoji, and zero bytes."""
        return text.encode("utf-8", "replace").decode().replace("\0", "")


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """Pictures and what shall become of them."""

    pictures: tuple[bytes, ...]
    """One to three files as somebody gave them; the first one sets the shape."""
    mask: bytes | None = None
    """A picture of the first one's shape: transparent, or white where it is opaque, is edited."""
    settings: EditSettings = field(default_factory=EditSettings)


class Limits(Frozen):
    """What one person may ask for."""

    max_bytes: int = intake.OPERATOR.max_bytes
    """Of one picture's file."""
    max_pixels: int = intake.OPERATOR.max_pixels
    """Of one picture as given; read from its header before anything is decoded."""
    kept_pixels: int = intake.OPERATOR.kept_pixels
    """Of one picture as it is kept and sent; larger ones are scaled down."""
    max_pictures: int = intake.OPERATOR.most
    max_prompt_chars: int = 8000
    max_steps: int = 200
    max_n: int = 8
    max_output_pixels: int = 4 * 2**20
    jobs: int | None = None
    """Requests at a time; None: as many as the worker's queue takes."""
    kept: int | None = None
    """Results kept, the oldest make room; None keeps all."""


OPERATOR = Limits()
GUEST = Limits(
    max_bytes=intake.GUEST.max_bytes,
    max_pixels=intake.GUEST.max_pixels,
    kept_pixels=intake.GUEST.kept_pixels,
    max_prompt_chars=2000,
    max_steps=50,
    max_n=2,
    max_output_pixels=1536 * 1024,
    jobs=1,
    kept=24,
)


def check_settings(asked: EditSettings, limits: Limits) -> None:
    """Raise EditInvalid for what nobody, or not this person, may ask for."""
    if not asked.prompt.strip():
        raise EditInvalid("The prompt is empty.", hint="Say what shall change in the picture.")
    for text in (asked.prompt, asked.negative_prompt):
        if len(text) > limits.max_prompt_chars:
            raise EditInvalid(
                f"The prompt has {len(text)} characters; at most {limits.max_prompt_chars} are "
                "taken.",
                hint="Shorten it.",
            )
    _within("num_inference_steps", asked.num_inference_steps, LEAST_STEPS, limits.max_steps)
    _within("n", asked.n, 1, limits.max_n)
    _within("true_cfg_scale", asked.true_cfg_scale, 0, 30)
    _within("seed", asked.seed, 0, MAX_SEED)
    if asked.size != "auto":
        width, height = size_of(asked.size)
        if width * height > limits.max_output_pixels:
            raise EditInvalid(
                f"{asked.size} is more than {limits.max_output_pixels / 1e6:.1f} megapixels.",
                hint="Ask for a smaller size.",
            )
        if width % SIDE_STEP or height % SIDE_STEP:
            near = [max(SHORTEST_SIDE, side // SIDE_STEP * SIDE_STEP) for side in (width, height)]
            raise EditInvalid(
                f"{asked.size}: both sides have to be multiples of {SIDE_STEP}.",
                hint=f"{near[0]}x{near[1]} is near.",
            )
    for name in asked.loras:
        if not _LORA.fullmatch(name):
            raise EditInvalid(
                f"{name!r} is not the name of a style.",
                hint="Name a LoRA that the worker was started with; paths are not taken here.",
            )


def size_of(text: str) -> tuple[int, int]:
    """Return width and height of `WIDTHxHEIGHT`; raise EditInvalid."""
    found = _SIZE.fullmatch(text.strip().lower().replace("×", "x"))
    width, height = (int(side) for side in found.groups()) if found else (0, 0)
    if min(width, height) < SHORTEST_SIDE:
        raise EditInvalid(f"{text!r} is no size.", hint="Write it like 1024x768, or auto.")
    return width, height


def _within(what: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise EditInvalid(f"{what} is {value}; it goes from {least} to {most}.")
