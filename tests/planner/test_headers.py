"""Weights counted by the headers of their files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from time import perf_counter

import pytest
from planner.planning import TINY, shape

from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.planner.headers import read_header, read_tensors
from studio.planner.shapes import read_shape
from studio.planner.tensors import BITS, Tensor, tensors_of


def write(path: Path, tensors: list[Tensor], *, cut: int = 0) -> None:
    """Write a safetensors file full of holes, `cut` bytes too short."""
    table: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for tensor in tensors:
        end = at + tensor.bytes
        table[tensor.name] = {
            "dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [at, end],
        }  # fmt: skip
        at = end
    head = json.dumps(table).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + at - cut)


def test_the_tiny_model_is_counted_to_the_byte() -> None:
    folder = ROOT / TINY
    tensors = read_tensors(folder)
    assert tensors is not None
    file = folder / "model.safetensors"
    header = struct.unpack("<Q", file.read_bytes()[:8])[0]
    assert sum(t.bytes for t in tensors) == file.stat().st_size - 8 - header
    assert sorted(tensors) == sorted(tensors_of(read_shape(folder)))


def test_packed_types_have_their_bits(tmp_path: Path) -> None:
    rows = [Tensor(dtype, dtype, (4, 8)) for dtype in BITS]
    write(tmp_path / "model.safetensors", rows)
    assert read_tensors(tmp_path) == rows
    assert Tensor("w", "F8_E4M3", (3, 5)).bytes == 15
    assert Tensor("w", "I32", (3, 5)).bytes == 60
    assert Tensor("w", "F4", (4, 8)).bytes == 16


def test_the_index_says_which_files_count(tmp_path: Path) -> None:
    a, b = Tensor("a.weight", "BF16", (2, 3)), Tensor("b.weight", "F8_E5M2", (7,))
    write(tmp_path / "model-00001-of-00002.safetensors", [a])
    write(tmp_path / "model-00002-of-00002.safetensors", [b])
    write(tmp_path / "consolidated.safetensors", [a, b])
    weight_map = {t.name: f"model-0000{n}-of-00002.safetensors" for n, t in ((1, a), (2, b))}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert read_tensors(tmp_path) == [a, b]
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(RecipeInvalid, match=r"1 of 2 weight files are missing .*00002-of") as seen:
        read_tensors(tmp_path)
    assert "may be incomplete" in seen.value.hint
    index.write_text("[]")
    with pytest.raises(RecipeInvalid, match="cannot be read"):
        read_tensors(tmp_path)


def test_a_file_that_was_cut_short_says_by_how_much(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write(path, [Tensor("w", "BF16", (1000, 1000))], cut=1234)
    with pytest.raises(RecipeInvalid, match="1,234 bytes are missing") as seen:
        read_header(path)
    assert "may be incomplete" in seen.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"abc",
        struct.pack("<Q", 10**12),
        struct.pack("<Q", 50) + b"{",
        struct.pack("<Q", 2) + b"[]",
    ],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(raw)
    with pytest.raises(RecipeInvalid, match="not a whole safetensors file"):
        read_header(path)


def test_an_unknown_type_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    head = json.dumps({"w": {"dtype": "F3", "shape": [8], "data_offsets": [0, 3]}}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + b"abc")
    with pytest.raises(RecipeInvalid, match="unknown type: F3"):
        read_header(path)


def test_a_folder_without_weights_has_none(tmp_path: Path) -> None:
    assert read_tensors(tmp_path) is None


def test_a_big_checkpoint_takes_milliseconds(tmp_path: Path) -> None:
    tensors = tensors_of(shape("qwen2.5-72b"))
    for n in range(37):
        write(tmp_path / f"model-{n:05d}.safetensors", tensors[n::37])
    began = perf_counter()
    read = read_tensors(tmp_path)
    assert perf_counter() - began < 1
    assert read is not None
    assert sum(t.bytes for t in read) == 72_706_203_648 * 2
