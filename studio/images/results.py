"""Pictures that came back: checked, with the settings inside, kept with how it all ended."""

from __future__ import annotations

import time
from typing import Any

from studio.images import pngmeta
from studio.images.gallery import Gallery
from studio.images.item import End, Fault, Item, ItemState
from studio.images.taking import Taken, result, small

SOFTWARE = "Ladder Studio"


def keep(gallery: Gallery, item: Item, end: End, pictures: list[bytes]) -> Item:
    """Write the results of an edit and then its end; what is no picture makes it a failure."""
    files: dict[str, bytes] = {}
    size = (0, 0)
    try:
        for k, data in enumerate(pictures):
            made = result(data)
            size = size if k else (made.width, made.height)
            files[f"out-{k}.png"] = pngmeta.write(made.data, facts_of(item, end, k, made))
        if files:
            files["after.webp"] = small(files["out-0.png"])
    except ValueError:
        files = {}
        fault = Fault(
            message="The endpoint sent something that is no picture.",
            hint="Look at its log, then try again.",
        )
        end = ended(ItemState.FAILED, rung=end.rung, error=fault)
    end = end.model_copy(update={"num_out": max(0, len(files) - 1), "size_out": size})
    return gallery.finish(item.id, end, files)


def ended(state: ItemState, **facts: Any) -> End:
    """Return an end of now."""
    return End(state=state, ended_at=time.time(), **facts)


def seeds_from(first: int | None, count: int) -> tuple[int, ...]:
    """Return the seeds of variants where the endpoint did not tell them: they count up."""
    return () if first is None else tuple(first + k for k in range(count))


def facts_of(item: Item, end: End, number: int, made: Taken) -> dict[str, Any]:
    """Return what is written into a result: everything that is needed to make it again."""
    asked = item.settings
    seeds = end.seeds or seeds_from(asked.seed, number + 1)
    return {
        "prompt": asked.prompt,
        "negative_prompt": asked.negative_prompt,
        "num_inference_steps": end.steps or asked.num_inference_steps,
        "true_cfg_scale": end.true_cfg_scale or asked.true_cfg_scale,
        "seed": seeds[number] if number < len(seeds) else None,
        "size": f"{made.width}x{made.height}",
        "loras": asked.loras,
        "model": asked.model,
        "rung": end.rung,
        "pictures": item.asked.num_before,
        "mask": item.asked.has_mask,
        "software": SOFTWARE,
    }
