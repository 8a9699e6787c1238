"""Hostile files, fields and connections against the front as a process: it answers and it lives."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from engines.image_edit.conftest import drawn
from engines.image_edit.hostile import files
from engines.image_edit.process import FrontProcess, front_process
from PIL import Image

pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FrontProcess]:
    """One front for the module; it has to live through everything."""
    with front_process(tmp_path_factory.mktemp("front"), loras=["ink=/loras/ink"]) as process:
        process.ready()
        yield process


@pytest.fixture(autouse=True)
def healthy(front: FrontProcess) -> Iterator[None]:
    """Whatever was sent, the same process answers afterwards."""
    yield
    assert front.process.poll() is None
    assert front.http.get("/health").status_code == 200


def ask(front: FrontProcess, path: str = "edits", **fields: Any) -> httpx.Response:
    """Send a good picture with these fields."""
    fields = {"prompt": "x", "num_inference_steps": "2"} | fields
    data = {name: value for name, value in fields.items() if value is not None}
    return front.http.post(f"/v1/images/{path}", data=data, files={"image": ("a.png", drawn())})


def sentence(answer: httpx.Response, status: int = 400) -> str:
    """Return the words of a refusal; it is always OpenAI's error object."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["type"] == "invalid_request_error" and error["code"]
    assert "Traceback" not in answer.text and str(Path.home()) not in answer.text
    return error["message"]


def test_every_hostile_file_is_refused_with_a_reason_or_taken_right(front: FrontProcess) -> None:
    wrong, seen = [], 0
    for hostile in files():
        seen += 1
        answer = front.http.post(
            "/v1/images/edits",
            data={"prompt": "x", "num_inference_steps": "2"},
            files={"image": (hostile.name, hostile.data, "image/png")},
        )
        if hostile.refused:
            told = answer.json().get("error", {}).get("message", "")
            if answer.status_code != 400 or hostile.refused not in told:
                wrong.append(f"{hostile.name}: {answer.status_code} {told}")
            continue
        if answer.status_code != 200:
            wrong.append(f"{hostile.name}: {answer.status_code} {answer.text}")
            continue
        with Image.open(front.jobs / answer.json()["job"] / "in-0.png") as kept:
            corner = kept.getpixel((0, 0))
            off = max(abs(a - b) for a, b in zip(corner, hostile.corner, strict=True))
            if kept.size != hostile.size or kept.mode != "RGB" or off > 6:
                wrong.append(f"{hostile.name}: {kept.size} {kept.mode} {corner}")
        assert front.http.get("/health").status_code == 200, hostile.name
    assert not wrong, "\n".join(wrong)
    assert seen > 50
    assert {path.name for path in front.folder.iterdir()} == {"image.json", "artifacts", "log.txt"}


