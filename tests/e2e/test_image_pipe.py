"""The image editor's pipe with the real diffusers on the CPU: every rung, options, faults.

Exact rungs give the bare pipeline's bytes; rounded ones stay near. A start is five CPU seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from e2e.image_edits import write_gguf, write_lora
from e2e.image_pipe import SIDE, TINY, Pipe, draw, pixels
from studio.core.settings import ROOT
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1200)]

TIGHT = "0.5378"
"""GiB of a pretended card on which nothing rests but the slots."""


@pytest.fixture(scope="module")
def python(real_studio: Studio) -> str:
    """The diffusers environment's interpreter."""
    return real_studio.envs.interpreter("diffusers").python


@pytest.fixture(scope="module")
def plain(python: str, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What the bare pipeline makes."""
    folder = tmp_path_factory.mktemp("plain")
    script = Path(__file__).parent / "image_pipe_plain.py"
    made = folder / "out.png"
    argv = [python, script, TINY, draw(folder / "in.png"), made, str(SIDE)]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    return pixels(made)


@pytest.fixture(scope="module")
def pipe(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipe]:
    """One pipe on the CPU for everything that needs no rung of its own."""
    with Pipe(python, tmp_path_factory.mktemp("pipe"), rung="cpu") as one:
        one.wait("loaded")
        yield one


def far(one: np.ndarray, other: np.ndarray) -> int:
    """Return the largest difference of two pictures."""
    return int(abs(one - other).max())


@pytest.mark.parametrize(
    ("rung", "cards", "most"),
    [
        ("whole", "24", 0),
        ("resident", "0.54", 0),
        ("split", "24,24", 0),
        ("groups", TIGHT, 0),
        ("leaf", "24", 0),
        ("fp8", "24", 24),
        ("cpu-fp8", "", 24),
    ],
)
def test_rung_gives_the_plain_picture(
    python: str, tmp_path: Path, plain: np.ndarray, rung: str, cards: str, most: int
) -> None:
    with Pipe(python, tmp_path, rung=rung, cards=cards) as one:
        assert one.wait("rung")["rung"] == rung
        notes = one.wait("loaded")["notes"]
        made = one.picture_of(one.edit())
    assert far(made, plain) <= most
    if rung == "groups":
        assert "0 of 4" in notes[0]


def test_fp8_and_int8_stay_near_in_half_precision(python: str, tmp_path: Path) -> None:
    made = {}
    for rung in ("whole", "int8"):
        with Pipe(python, tmp_path / rung, rung=rung, cards="24", dtype="bfloat16") as one:
            made[rung] = one.picture_of(one.edit())
    assert 0 < far(made["int8"], made["whole"]) <= 48


def test_the_first_picture_is_the_bare_pipelines(pipe: Pipe, plain: np.ndarray) -> None:
    assert far(pipe.picture_of(pipe.edit()), plain) == 0


def test_same_seed_same_bytes_other_seed_another_picture(pipe: Pipe) -> None:
    first = pipe.edit(seeds=[7, 8])
    again = pipe.edit(seeds=[8])
    assert Path(first["pictures"][1]).read_bytes() == Path(again["pictures"][0]).read_bytes()
    assert far(pipe.picture_of(first, 0), pipe.picture_of(first, 1)) > 8


def test_prompts_and_references_are_kept(pipe: Pipe) -> None:
    first = pipe.edit(prompt="something new")
    again = pipe.edit(prompt="something new")
    assert first["cached"] == {"prompt": False, "references": 1}
    assert again["cached"] == {"prompt": True, "references": 1}
    assert again["timings"]["encode_s"] < first["timings"]["encode_s"]
    assert far(pipe.picture_of(first), pipe.picture_of(again)) == 0


def test_mask_keeps_what_is_outside(pipe: Pipe) -> None:
    mask = Image.new("L", (160, 120), 0)
    mask.paste(255, (40, 30, 100, 90))
    mask.save(pipe.folder / "mask.png")
    clear = Image.open(pipe.picture).convert("RGBA")
    clear.putalpha(mask.point(lambda value: 255 - value))
    clear.save(pipe.folder / "clear.png")
    made = pipe.picture_of(pipe.edit(mask=str(pipe.folder / "mask.png")))
    with Image.open(pipe.picture) as opened:
        sized = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    before = np.asarray(sized).astype(int)
    inside = np.asarray(mask.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) >= 128
    assert abs(made - before)[~inside].max() == 0
    assert abs(made - before)[inside].mean() > 8
    assert far(pipe.picture_of(pipe.edit(mask=str(pipe.folder / "clear.png"))), made) == 0


def test_an_empty_mask_and_no_steps_are_errors_and_it_lives(pipe: Pipe, plain: np.ndarray) -> None:
    Image.new("L", (20, 20), 0).save(pipe.folder / "empty.png")
    assert "empty" in pipe.edit(mask=str(pipe.folder / "empty.png"))["message"]
    assert "one step" in pipe.edit(steps=0)["message"]
    refused = pipe.edit(loras={"nobody": 1.0})
    assert "not loaded" in refused["message"] and refused["bad"]
    assert pipe.edit(pictures=[str(pipe.folder / "nowhere.png")])["event"] == "error"
    assert far(pipe.picture_of(pipe.edit()), plain) == 0


def test_a_prompt_longer_than_the_models_positions_is_refused(
    pipe: Pipe, plain: np.ndarray
) -> None:
    for words in ({"prompt": "长" * 1400}, {"prompt": "x" * 4090}, {"negative_prompt": "y" * 9000}):
        refused = pipe.edit(**words)
        assert refused["event"] == "error" and "tokens" in refused["message"], words
    assert far(pipe.picture_of(pipe.edit()), plain) == 0


def test_several_pictures_negative_prompt_and_sizes(pipe: Pipe, plain: np.ndarray) -> None:
    other = pipe.folder / "other.png"
    Image.new("RGB", (90, 200), (10, 200, 30)).save(other)
    done = pipe.edit(pictures=[str(pipe.picture), str(other)], negative_prompt="blur")
    assert far(pipe.picture_of(done), plain) > 0
    wide = pipe.picture_of(pipe.edit(width=160, height=96, true_cfg_scale=1.0))
    assert wide.shape == (96, 160, 3)


def test_cancel_between_two_steps_and_go_on(pipe: Pipe, plain: np.ndarray) -> None:
    name = pipe.start(steps=500)
    pipe.wait("step")
    pipe.say(do="cancel", job=name)
    assert pipe.wait("cancelled", "done", timeout_s=20) == {"event": "cancelled", "job": name}
    assert far(pipe.picture_of(pipe.edit()), plain) == 0


def test_previews_are_small_pictures(pipe: Pipe) -> None:
    name = pipe.start(steps=40, preview_every=1)
    told = pipe.wait("preview", timeout_s=30)
    pipe.wait("done", timeout_s=30)
    assert told["job"] == name
    with Image.open(told["path"]) as shown:
        assert shown.format == "WEBP"
        assert max(shown.size) <= 384


def test_steps_are_told_one_by_one(pipe: Pipe) -> None:
    pipe.events.clear()
    pipe.edit(seeds=[1, 2], steps=3)
    steps = [(e["variant"], e["step"], e["of"]) for e in pipe.events if e["event"] == "step"]
    assert steps == [(v, s, 3) for v in (0, 1) for s in (1, 2, 3)]
    stages = [e["stage"] for e in pipe.events if e["event"] == "stage"]
    assert stages == ["encode", "steps", "decode", "steps", "decode"]


def test_batched_cfg_is_the_same_picture(python: str, tmp_path: Path, plain: np.ndarray) -> None:
    with Pipe(python, tmp_path, rung="cpu", cfg_mode="batched") as one:
        assert far(one.picture_of(one.edit()), plain) <= 1


def test_styles_on_streamed_and_on_rounded_weights(python: str, tmp_path: Path) -> None:
    told = f"ink={write_lora(tmp_path / 'ink.safetensors', seed=1)}@0.8"
    made = {}
    for rung, cards in (("cpu", ""), ("groups", TIGHT), ("leaf", "24"), ("fp8", "24")):
        with Pipe(python, tmp_path / rung, rung=rung, cards=cards, loras=[told]) as one:
            made[rung] = one.picture_of(one.edit())
            off = one.picture_of(one.edit(loras={"ink": 0.0}))
            assert far(made[rung], off) > 0
    assert far(made["groups"], made["cpu"]) == far(made["leaf"], made["cpu"]) == 0
    assert far(made["fp8"], made["cpu"]) <= 48


def test_gguf_rests_and_streams(
    real_studio: Studio, python: str, tmp_path: Path, plain: np.ndarray
) -> None:
    file = write_gguf(real_studio, tmp_path / "tiny.gguf")
    made = []
    for rung, cards in (("cpu", ""), ("groups", "0.5366")):
        with Pipe(python, tmp_path / rung, rung=rung, cards=cards, gguf=str(file)) as one:
            made.append(one.picture_of(one.edit()))
    assert far(made[0], made[1]) == 0
    assert far(made[0], plain) <= 24


def test_step_cache_skips_and_forgets(python: str, tmp_path: Path) -> None:
    cached = {"step_cache": "first-block", "step_cache_threshold": 0.5}
    with Pipe(python, tmp_path, rung="cpu", **cached) as one:
        first = one.edit(steps=12)
        again = one.edit(steps=12)
        assert far(one.picture_of(first), one.picture_of(again)) == 0


def test_the_older_pipeline_takes_one_picture(python: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model)
    index = json.loads((model / "model_index.json").read_text())
    index["_class_name"] = "QwenImageEditPipeline"
    (model / "model_index.json").write_text(json.dumps(index))
    with Pipe(python, tmp_path / "run", rung="cpu", model=str(model)) as one:
        assert one.edit()["event"] == "done"
        assert "one picture" in one.edit(pictures=[str(one.picture)] * 2)["message"]


def test_random_weights_need_no_files(python: str, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(TINY, model, ignore=shutil.ignore_patterns("*.safetensors"))
    with Pipe(python, tmp_path / "run", model=str(model), load_format="dummy", rung="cpu") as one:
        assert one.edit()["event"] == "done"


@pytest.mark.parametrize(
    ("place", "stage", "step"),
    [("load", "load", 0), ("encode", "encode", 0), ("step:2", "step", 2), ("decode", "decode", 0)],
)
def test_out_of_memory_is_told_and_it_leaves(
    python: str, tmp_path: Path, place: str, stage: str, step: int
) -> None:
    with Pipe(python, tmp_path, rung="cpu", fault=f"cpu:{place}") as one:
        one.start()
        told = one.wait("oom")
        assert (told["stage"], told["step"]) == (stage, step)
        assert told["job"] == (None if stage == "load" else "j1")
        assert one.left() == 77


def test_what_failed_is_remembered(python: str, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    with Pipe(python, tmp_path / "a", cards="24,24", fault="whole:decode", state_dir=state) as one:
        assert one.edit()["event"] == "oom"
        assert one.left() == 77
    with Pipe(python, tmp_path / "b", cards="24,24", state_dir=state) as one:
        assert one.wait("rung")["rung"] != "whole"
        assert one.edit()["event"] == "done"
    entry = next(iter(json.loads((tmp_path / "state/worked.json").read_text()).values()))
    assert entry["failed"]["whole"]["reason"]
    assert entry["seconds"][entry["rung"]]["step_s"] > 0


def test_a_host_too_small_is_no_rung(python: str, tmp_path: Path) -> None:
    with Pipe(python, tmp_path, max_host_memory_gib=0.5) as one:
        told = one.wait("no-rung")
        assert one.left() == 78
    assert told["ladder"]
    assert "host memory" in " ".join(row["why"] for row in told["ladder"])


def test_it_leaves_in_the_middle_when_told(python: str, tmp_path: Path) -> None:
    with Pipe(python, tmp_path, rung="cpu") as one:
        one.start(steps=5000)
        one.wait("step")
    assert one.left() == 0


PROBE = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from image_edit.narrow import fp8_product_fault
print(fp8_product_fault(torch.device("cpu")) or "none")
def refuse(*args, **kwargs):
    raise RuntimeError("rowwise scaling is not supported\\nmore")
torch._scaled_mm = refuse
print(fp8_product_fault(torch.device("cpu")))
"""


def test_fp8_products_are_tried_before_they_are_used(python: str) -> None:
    """A card that promises them and refuses is served with widened weights instead."""
    argv = [python, "-c", PROBE, str(ROOT / "studio/engines/workers")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines() == ["none", "rowwise scaling is not supported"]
