"""The studio's side against the real front of the worker, over a pipe that pretends."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from engines.image_edit.process import FrontProcess, front_process
from images.conftest import ANN, GUEST
from images.stand_in import LADDER, StandIn, png
from PIL import Image

from studio.chat.external import check_edits
from studio.core.errors import NotFound
from studio.core.spec import Endpoint
from studio.images import client
from studio.images.desk import ImageDesk, Look
from studio.images.item import ItemState
from studio.images.request import EditInvalid, EditRequest, EditSettings


class Worker(NamedTuple):
    """A run that is up."""

    front: FrontProcess
    endpoint: Endpoint
    desk: ImageDesk


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One that several tests share."""
    with started(tmp_path_factory.mktemp("shared")) as found:
        yield found


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Worker]:
    """One that the test may end."""
    with started(tmp_path) as found:
        yield found


@contextmanager
def started(home: Path) -> Iterator[Worker]:
    run = home / "run"
    run.mkdir()
    with front_process(run) as front:
        front.ready()
        yield made(front, run, home)


def made(front: FrontProcess, run: Path, home: Path) -> Worker:
    endpoint = Endpoint(
        id="run-1",
        name="tiny",
        kind="images",
        base_url=f"http://127.0.0.1:{front.port}/v1",
        models=("tiny",),
        run_id="run-1",
    )

    def alive() -> bool:
        return front.process.poll() is None

    return Worker(
        front,
        endpoint,
        ImageDesk(home / "images", lambda: [endpoint] if alive() else [], lambda _: (run, alive())),
    )


def asking(prompt: str, **settings) -> EditRequest:
    return EditRequest(
        pictures=(png(), png()),
        mask=png(colour="white"),
        settings=EditSettings(prompt=prompt, **settings),
    )


def until(desk: ImageDesk, ident: str, right: Callable[[Look], bool], person=ANN) -> Look:
    deadline = time.monotonic() + 20
    while not right(look := desk.look(person, ident)):
        assert time.monotonic() < deadline, look
        time.sleep(0.01)
    return look


def test_progress_preview_and_result(worker: Worker) -> None:
    desk = worker.desk
    item = desk.submit(ANN, asking("slow", n=2, seed=5, num_inference_steps=8, size="64x64"))
    until(desk, item.id, lambda look: look.job.preview > 0)
    shown = desk.preview(ANN, item.id)
    assert shown is not None and Image.open(io.BytesIO(shown)).size == (32, 32)
    look = until(desk, item.id, lambda look: look.ended)
    end = look.item.end
    assert end is not None and end.state is ItemState.DONE
    assert (end.seeds, end.steps, end.size_out) == ((5, 6), 8, (64, 64)) and end.rung
    assert end.timings["total_s"] == 0.2 and end.peaks["host"] == 2**30
    settings = desk.read_back(desk.file(ANN, item.id, "out-1.png").read_bytes())
    assert settings is not None and (settings.prompt, settings.seed) == ("slow", 6)
    assert (settings.size, settings.num_inference_steps) == ("64x64", 8)


def test_a_fall_is_told(worker: Worker) -> None:
    item = worker.desk.submit(ANN, asking("oom:whole@1", size="64x64"))
    look = until(worker.desk, item.id, lambda look: look.ended)
    assert look.item.state is ItemState.DONE and look.job.rung == "fp8"
    assert any(note.startswith("Fell from whole to fp8") for note in look.job.notes)
    told = worker.desk.ladder(ANN)
    assert told["rung"] == "fp8" and told["falls"][0]["from"] == "whole"
    assert worker.desk.health(ANN).rung == "fp8"


def test_line_cancel_and_refusals(worker: Worker) -> None:
    desk = worker.desk
    first = desk.submit(GUEST, asking("slow", num_inference_steps=50, size="64x64"))
    second = desk.submit(ANN, asking("slow", num_inference_steps=50, size="64x64"))
    until(desk, first.id, lambda look: look.job.state == "running", GUEST)
    assert desk.look(ANN, second.id).job.position == 1
    assert desk.cancel(ANN, second.id).item.state is ItemState.CANCELLED
    desk.cancel(GUEST, first.id)
    look = until(desk, first.id, lambda look: look.ended, GUEST)
    assert look.item.state is ItemState.CANCELLED
    refused = desk.submit(ANN, asking("refuse", size="64x64"))
    look = until(desk, refused.id, lambda look: look.ended)
    assert look.job.error is not None and look.job.error.message == "The pipeline wants more."
    with pytest.raises(EditInvalid, match="There is no LoRA anime"):
        desk.submit(ANN, asking("x", loras={"anime": 1.0}))
    with pytest.raises(EditInvalid, match="the area ends at"):
        desk.submit(ANN, asking("x", size="512x512"))
    with pytest.raises(EditInvalid, match="There is no model"):
        desk.submit(ANN, asking("x", model="other"))
    with pytest.raises(NotFound):
        client.status(worker.endpoint, "nothing")
    check_edits(worker.endpoint)


def test_a_worker_that_is_stopped_in_the_middle(mortal: Worker) -> None:
    desk = mortal.desk
    done = desk.submit(ANN, asking("quick", size="64x64"))
    mortal.front.until(done.asked.job, "done")
    cut = desk.submit(ANN, asking("slow", num_inference_steps=100, size="64x64"))
    mortal.front.until(cut.asked.job, "running")
    mortal.front.process.terminate()
    mortal.front.process.wait(10)
    assert desk.look(ANN, done.id).item.state is ItemState.DONE
    look = desk.look(ANN, cut.id)
    assert look.item.state is ItemState.CANCELLED and look.job.error is not None
    assert "was stopped before this picture was finished" in look.job.error.message


def test_a_worker_that_is_killed(mortal: Worker) -> None:
    desk = mortal.desk
    cut = desk.submit(ANN, asking("slow", num_inference_steps=100, size="64x64"))
    mortal.front.until(cut.asked.job, "running")
    mortal.front.process.kill()
    mortal.front.process.wait(10)
    look = desk.look(ANN, cut.id)
    assert look.item.state is ItemState.FAILED and look.job.error is not None
    assert look.job.error.message == "The worker ended before the picture was done."


def test_openai_clients_way(worker: Worker) -> None:
    found = client.edit(worker.endpoint, asking("x", n=2, seed=3, size="64x64"))
    assert len(found.pictures) == 2 and found.seeds == (3, 4)


def test_the_stand_in_says_nothing_that_the_front_does_not(worker: Worker) -> None:
    item = worker.desk.submit(ANN, asking("x", size="64x64"))
    until(worker.desk, item.id, lambda look: look.ended)
    http = worker.front.http
    real = http.get(f"/v1/images/jobs/{item.asked.job}").json()
    assert set(StandIn().take({"image": [png()]})) <= set(real)
    ladder = http.get("/ladder").json()
    assert set(LADDER) <= set(ladder)
    assert set(LADDER["ladder"][0]) <= set(ladder["ladder"][0])
    refused = http.post("/v1/images/jobs", data={"prompt": "x"})
    assert refused.status_code == 415 and {"message", "hint"} <= set(refused.json()["error"])
    assert http.get("/v1/images/jobs/nothing").status_code == 404
