"""The Image edit tab behind a public link, with a real worker: who may do what, all at once.

The link itself needs the internet; `--share` without it serves the same page with the same
accounts. What needs no worker is in tests/ui/test_image_guests.py.
"""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from conftest import free_port
from playwright.sync_api import expect, sync_playwright

from e2e.conftest import ready, stopped
from e2e.test_browser import FLAGS, chromium
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.studio import Studio
from studio.ui.chat.parts import BROWSER

pytestmark = [pytest.mark.engine, pytest.mark.browser, pytest.mark.timeout(1200)]

PICTURE = (ROOT / "assets/data/pictures/red-circle.png").read_bytes()
OPERATOR = ("ann", "rungs-and-rails")
WAIT_S = 120.0


class Link(NamedTuple):
    """A shared page: its address, and the guest account that it made up and printed."""

    url: str
    guest: tuple[str, str]


@pytest.fixture(scope="module")
def link(real_studio: Studio) -> Iterator[Link]:
    """The page as `python app.py --tab image-edit --share` serves it."""
    port = free_port(18900)
    argv = [sys.executable, "app.py", "--no-browser", "--port", str(port), "--tab", "image-edit"]
    argv += ["--share", "--auth", ":".join(OPERATOR)]
    env = {**os.environ, "LADDER_HOME": str(real_studio.settings.home)}
    app = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    try:
        told = ""
        for line in app.stdout:
            told += line
            if "for guests" in line:
                break
        url = re.search(r"Ladder Studio +(http://\S+)", told)
        guest = re.search(r"for guests +(\S+) / (\S+)", told)
        assert url and guest, told
        yield Link(url[1], (guest[1], guest[2]))
    finally:
        app.terminate()
        app.wait(30)


@pytest.fixture(scope="module")
def nobody_started(link: Link, real_studio: Studio) -> set[str]:
    """The runs there were once guests had looked around: a shared page starts none."""
    before = {run.id for run in real_studio.jobs.list()}
    with visitor(link, link.guest, "c" * 32) as web:
        for path in ("desk", "now", "worker", "gallery"):
            assert web.get(f"/ladder/image/{path}").status_code == 200
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_context(locale="en-US").new_page()
        page.goto(link.url)
        for name, value in zip(("username", "password"), link.guest, strict=True):
            page.locator(f'[name="{name}"]').fill(value)
        page.keyboard.press("Enter")
        expect(page.locator("[data-image-desk]")).to_be_visible()
        expect(page.locator("[data-image-answer] .l-empty")).to_be_visible()
        closed = "#image-worker, [data-work], [data-act=start], [data-image-batch], .l-tab"
        assert page.locator(closed).count() == 0
        browser.close()
    after = {run.id for run in real_studio.jobs.list()}
    assert after == before
    return after


@pytest.fixture(scope="module")
def worker(real_studio: Studio, nobody_started: set[str]) -> Iterator[Run]:
    """The tiny model, started by the operator."""
    shutil.rmtree(real_studio.settings.home / "cache/image-edit", ignore_errors=True)
    run = real_studio.launch_recipe("diffusers/smoke", {"num_threads": 1})
    assert run.id not in nobody_started
    yield ready(real_studio, run)
    stopped(real_studio, run)


@contextmanager
def visitor(link: Link, who: tuple[str, str], browser: str) -> Iterator[httpx.Client]:
    """Log a browser in; `browser` is the secret that tells guests of one account apart."""
    with httpx.Client(base_url=link.url, cookies={BROWSER: browser}, timeout=60) as web:
        web.post("/login", data={"username": who[0], "password": who[1]}).raise_for_status()
        yield web


def call(web: httpx.Client, name: str, *values: Any) -> Any:
    """Call a handler by its API name; return its answer, or the sentence it refuses with."""
    made = web.post(f"/gradio_api/call/{name}", json={"data": list(values)})
    if made.status_code != 200:
        return made.text
    told = web.get(f"/gradio_api/call/{name}/{made.json()['event_id']}").text
    data = told.rpartition("data: ")[2].strip()
    found = json.loads(data)
    return found[0] if "event: complete" in told else str(found)


def edit(web: httpx.Client, **settings: Any) -> Any:
    """Ask for an edit; return it, or why it is refused."""
    uri = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
    asked = {"size": "128x128", "seed": 7, **settings}
    return call(web, "image_edit", [uri], "make it blue", asked, None, "")


def begun(web: httpx.Client, **settings: Any) -> str:
    """Ask for an edit that is taken; return its id."""
    made = edit(web, **settings)
    assert isinstance(made, dict), made
    return made["id"]


