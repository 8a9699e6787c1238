"""Settings inside a PNG: what is written is read back, and a stranger's file does no harm."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from images.stand_in import png
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.engines.workers.image_edit.stamp import stamped
from studio.images import pngmeta

FACTS = {
    "prompt": "换成夜景\nwith a moon",
    "negative_prompt": "blur",
    "num_inference_steps": 4,
    "true_cfg_scale": 1.0,
    "seed": 42,
    "size": "64x48",
    "loras": {"anime": 0.8},
    "model": "tiny",
    "rung": "whole",
}


def test_there_and_back() -> None:
    data = pngmeta.write(
        pngmeta.write(stamped(png(), {"prompt": "old"}), {"prompt": "older"}), FACTS
    )
    found = pngmeta.read(data)
    assert found is not None and found.prompt == FACTS["prompt"]
    assert (found.seed, found.num_inference_steps, found.loras) == (42, 4, {"anime": 0.8})
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["Description"].endswith(
            "| Negative prompt: blur | Steps: 4, True CFG: 1.0, Seed: 42, Size: 64x48, "
            "Model: tiny, Rung: whole"
        )
        assert image.tobytes() == Image.open(io.BytesIO(png())).tobytes()
    assert data.count(b"parameters") == 1


def test_what_the_worker_stamps_is_read() -> None:
    found = pngmeta.read(stamped(png(), FACTS))
    assert found is not None and found.prompt == FACTS["prompt"] and found.seed == 42


def test_what_web_uis_write_is_read() -> None:
    text = (
        "a cat\non a mat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Seed: 7, Size: 512x768"
    )
    info, file = PngInfo(), io.BytesIO()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)
    found = pngmeta.read(file.getvalue())
    assert found is not None and (found.prompt, found.negative_prompt) == ("a cat\non a mat", "dog")
    assert (found.num_inference_steps, found.seed, found.size) == (20, 7, "512x768")


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind: bytes, body: bytes) -> bytes:
    data = png()
    return data[:33] + chunk(kind, body) + data[33:]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        png(),
        png()[:40],
        with_chunk(b"tEXt", b"parameters\0" + b"[" * 100_000),
        with_chunk(b"tEXt", b"parameters\0null"),
        with_chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(b'{"prompt": 1}' * 9)),
        with_chunk(b"tEXt", b"parameters\0" + b'{"prompt": "x", "n": "many"}'),
        with_chunk(b"tEXt", b"parameters\0" + b'{"prompt": "x", "loras": {"a": "b"}}'),
        with_chunk(b"iTXt", b"parameters"),
        png()[:33] + b"\xff\xff\xff\xfftEXt",
    ],
)
def test_strangers_files(data: bytes) -> None:
    assert pngmeta.read(data) is None


def test_a_bomb() -> None:
    packed = zlib.compress(b"x" * 50_000_000)
    assert pngmeta.read(with_chunk(b"zTXt", b"parameters\0\0" + packed)) is None


def test_only_a_png_carries_them() -> None:
    with pytest.raises(ValueError, match="PNG"):
        pngmeta.write(b"\xff\xd8jpeg", FACTS)
