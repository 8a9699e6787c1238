"""The image editor as an engine: its command and settings, what is refused, what it tells."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import spec

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.image_edit import MODEL_DIR, ImageEdit
from studio.engines.image_fields import MODEL, ImageEditConfig, Style
from studio.jobs.rundir import RunDir

TINY = ROOT / "assets/models/tiny-qwen-image-edit"
CPU = Placement(
    interpreter=Interpreter(name="diffusers", python="/envs/d/bin/python"),
    port=8001,
    root="/repo",
    cache_dir="/home/cache",
)
GPU = CPU.model_copy(update={"has_gpu": True})


@pytest.fixture(autouse=True)
def _no_folder_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODEL_DIR, raising=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the tiny model that may be damaged."""
    return Path(shutil.copytree(TINY, tmp_path / "model"))


def config(**settings: Any) -> ImageEditConfig:
    """Checked settings."""
    return check_settings(ImageEditConfig, settings, "settings")


def written(place: Placement = CPU, **settings: Any) -> dict[str, Any]:
    """The content of image.json."""
    return json.loads(ImageEdit().command(config(**settings), place).files["image.json"])


def refusal(root: Path, **settings: Any) -> str:
    """What `check` says against these settings."""
    with pytest.raises(RecipeInvalid) as caught:
        ImageEdit().check(config(**settings), root)
    return f"{caught.value} {caught.value.hint}"


# command ----------------------------------------------------------------------------------------


def test_command_and_its_file() -> None:
    command = ImageEdit().command(config(model="assets/models/tiny"), CPU)
    assert command.argv[0] == "/envs/d/bin/python"
    assert Path(command.argv[1]).name == "image_worker.py" and Path(command.argv[1]).is_absolute()
    assert command.argv[2:] == ("--config", "image.json")
    told = json.loads(command.files["image.json"])
    assert told["model"] == "/repo/assets/models/tiny"
    assert told["served_model_name"] == "tiny"
    assert told["state_dir"] == "/home/cache/image-edit"
    assert (told["host"], told["port"]) == ("127.0.0.1", 8001)
    assert told["rung"] == "auto" and told["dtype"] == "bfloat16"


def test_every_setting_goes_into_the_file_but_the_key() -> None:
    told = written()
    own = set(ImageEditConfig.model_fields) - {"extra_args", "api_key"}
    assert set(told) == own | {"state_dir"}


def test_the_key_is_in_the_environment_alone() -> None:
    command = ImageEdit().command(config(api_key="s3cret"), CPU)
    assert command.env["STUDIO_ENDPOINT_KEY"] == "s3cret"
    assert "s3cret" not in " ".join((*command.argv, *command.files.values()))


def test_loras_and_files_get_absolute_paths() -> None:
    told = written(
        loras=["ink=assets/loras/ink.safetensors@0.8", "oil=/l/oil", "hub=me/styles/a.safetensors"],
        lightning="assets/loras/fast.safetensors",
        gguf="assets/q4.gguf",
    )
    assert told["loras"] == [
        "ink=/repo/assets/loras/ink.safetensors@0.8",
        "oil=/l/oil@1",
        "hub=me/styles/a.safetensors@1",
    ]
    assert told["lightning"] == "/repo/assets/loras/fast.safetensors"
    assert told["gguf"] == "/repo/assets/q4.gguf"


def test_environment_on_a_cpu_and_on_cards() -> None:
    on_cpu = ImageEdit().command(config(model="/m", num_threads=2), CPU).env
    assert on_cpu["CUDA_VISIBLE_DEVICES"] == "" and on_cpu["OMP_NUM_THREADS"] == "2"
    assert on_cpu["HF_HUB_OFFLINE"] == "1"
    on_card = ImageEdit().command(config(), GPU).env
    assert on_card["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    assert not {"CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "HF_HUB_OFFLINE"} & set(on_card)
    forced = ImageEdit().command(config(device="cpu"), GPU).env
    assert forced["CUDA_VISIBLE_DEVICES"] == ""


def test_a_file_on_the_hub_keeps_it_online() -> None:
    env = ImageEdit().command(config(model="/m", gguf="me/repo/q4.gguf"), CPU).env
    assert "HF_HUB_OFFLINE" not in env


