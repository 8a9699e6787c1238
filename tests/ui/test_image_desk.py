"""The edit desk in a real browser: pictures in, a mask drawn, the slider by key, nothing lost."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE_MS, free_port
from images.stand_in import StandIn, png, studio_before
from PIL import Image

from studio.chat.desk import Person
from studio.images.request import EditRequest, EditSettings
from studio.studio import Studio
from studio.ui.page.launch import launch_page

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402
from ui.test_browser import FLAGS  # noqa: E402

pytestmark = pytest.mark.browser

CHROMIUM = os.environ.get("LADDER_TEST_CHROMIUM") or shutil.which("chromium")
CLICKED = """() => new Promise((answer) => {
  const since = performance.now();
  new MutationObserver(() => {
    if (document.querySelector("[data-image-state=sending]")) answer(performance.now() - since);
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
  document.querySelector("[data-image-edit]").click();
})"""
DROPPED = """(name) => fetch("ladder/image/sample/lake").then((got) => got.blob()).then((blob) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([blob], name, { type: "image/png" }));
  const how = { bubbles: true, cancelable: true, dataTransfer };
  const place = document.querySelector("[data-image-drop]");
  for (const kind of ["dragenter", "dragover", "drop"]) {
    place.dispatchEvent(new DragEvent(kind, how));
  }
})"""
PASTED = """(name) => fetch("ladder/image/sample/lake").then((got) => got.blob()).then((blob) => {
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([blob], name, { type: "image/png" }));
  const how = { bubbles: true, cancelable: true, clipboardData };
  document.querySelector("#image-prompt").dispatchEvent(new ClipboardEvent("paste", how));
})"""


@pytest.fixture(scope="module")
def worker() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, worker: StandIn) -> Studio:
    """A studio in front of a worker that is turned by hand."""
    return studio_before(worker, tmp_path_factory.mktemp("home"), free_port(19400))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    """The tab alone."""
    served = launch_page(studio, only="image-edit")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH, and LADDER_TEST_CHROMIUM is not set")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    """The desk, opened afresh; in the end no script may have failed."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, locale="en-US")
    context.set_default_timeout(PATIENCE_MS)
    page, errors = context.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{url}/?tab=image-edit")
    page.locator("[data-image-edit]").wait_for()
    expect(page.locator(".l-img-who b")).to_be_visible()
    yield page
    context.close()
    assert errors == []


def slots(page: Page, count: int) -> None:
    expect(page.locator("[data-image-slot]")).to_have_count(count)
    expect(page.locator(".l-img-sent")).to_have_count(0)


