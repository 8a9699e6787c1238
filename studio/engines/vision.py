"""How a model sees, read from its folder: into how many tokens it cuts a picture, if any."""

from __future__ import annotations

import json
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
    most = most or MAX_PIXELS
    text = _dict(config.get("text_config")) or config
    context = max_model_len or _number(text.get("max_position_embeddings"))
    square = (patch * merge) ** 2
    if context:
        most = min(most, max(1, int(context * SHARE) - MARKS) * square)
    least = min(least or MIN_PIXELS, most)
    return Pictures(patch=patch, merge=merge, min_pixels=least, max_pixels=most)


def reads_text_alone(folder: Path) -> bool:
    """Tell whether a folder's config.json shows a model without eyes; False when in doubt."""
    config = _json(folder / "config.json")
    return bool(config.get("model_type")) and not any(config.get(sense) for sense in _SENSES)


def with_sight(
    offer: EndpointSpec | None, settings: dict[str, Any], root: Path
) -> EndpointSpec | None:
    """Return what a server offers, with how it sees; `settings` are those of its engine.

    An engine that said so itself is believed. A hub id is looked up in no cache: unknown.
    """
    model = next((settings[k] for k in ("model", "model_name_or_path") if settings.get(k)), "")
    if offer is None or offer.kind != "chat" or offer.pictures is not None:
        return offer
    if not isinstance(model, str) or not is_local(model):
        return offer
    folder = Path(resolve_path(model, str(root)))
    found = pictures_of(folder, _number(settings.get("max_model_len")))
    if found is None:
        return offer.model_copy(update={"text_only": reads_text_alone(folder)})
    if "model_name_or_path" in settings:
        largest = _number(settings.get("image_max_pixels")) or LLAMAFACTORY_PIXELS
        found = found.model_copy(update={"max_pixels": min(found.max_pixels, largest)})
    return offer.model_copy(update={"pictures": found.model_copy(update=_most(settings))})


def _most(settings: dict[str, Any]) -> dict[str, int]:
    """Return the pictures allowed in one request, where vLLM's `limit_mm_per_prompt` says it."""
    said = settings.get("limit_mm_per_prompt")
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            said = None
    most = _dict(said).get("image")
    most = most.get("count") if isinstance(most, dict) else most
    return {"most": most} if isinstance(most, int) else {}


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
