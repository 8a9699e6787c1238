"""The shipped image editors: the tiny one of random weights, and the true shape without any."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from studio.core.settings import ROOT
from studio.core.spec import State
from studio.engines.make_tiny_image import OUTPUT
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

TINY = ROOT / "assets/models/tiny-qwen-image-edit"
TRUE = ROOT / "assets/shapes/qwen-image-edit-2511"
MADE = {"tiny": TINY, "qwen-image-edit-2511": TRUE}


@pytest.mark.parametrize("shape", MADE)
def test_what_is_shipped_is_what_the_recipe_writes(real_studio: Studio, shape: str) -> None:
    """Byte for byte, all but the README: nobody has to trust a file of unknown origin."""
    run = real_studio.launch_recipe("diffusers/make-tiny", {"shape": shape})
    run = real_studio.jobs.wait(run.id, timeout_s=1700)
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    shipped, made = files(MADE[shape]), files(run.dir.folder / OUTPUT)
    shipped.pop("README.md")
    assert shipped == made


def test_sizes() -> None:
    assert sum(map(len, files(TINY).values())) < 4 * 10**6
    assert sum(map(len, files(TRUE).values())) < 10**5
    assert not list(TRUE.rglob("*.safetensors"))


def test_readmes_say_what_they_are() -> None:
    for folder in MADE.values():
        said = (folder / "README.md").read_text(encoding="utf-8")
        assert "diffusers/make-tiny" in said and "noise" in said and "噪声" in said


@pytest.fixture(scope="module")
def told(real_studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What diffusers and transformers make of both folders."""
    answer = tmp_path_factory.mktemp("shapes") / "told.json"
    python = real_studio.envs.interpreter("diffusers").python
    script = Path(__file__).with_name("image_shapes.py")
    subprocess.run(
        [python, str(script), str(TINY), str(TRUE), str(answer)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        timeout=600,
    )
    return json.loads(answer.read_text(encoding="utf-8"))


def test_tiny_one_is_a_plain_diffusers_folder(told: dict[str, Any]) -> None:
    tiny = told["tiny"]
    assert (tiny["pipeline"], tiny["processor"]) == (
        "QwenImageEditPlusPipeline",
        "Qwen2VLProcessor",
    )
    assert tiny["zero_cond_t"] and tiny["factor"] == 8 and tiny["finite"]


def test_tokenizer_loses_nothing_and_speaks_the_format(told: dict[str, Any]) -> None:
    """The opening, too, is as long as the pipeline believes: no word of a prompt is dropped."""
    tiny = told["tiny"]
    assert all(asked == came for asked, came in tiny["texts"])
    assert tiny["opening"] == [64, 64]
    assert tiny["specials"][0] == "<|endoftext|>" and tiny["specials"][-2:] == [
        "<|image_pad|>",
        "<|video_pad|>",
    ]
    assert tiny["template"].endswith("<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n")


def test_true_shape_has_the_published_numbers_of_parameters(told: dict[str, Any]) -> None:
    true = told["true"]
    assert true["transformer"] == 20_430_401_088
    assert (true["blocks"], true["block"]) == (60, 339_831_296)
    assert (true["text_encoder"], true["vision"]) == (8_292_166_656, 676_550_144)
    assert true["vae"] == 126_892_531
    assert len(set(true["image_token"])) == 1


def files(folder: Path) -> dict[str, bytes]:
    """Read every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
