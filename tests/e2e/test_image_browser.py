"""Editing pictures as a person does it: start a worker, give pictures, watch, cancel, recover.

The tiny model draws noise; everything around it is real. With LADDER_SCREENSHOTS the four states
are kept as pictures, in both languages, wide and narrow.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from conftest import PATIENCE_MS
from playwright.sync_api import Page, expect

from e2e.test_browser import SHOTS, browser_page, fits, page_served
from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.images import pngmeta
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.timeout(1200)]

PICTURES = ROOT / "assets/data/pictures"
PROMPT = "把圆变成方的"
SOON, START_S, EDIT_S = 60_000, 600_000, 300_000
SEEN = [("zh-CN", 1440), ("en-US", 1440), ("zh-CN", 400), ("en-US", 400)]


@pytest.fixture
def studio(test_home: Path) -> Iterator[Studio]:
    """The studio behind the page; it remembers no rungs, and leaves no worker behind."""
    shutil.rmtree(test_home / "cache/image-edit", ignore_errors=True)
    studio = Studio(Settings(home=test_home))
    yield studio
    for run in workers(studio):
        if run.state.alive:
            studio.jobs.stop(run.id, now=True)
            studio.jobs.wait(run.id, timeout_s=60)
        assert procs.marked(run.id) == []


def workers(studio: Studio) -> list[Run]:
    """Return the runs of workers, newest first."""
    return studio.jobs.list(engine="image-edit")


@contextmanager
def opened(home: Path, lang: str = "zh-CN", width: int = 1440) -> Iterator[tuple[Page, str]]:
    """Serve the tab alone and open it; yield the page and its address."""
    errors: list[str] = []
    with (
        page_served(home, "--tab", "image-edit") as (url, _),
        browser_page(url, lang, width) as (page, outside),
    ):
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.locator("[data-image-desk]").wait_for(timeout=SOON)
        yield page, url
        assert outside == [], "no other host was asked"
        assert errors == []


def start(page: Page, studio: Studio) -> Run:
    """Launch the smoke recipe from the form; return its run once it is ready."""
    before = {run.id for run in workers(studio)}
    if not page.locator("#image-worker-body").is_visible():
        page.locator("#image-worker-now [data-image-fold]").click()
    page.locator('[data-choose="diffusers/smoke"]').click()
    launch = page.locator('[data-work="image-edit"] [data-act="launch"]')
    expect(launch).to_be_enabled(timeout=SOON)
    launch.click()
    now = page.locator('[data-image-worker="alive"]')
    expect(now).to_be_visible(timeout=SOON)
    expect(now.locator(".l-ready")).to_be_visible(timeout=START_S)
    return next(run for run in workers(studio) if run.id not in before)


def give(page: Page, *names: str, prompt: str = PROMPT, steps: int = 4) -> None:
    """Choose sample pictures and say what shall change."""
    files = [PICTURES / f"{name}.png" for name in names]
    page.locator("[data-image-file]").first.set_input_files(files)
    expect(page.locator("[data-image-slots] li:has(img)")).to_have_count(len(names), timeout=SOON)
    page.locator("#image-prompt").fill(prompt)
    settings(page, steps)


def settings(page: Page, steps: int, side: int = 256) -> None:
    """Set the number of steps and the size of the result."""
    field = page.locator("#image-num_inference_steps")
    if not field.is_visible():
        page.locator("[data-image-more] > summary").click()
    field.fill(str(steps))
    field.press("Tab")
    page.locator("#image-size").select_option("own")
    for name in ("width", "height"):
        page.locator(f"[data-image-{name}]").fill(str(side))
    page.locator("[data-image-height]").press("Tab")


def edit(page: Page, state: str, timeout: float = EDIT_S) -> str:
    """Press Edit and wait until the edit is in a state; return its id."""
    go = page.locator("[data-image-edit]")
    expect(go).to_be_enabled(timeout=SOON)
    before = shown(page)
    go.click()
    fresh = page.locator(f'[data-image-state="{state}"]:not([data-image-item="{before}"])')
    expect(fresh).to_be_visible(timeout=timeout)
    return shown(page)


def shown(page: Page) -> str:
    """Return the id of the edit that is shown; empty while there is none."""
    found = page.locator("[data-image-item]")
    return (found.first.get_attribute("data-image-item") or "") if found.count() else ""


def look_at(page: Page, ident: str, state: str) -> None:
    """Open an edit out of the gallery."""
    page.locator("[data-image-desk]").wait_for(timeout=SOON)
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.locator(f'[data-image-open="{ident}"]').click(timeout=SOON)
    place = page.locator(f'[data-image-item="{ident}"][data-image-state="{state}"]')
    expect(place).to_be_visible(timeout=SOON)
    page.evaluate("scrollTo(0, 0)")


def pictures_of(page: Page, url: str, name: str, ready: Callable[[Page], None]) -> None:
    """Take a state's pictures in every language and width, each in a browser of its own."""
    if not SHOTS:
        return
    browser = page.context.browser
    assert browser is not None
    for lang, width in SEEN:
        context = browser.new_context(viewport={"width": width, "height": 900}, locale=lang)
        context.set_default_timeout(PATIENCE_MS)
        other = context.new_page()
        other.goto(url)
        other.locator("[data-image-desk]").wait_for()
        ready(other)
        other.wait_for_timeout(1500)
        narrow = ".narrow" if width == 400 else ""
        other.screenshot(path=f"{SHOTS}/image-{name}.{lang[:2]}{narrow}.png", full_page=True)
        fits(other, width)
        context.close()


