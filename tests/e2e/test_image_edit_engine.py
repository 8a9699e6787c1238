"""The image editor's API with the real diffusers on the CPU: edits, jobs, queue, crash.

The tiny model has random weights, so what is compared is pixels with pixels: the same seed, another
prompt. A server starts in about ten CPU seconds, and one carries all of these tests.
"""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
from PIL import Image

from e2e.image_edits import (
    LONG,
    SIDE,
    Editor,
    difference,
    picture,
    pipes,
    pixels,
    png,
    serving,
    write_lora,
)
from studio.jobs.jobs import Run
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

KEY = "for-tests-only"


@pytest.fixture(scope="module")
def server(
    real_studio: Studio, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Run, Editor]]:
    """A server with a key and two styles that are off until a request asks for them."""
    folder = tmp_path_factory.mktemp("styles")
    one = write_lora(folder / "one.safetensors", seed=1)
    two = write_lora(folder / "two.safetensors", seed=2)
    with serving(real_studio, {"api_key": KEY, "loras": [f"one={one}@0", f"two={two}@0"]}) as both:
        yield both


@pytest.fixture(scope="module")
def run(server: tuple[Run, Editor]) -> Run:
    """That server's run."""
    return server[0]


@pytest.fixture(scope="module")
def editor(server: tuple[Run, Editor]) -> Editor:
    """That server's API."""
    return server[1]


@pytest.fixture(scope="module")
def plain(editor: Editor) -> np.ndarray:
    """The picture that everything else is compared with: seed 7, one reference, no option."""
    return editor.edit()


# the API ------------------------------------------------------------------------------------------


def test_official_client(editor: Editor, run: Run) -> None:
    with openai.OpenAI(base_url=editor.base, api_key=KEY, max_retries=0) as client:
        names = [model.id for model in client.models.list()]
        assert "tiny-qwen-image-edit" in names
        answer = client.images.edit(
            model=names[0],
            image=[("a.png", picture()), ("b.png", picture("blue-square"))],
            prompt="Put the circle on the square",
            size="128x128",  # pyright: ignore[reportArgumentType] - OpenAI's own list is longer now
            extra_body={"seed": 7, "num_inference_steps": 2},
        )
        assert answer.data
        made = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json or "")))
        assert (made.format, made.size, made.mode) == ("PNG", (SIDE, SIDE), "RGB")
        told = json.loads(made.info["parameters"])
        assert (told["seed"], told["prompt"]) == (7, "Put the circle on the square")
        with pytest.raises(openai.BadRequestError, match="prompt"):
            client.images.edit(image=("a.png", picture()), prompt=" ")
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=editor.base, api_key="wrong").models.list()


