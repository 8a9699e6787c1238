"""The image editor's ladder and options with the real diffusers on the CPU.

Each server is compared with the plain one: the same seed on another rung, with another option.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from e2e.conftest import stopped
from e2e.image_edits import (
    LONG,
    SIDE,
    TINY,
    Editor,
    difference,
    hub_cache,
    picture,
    serving,
    write_gguf,
    write_lora,
)
from studio.core.spec import State
from studio.engines.explain import explain
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module", autouse=True)
def nothing_remembered(real_studio: Studio) -> None:
    """Forget which rungs earlier sessions in this home fell from."""
    shutil.rmtree(real_studio.settings.home / "cache/image-edit", ignore_errors=True)


@pytest.fixture(scope="module")
def editor(real_studio: Studio) -> Iterator[Editor]:
    """The plain server, on the CPU."""
    with serving(real_studio) as (_, made):
        yield made


@pytest.fixture(scope="module")
def plain(editor: Editor) -> np.ndarray:
    """The picture that everything else is compared with: seed 7, one reference, no option."""
    return editor.edit()


# the ladder ---------------------------------------------------------------------------------------


def test_falls_at_every_stage_end_with_a_picture(real_studio: Studio, plain: np.ndarray) -> None:
    """Out of memory at load, encode, step 2 and decode: one job, four rungs, and a picture.

    The next server of this machine and model begins where this one ended up.
    """
    fallen = ["whole", "resident", "split", "groups"]
    faults = "whole:load,resident:encode,split:step:2,groups:decode"
    cards = {"LADDER_IMAGE_CARDS": "24,24"}
    with serving(real_studio, None, LADDER_IMAGE_FAULT=faults, **cards) as (run, editor):
        assert editor.get("/ladder").json()["rung"] == "resident", "the first did not even load"
        job = editor.submit()
        told = editor.done(job, timeout_s=300)
        assert told["rung"] == "fp8"
        assert difference(editor.result(job), plain) < 6
        notes = " ".join(told["notes"])
        assert all(rung in notes for rung in (*fallen[1:], "fp8")), notes
        ladder = editor.get("/ladder").json()
        assert ladder["rung"] == "fp8"
        assert [fall["from"] for fall in ladder["falls"]] == fallen
        assert [fall["reason"].removeprefix("out of memory ") for fall in ladder["falls"]] == [
            *("while loading", "while encoding the prompt", "at step 2", "while decoding"),
        ]
        log = run.dir.log.read_text(errors="replace")
        assert all(f"fell from {rung} to" in log for rung in fallen)
        assert (editor.edit() == editor.result(job)).all(), "and it stays there"
    with serving(real_studio, None, **cards) as (_, editor):
        ladder = editor.get("/ladder").json()
        assert ladder["rung"] == "fp8" and ladder["falls"] == []
        failed = {row["rung"]: row["why"] for row in ladder["ladder"] if row["rung"] in fallen}
        assert all("out of memory" in why for why in failed.values()), failed


@pytest.mark.parametrize(
    ("rung", "cards", "near"),
    [
        ("groups", "24", 0.01),
        ("leaf", "24", 0.01),
        ("fp8", "24", 6.0),
        ("cpu-fp8", "", 6.0),
    ],
)
def test_forced_rung(
    real_studio: Studio, plain: np.ndarray, rung: str, cards: str, near: float
) -> None:
    """Every way to hold the pipeline draws the same picture; rounded weights nearly the same."""
    with serving(real_studio, {"rung": rung}, LADDER_IMAGE_CARDS=cards) as (_, editor):
        job = editor.submit()
        assert editor.done(job)["rung"] == rung
        assert difference(editor.result(job), plain) <= near
        assert (editor.edit() == editor.result(job)).all()


def test_int8_in_bf16(real_studio: Studio, plain: np.ndarray) -> None:
    settings = {"rung": "int8", "dtype": "bfloat16"}
    with serving(real_studio, settings, LADDER_IMAGE_CARDS="24") as (_, editor):
        assert difference(editor.edit(), plain) < 12


def test_too_little_host_memory_refuses_a_rung_before_the_kernel_does(real_studio: Studio) -> None:
    """The true shape within 4 GiB: nothing is loaded, every rung says what it needs."""
    run = real_studio.launch_recipe(
        "diffusers/2511-try-dummy", {"device": "cpu", "max_host_memory_gib": 4}
    )
    run = real_studio.jobs.wait(run.id, timeout_s=300)
    assert run.state is State.FAILED
    log = run.dir.log.read_text(errors="replace")
    assert "GiB of host memory" in log, log[-3000:]
    told = explain(run)
    assert told and "memory" in told.says.en.lower(), told
    assert procs.marked(run.id) == []


# options ------------------------------------------------------------------------------------------


def test_model_gguf_and_style_by_their_names_on_the_hub(
    real_studio: Studio, plain: np.ndarray, tmp_path: Path
) -> None:
    """From the cache, since tests have no network; without the transformer's own weights."""
    without = tmp_path / "without"
    shutil.copytree(TINY, without, ignore=shutil.ignore_patterns("diffusion_pytorch_model.*"))
    (without / "vae/diffusion_pytorch_model.safetensors").symlink_to(
        TINY / "vae/diffusion_pytorch_model.safetensors"
    )
    hub_cache(tmp_path, "me/tiny-edit", without)
    hub_cache(tmp_path, "me/tiny-gguf", write_gguf(real_studio, tmp_path / "tiny-Q8_0.gguf"))
    hub_cache(tmp_path, "me/styles", write_lora(tmp_path / "one.safetensors", seed=1))
    settings = {
        "model": "me/tiny-edit",
        "gguf": "me/tiny-gguf/tiny-Q8_0.gguf",
        "loras": ["one=me/styles/one.safetensors@0"],
    }
    with serving(real_studio, settings, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1") as (_, editor):
        exact = editor.edit()
        assert 0 < difference(exact, plain) < 6
        assert difference(editor.edit(loras='{"one": 1}'), exact) > 0.2


def test_name_that_the_hub_does_not_know(real_studio: Studio, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(tmp_path))
        patch.setenv("HF_HUB_OFFLINE", "1")
        run = real_studio.launch_recipe("diffusers/smoke", {"model": "nobody/nothing"})
    run = real_studio.jobs.wait(run.id, timeout_s=300)
    assert run.state is State.FAILED
    assert "nobody/nothing cannot be fetched from the hub" in run.dir.log.read_text()
    told = explain(run)
    assert told and told.key == "offline"


def test_batched_cfg_draws_what_sequential_draws(
    real_studio: Studio, editor: Editor, plain: np.ndarray
) -> None:
    """Prompt and negative prompt have different lengths: the padding must not be looked at."""
    said = {"negative_prompt": "low quality, blurred, 水印", "true_cfg_scale": 3}
    with serving(real_studio, {"cfg_mode": "batched"}) as (_, batched):
        assert difference(batched.edit(), plain) < 0.5
        assert difference(batched.edit(**said), editor.edit(**said)) < 0.5


def test_step_cache(real_studio: Studio, editor: Editor) -> None:
    """Steps whose first block changes little are taken from the step before."""
    said = {"num_inference_steps": 20}
    settings = {"step_cache": "first-block", "step_cache_threshold": 0.5}
    with serving(real_studio, settings) as (_, cached):
        first, exact = cached.edit(**said), editor.edit(**said)
        assert 0 < difference(first, exact) < 20
        assert (cached.edit(**said) == first).all(), "nothing is left over from the edit before"


def test_lightning(real_studio: Studio, editor: Editor, tmp_path: Path) -> None:
    """A published Lightning file sets steps and CFG by itself, and its own noise schedule."""
    path = write_lora(tmp_path / "lightning.safetensors", seed=3, published=True)
    with serving(real_studio, {"lightning": str(path), "lightning_steps": 4}) as (_, quick):
        job = quick.submit()
        told = quick.done(job)
        assert (told["settings"]["num_inference_steps"], told["steps"]) == (4, 4)
        assert told["settings"]["true_cfg_scale"] == 1.0
        without = editor.edit(num_inference_steps=4, true_cfg_scale=1)
        assert difference(quick.result(job), without) > 0.2


def test_first_edit_pipeline_and_a_stop_in_the_middle(real_studio: Studio, tmp_path: Path) -> None:
    """Qwen-Image-Edit of August 2025 takes one picture; a stop does not wait for its edit."""
    folder = tmp_path / "first-edit"
    shutil.copytree(TINY, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["_class_name"] = "QwenImageEditPipeline"
    (folder / "model_index.json").write_text(json.dumps(index))
    with serving(real_studio, {"model": str(folder)}) as (run, editor):
        assert editor.edit().shape == (SIDE, SIDE, 3)
        two = editor.post("jobs", picture(), picture("blue-square"))
        if two.status_code == 202:
            job = two.json()["job"]
            told = editor.until(job, lambda told: told["state"] == "failed")
            assert "one picture" in told["error"]["message"].lower()
        else:
            assert two.status_code == 400 and "picture" in two.json()["error"]["message"]
        job = editor.submit(**LONG)
        editor.until(job, lambda told: told["step"] >= 1)
        stopped(real_studio, run)
        kept = json.loads((run.dir.folder / f"artifacts/jobs/{job}/done.json").read_text())
        assert kept["state"] in ("failed", "cancelled")