def test_the_bad_one_of_several_pictures_is_named(front: FrontProcess) -> None:
    good, bad = ("image[]", ("a", drawn())), ("image[]", ("b", b"<svg/>"))
    answer = front.http.post("/v1/images/edits", data={"prompt": "x"}, files=[good, bad])
    assert sentence(answer).startswith("image 2: This is not a picture that the studio reads.")
    files = {"image": ("a", drawn()), "mask": ("m", drawn(40, 80))}
    answer = front.http.post("/v1/images/edits", data={"prompt": "x"}, files=files)
    assert sentence(answer).startswith("mask: The mask is 40 x 80 and its picture 40 x 40")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"prompt": "a" * 100_000},
            "prompt has 100,000 characters; at most 8,000 are read. Cut it.",
        ),
        ({"prompt": None}, "There is no prompt."),
        ({"prompt": " \n\t"}, "There is no prompt."),
        ({"negative_prompt": "a" * 8_001}, "negative_prompt has 8,001 characters"),
        ({"num_inference_steps": "0"}, "num_inference_steps is 0; it goes from 2 to 200."),
        ({"num_inference_steps": "-1"}, "it goes from 2"),
        ({"num_inference_steps": "1"}, "it goes from 2"),
        ({"num_inference_steps": "1e3"}, "has to be a whole number, not 1e3."),
        ({"num_inference_steps": "9" * 5000}, "has to be a whole number"),
        ({"num_inference_steps": "nan"}, "has to be a whole number, not nan."),
        ({"true_cfg_scale": "NaN"}, "true_cfg_scale has to be a number, not NaN."),
        ({"true_cfg_scale": "inf"}, "has to be a number, not inf."),
        ({"true_cfg_scale": "-2"}, "true_cfg_scale is -2.0; it goes from 0 to 30."),
        ({"seed": "-1"}, "seed is -1; it goes from 0 to"),
        ({"seed": "99999999999999999999"}, "Leave it out for a random one."),
        ({"n": "0"}, "n is 0; it goes from 1 to 10."),
        ({"n": "1000000"}, "it goes from 1 to 10."),
        ({"size": "99999x99999"}, "the area ends at"),
        ({"size": "0x0"}, "sides begin at 64"),
        ({"size": "100x128"}, "sides have to be multiples of 16. 96x128 is near."),
        ({"size": "big"}, "size has to be auto or WIDTHxHEIGHT, not big."),
        ({"size": "１２８x128"}, "size has to be auto"),
        ({"stream": "maybe"}, "stream has to be true or false"),
        ({"loras": "{"}, "loras has to be an object"),
        ({"loras": '{"../../x": 1}'}, "There is no LoRA ../../x here. Loaded: ink."),
        ({"loras": '{"ink": "Infinity"}'}, "ink has to be a number"),
        ({"user": "u" * 201}, "user has 201 characters"),
        ({"strength": "0.5", "sampler": "x"}, "sampler, strength cannot be set here."),
        ({"response_format": "url"}, "b64_json alone"),
        ({"output_format": "svg"}, "PNG alone"),
    ],
)
def test_fields_out_of_bounds_are_named(
    front: FrontProcess, fields: dict[str, Any], words: str
) -> None:
    for path in ("edits", "jobs"):
        assert words in sentence(ask(front, path, **fields))


def test_another_model_is_not_there(front: FrontProcess) -> None:
    assert "There is no model gpt-image-1 here." in sentence(ask(front, model="gpt-image-1"), 404)
    assert ask(front, model="tiny").status_code == 200


def test_what_openai_clients_add_is_taken_and_said_to_change_nothing(front: FrontProcess) -> None:
    answer = ask(front, quality="high", background="auto", seed="0")
    assert answer.json()["notes"] == [
        "background, quality changed nothing: this model has no such setting."
    ]


def test_a_form_without_the_right_files_is_refused(front: FrontProcess) -> None:
    post = front.http.post
    url, prompt = "/v1/images/edits", {"prompt": "x"}
    part = ("a.png", drawn())
    assert "There is no picture" in sentence(post(url, data=prompt, files={"mask": part}))
    assert "At most 3" in sentence(post(url, data=prompt, files=[("image", part)] * 4))
    assert "too many parts" in sentence(post(url, data=prompt, files=[("image", part)] * 30))
    assert "one mask" in sentence(
        post(url, data=prompt, files=[("image", part), *[("mask", part)] * 2])
    )
    assert "image is not a file" in sentence(
        post(url, data={"image": "@a.png"}, files={"mask": part})
    )
    assert "came as a file" in sentence(post(url, files={"prompt": part, "image": part}))
    twice = {"prompt": ["a", "b"]}
    assert "prompt was sent twice" in sentence(post(url, data=twice, files={"image": part}))


