"""What a request may ask for besides pictures: every field checked, every default filled in.

Names are OpenAI's (`prompt`, `n`, `size`, `user`, `stream`) and diffusers' (`num_inference_steps`,
`true_cfg_scale`, `negative_prompt`). A field that is not known is named and refused.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .intake import OPERATOR
from .ordinary import MEGAPIXEL, Ordinary
from .refused import Refused

MOST_VARIANTS = 10
MOST_STEPS = 200
MOST_CHARACTERS = 8000
"""Of a prompt; the text encoder was trained with about a thousand tokens of it."""
MOST_SEED = 2**53 - 1
"""JavaScript counts so far without rounding."""
SMALLEST_SIDE = 64
SIDE_MULTIPLE = 16
"""The VAE's eight times the transformer's patch of two."""
USER_CHARACTERS = 200
FIELDS = frozenset(
    {
        *("model", "prompt", "negative_prompt", "n", "size", "seed", "loras", "user"),
        *("num_inference_steps", "true_cfg_scale", "stream", "partial_images", "preview_every"),
        *("response_format", "output_format"),
    }
)
NO_MEANING = frozenset(
    {"quality", "background", "input_fidelity", "moderation", "style", "output_compression"}
)
"""OpenAI's, accepted because its clients send them; the answer notes that they change nothing."""
PREVIEWS = 8
"""Previews of one picture when a client wants some and does not say how many."""


@dataclass(frozen=True)
class Defaults:
    """What a request that does not say gets, and what none may exceed; from image.json."""

    num_inference_steps: int = 40
    least_steps: int = 2
    """One step is black without Lightning: the scheduler stretches its steps to `shift_terminal`
    and divides by nought (diffusers 0.42, `stretch_shift_to_terminal`)."""
    true_cfg_scale: float = 4.0
    default_pixels: int = MEGAPIXEL
    """Area of a result when nobody says."""
    max_pixels: int = 4 * 2**20
    models: tuple[str, ...] = ()
    """Names by which clients may call the model; empty: any."""
    loras: tuple[str, ...] = ()
    pictures: int = OPERATOR.most
    """At most in one edit."""

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Defaults:
        """Read them from the engine's settings."""
        model = str(settings.get("model") or "")
        short = model.rstrip("/").rpartition("/")[2]
        names = (settings.get("served_model_name") or "", short, model)
        steps = settings.get("num_inference_steps") or cls.num_inference_steps
        cfg = settings.get("true_cfg_scale") or cls.true_cfg_scale
        least = cls.least_steps
        if settings.get("lightning"):
            steps, cfg, least = settings.get("lightning_steps") or 4, 1.0, 1
        return cls(
            num_inference_steps=int(steps),
            least_steps=least,
            true_cfg_scale=float(cfg),
            default_pixels=Ordinary.of(settings).pixels,
            max_pixels=int(settings.get("max_pixels") or cls.max_pixels),
            models=tuple(dict.fromkeys(name for name in names if name)),
            loras=tuple(
                str(text).partition("=")[0].strip() for text in settings.get("loras") or ()
            ),
        )


