"""The Image edit tab's desk through its API and its routes, on a page served for real."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from conftest import free_port
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from images.stand_in import StandIn, png, studio_before
from images.visitor import act, edit, last, now, upload, uri
from PIL import Image

from studio.chat.desk import Person
from studio.images.request import GUEST
from studio.studio import Studio
from studio.ui.chat.parts import BROWSER, person_of
from studio.ui.door.accounts import Account
from studio.ui.page.launch import launch_page

OPEN = {"/image_edit", "/image_status", "/image_cancel", "/image_gallery"}
CLOSED = {"/image_batch", "/image_launch", "/image_plan", "/image_rung"}
ANN, GUS = ("ann", "rungs and rails"), ("gus", "just looking")
FIRST, SECOND = "a" * 32, "b" * 32
"""Two browsers of the same guest account."""


@pytest.fixture(scope="module")
def worker() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, worker: StandIn) -> Studio:
    """A studio whose only worker is the stand-in; the page and its handlers are the real ones."""
    return studio_before(worker, tmp_path_factory.mktemp("home"), free_port(19300))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    served = launch_page(studio, only="image-edit")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def shared(studio: Studio) -> Iterator[str]:
    """The same page as others reach it: with an operator and a guest."""
    accounts = [Account.make(*ANN), Account.make(*GUS, "guest")]
    served = launch_page(studio, only="image-edit", accounts=accounts)
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


@contextmanager
def visitor(url: str, who: tuple[str, str], browser: str = FIRST) -> Iterator[httpx.Client]:
    """Log a browser in."""
    with httpx.Client(base_url=url, cookies={BROWSER: browser}, timeout=30) as web:
        web.post("/login", data={"username": who[0], "password": who[1]}).raise_for_status()
        yield web


# scripts ----------------------------------------------------------------------------------------


def test_only_this_tabs_api_exists(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names == OPEN | CLOSED


def test_a_script_edits_and_fetches_the_picture(
    client: Client, worker: StandIn, tmp_path: Path
) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(png((96, 64)))
    asked = {"num_inference_steps": 7, "seed": 5, "n": 2}
    made = client.predict(
        [handle_file(str(path)), uri(png())], "blue", asked, api_name="/image_edit"
    )
    assert made["state"] == "pending" and made["settings"]["seed"] == 5
    form = worker.forms[-1]
    assert (form["num_inference_steps"], form["n"], len(form["image"])) == ("7", "2", 2)
    worker.step(last(worker), 3)
    told = client.predict(made["id"], False, api_name="/image_status")
    assert (told["state"], told["step"], told["steps"], told["pictures"]) == ("running", 3, 7, [])
    worker.finish(last(worker))
    told = client.predict(made["id"], True, api_name="/image_status")
    assert told["state"] == "done" and told["seeds"] == [5, 6] and len(told["pictures"]) == 2
    data = base64.b64decode(told["pictures"][0].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (96, 64)
    listed = client.predict(api_name="/image_gallery")
    assert listed[0]["id"] == made["id"] and listed[0]["out"] == ["out-0.png", "out-1.png"]
    older = client.predict(made["id"], 5, api_name="/image_gallery")
    assert made["id"] not in [item["id"] for item in older]


def test_a_script_cancels(client: Client, worker: StandIn) -> None:
    made = client.predict([uri(png())], "slow", api_name="/image_edit")
    told = client.predict(made["id"], api_name="/image_cancel")
    assert told["state"] == "cancelled" and worker.jobs[last(worker)]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("pictures", "settings", "said"),
    [
        ([], {}, "no picture to edit"),
        ([uri(png())], {"step": 4}, "An edit has no setting step"),
        (["/etc/passwd"], {}, "not as a path"),
        ([{"path": "/etc/passwd"}], {}, "not as a path"),
        (["data:image/png;base64,AAAA"], {}, "not a picture"),
        ([uri(png())] * 4, {}, "too many"),
        ([uri(png())], {"num_inference_steps": 1}, "it goes from 2 to"),
        ([uri(png())], {"num_inference_steps": "many"}, "num_inference_steps"),
        ([uri(png())], {"size": "12"}, "no size"),
        ([uri(png())], {"loras": {"../x": 1}}, "not the name of a style"),
    ],
)
def test_what_cannot_be_asked_is_said(
    client: Client, pictures: list[Any], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(AppError, match=said):
        client.predict(pictures, "blue", settings, api_name="/image_edit")


def test_a_batch_runs_over_a_folder(
    client: Client, studio: Studio, worker: StandIn, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(colour=("red", "green", "blue")[number]))
    (tmp_path / "notes.txt").write_text("no picture")
    worker.auto = True
    try:
        made = client.predict(str(tmp_path), "night", {}, api_name="/image_batch")
        until = time.monotonic() + 20
        while studio.batches.look(Person("local"), made["id"]).state != "done":
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        worker.auto = False
    page = httpx.get(f"{client.src}ladder/image/batches").json()["html"]
    assert "3 of 3" in page and page.count("data-image-open") == 3 and "batch-delete" in page


# pictures ---------------------------------------------------------------------------------------


def test_a_picture_is_uploaded_checked_and_shown(url: str) -> None:
    with httpx.Client(base_url=url) as web:
        told = upload(web, png((80, 60))).json()
        assert (told["width"], told["height"], told["name"], told["made"]) == (
            80,
            60,
            "cat.png",
            None,
        )
        shown = web.get(f"/ladder/image/upload/{told['id']}")
        assert shown.headers["content-type"] == "image/png"
        assert "sandbox" in shown.headers["content-security-policy"]
        small = web.get(f"/ladder/image/upload/{told['id']}?small=1")
        assert small.headers["content-type"] == "image/webp"
        assert web.get("/ladder/image/upload").status_code == 405
        assert web.get("/ladder/image/upload/..%2f..%2fstudio").status_code == 404
        assert upload(web, png(), origin="http://elsewhere.example").status_code == 403


def test_what_is_no_picture_or_too_large_leaves_nothing(
    url: str, shared: str, studio: Studio
) -> None:
    folder = studio.settings.home / "uploads" / "images"
    before = set(folder.rglob("*"))
    bomb = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (90_000).to_bytes(4, "big") * 2
    with httpx.Client(base_url=url, timeout=60) as web:
        for body in (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", png()[:60], bomb):
            answer = upload(web, body)
            assert answer.status_code == 400 and answer.json()["error"], body[:20]

    def endless() -> Iterator[bytes]:
        for _ in range(GUEST.max_bytes // 2**20 + 2):
            yield b"x" * 2**20

    with visitor(shared, GUS) as web:
        answer = upload(web, endless())
        assert answer.status_code == 400 and f"{GUEST.max_bytes >> 20} MB" in answer.json()["error"]
        answer = upload(web, b"x" * (GUEST.max_bytes + 1))
        assert answer.status_code == 400
    assert {p for p in folder.rglob("*") if p.is_file()} <= before


def test_an_upload_that_breaks_off_is_forgotten(url: str, studio: Studio) -> None:
    folder = studio.settings.home / "uploads" / "images"
    before = set(folder.rglob("*.png"))
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", "/ladder/image/upload?name=half.png")
    connection.putheader("content-length", "500000")
    connection.endheaders()
    connection.send(png()[:50])
    connection.close()
    assert set(folder.rglob("*.png")) == before


def test_samples_are_pictures(url: str) -> None:
    desk = httpx.get(f"{url}/ladder/image/desk").json()["html"]
    names = re.findall(r'data-image-sample="(\w+)"', desk)
    assert len(names) >= 4
    for name in names:
        data = httpx.get(f"{url}/ladder/image/sample/{name}").content
        assert min(Image.open(io.BytesIO(data)).size) >= 640
    assert httpx.get(f"{url}/ladder/image/sample/none").status_code == 404


# the desk ---------------------------------------------------------------------------------------


def test_from_the_button_to_the_slider(url: str, worker: StandIn) -> None:
    with httpx.Client(base_url=url, timeout=30) as web:
        ident = edit(web, "<b>blue</b>", n=2)
        waiting = now(web, ident)
        assert waiting["final"] is False and 'data-image-state="queued"' in waiting["html"]
        assert "<b>blue" not in waiting["html"] and "&lt;b&gt;blue" in waiting["html"]
        worker.jobs[last(worker)]["notes"] = ["Out of memory at step 3 on fp8."]
        worker.step(last(worker), 20)
        running = now(web)["html"]
        assert "Step 20 of 40" in running and "variant 1 of 2" in running
        assert f"image/item/{ident}/preview?n=20" in running and "12 s left" in running
        assert "Out of memory at step 3 on fp8." in running and 'data-act="cancel"' in running
        assert web.get(f"/ladder/image/item/{ident}/preview").content.startswith(b"RIFF")
        worker.finish(last(worker))
        done = now(web, ident, variant=1)
        assert done["final"] is True and "data-image-slider" in done["html"]
        assert "20 s: 40 steps at 0.5" in done["html"] and "curl -sS" in done["html"]
        assert f'src="ladder/image/item/{ident}/out-1.png"' in done["html"]
        file = web.get(f"/ladder/image/item/{ident}/out-1.png?download=1")
        assert 'filename="b-blue-b-' in file.headers["content-disposition"]
        again = upload(web, file.content).json()["made"]
        assert again["prompt"] == "<b>blue</b>", "the settings travel inside the PNG"
        kept = web.get(f"/ladder/image/item/{ident}").json()
        assert kept["settings"]["n"] == 2 and len(kept["pictures"]) == 1
        gallery = web.get("/ladder/image/gallery").json()["html"]
        assert f'data-image-cell="{ident}"' in gallery and "<b>blue" not in gallery
        assert act(web, "delete", ident)["id"] == ident
        assert f'data-image-cell="{ident}"' not in web.get("/ladder/image/gallery").json()["html"]
        assert web.get(f"/ladder/image/item/{ident}/out-0.png").status_code == 404


def test_a_mask_goes_with_the_first_picture(url: str, worker: StandIn) -> None:
    mask = io.BytesIO()
    painted = Image.new("L", (64, 48), 0)
    painted.paste(255, (10, 10, 30, 30))
    painted.save(mask, "PNG")
    with httpx.Client(base_url=url, timeout=30) as web:
        first, marks = (upload(web, data).json()["id"] for data in (png(), mask.getvalue()))
        asked = {"ask": "2", "pictures": [first], "mask": marks, "settings": {"prompt": "blue"}}
        assert "error" not in act(web, "edit", json.dumps(asked))
        sent = Image.open(io.BytesIO(worker.forms[-1]["mask"][0])).convert("L")
        assert (sent.getpixel((20, 20)), sent.getpixel((50, 40))) == (255, 0)
        act(web, "cancel", now(web)["id"])


def test_a_failure_says_why_and_can_be_tried_again(url: str, worker: StandIn) -> None:
    with httpx.Client(base_url=url, timeout=30) as web:
        ident = edit(web)
        fault = {"message": "No rung has the memory.", "hint": "Ask for a smaller size."}
        worker.end(last(worker), state="failed", error=fault)
        page = now(web, ident)["html"]
        assert "No rung has the memory." in page and "Ask for a smaller size." in page
        told = act(web, "again", ident)
        assert told["id"] not in ("", ident)
        before, after = worker.forms[-2:]
        assert before["seed"] == after["seed"] and before["image"] == after["image"]
        told = act(web, "another", told["id"])
        assert worker.forms[-1]["seed"] != after["seed"]
        act(web, "cancel", told["id"])


def test_refusals_are_told_in_the_visitors_language(url: str, worker: StandIn) -> None:
    with httpx.Client(base_url=url, cookies={"ladder_lang": "zh"}, timeout=30) as web:
        told = act(web, "edit", json.dumps({"ask": "3", "pictures": [], "settings": {}}))
        assert "提示词" in told["error"], told
        assert (
            "没有可编辑的图片"
            in act(web, "edit", json.dumps({"pictures": [], "settings": {"prompt": "蓝"}}))["error"]
        )
        assert "error" in act(web, "edit", "no json")
        assert "error" in act(web, "cancel", "../..")


def test_the_line_beside_the_button_counts_what_was_asked(url: str) -> None:
    def line(**query: Any) -> dict[str, Any]:
        return httpx.get(f"{url}/ladder/image/worker", params=query).json()

    told = line()
    assert told["ready"] and (told["steps"], told["cfg"]) == (40, 4.0)
    assert "≈ 37 s" in told["html"] and "It fits" in told["html"], "40 steps at 0.9125 s"
    assert "≈ 18 s" in line(cfg=1)["html"]
    assert "≈ 73 s" in line(n=2)["html"]
    assert "≈ 4.6 s" in line(steps=5, size="auto")["html"]
    assert line(steps="x", n="", size="1x1")["ready"], "whatever is typed, it answers"


# guests -----------------------------------------------------------------------------------------


def test_a_guest_sees_the_desk_and_nothing_of_the_workers(shared: str) -> None:
    with visitor(shared, GUS) as web:
        page = web.get("/").text
        assert "image-worker" not in page and "image_batch" not in page
        names = web.get("/gradio_api/info").json()["named_endpoints"]
        assert set(names) == OPEN
        desk = web.get("/ladder/image/desk").json()["html"]
        assert "data-image-edit" in desk and "data-image-batch" not in desk
        assert web.get("/ladder/image/batches").status_code == 403
        assert "curl -sS" not in now(web)["html"]
        for name in ("start", "connect", "batch", "batch-stop", "rung"):
            assert "error" in act(web, name, "diffusers/smoke")


def test_results_of_others_are_never_reachable(shared: str, worker: StandIn) -> None:
    with visitor(shared, GUS) as mine, visitor(shared, GUS, SECOND) as other:
        picture = upload(mine, png()).json()["id"]
        ident = edit(mine, "my secret wish")
        worker.step(last(worker), 2)
        assert 'data-image-state="running"' in now(mine, ident)["html"]
        second = act(mine, "edit", json.dumps({"pictures": [picture], "settings": {"prompt": "x"}}))
        assert "not done yet" in second["error"], "one job at a time"
        with visitor(shared, ANN) as boss:
            for web in (other, boss):
                at = f"/ladder/image/item/{ident}"
                for path in (at, f"{at}/preview", f"{at}/before-0.png", f"{at}/before.webp"):
                    assert web.get(path).status_code == 404, path
                assert web.get(f"/ladder/image/upload/{picture}").status_code == 404
                assert "secret" not in json.dumps(now(web, ident))
                assert "secret" not in json.dumps(now(web))
                assert "secret" not in web.get("/ladder/image/gallery").text
                for name in ("cancel", "delete", "again", "another"):
                    assert "error" in act(web, name, ident), name
                stolen = {"pictures": [picture], "settings": {"prompt": "x"}}
                assert "error" in act(web, "edit", json.dumps(stolen))
        worker.finish(last(worker))
        assert now(mine, ident)["final"] is True
        assert mine.get(f"/ladder/image/item/{ident}/out-0.png").status_code == 200
        assert other.get(f"/ladder/image/item/{ident}/out-0.png").status_code == 404
        assert httpx.get(f"{shared}/ladder/image/item/{ident}/out-0.png").status_code == 401


def test_a_guest_without_a_cookie_has_no_gallery(shared: str) -> None:
    with visitor(shared, GUS, "") as web:
        assert web.get("/ladder/image/gallery").status_code == 403


def test_who_asks_is_never_taken_from_the_request() -> None:
    headers = {"x-ladder-user": "gus", "x-ladder-role": "guest", "cookie": f"{BROWSER}={FIRST}"}
    assert person_of(SimpleNamespace(headers=headers)).owner == f"guest gus {FIRST}"
