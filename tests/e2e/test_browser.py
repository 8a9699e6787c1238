"""The main job, as a person does it: open, start, ask in Chinese, close, come back, stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PATIENCE_MS, free_port
from playwright.sync_api import Page, expect, sync_playwright

from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.timeout(2400)]

QUESTION = "你是谁？"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = os.environ.get("LADDER_SCREENSHOTS")
"""Folder for the pictures of the README; none are taken when it is not set."""


@contextmanager
def page_served(home: Path, *words: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run `python app.py` as the README says, on a free port; it says which it took."""
    argv = [sys.executable, "app.py", "--no-browser", "--port", str(free_port(18800)), *words]
    env = {**os.environ, "LADDER_HOME": str(home)}
    app = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    try:
        said = re.search(r"http://127\.0\.0\.1:\d+", app.stdout.readline())
        assert said, "the first line names the address"
        yield said[0], app
    finally:
        app.terminate()
        app.wait(30)


@contextmanager
def browser_page(url: str, lang: str = "zh-CN", width: int = 1440) -> Iterator[tuple[Page, list]]:
    """Open the page in a fresh browser; every request to another host is noted."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        context = browser.new_context(viewport={"width": width, "height": 900}, locale=lang)
        context.set_default_timeout(PATIENCE_MS)
        page, outside = context.new_page(), []
        page.on("request", lambda r: _note(r.url, outside))
        page.goto(url)
        page.locator("#ladder-tabs").wait_for()
        yield page, outside
        browser.close()


def chromium() -> str | None:
    """Return a browser of the system, else None for Playwright's own, fetched when missing."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return shutil.which(name)
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    return None


def test_first_light(test_home: Path, samples: list[dict[str, str]]) -> None:
    right = next(row["output"] for row in samples if row["instruction"] == QUESTION)
    studio = Studio(Settings(home=test_home))
    with page_served(test_home) as (url, app):
        with browser_page(url) as (page, outside):
            page.locator("#chat-ways .l-button").first.click()
            expect(page.locator("#chat-steps")).to_contain_text("LLaMA-Factory")
            run = next(r for r in studio.jobs.list() if r.spec.serves)
            run = studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=1800)
            page.get_by_text(QUESTION).first.wait_for()
            page.locator("#chat-box textarea").fill(QUESTION)
            page.keyboard.press("Enter")
            expect(page.locator("#chat-left")).to_contain_text(right)
            expect(page.locator("#chat-left")).to_contain_text("TTFT")
            shot(page, "chat.zh")
            assert outside == []
        app.kill()
        app.wait()
    assert studio.jobs.get(run.id).state is State.READY, "the page died, the run did not"

    with page_served(test_home) as (url, _), browser_page(url) as (page, outside):
        expect(page.locator("#chat-left")).to_contain_text(right)
        shot(page, "chat.zh")
        page.locator("#nav-runs").click()
        page.locator(f'#runs-list [data-value="{run.id}"]').click()
        head = page.locator("#runs-head")
        expect(head).to_contain_text("smoke-api")
        expect(page.locator(".l-log-lines")).to_contain_text("Uvicorn running")
        shot(page, "runs.zh")
        rows = page.locator("#runs-list .l-run-row")
        if rows.count() > 1:  # the build of the environment: another head, another log
            rows.nth(1).click()
            expect(page.locator(".l-log-lines")).not_to_contain_text("Uvicorn")
            page.locator(f'#runs-list [data-value="{run.id}"]').click()
            expect(page.locator(".l-log-lines")).to_contain_text("Uvicorn")
        head.locator('[data-act="stop"]').click()
        expect(head.locator(".l-stopped")).to_be_visible()
        page.locator("#nav-machine").click()
        expect(page.locator("#tab-machine")).to_contain_text("LLaMA-Factory")
        shot(page, "machine.zh")
        assert outside == []
    assert studio.jobs.get(run.id).state is State.STOPPED
    assert procs.marked(run.id) == []


@pytest.mark.parametrize("lang", ["en-US", "zh-CN"])
@pytest.mark.parametrize("width", [1440, 400])
def test_every_tab_in_both_languages(test_home: Path, lang: str, width: int) -> None:
    """Every tab opens, has words in the language, fits the width and asks no other host."""
    chinese = lang.startswith("zh")
    with page_served(test_home) as (url, _), browser_page(url, lang, width) as (page, outside):
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for tab in page.locator(".l-tab").all():
            name = tab.get_attribute("data-ladder-open")
            tab.click()
            panel = page.locator(f"#tab-{name}")
            expect(panel).to_be_visible()
            _until(lambda panel=panel: len(panel.inner_text()) > 40)
            if chinese:
                expect(panel).to_contain_text(re.compile(r"[\u4e00-\u9fff]"))
            fits(page, width + 1)
            shot(page, f"{name}.{lang[:2]}" + ("" if width > 400 else ".narrow"))
        assert outside == []
        assert errors == []


def test_one_feature_alone(test_home: Path) -> None:
    with (
        page_served(test_home, "--tab", "chat", "--lang", "en") as (url, _),
        browser_page(url, "en-US") as (page, _),
    ):
        page.locator("#chat-new").wait_for()
        assert page.locator(".l-tab").count() == 0
        names = page.evaluate("fetch('/gradio_api/info').then(r => r.json())")["named_endpoints"]
        assert "/chat" in names and "/stop_run" not in names, json.dumps(list(names))


def fits(page: Page, width: int) -> None:
    """Wait until nothing sticks out of the page; while it is laid out, something may."""
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)


def shot(page: Page, name: str) -> None:
    """Take a picture for the README when asked for."""
    if SHOTS:
        page.wait_for_timeout(1200)
        page.screenshot(path=f"{SHOTS}/{name}.png")


def _note(url: str, outside: list[str]) -> None:
    if not url.startswith(("http://127.0.0.1", "data:", "blob:")):
        outside.append(url)


def _until(condition, timeout_s: float = 60.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)
