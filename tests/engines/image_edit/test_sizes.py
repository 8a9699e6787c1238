"""The real model is counted as diffusers and transformers do, the tiny one as its files are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from studio.core.settings import ROOT
from studio.engines.weights import stored
from studio.engines.workers.image_edit.sizes import (
    PARTS,
    published,
    read_sizes,
    transformer_part,
)

TINY = ROOT / "assets/models/tiny-qwen-image-edit"
SHAPE = ROOT / "assets/shapes/qwen-image-edit-2511"


def test_the_published_model_is_counted_exactly() -> None:
    sizes = published()
    assert sizes.transformer.params == 20_430_401_088
    assert sizes.transformer.block_params == 339_831_296
    assert sizes.text_encoder.params == 8_292_166_656
    assert sizes.vae.params == 126_892_531
    assert sizes.text_encoder.dropped_params == 152_064 * 3584  # lm_head, 1.09 GB in bfloat16
    assert round(2 * sizes.params / 2**30, 1) == 53.7


def test_the_shipped_skeleton_has_the_same_sizes() -> None:
    assert read_sizes(SHAPE) == published()


@pytest.mark.parametrize("part", PARTS)
def test_the_tiny_model_is_counted_as_its_files_are(part: str) -> None:
    counted = getattr(read_sizes(TINY), part)
    tensors = stored(TINY / part)
    assert counted.params == sum(tensor.numel for tensor in tensors.values())
    assert counted.file_bytes == sum(path.stat().st_size for path in (TINY / part).glob("*.safet*"))


def test_the_largest_layer_and_block_of_the_tiny_model() -> None:
    tensors, sizes = stored(TINY / "transformer"), read_sizes(TINY)
    block = [t.numel for name, t in tensors.items() if name.startswith("transformer_blocks.0.")]
    assert sizes.transformer.block_params == sum(block)
    assert sizes.transformer.kept_params == sum(
        tensor.numel
        for name, tensor in tensors.items()
        if name.startswith("transformer_blocks.0.") and len(tensor.shape) == 1
    )


def test_what_a_config_leaves_out_has_the_default_of_diffusers() -> None:
    assert transformer_part({"num_layers": 1, "zero_cond_t": True}).blocks == 1
    assert transformer_part({}) == published().transformer
    more = transformer_part({"use_additional_t_cond": True})
    assert more.params - published().transformer.params == 2 * 3072


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(TINY, folder)
    weights = next((folder / "vae").glob("*.safetensors"))
    (folder / "vae" / "second-copy.safetensors").write_bytes(b"\0" * 1000)
    index = f'{{"weight_map": {{"a": "{weights.name}", "b": "gone.safetensors"}}}}'
    (folder / "vae" / "diffusion_pytorch_model.safetensors.index.json").write_text(index)
    assert read_sizes(folder).vae.file_bytes == weights.stat().st_size


def test_a_gguf_file_is_as_large_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "q4.gguf"
    file.write_bytes(b"GGUF" + b"\0" * 996)
    sizes = read_sizes(TINY, gguf=file)
    assert sizes.gguf_bytes == 1000
    assert sizes.disk_bytes == 1000 + sizes.text_encoder.file_bytes + sizes.vae.file_bytes


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="model_index"):
        read_sizes(tmp_path)
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(ValueError, match="no JSON object"):
        read_sizes(tmp_path)