def test_the_default_model_may_lie_in_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert written()["model"] == MODEL
    monkeypatch.setenv(MODEL_DIR, "/models/2511")
    assert written()["model"] == "/models/2511"
    assert written()["served_model_name"] == "Qwen-Image-Edit-2511"
    assert written(model="/other")["model"] == "/other"


def test_cuda_without_a_card_is_refused() -> None:
    with pytest.raises(RecipeInvalid, match="device = cuda needs a CUDA card"):
        ImageEdit().command(config(device="cuda"), CPU)


# settings ---------------------------------------------------------------------------------------


def test_loras_are_taken_apart() -> None:
    assert config(loras=["ink=/l/i@nk.safetensors", "oil=/l/oil@0.5"]).styles == [
        Style("ink", "/l/i@nk.safetensors", 1.0),
        Style("oil", "/l/oil", 0.5),
    ]


@pytest.mark.parametrize(
    ("loras", "says"),
    [
        (["/l/ink.safetensors"], "A LoRA is written name=path"),
        (["=x"], "A LoRA is written name=path"),
        (["a=/x", "a=/y"], "Two LoRAs are called a"),
    ],
)
def test_badly_written_loras(loras: list[str], says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says):
        config(loras=loras)


def test_what_a_request_gets_that_names_nothing() -> None:
    assert (config().steps, config().cfg) == (40, True)
    fast = config(lightning="/l/fast.safetensors", lightning_steps="8")
    assert (fast.steps, fast.cfg) == (8, False)
    assert not config(true_cfg_scale=1.0).cfg


@pytest.mark.parametrize(
    ("settings", "cards"),
    [
        ({}, 1),
        ({"rung": "split"}, 2),
        ({"rung": "fp8"}, 1),
        ({"rung": "cpu"}, 0),
        ({"device": "cpu"}, 0),
    ],
)
def test_cards(settings: dict[str, Any], cards: int) -> None:
    assert ImageEdit().resources(config(**settings), True).num_gpus == cards
    assert ImageEdit().resources(config(**settings), False).num_gpus == 0


def test_what_it_offers() -> None:
    engine, own = ImageEdit(), config(model="/models/edit/")
    endpoint, probe = engine.endpoint(own), engine.probe(own)
    assert (endpoint.kind, endpoint.models) == ("images", ("edit",))
    assert probe.path == "/health"
    assert engine.scrape(own).prefixes == ("image_",)
    assert [step.signal for step in engine.stop(own)] == ["SIGTERM", "SIGTERM"]
    need = engine.imaging(config(lightning="/l", lightning_steps=4, gguf="/q.gguf"))
    assert (need.num_inference_steps, need.cfg, need.gguf) == (4, False, "/q.gguf")
    assert (need.width, need.height) == (1024, 1024)
    small = engine.imaging(config(default_pixels=384 * 384))
    assert (small.width, small.height, small.reference_pixels) == (384, 384, 1024 * 1024)


# check ------------------------------------------------------------------------------------------


def test_a_whole_model_is_taken(model: Path) -> None:
    ImageEdit().check(config(model=str(model)), ROOT)
    ImageEdit().check(config(), ROOT)


def test_no_folder_and_no_model(tmp_path: Path) -> None:
    assert "There is no model folder" in refusal(tmp_path, model="./gone")
    (tmp_path / "empty").mkdir()
    assert "it has no model_index.json (it holds nothing)" in refusal(tmp_path, model="./empty")
    (tmp_path / "org" / "edit").mkdir(parents=True)
    assert "Write ./org/edit for the folder" in refusal(tmp_path, model="org/edit")


def test_what_a_folder_is_instead(tmp_path: Path) -> None:
    for name, file, says in (
        ("lora", "ink_lora.safetensors", "holds a LoRA, not a whole model"),
        ("peft", "adapter_config.json", "holds a LoRA, not a whole model"),
        ("gguf", "q4.gguf", "holds GGUF files, not a whole model"),
        ("part", "config.json", "is one part of a model"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
        assert says in refusal(tmp_path, model=f"./{name}")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("QwenImagePipeline", "makes pictures from text and edits none"),
        ("FluxKontextPipeline", "is a FluxKontextPipeline and not a Qwen-Image-Edit model"),
    ],
)
def test_another_pipeline(model: Path, name: str, says: str) -> None:
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "_class_name": name}))
    assert says in refusal(ROOT, model=str(model))


def test_a_damaged_index(model: Path) -> None:
    (model / "model_index.json").write_text("{")
    assert "cannot be read" in refusal(ROOT, model=str(model))