@pytest.mark.parametrize(
    ("kind", "body", "status", "words"),
    [
        ("", b"x", 415, "without a content type"),
        ("text/plain", b"x", 415, "cannot be read from text/plain"),
        ("application/x-www-form-urlencoded", b"prompt=x", 415, "cannot be read from"),
        ("multipart/form-data", b"--a--", 400, "form cannot be read"),
        ("multipart/form-data; boundary=a", b"nothing like it", 400, ""),
        ("multipart/form-data; boundary=a", b"--a\r\nContent-Disposition: x\r\n\r\nx", 400, ""),
        ("application/json", b"{", 400, "not JSON"),
        ("application/json", b"[" * 100_000, 400, "not JSON"),
        ("application/json", b"[1]", 400, "no object"),
        ("application/json", b'{"prompt":"x"}', 400, "There is no picture"),
        ("application/json", b'{"prompt":"x","image":7}', 400, "image is not a file"),
        ("application/json", b'{"prompt":"x","image":"@@"}', 400, "not base64"),
        ("application/json", b'{"prompt":["x"],"image":"aGk="}', 400, "prompt has to be text"),
        ("application/json", b'{"prompt":"x","seed":NaN,"image":"aGk="}', 400, "seed has to be"),
        ("application/json", b'{"prompt":"x","seed":true,"image":"aGk="}', 400, "seed has to be"),
        ("application/json", b'{"prompt":"x","n":1.5,"image":"aGk="}', 400, "n has to be"),
        ("application/json", b'{"prompt":"x","image":"file:///etc/passwd"}', 400, "not fetched"),
    ],
)
def test_bodies_that_are_no_request(
    front: FrontProcess, kind: str, body: bytes, status: int, words: str
) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = front.http.post("/v1/images/edits", content=body, headers=headers)
    assert words in sentence(answer, status)


# connections ------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_refused(front: FrontProcess) -> None:
    with front.connection() as wire:
        wire.sendall(head(2**40))
        assert b"413" in wire.recv(64)


def test_a_large_upload_hears_why_it_is_refused(front: FrontProcess) -> None:
    """The answer comes after the client has written, not as a broken connection."""
    files = {"image": ("a.bmp", bytes(30 * 2**20))}
    for path, status in (("/v1/images/edit", 404), ("/v1/images/edits", 400)):
        answer = front.http.post(path, data={"prompt": "x", "sampler": "y"}, files=files)
        assert answer.status_code == status and answer.json()["error"]["message"]


def test_a_client_that_asks_first_is_refused_before_it_writes(front: FrontProcess) -> None:
    with front.connection() as wire:
        wire.sendall(head(2**40).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert wire.recv(64).startswith(b"HTTP/1.1 413")


def test_uploads_that_stall_or_break_hold_nobody_up(front: FrontProcess) -> None:
    stalled = [front.connection() for _ in range(20)]
    for wire in stalled:
        wire.sendall(head(5000) + b"--a\r\nContent-Dispos")
    began = time.monotonic()
    assert ask(front).status_code == 200
    assert time.monotonic() - began < 5
    for wire in stalled:
        wire.close()


def test_a_client_that_hangs_up_cancels_its_edit(front: FrontProcess) -> None:
    body, kind = form(prompt="slow", num_inference_steps="200")
    with front.connection() as wire:
        wire.sendall(head(len(body), kind) + body)
        job = front.running_job()
    assert front.until(job, "cancelled")["state"] == "cancelled"


def test_a_stream_has_openais_events_and_ends_with_its_client(front: FrontProcess) -> None:
    fields = {"prompt": "slow", "num_inference_steps": "8", "stream": "true", "partial_images": "1"}
    files = {"image": ("a.png", drawn())}
    with front.http.stream("POST", "/v1/images/edits", data=fields, files=files) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
    kinds = [line["type"] for line in lines]
    assert kinds[-1] == "image_edit.completed" and "image_edit.partial_image" in kinds
    assert lines[-1]["b64_json"] and lines[-1]["size"] == "128x128"
    fields["num_inference_steps"] = "200"
    with front.http.stream("POST", "/v1/images/edits", data=fields, files=files):
        job = front.running_job()
    assert front.until(job, "cancelled")["state"] == "cancelled"


def test_words_that_are_no_http(front: FrontProcess) -> None:
    for words in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\r\nHost", b"\0" * 1000):
        with front.connection() as wire:
            wire.sendall(words)
            wire.shutdown(socket.SHUT_WR)
            wire.recv(1000)


def head(length: int, kind: str = "multipart/form-data; boundary=a") -> bytes:
    """Return the head of an upload."""
    return (
        "POST /v1/images/edits HTTP/1.1\r\nHost: front\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def form(**fields: str) -> tuple[bytes, str]:
    """Return body and content type of a good request."""
    request = httpx.Request(
        "POST", "http://front", data=fields, files={"image": ("a.png", drawn())}
    )
    return request.read(), request.headers["content-type"]
