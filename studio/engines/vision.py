"""How a model sees, read from its folder: into how many tokens it cuts a picture, if any."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from studio.core.spec import EndpointSpec, Pictures
from studio.engines.engine import is_local, resolve_path

PATCH = {
    "qwen2_vl": 14,
    "qwen2_5_vl": 14,
    "qwen3_vl": 16,
    "qwen3_vl_moe": 16,
}
"""Model types whose pictures are cut by Qwen2-VL's rule, and the side of a patch in pixels."""
MIN_PIXELS = 56 * 56
MAX_PIXELS = 28 * 28 * 1280
"""Limits of transformers' Qwen2VLImageProcessor when the folder names none."""
SHARE = 0.5
"""Share of the context that one picture may take; the rest is for words and follow-ups."""
MARKS = 2
"""Tokens around a picture."""
LLAMAFACTORY_PIXELS = 768 * 768
"""LLaMA-Factory scales pictures to its own `image_max_pixels` first, whatever the model takes."""
_MODEL = ("model", "model_name_or_path", "model_path")
"""How the engines call the model."""
_SENSES = ("vision_config", "audio_config", "vision_tower", "mm_vision_tower", "visual")


def pictures_of(folder: Path, max_model_len: int | None = None) -> Pictures | None:
    """Return how the model of a folder sees; None when it does not, or by a rule of its own.

    The largest picture is the processor's own limit, lowered until it takes at most half of the
    context: `max_model_len` tokens, else what the model's config allows.
    """
    config = _json(folder / "config.json")
    patch = PATCH.get(str(config.get("model_type", "")))
    if patch is None:
        return None
    vision, processor = _dict(config.get("vision_config")), _processor(folder)
    patch = _number(processor.get("patch_size")) or _number(vision.get("patch_size")) or patch
    merge = _number(processor.get("merge_size")) or _number(vision.get("spatial_merge_size")) or 2
    size = _dict(processor.get("size"))
    # As in Qwen2VLImageProcessor.__init__: the older two names win over `size`.
    least = _number(processor.get("min_pixels")) or _number(size.get("shortest_edge"))
    most = _number(processor.get("max_pixels")) or _number(size.get("longest_edge"))
    text = _dict(config.get("text_config")) or config
    return _within(
        Pictures(
            patch=patch,
            merge=merge,
            min_pixels=least or MIN_PIXELS,
            max_pixels=most or MAX_PIXELS,
        ),
        max_model_len or _number(text.get("max_position_embeddings")),
    )


def reads_text_alone(folder: Path) -> bool:
    """Tell whether a folder's config.json shows a model without eyes; False when in doubt."""
    config = _json(folder / "config.json")
    return bool(config.get("model_type")) and not any(config.get(sense) for sense in _SENSES)


def with_sight(
    offer: EndpointSpec | None, settings: dict[str, Any], root: Path
) -> EndpointSpec | None:
    """Return what a server offers, with how it sees; `settings` are those of its engine.

    An engine that said so itself is believed. Of a hub id only Qwen's published models are known.
    """
    model = next((str(settings[key]) for key in _MODEL if settings.get(key)), "")
    if not model or offer is None or offer.kind != "chat" or offer.pictures is not None:
        return offer
    folder = Path(resolve_path(model, str(root)))
    if settings.get("limit_images") == 0 or (is_local(model) and reads_text_alone(folder)):
        return offer.model_copy(update={"text_only": True})
    context = next((n for key in _CONTEXT if (n := _number(settings.get(key)))), None)
    found = pictures_of(folder, context) if is_local(model) else _published(model)
    if found is None:
        return offer
    changes = {field: settings.get(name) for name, field in _SAID.items()}
    if "model_name_or_path" in settings:
        own = _number(settings.get("image_max_pixels")) or LLAMAFACTORY_PIXELS
        changes["max_pixels"] = min(found.max_pixels, own)
    said = {field: value for field, value in changes.items() if _number(value)}
    found = _within(found.model_copy(update=said), context)
    return offer.model_copy(update={"pictures": found})


_MODEL = ("model", "model_path", "model_name_or_path")
_CONTEXT = ("max_model_len", "context_length", "vllm_maxlen")
"""The names that the engines have for these settings."""
_SAID = {"limit_images": "most", "min_pixels": "min_pixels", "max_pixels": "max_pixels"}
"""Settings of a server about pictures, and what they change."""


def _within(spec: Pictures, context: int | None) -> Pictures:
    """Return the limits lowered until a picture takes at most its share of the context."""
    most = spec.max_pixels
    if context:
        most = min(most, max(1, int(context * SHARE) - MARKS) * (spec.patch * spec.merge) ** 2)
    least = min(spec.min_pixels, most)
    return spec.model_copy(update={"min_pixels": least, "max_pixels": most})


def _published(model: str) -> Pictures | None:
    """Return how Qwen's own vision models see, by their hub id: their preprocessor_config.json."""
    found = re.search(r"qwen(2|2\.5|3)-?vl", model.lower())
    if found is None:
        return None
    if found[1] == "3":
        return Pictures(patch=16, min_pixels=256 * 256, max_pixels=4096 * 4096)
    return Pictures(patch=14, min_pixels=MIN_PIXELS, max_pixels=128 * 128 * 784)


def _processor(folder: Path) -> dict[str, Any]:
    """Return the settings of the image processor, in either of the files that hold them."""
    return _json(folder / "preprocessor_config.json") or _dict(
        _json(folder / "processor_config.json").get("image_processor")
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        return _dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
