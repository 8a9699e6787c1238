"""`image` on the command line: edits, batches, what was kept, and a clear word where none runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from images.stand_in import StandIn, inverted, png
from PIL import Image
from typer.testing import CliRunner

from studio.commands.image import ME, image_app
from studio.core.errors import EndpointDown, NotFound, RecipeInvalid, StudioError
from studio.core.settings import ROOT, Settings
from studio.images import batch as batches
from studio.images.batch_files import BatchState
from studio.images.item import ItemState
from studio.images.request import EditInvalid
from studio.studio import Studio


class Told(NamedTuple):
    """What a command printed."""

    out: str
    err: str


class Shell:
    """`image` commands over one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: object, code: int = 0) -> Told:
        argv = [*map(str, words), "--home", str(self.home)]
        found = CliRunner().invoke(image_app, argv, catch_exceptions=False)
        assert found.exit_code == code, found.output
        return Told(found.stdout, found.stderr)


@pytest.fixture
def worker() -> Iterator[StandIn]:
    with StandIn(auto=True) as server:
        yield server


@pytest.fixture
def image(settings: Settings, worker: StandIn, monkeypatch: pytest.MonkeyPatch) -> Shell:
    """A home whose worker is an address that was connected."""
    monkeypatch.setattr(batches, "POLL_S", 0.01)
    shell = Shell(settings.home)
    assert "tiny-edit" in shell("connect", worker.endpoint.base_url, "--name", "tiny").out
    return shell


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png())
    return path


def test_an_edit_and_what_was_kept_of_it(
    image: Shell, worker: StandIn, photo: Path, tmp_path: Path
) -> None:
    out, white = tmp_path / "night.png", tmp_path / "white.png"
    white.write_bytes(png(colour="white"))
    told = image(
        "edit", photo, photo, "make it night", "-o", out, "--steps", 4, "--cfg", 1,
        "--seed", 7, "--negative", "blur", "--size", "64x64", "--mask", white,
        "--lora", "anime=0.8", "--endpoint", "tiny",
    )  # fmt: skip
    assert told.out == f"{out}\n" and "on whole, seed 7" in told.err
    form = worker.forms[0]
    assert (form["prompt"], form["num_inference_steps"], form["seed"]) == (
        "make it night",
        "4",
        "7",
    )
    assert (form["true_cfg_scale"], form["negative_prompt"]) == ("1.0", "blur")
    assert form["loras"] == '{"anime": 0.8}' and len(form["image"]) == 2 and form["mask"]
    (row,) = json.loads(image("ls", "--json").out)
    assert (row["state"], row["source"], row["seeds"]) == ("done", "photo.png", [7])
    assert "make it night" in image("ls").out
    shown = image("show", row["id"][:12]).out
    assert "created_at           17" not in shown, "a time that people read"
    assert "negative_prompt      blur" in shown and shown.strip().endswith("out-0.png")
    files = json.loads(image("show", row["id"], "--json").out)["files"]
    assert [Path(file).name for file in files] == [
        "before-0.png", "before-1.png", "mask.png", "out-0.png",
    ]  # fmt: skip
    curl = image("curl", row["id"]).out
    assert f"{worker.endpoint.base_url}/images/edits" in curl and "prompt=make it night" in curl
    image("rm", row["id"])
    assert image("ls", "--json").out == "[]\n"


def test_variants_have_names_of_their_own(image: Shell, photo: Path, tmp_path: Path) -> None:
    told = image("edit", photo, "x", "--n", 2, "-o", tmp_path / "v.png", "--json")
    names = [Path(file).name for file in json.loads(told.out)["files"]]
    assert names == ["v-0.png", "v-1.png"]
    assert len(image("edit", photo, "x", "--n", 2).out.splitlines()) == 2


def test_the_ending_of_the_name_says_the_format(image: Shell, photo: Path, tmp_path: Path) -> None:
    for name, kind in (("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.PNG", "PNG"), ("plain", "PNG")):
        image("edit", photo, "x", "-o", tmp_path / name)
        with Image.open(tmp_path / name) as saved:
            assert saved.format == kind, name
    (path,) = image("edit", photo, "x", "-o", tmp_path).out.splitlines()
    assert Path(path).parent == tmp_path and Path(path).is_file()


def test_what_fails_says_so(image: Shell, worker: StandIn, photo: Path) -> None:
    worker.auto = False
    image("edit", photo, "x", "-d")
    worker.end("job-1", state="failed", error={"message": "No rung.", "hint": "Free a card."})
    row = json.loads(image("ls", "--json").out)[0]
    assert row["error"]["message"] == "No rung."
    worker.refuse = (400, {"error": {"message": "size is odd."}})
    with pytest.raises(EditInvalid, match="size is odd"):
        image("edit", photo, "x")
    image("edit", photo, "x", "-d")
    assert "cancelled" in image("cancel", json.loads(image("ls", "--json").out)[0]["id"]).out


