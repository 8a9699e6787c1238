"""Pictures through the studio's own door, with the real worker and the tiny pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from e2e.conftest import ready, stopped
from e2e.image_edits import difference, picture, pixels
from studio.chat.desk import Person
from studio.core.settings import ROOT
from studio.images import pngmeta
from studio.images.batch_files import BatchState
from studio.images.desk import Look
from studio.images.item import ItemState
from studio.images.request import EditRequest, EditSettings
from studio.jobs.jobs import Run
from studio.studio import Studio

pytestmark = pytest.mark.engine

ME = Person("local")
SMALL = EditSettings(prompt="把它变成蓝色", size="128x128", seed=7)


@pytest.fixture(scope="module")
def worker(real_studio: Studio) -> Iterator[Run]:
    """The tiny editor, as the recipe starts it."""
    run = ready(real_studio, real_studio.launch_recipe("diffusers/smoke"))
    yield run
    if real_studio.jobs.get(run.id).state.alive:
        stopped(real_studio, run)


def asking(*names: str, **settings) -> EditRequest:
    shown = tuple(picture(name) for name in names or ("red-circle",))
    return EditRequest(pictures=shown, settings=SMALL.model_copy(update=settings))


def until(
    studio: Studio, ident: str, right: Callable[[Look], bool], timeout_s: float = 120
) -> Look:
    deadline = time.monotonic() + timeout_s
    while not right(look := studio.images.look(ME, ident)):
        assert time.monotonic() < deadline, look
        time.sleep(0.05)
    return look


def done(studio: Studio, ident: str) -> bytes:
    look = until(studio, ident, lambda look: look.ended)
    assert look.item.state is ItemState.DONE, look
    return studio.images.file(ME, ident, look.item.out[-1]).read_bytes()


def test_edited_kept_and_used_again(real_studio: Studio, worker: Run) -> None:
    desk = real_studio.images
    item = desk.submit(ME, asking("red-circle", "blue-square", n=2), endpoint=worker.id)
    look = until(real_studio, item.id, lambda look: look.ended)
    end = look.item.end
    assert end is not None and (end.seeds, end.steps, end.rung) == ((7, 8), 4, "cpu")
    assert end.timings["step_s"] > 0 and end.peaks["host"] > 2**20
    assert end.size_out == (128, 128) and len(look.item.out) == 2
    first = desk.file(ME, item.id, "out-0.png").read_bytes()
    settings = pngmeta.read(first)
    assert settings is not None and (settings.prompt, settings.seed) == (SMALL.prompt, 7)
    again = done(real_studio, desk.submit(ME, desk.reuse(ME, item.id)).id)
    assert difference(pixels(again), pixels(desk.file(ME, item.id, "out-1.png").read_bytes())) == 0
    assert difference(pixels(again), pixels(first)) > 1
    assert [kept.asked.run_id for kept in desk.items(ME, limit=2)] == [worker.id] * 2


def test_preview_and_cancel(real_studio: Studio, worker: Run) -> None:
    desk = real_studio.images
    item = desk.submit(ME, asking(num_inference_steps=100))
    look = until(real_studio, item.id, lambda look: look.job.preview > 0)
    assert 0 < look.job.step < 100 and look.job.eta_s is not None
    shown = desk.preview(ME, item.id)
    assert shown is not None and shown[8:12] == b"WEBP"
    desk.cancel(ME, item.id)
    look = until(real_studio, item.id, lambda look: look.ended)
    assert look.item.state is ItemState.CANCELLED and look.item.out == ()
    assert done(real_studio, desk.submit(ME, asking()).id)


def test_the_command_line(real_studio: Studio, worker: Run, tmp_path: Path) -> None:
    photo, folder, out = tmp_path / "a.png", tmp_path / "photos", tmp_path / "out"
    photo.write_bytes(picture())
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.png").write_bytes(picture("blue-square"))

    def image(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "app.py", "image", *map(str, words)],
            cwd=ROOT,
            env={**os.environ, "LADDER_HOME": str(real_studio.settings.home)},
            capture_output=True,
            text=True,
            timeout=180,
        )

    small = ("--size", "128x128", "--seed", 7)
    edited = image("edit", photo, "make it night", "-o", tmp_path / "n.png", *small)
    assert edited.returncode == 0, edited.stderr
    assert "on cpu, seed 7" in edited.stderr and pixels((tmp_path / "n.png").read_bytes()).any()
    batch = image("batch", folder, "make it night", "-o", out, *small)
    assert batch.returncode == 0 and "2 of 2 done" in batch.stdout, batch.stderr
    assert sorted(path.name for path in out.iterdir()) == ["one.png", "two.png"]
    (found,) = (b for b in real_studio.batches.list(ME) if b.plan.out == str(out))
    assert found.state is BatchState.DONE
    ladder = image("ladder").stdout
    assert "ready on cpu" in ladder and "It needs a card" in ladder
    ident = real_studio.images.items(ME, limit=1)[0].id
    script = image("curl", ident).stdout
    subprocess.run(["bash", "-c", script], cwd=tmp_path, check=True, timeout=120)
    kept = real_studio.images.file(ME, ident, "out-0.png").read_bytes()
    assert difference(pixels((tmp_path / "out-0.png").read_bytes()), pixels(kept)) == 0


def test_results_outlive_the_worker(real_studio: Studio, worker: Run) -> None:
    desk = real_studio.images
    quick = desk.submit(ME, asking(seed=11))
    slow = desk.submit(ME, asking(num_inference_steps=200))
    until(real_studio, slow.id, lambda look: look.job.state == "running")
    stopped(real_studio, worker)
    later = Studio(real_studio.settings).images
    assert later.look(ME, quick.id).item.state is ItemState.DONE
    assert pixels(later.file(ME, quick.id, "out-0.png").read_bytes()).shape == (128, 128, 3)
    look = later.look(ME, slow.id)
    assert look.item.state is ItemState.CANCELLED and look.job.error is not None
    assert "was stopped before this picture was finished" in look.job.error.message