def unfold(page: Page) -> None:
    """Show the form and the ladder, planned for two cards of 24 GB."""
    page.locator("#image-worker-now [data-image-fold]").click()
    page.locator('[data-choose="diffusers/2511-two-24gb"]').click()
    page.locator("[data-plan-on]").select_option("2x24")
    expect(page.locator("[data-work-plan] .l-rung")).to_have_count(10, timeout=SOON)
    expect(page.locator("[data-work-plan] .l-rung-chosen .l-plan-card")).to_have_count(2)


def process_of(run: Run, *, pipe: bool) -> int:
    """Return the id of a worker's process: of the one that holds the pipeline, or of the front."""
    told = {stat.pid: psutil.Process(stat.pid).cmdline() for stat in procs.marked(run.id)}
    return next(
        pid
        for pid, words in told.items()
        if any(word.endswith("image_worker.py") for word in words) and ("--pipe" in words) == pipe
    )


def test_from_nothing_to_a_picture_and_on(test_home: Path, studio: Studio, tmp_path: Path) -> None:
    with opened(test_home) as (page, url):
        expect(page.locator('[data-image-worker="none"]')).to_be_visible(timeout=SOON)
        expect(page.locator("[data-image-edit]")).to_be_disabled()
        pictures_of(page, url, "empty", lambda other: None)
        page.locator("#image-worker-now [data-image-fold]").click()
        expect(page.locator("[data-work-plan] .l-rung-chosen")).to_have_attribute(
            "data-rung", "cpu", timeout=SOON
        )
        expect(page.locator("[data-work-plan] .l-tone-ok")).to_contain_text("在 CPU 上")
        pictures_of(page, url, "ladder", unfold)

        run = start(page, studio)
        expect(page.locator("#image-worker-body")).to_be_hidden()

        give(page, "red-circle", "blue-square", steps=200)
        ident = edit(page, "running")
        preview = page.locator('[data-image-state="running"] img[src*="preview"]')
        expect(preview).to_be_visible(timeout=EDIT_S)
        assert preview.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0
        expect(page.locator(".l-img-progress")).to_contain_text("200")

        def under_way(other: Page) -> None:
            expect(other.locator('[data-image-state="running"] img[src*="preview"]')).to_be_visible(
                timeout=SOON
            )

        pictures_of(page, url, "running", under_way)
        page.locator('[data-image-state="running"] [data-act="cancel"]').click()
        expect(page.locator('[data-image-state="cancelled"]')).to_be_visible(timeout=SOON)
        assert shown(page) == ident

        settings(page, 3)
        ident = edit(page, "done")
        slider = page.locator("[data-image-slider]")
        expect(slider).to_be_visible()
        cut = slider.locator("[data-image-cut]")
        cut.fill("80")
        for side in slider.locator("img").all():
            assert side.evaluate("img => img.decode().then(() => img.naturalWidth)") > 0

        with page.expect_download() as waiting:
            page.locator(".l-img-actions a[download]").click()
        file = tmp_path / "out.png"
        waiting.value.save_as(file)
        told = pngmeta.read(file.read_bytes())
        assert told is not None and told.prompt == PROMPT and told.num_inference_steps == 3
        assert told.size == "256x256"

        page.locator("#image-prompt").fill("something else")
        page.locator(f'[data-image-reuse="{ident}"]').first.click()
        expect(page.locator("#image-prompt")).to_have_value(PROMPT)
        expect(page.locator("[data-image-seed]")).to_have_value(str(told.seed))

        pictures_of(page, url, "finished", lambda other: look_at(other, ident, "done"))
        page.reload()
        expect(page.locator("[data-image-slider]")).to_be_visible(timeout=SOON)
        look_at(page, ident, "done")

        crash(page, url, studio, run)
        ladder(page, studio, run)