def test_curl_with_a_form(editor: Editor, plain: np.ndarray, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    assert curl, "curl is part of every Linux this runs on"
    (tmp_path / "a.png").write_bytes(picture())
    argv = [curl, "-sS", f"{editor.base}/images/edits", "-F", f"image=@{tmp_path / 'a.png'}"]
    argv += ["-F", "prompt=把它变成蓝色", "-F", f"size={SIDE}x{SIDE}", "-F", "seed=7"]
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(refused.stdout)["error"]["code"] == "invalid_api_key"
    argv += ["-H", f"Authorization: Bearer {KEY}"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    answer = json.loads(told.stdout)
    assert answer["seeds"] == [7] and answer["rung"] == "cpu" and answer["timings"]["total_s"] > 0
    assert (pixels(base64.b64decode(answer["data"][0]["b64_json"])) == plain).all()


def test_streamed_answer(editor: Editor) -> None:
    """OpenAI's event names: partial pictures first, then the whole one."""
    said = {"num_inference_steps": 24, "size": "256x256"}
    body = {
        "prompt": "把它变成蓝色",
        "image": f"data:image/png;base64,{base64.b64encode(picture()).decode()}",
        **said,
        "seed": 7,
        "stream": True,
        "partial_images": 2,
    }
    events = []
    with editor.http.stream("POST", f"{editor.base}/images/edits", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                events.append(json.loads(line.removeprefix("data: ")))
    kinds = [event["type"] for event in events if event["type"].startswith("image_edit.")]
    assert kinds[-1] == "image_edit.completed" and "image_edit.partial_image" in kinds
    assert (pixels(base64.b64decode(events[-1]["b64_json"])) == editor.edit(**said)).all()


def test_three_pictures_and_not_four(editor: Editor, plain: np.ndarray) -> None:
    three = editor.edit(picture(), picture("blue-square"), picture("yellow-star"))
    assert 0.2 < difference(three, plain) < 60, "the others are looked at as well"
    four = editor.post("jobs", *[picture()] * 4)
    assert four.status_code == 400 and "3" in four.json()["error"]["message"]


def test_same_seed_same_picture(editor: Editor, plain: np.ndarray) -> None:
    assert (editor.edit() == plain).all()
    assert difference(editor.edit(seed=8), plain) > 5
    assert difference(editor.edit(prompt="Turn it into a watercolour"), plain) > 0.1
    job = editor.submit(n=2)
    told = editor.done(job)
    assert (told["seeds"], told["pictures"]) == ([7, 8], 2)
    assert (editor.result(job, 0) == plain).all()
    assert (editor.result(job, 1) == editor.edit(seed=8)).all()


@pytest.mark.parametrize("kind", ["transparent", "white"])
def test_outside_the_mask_nothing_changes(editor: Editor, kind: str) -> None:
    """OpenAI's masks are transparent where to edit, ours may also be white there."""
    before = Image.open(io.BytesIO(picture())).convert("RGB").resize((SIDE, SIDE))
    mark = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 255))
    colour = (0, 0, 0, 0) if kind == "transparent" else (255, 255, 255, 255)
    mark.paste(colour, (0, 0, SIDE // 2, SIDE))
    after = editor.edit(png(before), mask=png(mark if kind == "transparent" else mark.convert("L")))
    left, right = after[:, : SIDE // 2 - 16], after[:, SIDE // 2 + 16 :]
    original = np.asarray(before).astype(int)
    assert (right == original[:, SIDE // 2 + 16 :]).all()
    assert np.abs(left - original[:, : SIDE // 2 - 16]).mean() > 10


def test_second_edit_of_a_picture_skips_the_encoders(editor: Editor) -> None:
    fresh = editor.done(editor.submit(picture("purple-heart"), prompt="只在这里出现的提示词"))
    again = editor.done(editor.submit(picture("purple-heart"), prompt="只在这里出现的提示词"))
    assert (fresh["cached"]["prompt"], fresh["cached"]["references"]) == (False, 0)
    assert (again["cached"]["prompt"], again["cached"]["references"]) == (True, 1)
    assert (editor.result(fresh["job"]) == editor.result(again["job"])).all()


def test_progress_and_preview(editor: Editor) -> None:
    job = editor.submit(preview_every=1, **LONG)
    told = editor.until(job, lambda told: told["preview"] >= 1 and told["step"] >= 3)
    assert (told["state"], told["steps"]) == ("running", 200)
    assert told["eta_s"] > 0 and told["elapsed_s"] > 0
    small = Image.open(io.BytesIO(editor.get(f"/v1/images/jobs/{job}/preview").content))
    assert small.format == "WEBP" and max(small.size) <= 512
    editor.http.delete(f"{editor.base}/images/jobs/{job}")
    editor.until(job, lambda told: told["state"] == "cancelled")


def test_styles_by_request(editor: Editor, plain: np.ndarray) -> None:
    one = editor.edit(loras=json.dumps({"one": 1.0}))
    two = editor.edit(loras=json.dumps({"two": 1.0}))
    both = editor.edit(loras=json.dumps({"one": 0.5, "two": 0.5}))
    assert min(difference(a, b) for a, b in ((one, plain), (two, plain), (one, two))) > 0.2
    assert min(difference(both, one), difference(both, two)) > 0.1
    assert (editor.edit() == plain).all(), "the next request has none of it"
    unknown = editor.post("jobs", loras=json.dumps({"three": 1}))
    assert unknown.status_code == 400 and "one, two" in unknown.json()["error"]["message"]


def test_cancel_in_the_middle(editor: Editor, plain: np.ndarray) -> None:
    job = editor.submit(**LONG)
    editor.until(job, lambda told: told["step"] >= 2)
    began = time.monotonic()
    assert editor.http.delete(f"{editor.base}/images/jobs/{job}").is_success
    told = editor.until(job, lambda told: told["state"] == "cancelled")
    assert told["step"] < 200 and time.monotonic() - began < 60
    assert (editor.edit() == plain).all(), "the pipeline stays usable"


def test_queue_and_positions(editor: Editor) -> None:
    jobs = [editor.submit(user="me", **LONG), *[editor.submit(user="me") for _ in range(3)]]
    editor.until(jobs[0], lambda told: told["step"] >= 1)
    assert [editor.job(job)["position"] for job in jobs] == [0, 1, 2, 3]
    assert editor.http.delete(f"{editor.base}/images/jobs/{jobs[1]}").is_success
    assert editor.job(jobs[1])["state"] == "cancelled"
    assert [editor.job(job)["position"] for job in jobs[2:]] == [1, 2]
    assert editor.http.delete(f"{editor.base}/images/jobs/{jobs[0]}").is_success
    assert all(editor.done(job)["pictures"] == 1 for job in jobs[2:])


def test_users_take_turns(editor: Editor) -> None:
    """Somebody who queues many pictures does not keep the next person waiting for all of them."""
    long = editor.submit(user="a", **LONG)
    mine = [editor.submit(user="a") for _ in range(3)]
    yours = editor.submit(user="b")
    assert editor.job(yours)["position"] == 1
    editor.http.delete(f"{editor.base}/images/jobs/{long}")
    ends = [editor.done(job)["job"] for job in (yours, *mine)]
    assert ends == [yours, *mine]


def test_bad_requests_leave_the_worker_alone(editor: Editor, plain: np.ndarray) -> None:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"
    for answer, word in (
        (editor.post("jobs", svg), "picture"),
        (editor.post("jobs", picture()[:200]), ""),
        (editor.post("jobs", prompt="长" * 100_000), "characters"),
        (editor.post("jobs", num_inference_steps=0), "num_inference_steps"),
        (editor.post("jobs", size="100x100"), "multiples"),
        (editor.post("jobs", steps=4), "steps"),
        (editor.http.post(f"{editor.base}/images/generations", json={"prompt": "a cat"}), ""),
    ):
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error" and word in error["message"]
    assert editor.get("/v1/images/jobs/none").status_code == 404
    assert (editor.edit() == plain).all()


def test_health_ladder_and_figures(editor: Editor) -> None:
    assert editor.get("/health").json()["status"] == "ready"
    ladder = editor.get("/ladder").json()
    by_name = {rung["rung"]: rung for rung in ladder["ladder"]}
    assert ladder["rung"] == "cpu" and by_name["cpu"]["fits"]
    assert not by_name["whole"]["fits"] and "card" in by_name["whole"]["why"]
    editor.edit()
    figures = editor.get("/metrics").text
    assert "# TYPE" in figures and "step" in figures


def test_crash_in_the_middle(editor: Editor, run: Run, plain: np.ndarray) -> None:
    """The job is reported, the pipe comes back by itself, the next job is served."""
    job = editor.submit(**LONG)
    editor.until(job, lambda told: told["step"] >= 2)
    (pipe,) = pipes(run)
    os.kill(pipe, signal.SIGKILL)
    told = editor.until(job, lambda told: told["state"] == "failed")
    assert told["error"]["message"] and "signal 9" in told["error"]["message"]
    assert (editor.edit() == plain).all()
    assert pipes(run) != [pipe] and editor.get("/health").status_code == 200