def test_missing_parts_shards_and_weights(model: Path) -> None:
    weights = next((model / "transformer").glob("*.safetensors"))
    index = model / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": weights.name, "b": "2-of-2.safetensors"}}))
    assert "1 of 2 weight files are missing" in refusal(ROOT, model=str(model))
    index.unlink()
    weights.unlink()
    assert "has no weights" in refusal(ROOT, model=str(model))
    ImageEdit().check(config(model=str(model), load_format="dummy"), ROOT)
    (model / "vae" / "config.json").unlink()
    assert "vae has no config.json" in refusal(ROOT, model=str(model), load_format="dummy")


def test_a_gguf_file_stands_for_the_transformer(model: Path, tmp_path: Path) -> None:
    for path in (model / "transformer").glob("*.safetensors"):
        path.unlink()
    file = tmp_path / "q4.gguf"
    assert "There is no file" in refusal(ROOT, model=str(model), gguf=str(file))
    file.write_bytes(b"not one")
    assert "is not a GGUF file" in refusal(ROOT, model=str(model), gguf=str(file))
    file.write_bytes(b"GGUF....")
    ImageEdit().check(config(model=str(model), gguf=str(file)), ROOT)
    assert "is no .gguf file" in refusal(ROOT, model=str(model), gguf=str(tmp_path))


def test_loras_have_to_be_there(model: Path, tmp_path: Path) -> None:
    said = refusal(ROOT, model=str(model), loras=[f"ink={tmp_path}/gone.safetensors"])
    assert "LoRA ink: there is no file" in said
    (tmp_path / "empty").mkdir()
    said = refusal(ROOT, model=str(model), loras=[f"ink={tmp_path}/empty"])
    assert "holds no .safetensors file" in said
    said = refusal(ROOT, model=str(model), lightning="/gone/fast.safetensors")
    assert "LoRA lightning" in said
    (tmp_path / "empty" / "ink.safetensors").touch()
    ImageEdit().check(config(model=str(model), loras=[f"ink={tmp_path}/empty", "h=a/b/c"]), ROOT)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"rung": "nf4"}, "no bitsandbytes, which rung = nf4 needs"),
        ({"gguf": "/q.gguf"}, "no gguf, which gguf needs"),
        ({"loras": ["a=/l"]}, "no peft, which loras needs"),
    ],
)
def test_packages_of_an_adopted_environment(
    tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    there = Interpreter(name="diffusers", python=str(tmp_path / "bin/python"))
    with pytest.raises(EnvMissing, match=says):
        ImageEdit().check_env(config(**settings), there)
    for name in ("bitsandbytes", "gguf", "peft"):
        (packages / f"{name}-1.0.dist-info").mkdir()
    ImageEdit().check_env(config(**settings), there)


# what it tells ----------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """The folder of a run, with a plan."""
    made = RunDir(tmp_path / "run")
    made.folder.mkdir()
    (made.folder / "spec.json").write_text(spec("edit", ["true"]).model_dump_json())
    plan = {"rungs": [{"name": "fp8", "load_s": 60.0}]}
    (made.folder / "plan.json").write_text(json.dumps(plan))
    return made


def test_loading_is_told_against_the_plan(run: RunDir) -> None:
    run.log.write_text("12:00:00 rung fp8: It fits: 22.8 of 23.0 GiB on card 0.\n")
    told = ImageEdit().progress(run)
    assert told and told.total == 60.0 and told.text == "loading on rung fp8"
    with run.log.open("a") as file:
        file.write("12:01:00 rung fp8 stands after 58.2 s\n")
    assert ImageEdit().progress(run) is None


def test_curves_are_the_seconds_of_the_jobs(run: RunDir) -> None:
    for number, state in enumerate(("done", "failed", "done")):
        job = run.artifacts / "jobs" / f"{number}"
        job.mkdir(parents=True)
        timings = {"encode_s": 0.5, "step_s": 1.0 + number, "total_s": 9.0}
        (job / "done.json").write_text(json.dumps({"state": state, "timings": timings}))
    os.truncate(run.artifacts / "jobs" / "0" / "done.json", 5)
    points = list(ImageEdit().points(run))
    assert [(point.name, point.value) for point in points] == [
        ("s/step", 3.0),
        ("encode (s)", 0.5),
        ("picture (s)", 9.0),
    ]