@dataclass
class Asked:
    """One edit as it was asked for, checked, with every default filled in."""

    prompt: str
    negative_prompt: str
    steps: int
    true_cfg_scale: float
    seeds: list[int]
    size: tuple[int, int] | None
    """Width and height; None follows the first picture."""
    loras: dict[str, float] | None
    """Scale by name; None leaves the worker's own scales."""
    user: str
    stream: bool = False
    preview_every: int | None = None
    """Steps between previews; 0 none; None when the client did not say."""
    notes: list[str] = field(default_factory=list)

    @property
    def guided(self) -> bool:
        """True when every step runs the transformer twice."""
        return self.true_cfg_scale > 1

    def settings(self) -> dict[str, Any]:
        """Return what makes the picture what it is, under the names of the request."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.steps,
            "true_cfg_scale": self.true_cfg_scale,
            "n": len(self.seeds),
            "loras": self.loras or {},
        }


def check(given: Mapping[str, Any], defaults: Defaults) -> Asked:
    """Return a checked request of fields that are no files; raise Refused at the first fault."""
    unknown = sorted(set(given) - FIELDS - NO_MEANING)
    if unknown:
        raise Refused(
            400,
            f"{_names(unknown)} cannot be set here.",
            hint=f"What can: image, mask, {', '.join(sorted(FIELDS))}.",
            code="unknown_parameter",
        )
    _check_model(given.get("model"), defaults)
    if given.get("response_format") not in (None, "", "b64_json"):
        raise Refused(
            400,
            "Pictures come back as b64_json alone.",
            hint="Leave response_format out; POST /v1/images/jobs gives files to fetch.",
        )
    if given.get("output_format") not in (None, "", "png"):
        raise Refused(400, "Pictures come back as PNG alone.", hint="Leave output_format out.")
    steps = _whole(
        given, "num_inference_steps", defaults.num_inference_steps, defaults.least_steps, MOST_STEPS
    )
    variants = _whole(given, "n", 1, 1, MOST_VARIANTS)
    first = _whole_or_none(given, "seed", 0, MOST_SEED - MOST_VARIANTS)
    if first is None:
        first = secrets.randbelow(2**31)
    every = _whole_or_none(given, "preview_every", 0, MOST_STEPS)
    partial = _whole_or_none(given, "partial_images", 0, MOST_STEPS)
    if every is None and partial is not None:
        every = math.ceil(steps / (partial + 1)) if partial else 0
    ignored = sorted(NO_MEANING & set(given))
    notes = [f"{_names(ignored)} changed nothing: this model has no such setting."]
    return Asked(
        prompt=_text(given, "prompt", needed=True),
        negative_prompt=_text(given, "negative_prompt"),
        steps=steps,
        true_cfg_scale=_real(given, "true_cfg_scale", defaults.true_cfg_scale, 0, 30),
        seeds=[first + index for index in range(variants)],
        size=_size(given.get("size"), defaults.max_pixels),
        loras=_loras(given.get("loras"), defaults),
        user=_text(given, "user", most=USER_CHARACTERS),
        stream=_switch(given, "stream"),
        preview_every=every,
        notes=notes if ignored else [],
    )


# fields -----------------------------------------------------------------------------------------


def _text(
    given: Mapping[str, Any], name: str, *, needed: bool = False, most: int = MOST_CHARACTERS
) -> str:
    told = given.get(name)
    told = "" if told is None else told
    if not isinstance(told, str):
        raise Refused(400, f"{name} has to be text.")
    if len(told) > most:
        raise Refused(
            400, f"{name} has {len(told):,} characters; at most {most:,} are read.", hint="Cut it."
        )
    told = told.replace("\0", "").encode("utf-8", "replace").decode()
    if needed and not told.strip():
        raise Refused(
            400,
            "There is no prompt.",
            hint="Say in a sentence what shall be changed.",
            code="missing_prompt",
        )
    return told


def _whole(given: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = _whole_or_none(given, name, least, most)
    return default if value is None else value


def _whole_or_none(given: Mapping[str, Any], name: str, least: int, most: int) -> int | None:
    value = _number(given, name, int)
    if value is not None and not least <= value <= most:
        hint = "Leave it out for a random one." if name == "seed" else ""
        raise Refused(400, f"{name} is {_short(value)}; it goes from {least} to {most}.", hint=hint)
    return value


def _real(given: Mapping[str, Any], name: str, default: float, least: int, most: int) -> float:
    value = _number(given, name, float)
    if value is None:
        return default
    if not least <= value <= most:
        raise Refused(400, f"{name} is {_short(value)}; it goes from {least} to {most}.")
    return float(value)


def _number(given: Mapping[str, Any], name: str, kind: Callable[[Any], Any]) -> Any:
    """Return a number of a field that may be text; None when it is absent or empty."""
    told = given.get(name)
    if told is None or told == "":
        return None
    words = "a whole number" if kind is int else "a number"
    wrong = Refused(400, f"{name} has to be {words}, not {_short(told)}.")
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        raise wrong
    if isinstance(told, str) and len(told) > 40:
        raise wrong
    try:
        value = kind(told)
    except (ValueError, OverflowError):
        raise wrong from None
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong
    if isinstance(told, float) and value != told:
        raise wrong
    return value


def _switch(given: Mapping[str, Any], name: str) -> bool:
    told = given.get(name)
    if isinstance(told, bool) or told is None:
        return bool(told)
    if told in ("true", "True", "1"):
        return True
    if told in ("false", "False", "0", ""):
        return False
    raise Refused(400, f"{name} has to be true or false, not {_short(told)}.")


def _size(told: Any, max_pixels: int) -> tuple[int, int] | None:
    if told in (None, "", "auto"):
        return None
    sides = str(told).lower().split("x") if isinstance(told, str) and len(told) < 20 else []
    if len(sides) != 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise Refused(
            400,
            f"size has to be auto or WIDTHxHEIGHT, not {_short(told)}.",
            hint="auto keeps the shape of the first picture.",
        )
    width, height = int(sides[0]), int(sides[1])
    if min(width, height) < SMALLEST_SIDE or width * height > max_pixels:
        raise Refused(
            400,
            f"size is {width}x{height}; sides begin at {SMALLEST_SIDE} and the area ends at "
            f"{max_pixels / 1e6:.1f} megapixels.",
        )
    if width % SIDE_MULTIPLE or height % SIDE_MULTIPLE:
        near = [side // SIDE_MULTIPLE * SIDE_MULTIPLE for side in (width, height)]
        raise Refused(
            400,
            f"size is {width}x{height}; sides have to be multiples of {SIDE_MULTIPLE}.",
            hint=f"{near[0]}x{near[1]} is near.",
        )
    return width, height


def _loras(told: Any, defaults: Defaults) -> dict[str, float] | None:
    if told in (None, ""):
        return None
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except (ValueError, RecursionError):
            told = None
    if not isinstance(told, dict):
        raise Refused(400, "loras has to be an object of scales by name.", hint='{"style": 0.8}')
    known = _names(defaults.loras) if defaults.loras else "none"
    for name in told:
        if name not in defaults.loras:
            raise Refused(400, f"There is no LoRA {_short(name)} here.", hint=f"Loaded: {known}.")
    return {name: _real(told, name, 1.0, -4, 4) for name in told}


def _check_model(told: Any, defaults: Defaults) -> None:
    if told in (None, "") or not defaults.models or told in defaults.models:
        return
    raise Refused(
        404,
        f"There is no model {_short(told)} here.",
        hint=f"This server edits with {defaults.models[0]}; model may be left out.",
        code="model_not_found",
    )


def _names(names: Iterable[object]) -> str:
    return ", ".join(_short(name) for name in list(names)[:8])


def _short(told: Any) -> str:
    text = str(told) if not isinstance(told, str) else told
    return text if len(text) <= 60 else f"{text[:57]}..."