def until(web: httpx.Client, ident: str, *states: str) -> dict[str, Any]:
    """Wait until an edit is in one of these states."""
    end = time.monotonic() + WAIT_S
    while (told := call(web, "image_status", ident, False))["state"] not in states:
        assert time.monotonic() < end, told
        time.sleep(0.2)
    return told


def test_guests_side_by_side(link: Link, worker: Run) -> None:
    """One job for each; nobody sees, stops or repeats another's; each gets their own picture."""
    with (
        visitor(link, link.guest, "a" * 32) as one,
        visitor(link, link.guest, "b" * 32) as two,
        visitor(link, OPERATOR, "d" * 32) as boss,
    ):
        mine = begun(one, num_inference_steps=50, n=2)
        until(one, mine, "running")
        again = edit(one)
        assert isinstance(again, str) and "not done yet" in again, "a second one is refused"
        other = begun(two, num_inference_steps=2)
        told = call(two, "image_status", other, False)
        assert told["state"] in ("queued", "running", "done")
        for web in (two, boss):
            at = f"/ladder/image/item/{mine}"
            for path in (at, f"{at}/preview", f"{at}/before-0.png", f"{at}/out-0.png"):
                assert web.get(path).status_code == 404, path
            assert mine not in web.get("/ladder/image/gallery").text
            assert isinstance(call(web, "image_status", mine, True), str)
            assert isinstance(call(web, "image_cancel", mine), str)
        assert call(one, "image_status", mine, False)["state"] in ("running", "decoding")
        call(one, "image_cancel", mine)
        assert until(one, mine, "cancelled", "done")["state"] == "cancelled"
        assert until(two, other, "done")["state"] == "done"
        at = f"/ladder/image/item/{other}/out-0.png"
        assert two.get(at).headers["content-type"] == "image/png"
        assert one.get(at).status_code == 404
        assert until(one, begun(one, num_inference_steps=2), "done")["state"] == "done"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_inference_steps": 51}, "steps"),
        ({"num_inference_steps": 0}, "steps"),
        ({"n": 3}, "n is 3"),
        ({"size": "4096x4096"}, "megapixel"),
        ({"loras": {"../../etc/passwd": 1.0}}, "style"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_guest_asks_for_too_much(
    link: Link, worker: Run, settings: dict[str, Any], said: str
) -> None:
    with visitor(link, link.guest, "e" * 32) as web:
        told = edit(web, **settings)
        assert isinstance(told, str) and said in told.lower(), told


def test_a_guest_moves_nothing(link: Link, worker: Run, real_studio: Studio) -> None:
    """Not the worker, not through the page's API, and not at the worker's own door."""
    with visitor(link, link.guest, "f" * 32) as web:
        calls = (
            ("image_launch", {}, ""),
            ("image_plan", {}, ""),
            ("image_rung", worker.id, "cpu"),
            ("image_batch", "/", "x", {}, ""),
        )
        for name, *values in calls:
            assert isinstance(call(web, name, *values), str), name
        for path in ("image-edit/worker", "image-edit/plan", f"run/{worker.id}/ladder"):
            assert web.get(f"/ladder/{path}").status_code == 403, path
        for name in ("log.txt", "spec.json", "image.json", "artifacts/jobs"):
            assert web.get(f"/ladder/run/{worker.id}/file/{name}").status_code == 403, name
            where = worker.dir.folder / name
            assert web.get(f"/gradio_api/file={where}").status_code in (403, 404), name
        seen = web.get("/ladder/image/worker").text + web.get("/ladder/image/now").text
        assert str(worker.spec.port) not in seen and worker.id not in seen
    assert real_studio.jobs.get(worker.id).state is State.READY


def test_the_operator_sees_the_ladder(link: Link, worker: Run) -> None:
    with visitor(link, OPERATOR, "d" * 32) as boss:
        line = boss.get("/ladder/image-edit/worker").json()["html"]
        assert 'data-image-worker="alive"' in line and "On the CPU" in line
        html = boss.get(f"/ladder/run/{worker.id}/ladder").json()["html"]
        assert 'data-rung="cpu"' in html and "l-rung-runs" in html
        plan = call(boss, "image_plan", dict(worker.spec.config), "")
        assert plan["imaging"]["chosen"] == "cpu"


def test_a_browser_has_a_gallery_of_its_own(link: Link, worker: Run, real_studio: Studio) -> None:
    images = real_studio.settings.home / "images"
    with visitor(link, link.guest, secrets.token_hex(16)) as web:
        ident = begun(web, num_inference_steps=2)
        until(web, ident, "done")
        assert [item["id"] for item in call(web, "image_gallery", "", 48)] == [ident]
        folder = next(path for path in images.rglob(ident) if path.is_dir())
        told = (folder / "item.json").read_text()
        assert "make it blue" in told and link.guest[1] not in told
