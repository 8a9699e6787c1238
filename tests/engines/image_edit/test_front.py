"""The front: edits, uploads, and what it tells about itself."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines.image_edit.conftest import drawn, serving
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from studio.engines.workers.image_edit import uploads
from studio.engines.workers.image_edit.asked import Defaults, check
from studio.engines.workers.image_edit.stamp import stamped


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# edits ------------------------------------------------------------------------------------------


def test_an_edit_is_answered_as_openai_does(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            answer = await worker.post("make it blue", n=2, seed=7, size="96x64")
            assert answer.status_code == 200
            told = answer.json()
            assert told["seeds"] == [7, 8] and told["rung"] == "whole"
            assert told["timings"]["encode_s"] == 0.1
            first, second = (opened(base64.b64decode(row["b64_json"])) for row in told["data"])
            assert first.size == second.size == (96, 64)
            assert first.getpixel((0, 0)) == (7, 8, 128) and second.getpixel((0, 0))[0] == 8

    asyncio.run(edit())


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"default_pixels": 96 * 96}, (96, 96)),
        ({"default_pixels": 512 * 512}, (128, 128)),  # max_pixels holds for it as well
        ({"max_pixels": 2 * 2**20}, (1024, 1024)),
    ],
    ids=["usual", "capped", "megapixel"],
)
def test_a_request_without_a_size_has_the_usual_area(
    tmp_path: Path, settings: dict[str, Any], size: tuple[int, int]
) -> None:
    async def edit() -> None:
        async with serving(tmp_path, **settings) as worker:
            for said in ({}, {"size": "auto"}):
                job = await worker.submit("make it blue", **said)
                told = await worker.until(job, "done")
                assert told["settings"]["size"] == "x".join(map(str, size))
            larger = await worker.submit("make it blue", size="128x128")
            assert (await worker.until(larger, "done"))["settings"]["size"] == "128x128"

    asyncio.run(edit())


def test_an_encoding_that_was_kept_says_nothing_of_a_new_one(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            await worker.until(await worker.submit("make it blue"), "done")
            row = (await worker.http.get("/ladder")).json()["ladder"][0]
            assert row["measured_decode_s"] > 0 and "measured_encode_s" not in row

    asyncio.run(edit())


def test_a_result_tells_how_it_was_made(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            job = await worker.submit("蓝色 sky", seed=5, num_inference_steps=3)
            status = await worker.until(job, "done")
            assert status["pictures"] == 1 and status["error"] is None
            answer = await worker.http.get(f"/v1/images/jobs/{job}/pictures/0")
            assert answer.headers["content-type"] == "image/png"
            how = json.loads(opened(answer.content).text["parameters"])
            expected = {"prompt": "蓝色 sky", "seed": 5, "num_inference_steps": 3, "rung": "whole"}
            assert expected.items() <= how.items()
            assert how["size"] == "128x128" and how["model"] == "tiny" and how["job"] == job

    asyncio.run(edit())


def test_everything_of_a_job_stays_in_its_folder(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            files = [("image[]", ("a", drawn(), "image/png")), ("image[]", ("b", drawn(80, 40)))]
            mask = Image.new("L", (40, 40), "black")
            mask.paste("white", (10, 10, 20, 20))
            file = io.BytesIO()
            mask.save(file, "PNG")
            answer = await worker.http.post(
                "/v1/images/jobs",
                data={"prompt": "both", "user": "ann"},
                files=[*files, ("mask", ("m", file.getvalue()))],
            )
            job = answer.json()["job"]
            assert answer.headers["location"] == f"/v1/images/jobs/{job}"
            status = await worker.until(job, "done")
            folder = tmp_path / "jobs" / job
            names = {path.name for path in folder.iterdir()}
            assert names >= {"request.json", "in-0.png", "in-1.png", "mask.png", "out-0.png"}
            request = json.loads((folder / "request.json").read_text())
            assert request["user"] == "ann" and request["pictures"] == ["in-0.png", "in-1.png"]
            assert json.loads((folder / "done.json").read_text()) == status
            assert opened((folder / "mask.png").read_bytes()).getpixel((15, 15)) == 255

    asyncio.run(edit())


def test_json_carries_pictures_as_data_uris(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            data = base64.b64encode(drawn()).decode()
            for picture in (
                f"data:image/png;base64,{data}",
                data,
                {"image_url": f"data:;base64,{data}"},
            ):
                body = {"prompt": "x", "images": [picture], "num_inference_steps": 2, "n": 1}
                answer = await worker.http.post("/v1/images/edits", json=body)
                assert answer.status_code == 200, answer.text
            body["images"] = ["http://127.0.0.1/secret.png"]
            answer = await worker.http.post("/v1/images/edits", json=body)
            assert answer.status_code == 400
            assert "addresses are not fetched" in answer.json()["error"]["message"]

    asyncio.run(edit())


def test_lightning_asks_for_its_own_steps_without_cfg() -> None:
    plain = check({"prompt": "x"}, Defaults.of({"num_inference_steps": 30, "true_cfg_scale": 3}))
    assert (plain.steps, plain.true_cfg_scale, plain.guided) == (30, 3.0, True)
    settings = {"lightning": "/l.safetensors", "lightning_steps": 8, "num_inference_steps": 30}
    fast = check({"prompt": "x"}, Defaults.of(settings))
    assert (fast.steps, fast.true_cfg_scale, fast.guided) == (8, 1.0, False)
    assert check({"prompt": "x", "num_inference_steps": 1}, Defaults.of(settings)).steps == 1
    styles = Defaults.of({"loras": ["ink=/a=b@0.8", "oil = /c"]}).loras
    assert styles == ("ink", "oil")


def test_a_model_of_one_picture_takes_one(tmp_path: Path) -> None:
    async def edit() -> None:
        index = tmp_path / "model_index.json"
        index.write_text('{"_class_name": "QwenImageEditPipeline"}')
        async with serving(tmp_path, model=str(tmp_path)) as worker:
            files = [("image[]", ("a", drawn())), ("image[]", ("b", drawn()))]
            answer = await worker.http.post("/v1/images/edits", data={"prompt": "x"}, files=files)
            assert answer.status_code == 400
            assert "one picture at a time" in answer.json()["error"]["message"]
            assert (await worker.post("x")).status_code == 200

    asyncio.run(edit())


def test_a_picture_from_words_alone_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving(tmp_path) as worker:
            answer = await worker.http.post("/v1/images/generations", json={"prompt": "a cat"})
            assert answer.status_code == 400
            assert "edits pictures" in answer.json()["error"]["message"]

    asyncio.run(ask())


def test_the_pipe_may_refuse_and_lives_on(tmp_path: Path) -> None:
    async def edit() -> None:
        async with serving(tmp_path) as worker:
            pid = (await worker.ready()) and worker.front.keeper.pid
            answer = await worker.post("refuse this")
            assert answer.status_code == 500
            assert answer.json()["error"]["message"] == "The pipeline wants more. Give it more."
            answer = await worker.post("a bad setting")
            assert answer.status_code == 400
            told = answer.json()["error"]
            assert told["type"] == "invalid_request_error"
            assert told["message"] == "There is no such thing."
            assert (await worker.post("now noise")).status_code == 200
            assert worker.front.keeper.pid == pid

    asyncio.run(edit())


# uploads ----------------------------------------------------------------------------------------


def test_a_body_that_grows_too_large_is_refused_with_the_reason(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(2**20)

    async def send() -> None:
        async with serving(tmp_path) as worker:
            worker.front.app.max_bytes = 2 * 2**20
            headers = {"Content-Type": "application/json"}
            answer = await worker.http.post("/v1/images/edits", content=endless(), headers=headers)
            assert answer.status_code == 413
            assert "larger than 2 MB" in answer.json()["error"]["message"]

    asyncio.run(send())


def test_a_body_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def stalling() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(20)

    async def send() -> None:
        monkeypatch.setattr(uploads, "STALL_S", 0.05)
        async with serving(tmp_path) as worker:
            headers = {"Content-Type": "application/json"}
            answer = await worker.http.post("/v1/images/edits", content=stalling(), headers=headers)
            assert answer.status_code == 408
            assert "stopped before its end" in answer.json()["error"]["message"]

    asyncio.run(send())


# about the server -------------------------------------------------------------------------------


def test_health_ladder_and_models(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving(tmp_path) as worker:
            told = await worker.ready()
            assert told["rung"] == "whole" and told["why"] == "whole fits."
            ladder = (await worker.http.get("/ladder")).json()
            assert [row["rung"] for row in ladder["ladder"]] == ["whole", "fp8", "cpu"]
            assert ladder["falls"] == [] and ladder["loaded"]["peaks"]["cards"]
            models = (await worker.http.get("/v1/models")).json()
            assert [row["id"] for row in models["data"]] == ["tiny"]

    asyncio.run(ask())


def test_figures_are_counted(tmp_path: Path) -> None:
    async def ask() -> None:
        async with serving(tmp_path) as worker:
            await worker.post("oom:whole@2 blue")
            await worker.post("refuse")
            page = await worker.http.get("/metrics")
            assert page.headers["content-type"].startswith("text/plain")
            assert figures(page.text) >= {
                ("image_jobs_total", "done", 1.0),
                ("image_jobs_total", "failed", 1.0),
                ("image_jobs_total", "cancelled", 0.0),
                ("image_falls_total", "whole fp8", 1.0),
                ("image_rung_info", "fp8", 1.0),
                ("image_queue_length", "", 0.0),
                ("image_card_peak_bytes", "0", 7.0 * 2**30),
                ("image_host_peak_bytes", "", 2.0**30),
                ("image_cache_hits_total", "prompt", 1.0),
                ("image_job_seconds_count", "", 1.0),
                ("image_encode_seconds_count", "", 1.0),
                ("image_decode_seconds_count", "", 1.0),
                ("image_step_seconds_count", "", 7.0),  # the first of eight warms up
            }

    asyncio.run(ask())


def figures(page: str) -> set[tuple[str, str, float]]:
    """Return the samples of a Prometheus page: name, labels, value."""
    return {
        (sample.name, " ".join(sample.labels.values()), sample.value)
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if "le" not in sample.labels
    }


def test_the_key_is_asked_for_everywhere_but_health(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> None:
        monkeypatch.setenv("STUDIO_ENDPOINT_KEY", "sésame")
        async with serving(tmp_path) as worker:
            await worker.ready()
            for headers in ({}, {"Authorization": "Bearer open"}, {"Authorization": "Basic x"}):
                worker.http.headers = httpx.Headers(headers)
                for path in ("/v1/models", "/ladder", "/v1/images/jobs/x"):
                    answer = await worker.http.get(path)
                    assert answer.status_code == 401 and answer.headers["www-authenticate"]
                assert (await worker.post("x")).status_code == 401
                assert (await worker.http.get("/metrics")).status_code == 200
            right = {"Authorization": "Bearer sésame".encode()}
            assert (await worker.http.get("/v1/models", headers=right)).status_code == 200

    asyncio.run(ask())


def test_only_a_png_can_carry_its_settings() -> None:
    with pytest.raises(ValueError, match="only a PNG"):
        stamped(drawn(kind="JPEG"), {})
    assert opened(stamped(drawn(), {"prompt": "é"})).text == {"parameters": '{"prompt": "é"}'}