def crash(page: Page, url: str, studio: Studio, run: Run) -> None:
    """Kill the pipeline in the middle of an edit: that one fails, the next one is made."""
    settings(page, 200)
    edit(page, "running")
    os.kill(process_of(run, pipe=True), signal.SIGKILL)
    failed = page.locator('[data-image-state="failed"]')
    expect(failed).to_be_visible(timeout=SOON)
    expect(failed).to_contain_text("崩溃")
    ident = shown(page)
    assert studio.jobs.get(run.id).state is State.READY, "the worker itself goes on"
    settings(page, 2)
    edit(page, "done", START_S)

    pictures_of(page, url, "failed-recovered", lambda other: look_at(other, ident, "failed"))


def ladder(page: Page, studio: Studio, run: Run) -> None:
    """Look at the ladder, force another rung, see the worker die and start it again."""
    page.locator("[data-image-fold]").click()
    view = page.locator("#image-worker-ladder")
    expect(view.locator(".l-rung-runs")).to_have_attribute("data-rung", "cpu", timeout=SOON)
    expect(view.locator(".l-figures")).to_contain_text("已完成", timeout=SOON)
    expect(view.locator(".l-rung-runs")).to_contain_text("本机实测", timeout=SOON)
    view.locator('[data-act="rung"][data-value="cpu-fp8"]').click()
    page.locator(".l-dialog[open] .l-button").last.click()
    expect(page.locator("#image-worker-now")).to_contain_text("fp8", timeout=START_S)
    forced = workers(studio)[0]
    assert forced.id != run.id and forced.spec.config["rung"] == "cpu-fp8"
    assert forced.spec.relaunch_of == run.id
    assert studio.jobs.get(run.id).state is State.STOPPED
    forced = studio.jobs.wait(forced.id, lambda r: r.state is State.READY, timeout_s=240)

    os.kill(process_of(forced, pipe=False), signal.SIGKILL)
    now = page.locator('[data-image-worker="failed"]')
    expect(now.locator(".l-failed")).to_be_visible()
    page.locator("[data-image-edit]").scroll_into_view_if_needed()  # what is unseen rests
    expect(page.locator("[data-image-edit]")).to_be_disabled(timeout=SOON)
    now.locator('[data-act="relaunch"]').click()
    alive = page.locator('[data-image-worker="alive"]')
    expect(alive.locator(".l-ready")).to_be_visible(timeout=START_S)
    alive.locator('[data-act="stop"]').click()
    expect(page.locator('[data-image-worker="none"]')).to_be_visible()
    assert not any(one.state.alive for one in workers(studio))


def test_out_of_memory_costs_a_rung_and_no_picture(
    test_home: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADDER_IMAGE_CARDS", "24")
    monkeypatch.setenv("LADDER_IMAGE_FAULT", "whole:step:2")
    with opened(test_home, "en-US", 400) as (page, _):
        run = start(page, studio)
        give(page, "red-circle", prompt="Make it blue", steps=3)
        edit(page, "done", START_S)
        told = page.locator(".l-img-job .l-note")
        expect(told).to_contain_text("out of memory at step 2")
        expect(page.locator("[data-image-slider]")).to_be_visible()
        page.evaluate("scrollTo(0, 0)")
        now = page.locator("#image-worker-now")
        expect(now).to_contain_text("fell 1×", timeout=SOON)
        page.locator("[data-image-fold]").click()
        view = page.locator("#image-worker-ladder")
        expect(view.locator(".l-rung-fell")).to_have_attribute("data-rung", "whole", timeout=SOON)
        expect(view.locator(".l-falls")).to_contain_text("out of memory at step 2")
        fits(page, 400)
        if SHOTS:
            page.wait_for_timeout(1000)
            page.screenshot(path=f"{SHOTS}/image-fell.en.narrow.png", full_page=True)
    text = run.dir.log.read_text()
    assert "fell from whole" in text and "out of memory at step 2" in text
    assert studio.jobs.get(run.id).state is State.READY, "the page is gone, the worker is not"