def drag(page: Page, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Draw over the first picture, from and to in shares of its sides."""
    box = page.locator("[data-image-mask]").bounding_box()
    assert box is not None
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in (begin, end)]
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=8)
    page.mouse.up()


def test_pictures_come_in_every_way_and_are_put_in_order(page: Page, tmp_path: Path) -> None:
    expect(page.locator("[data-image-edit]")).to_be_disabled()
    page.evaluate(DROPPED, "dropped.png")
    slots(page, 1)
    page.evaluate(PASTED, "pasted.png")
    slots(page, 2)
    chosen = tmp_path / "chosen.png"
    chosen.write_bytes(png())
    page.locator("[data-image-file]").set_input_files(chosen)
    slots(page, 3)
    expect(page.locator("[data-image-add]")).to_be_hidden()
    page.locator("[data-image-slot-left='2']").click()
    page.locator("[data-image-slot-left='1']").click()
    names = page.locator("[data-image-slot]")
    assert [names.nth(n).get_attribute("title") for n in range(3)] == [
        "chosen.png",
        "dropped.png",
        "pasted.png",
    ]
    bad = tmp_path / "bad.png"
    bad.write_text("no picture")
    page.locator("[data-image-slot-remove='2']").click()
    page.locator("[data-image-file]").set_input_files(bad)
    expect(page.locator("[data-image-told]")).to_contain_text("bad.png: This is not a picture")
    slots(page, 2)


def test_a_mask_is_drawn_erased_undone_and_sent(page: Page, worker: StandIn) -> None:
    page.locator("[data-image-sample=shop]").click()
    slots(page, 1)
    page.locator("#image-prompt").fill("blue")
    page.locator("[data-image-tool=box]").click()
    drag(page, (0.2, 0.2), (0.8, 0.6))
    page.locator("[data-image-tool=brush]").click()
    drag(page, (0.1, 0.9), (0.9, 0.9))
    page.locator("[data-image-mask-undo]").click()
    page.locator("[data-image-tool=erase]").click()
    drag(page, (0.5, 0.4), (0.6, 0.4))
    before = len(worker.forms)
    assert page.evaluate(CLICKED) < 100, "milliseconds until the page shows that it was heard"
    expect(page.locator("[data-image-state=queued]")).to_be_visible()
    form = worker.forms[before]
    mask = Image.open(io.BytesIO(form["mask"][0])).convert("L")
    given = Image.open(io.BytesIO(form["image"][0]))
    assert mask.size == given.size
    wide, high = mask.size

    def at(x: float, y: float) -> int:
        value = mask.getpixel((int(wide * x), int(high * y)))
        assert isinstance(value, int)
        return value

    assert [at(0.3, 0.3), at(0.55, 0.4), at(0.1, 0.1), at(0.5, 0.9)] == [255, 0, 0, 0]
    page.locator("[data-act=cancel]").click()
    expect(page.locator("[data-image-state=cancelled]")).to_be_visible()


def test_an_edit_is_followed_over_a_reload_to_the_slider(page: Page, worker: StandIn) -> None:
    page.locator("[data-image-examples=en] button").first.click()
    slots(page, 1)
    page.locator("[data-image-more] > summary").click()
    page.locator("[data-image-pick=n][data-value='2']").click()
    page.locator("[data-image-edit]").click()
    expect(page.locator("[data-image-state=queued]")).to_be_visible()
    job = f"job-{len(worker.forms)}"
    worker.step(job, 10)
    expect(page.locator(".l-img-progress b")).to_have_text("Step 10 of 40, variant 1 of 2")
    page.reload()
    expect(page.locator("[data-image-state=running]")).to_be_visible()
    expect(page.locator("#image-prompt")).to_have_value(worker.forms[-1]["prompt"])
    slots(page, 1)
    worker.finish(job)
    slider = page.locator("[data-image-slider]")
    expect(slider).to_be_visible()
    cut = slider.locator("[data-image-cut]")
    cut.focus()
    for _ in range(10):
        cut.press("ArrowRight")
    assert (
        page.evaluate("document.querySelector('#image-desk').style.getPropertyValue('--cut')")
        == "60%"
    )
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    expect(cut).to_have_value("25")
    page.locator("[data-image-variant='1']").click()
    expect(page.locator("[data-image-variant='1']")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-image-cut]")).to_have_value("25")
    page.locator("[data-image-use]").click()
    expect(page.locator("[data-image-again]")).to_be_visible()
    slots(page, 1)


def test_the_gallery_grows_as_one_scrolls_and_gives_back(
    page: Page, studio: Studio, worker: StandIn
) -> None:
    asked = EditRequest(pictures=(png(),), settings=EditSettings(prompt="blue", seed=11))
    worker.auto = True
    made = [studio.images.submit(Person("local"), asked).id for _ in range(30)]
    cells = page.locator("[data-image-cell]")
    page.locator(".l-img-gallery").scroll_into_view_if_needed()
    expect(cells.first).to_have_attribute("data-image-cell", made[-1])
    page.mouse.wheel(0, 20_000)
    expect(page.locator(f'[data-image-cell="{made[0]}"]')).to_be_visible()
    worker.auto = False
    first = page.locator(f'[data-image-cell="{made[-1]}"]')
    first.locator("[data-act=delete]").click()
    page.locator("dialog .danger-fill").click()
    expect(first).to_have_count(0)
    page.locator(f'[data-image-open="{made[-2]}"]').click()
    expect(page.locator("[data-image-slider]")).to_be_in_viewport()
    page.locator(f'[data-image-cell="{made[0]}"] [data-image-reuse]').click()
    expect(page.locator("#image-prompt")).to_have_value("blue")
    expect(page.locator("[data-image-seed]")).to_have_value("11")
    slots(page, 1)