def test_a_folder(image: Shell, worker: StandIn, photo: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(png())
    told = image("batch", folder, "make it night", "-o", out, "--json")
    found = json.loads(told.out)
    assert (found["state"], found["done"], found["total"]) == ("done", 2, 2)
    assert (out / "a.png").read_bytes() != inverted(png()), "settings are inside"
    assert "photos" in image("ls", "--batches").out
    assert "2 of 2 done" in image("batch", found["id"]).out, "the id goes on with it"
    assert len(worker.forms) == 2
    (folder / "a.png").write_bytes(b"text")
    told = image("batch", folder, "make it day", code=1)
    assert "1 of 2 done" in told.out and "a.png: This is not a picture" in told.out


def test_the_ladder(image: Shell, worker: StandIn) -> None:
    lines = image("ladder").out.splitlines()
    assert lines[0] == "ready on fp8: It fits: 21.0 of 22.9 GiB on card 0."
    assert lines[1].split()[:2] == ["whole", "no"]
    assert lines[2].split()[:5] == [">", "fp8", "fits", "0.91", "s/step"]
    assert lines[-1] == "fell from whole to fp8: out of memory while loading"
    assert json.loads(image("ladder", "--json").out)["rung"] == "fp8"


@pytest.mark.parametrize(
    ("words", "kind", "says"),
    [
        (["edit", "just words"], RecipeInvalid, "One picture at least"),
        (["edit", "nowhere.png", "x"], NotFound, "nowhere.png cannot be read"),
        (["edit", ROOT / "README.md", "x"], EditInvalid, "not a picture"),
        (["edit", ROOT / "README.md", "x", "--lora", "a=b"], EditInvalid, "not name=weight"),
        (["edit", ROOT / "README.md", "x", "-o", "/no/where/x.png"], RecipeInvalid, "no folder"),
        (["edit", ROOT / "README.md", "x", "-o", "x.tiff"], RecipeInvalid, "saved as .tiff"),
        (["edit", ROOT / "README.md", "x", "--endpoint", "big"], NotFound, "not running"),
        (["show", "01"], NotFound, "There is no edit 01"),
        (["batch", ROOT], RecipeInvalid, "A batch needs a prompt"),
        (["batch", "01"], NotFound, "There is no batch 01"),
        (["batch", "/no/where", "x"], NotFound, "cannot be read"),
        (["connect", "http://127.0.0.1:1/v1"], EndpointDown, "Nothing answers"),
    ],
)
def test_faults(image: Shell, words: list, kind: type[StudioError], says: str) -> None:
    with pytest.raises(kind, match=says):
        image(*words)


def test_where_no_worker_runs(settings: Settings, photo: Path) -> None:
    with pytest.raises(NotFound) as caught:
        Shell(settings.home)("edit", photo, "x")
    assert "Nothing is running that edits pictures." in caught.value.message
    first, *others = caught.value.hint.splitlines()[1:]
    assert "python app.py run diffusers/smoke " in first and "--ready" in first and "#" in first
    assert any("2511-two-24gb" in line for line in others)


def _hear_ctrl_c() -> None:
    """Undo what a shell does to programs it starts with `&`: they ignore Ctrl-C, and hand it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("verb", ["edit", "batch"])
def test_ctrl_c_cancels(
    image: Shell, worker: StandIn, photo: Path, settings: Settings, verb: str
) -> None:
    worker.auto = False
    running = subprocess.Popen(
        [
            *(sys.executable, "app.py", "image", verb),
            *(str(photo if verb == "edit" else photo.parent), "make it night"),
        ],
        cwd=ROOT,
        env={**os.environ, "LADDER_HOME": str(settings.home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    until = time.monotonic() + 30
    while "job-1" not in worker.jobs:
        assert time.monotonic() < until and running.poll() is None
        time.sleep(0.02)
    worker.step("job-1", 3)
    assert running.stderr is not None
    while "step 3/40" not in running.stderr.readline():
        assert time.monotonic() < until
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130 and "Traceback" not in err
    assert worker.jobs["job-1"]["state"] == "cancelled"
    studio = Studio(settings)
    (item,) = studio.images.items(ME)
    assert item.state is ItemState.CANCELLED
    if verb == "batch":
        (found,) = studio.batches.list(ME)
        assert found.state is BatchState.STOPPED and f"image batch {found.plan.id}" in err
        worker.auto = True
        assert "1 of 1 done" in image("batch", found.plan.id).out
