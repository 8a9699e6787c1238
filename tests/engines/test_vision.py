"""How a model sees, as its folder says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.chat.pictures import tokens
from studio.core.settings import ROOT, Settings
from studio.core.spec import EndpointSpec, Pictures
from studio.engines.vision import pictures_of, reads_text_alone, with_sight
from studio.studio import Launch, Studio

QWEN2_VL = {
    "model_type": "qwen2_vl",
    "max_position_embeddings": 32768,
    "vision_config": {"patch_size": 14, "spatial_merge_size": 2},
}
LIMITS = {"min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "merge_size": 2}


def folder(path: Path, config: dict[str, Any], processor: dict[str, Any] | None = None) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (path / "preprocessor_config.json").write_text(json.dumps(processor))
    return path


def test_qwen2_vl_as_published(tmp_path: Path) -> None:
    """Half of 32,768 tokens, less the two marks, is a little below the processor's own limit."""
    found = pictures_of(folder(tmp_path, QWEN2_VL, LIMITS))
    assert found == Pictures(max_pixels=(16384 - 2) * 784)
    assert tokens(8000, 6000, found) <= 16384


def test_a_short_context_takes_smaller_pictures(tmp_path: Path) -> None:
    found = pictures_of(folder(tmp_path, QWEN2_VL, LIMITS), max_model_len=4096)
    assert found is not None and found.max_pixels == (2048 - 2) * 784
    for size in ((4032, 3024), (3024, 4032), (9000, 9000), (6000, 500)):
        assert tokens(*size, found) <= 2048
    tiny = pictures_of(folder(tmp_path, QWEN2_VL, LIMITS), max_model_len=8)
    assert tiny is not None and tiny.max_pixels == 2 * 784 == tiny.min_pixels


def test_qwen2_5_vl_and_the_older_names_win(tmp_path: Path) -> None:
    config = {"model_type": "qwen2_5_vl", "vision_config": {"spatial_merge_size": 2}}
    sizes = {"size": {"shortest_edge": 1, "longest_edge": 2}, "max_pixels": 1003520}
    found = pictures_of(folder(tmp_path, config, sizes))
    assert found == Pictures(min_pixels=1, max_pixels=1003520)


def test_qwen3_vl_has_larger_patches(tmp_path: Path) -> None:
    config = {
        "model_type": "qwen3_vl",
        "text_config": {"max_position_embeddings": 262144},
        "vision_config": {"patch_size": 16, "spatial_merge_size": 2},
    }
    sizes = {"size": {"shortest_edge": 65536, "longest_edge": 16777216}, "patch_size": 16}
    found = pictures_of(folder(tmp_path, config, sizes))
    assert found == Pictures(patch=16, merge=2, min_pixels=65536, max_pixels=16777216)
    both = tmp_path / "both"
    folder(both, config)
    (both / "processor_config.json").write_text(json.dumps({"image_processor": sizes}))
    assert pictures_of(both) == found


def test_without_a_processor_transformers_own_limits_hold(tmp_path: Path) -> None:
    config = {"model_type": "qwen2_vl", "vision_config": {}}
    assert pictures_of(folder(tmp_path, config)) == Pictures(max_pixels=1003520)


@pytest.mark.parametrize(
    ("config", "blind"),
    [
        ({"model_type": "qwen2"}, True),
        ({"model_type": "llava", "vision_config": {}}, True),
        ({"model_type": "llava", "vision_config": {"patch_size": 14}}, False),
        ({}, False),
    ],
)
def test_models_that_see_otherwise_or_not_at_all(tmp_path: Path, config, blind: bool) -> None:
    assert pictures_of(folder(tmp_path, config)) is None
    assert reads_text_alone(tmp_path) is blind
    assert not reads_text_alone(tmp_path / "nowhere")


def test_what_a_server_offers(tmp_path: Path) -> None:
    offer = EndpointSpec(kind="chat", models=("m",))
    model = str(folder(tmp_path, QWEN2_VL, LIMITS))
    seen = with_sight(offer, {"model": model, "max_model_len": 2048}, ROOT)
    assert seen is not None and seen.pictures is not None and not seen.text_only
    assert seen.pictures.max_pixels == 1022 * 784 and seen.pictures.most is None
    said = {"limit_images": 3, "min_pixels": 784, "max_pixels": 78400}
    limited = with_sight(offer, {"model": model, **said}, ROOT)
    assert limited is not None
    assert limited.pictures == Pictures(most=3, min_pixels=784, max_pixels=78400)
    none = with_sight(offer, {"model": model, "limit_images": 0}, ROOT)
    assert none is not None and none.text_only and none.pictures is None
    for own, area in ((None, 768 * 768), (1024, 1024)):
        factory = with_sight(offer, {"model_name_or_path": model, "image_max_pixels": own}, ROOT)
        assert factory is not None and factory.pictures is not None
        assert factory.pictures.max_pixels == area
    for settings in ({"model": "meta-llama/Llama-3-8B"}, {"model": "llava/llava-7b"}, {}):
        assert with_sight(offer, settings, ROOT) == offer, "nobody knows"
    assert with_sight(None, {"model": model}, ROOT) is None
    hub = with_sight(offer, {"model": "Qwen/Qwen2.5-VL-7B-Instruct", "max_model_len": 8192}, ROOT)
    assert hub is not None and hub.pictures == Pictures(max_pixels=4094 * 784)
    newer = with_sight(offer, {"model": "Qwen/Qwen3-VL-8B-Instruct"}, ROOT)
    assert newer is not None and newer.pictures is not None and newer.pictures.patch == 16
    own = offer.model_copy(update={"pictures": Pictures(most=1)})
    assert with_sight(own, {"model": model}, ROOT) == own


def test_a_launch_says_how_its_model_sees(settings: Settings, tmp_path: Path) -> None:
    studio = Studio(settings)
    model = str(folder(tmp_path / "vl", QWEN2_VL, LIMITS))
    spec = studio.preview(Launch(engine="vllm", settings={"model": model}))
    assert spec.endpoint is not None and spec.endpoint.pictures is not None
    text = studio.preview(Launch(engine="vllm", settings={"model": "assets/models/tiny-qwen2.5"}))
    assert text.endpoint is not None and text.endpoint.text_only
    assert text.endpoint.pictures is None
