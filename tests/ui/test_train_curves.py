"""Curves of a training in a real browser: smoothing, zoom, overlay; a YAML becomes the form."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import PATIENCE_MS

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402
from ui import trainings  # noqa: E402

from studio.studio import Studio  # noqa: E402
from studio.ui.page.launch import find_tabs  # noqa: E402

pytestmark = pytest.mark.browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@pytest.fixture
def look() -> Iterator[Any]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        trouble: list[str] = []

        def open_page(url: str, width: int = 1440) -> Page:
            page = browser.new_page(viewport={"width": width, "height": 1000})
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.goto(url)
            page.locator("#ladder-tabs").wait_for()
            return page

        yield open_page
        browser.close()
        assert trouble == []


SEEN = """([place, wanted]) => {
    const there = document.querySelector(place);
    there?.scrollIntoView();
    return there?.querySelector(wanted);
}"""
"""On a phone a form that grows is above the run, and what is out of sight rests."""


@pytest.fixture
def page_of(studio: Studio, serve: Any, look: Any) -> Any:
    """Open the Train tab on one run."""

    def open_run(run: Any, width: int = 1440) -> Page:
        served = serve(find_tabs(), only="train")
        page = look(f"{served.url}/?tab=train&run={run.id}", width)
        page.wait_for_function(SEEN, arg=["#train-head", ".l-run-title"])
        page.locator("#train-tabs").get_by_role("tab").first.click()
        page.wait_for_function(SEEN, arg=["#train-tabs", ".l-curve"])
        expect(page.locator(".l-curve").first).to_be_visible()
        return page

    return open_run


def lines(page: Page, name: str = "loss") -> list[str]:
    return page.locator(f'.l-curve[data-name="{name}"] polyline').evaluate_all(
        "all => all.map((one) => one.getAttribute('points'))"
    )


def test_smoothing_is_an_average_that_does_not_begin_at_zero(studio: Studio, page_of: Any) -> None:
    page = page_of(trainings.training(studio, steps=30))
    smooth = "([v, w]) => ladder.curves.smooth(v, w).map((x) => Math.round(x * 1e6) / 1e6)"
    assert page.evaluate(smooth, [[2, 2, 2], 0.9]) == [2, 2, 2], "a constant stays what it is"
    # (1 - 0.5) * (0.5 * 1 + 3) / (1 - 0.5 ** 2), by hand
    assert page.evaluate(smooth, [[1, 3], 0.5]) == [1, pytest.approx(2.333333)]
    assert page.evaluate(smooth, [[1, 5, 9], 0]) == [1, 5, 9]
    assert page.evaluate("ladder.curves.ticks(0, 1, 4)") == [0, 0.5, 1]
    assert page.evaluate("ladder.curves.nearest([1, 5, 9], 6)") == 1
    told = "[0, 0.5, 1234.5, 4e-5, 1.5e7].map(ladder.curves.tell)"
    assert page.evaluate(told) == ["0", "0.5", "1,235", "4e-5", "1.5e7"]
    assert len(lines(page)) == 2, "the raw line stays, faint, behind the smoothed one"
    page.locator("[data-train-smooth]").fill("0")
    assert len(lines(page)) == 1
    page.reload()
    page.locator("#train-head .l-run-title").wait_for()
    page.locator("#train-tabs").get_by_role("tab").first.click()
    expect(page.locator(".l-curve").first).to_be_visible()
    assert page.locator("[data-train-smooth]").input_value() == "0", "kept in the browser"


def test_a_zoom_survives_an_update(studio: Studio, page_of: Any) -> None:
    run = trainings.training(studio, steps=100, of=400, outcome="")
    page = page_of(run)
    svg = page.locator('.l-curve[data-name="loss"] svg')
    svg.scroll_into_view_if_needed()
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.up()
    expect(page.locator("[data-train-out]")).to_be_visible()
    range_of = "() => document.querySelector('.l-curve').at"
    before = page.evaluate(range_of)
    assert 20 < before["x0"] < before["x1"] < 70
    trainings.write_steps(run.dir, 101, 120, 400)
    expect(page.locator("#train-live")).to_contain_text("120")
    page.wait_for_timeout(2500)
    after = page.evaluate(range_of)
    assert (after["x0"], after["x1"]) == (before["x0"], before["x1"])
    page.locator("[data-train-out]").click()
    assert page.evaluate(range_of)["x1"] == 120


def test_another_run_is_laid_over_and_taken_off(studio: Studio, page_of: Any) -> None:
    other = trainings.training(studio, name="rank-8", steps=50, eval_every=10)
    page = page_of(trainings.training(studio, name="rank-16", steps=80))
    page.locator("[data-train-overlay]").select_option(other.id)
    keys = page.locator(".l-curve-keys")
    expect(keys).to_contain_text("rank-8")
    expect(page.locator('.l-curve[data-name="loss"] .l-line-name')).to_have_count(3)
    keys.locator("button").click()
    expect(keys).not_to_contain_text("rank-8")


def test_log_scale_hover_and_a_phone(studio: Studio, page_of: Any) -> None:
    page = page_of(trainings.training(studio, steps=80), 400)
    before = lines(page)
    page.locator("[data-train-log]").check()
    assert lines(page) != before
    svg = page.locator('.l-curve[data-name="loss"] svg')
    svg.scroll_into_view_if_needed()
    svg.hover(position={"x": 150, "y": 60})
    expect(page.locator('.l-curve[data-name="loss"] figcaption')).to_contain_text("step")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 400, "nothing sticks out on a phone"


def test_a_pasted_yaml_becomes_the_form(studio: Studio, page_of: Any) -> None:
    page = page_of(trainings.training(studio, steps=5))
    page.locator("[data-yaml] summary").click()
    page.locator("[data-yaml] textarea").fill(
        "model_name_or_path: Qwen/Qwen2.5-0.5B\nlora_rank: 32\ndataset: smoke_zh_en\n"
        "output_dir: x\nneftune_noise_alpha: 5\n"
    )
    page.locator("[data-yaml-go]").click()
    field = '.l-field[data-name="{}"] input'
    expect(page.locator(field.format("lora_rank"))).to_have_value("32")
    expect(page.locator("[data-yaml-told]")).to_contain_text("neftune_noise_alpha=5")
    plan = page.locator("[data-work-plan]")
    expect(plan).to_contain_text("Qwen2.5-0.5B wants the template qwen")
    plan.locator("[data-form-set]").first.click()
    expect(page.locator(field.format("template"))).to_have_value("qwen")
    expect(page.locator("[data-work-preview]")).to_contain_text("llamafactory-cli train")
    chip = page.locator('.l-field[data-name="dataset"] [data-toggle-word="smoke_new_facts"]')
    chip.click()
    value = page.locator(field.format("dataset"))
    expect(value).to_have_value("smoke_zh_en,smoke_new_facts")
    expect(chip).to_have_attribute("aria-pressed", "true")
