"""The shipped recipes of the image editor: each lands on the rung that its header promises."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from studio.core.recipes import Recipe, Recipes, check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import is_local
from studio.engines.image_edit import ImageEdit
from studio.engines.image_fields import ImageEditConfig
from studio.engines.workers.image_edit.ladder import Ask, Rung, choose, rungs
from studio.engines.workers.image_edit.machine import GIB, Card, Machine
from studio.engines.workers.image_edit.seconds import Work
from studio.engines.workers.image_edit.sizes import published, read_sizes

SHIPPED = [
    recipe
    for recipe in Recipes(Path("/nowhere"), ROOT / "recipes").list("image-edit")
    if recipe.path and recipe.path.is_relative_to(ROOT)
]
NAMED = {recipe.name.rpartition("/")[2]: recipe for recipe in SHIPPED}
REAL = [recipe for recipe in SHIPPED if not is_local(recipe.settings["model"])]

PUBLISHED = {
    "qwen-image-edit-2511": (1, "whole"),
    "2511-two-24gb": (2, "split"),
    "2511-one-24gb-fp8": (1, "fp8"),
    "2511-gguf": (1, "resident"),
    "2511-lightning": (1, "whole"),
    "2511-cpu": (0, "cpu"),
}
"""Cards each asks for, and the rung it takes on the machine that its header names."""
CARD_GIB = {"qwen-image-edit-2511": 79.0, "2511-lightning": 79.0}
"""Where it is another than the 23.64 GiB that PyTorch sees of a 24 GB card."""
GGUF_BYTES = int(13.2e9)
"""Q4_K_M of the transformer, as published."""


def checked(recipe: Recipe) -> ImageEditConfig:
    return check_settings(ImageEditConfig, recipe.settings, recipe.name)


def written(recipe: Recipe, **place: Any) -> dict[str, Any]:
    """Return the image.json a launch would write."""
    there = Placement(
        interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
        root=str(ROOT),
        has_gpu=True,
        port=8001,
        cache_dir="/home/cache",
        **place,
    )
    return json.loads(ImageEdit().command(checked(recipe), there).files["image.json"])


def test_all_of_them_are_here() -> None:
    assert set(NAMED) == {*PUBLISHED, "smoke", "2511-try-dummy"}


@pytest.mark.parametrize("recipe", SHIPPED, ids=lambda recipe: recipe.name)
def test_dtype_is_always_said(recipe: Recipe) -> None:
    """Weights loaded without one become float32: twice the memory."""
    assert recipe.settings["dtype"] == ("float32" if recipe is NAMED["smoke"] else "bfloat16")


@pytest.mark.parametrize("name", PUBLISHED)
def test_recipe_lands_on_the_rung_its_header_names(name: str) -> None:
    recipe, (cards, rung) = NAMED[name], PUBLISHED[name]
    config = checked(recipe)
    asked = (
        recipe.cards if recipe.cards is not None else ImageEdit().resources(config, True).num_gpus
    )
    assert asked == cards
    chosen = taken(config, cards, CARD_GIB.get(name, 23.64))
    assert (chosen.name, chosen.fits) == (rung, True), chosen.why


def test_true_shape_is_tried_on_the_same_rungs_as_the_real_model() -> None:
    """What `2511-try-dummy` shows of a machine holds for the download."""
    config = checked(NAMED["2511-try-dummy"])
    for cards, gib in ((1, 79.0), (2, 23.64), (1, 23.64), (0, 0.0)):
        real = taken(checked(NAMED["qwen-image-edit-2511"]), cards, gib)
        tried = taken(config, cards, gib)
        assert tried.name == real.name
        assert [need.bytes for need in tried.cards] == [need.bytes for need in real.cards]


@pytest.mark.parametrize("recipe", REAL, ids=lambda recipe: recipe.name)
def test_folder_of_the_variable_replaces_the_download(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QWEN_EDIT_2511_DIR", raising=False)
    assert written(recipe)["model"] == "Qwen/Qwen-Image-Edit-2511"
    monkeypatch.setenv("QWEN_EDIT_2511_DIR", "/models/edit")
    told = written(recipe)
    assert told["model"] == "/models/edit"
    assert told["served_model_name"] == "Qwen-Image-Edit-2511", "clients need not know"
    assert "QWEN_EDIT_2511_DIR" in (recipe.path or Path()).read_text(encoding="utf-8")


def test_local_models_are_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QWEN_EDIT_2511_DIR", "/models/edit")
    for name in ("smoke", "2511-try-dummy"):
        model = Path(written(NAMED[name])["model"])
        assert model.is_relative_to(ROOT) and (model / "model_index.json").is_file()


def test_files_of_the_hub_are_whole_names() -> None:
    """Owner, repository and file, so that a recipe needs no second step."""
    named = re.compile(r"[\w.-]+/[\w.-]+/[\w.-]+\.(gguf|safetensors)")
    found = [
        recipe.settings[key]
        for recipe in SHIPPED
        for key in ("gguf", "lightning")
        if recipe.settings.get(key)
    ]
    assert len(found) == 3 and all(named.fullmatch(text) for text in found)


def test_lightning_recipes_ask_for_its_steps_and_no_cfg() -> None:
    for name in ("2511-lightning", "2511-cpu"):
        config = checked(NAMED[name])
        assert (config.steps, config.cfg) == (4, False)
        assert config.num_inference_steps == config.lightning_steps


def taken(config: ImageEditConfig, cards: int, card_gib: float) -> Rung:
    """Return the rung a configuration takes on so many idle cards, with memory to spare."""
    size = int(card_gib * GIB)
    machine = Machine(
        cards=tuple(Card(n, "NVIDIA GeForce RTX 4090", size, size, 8.9) for n in range(cards)),
        host_available_bytes=120 * GIB,
        host_total_bytes=128 * GIB,
        cores=16,
        cpu_flags=frozenset({"avx2", "avx512f"}),
    )
    sizes = published(gguf_bytes=GGUF_BYTES if config.gguf else 0)
    if is_local(config.model):
        sizes = read_sizes(ROOT / config.model)
    ask = Ask(
        rung=config.rung,
        device=config.device,
        dtype=config.dtype,
        allow_quantized=config.allow_quantized,
        work=Work(steps=config.steps, cfg=config.cfg),
        vae_tiling=config.vae_tiling,
    )
    return choose(rungs(sizes, machine, ask), ask)
