"""Charts in a real browser: drawn when seen, kept while zoomed, saved as files, in both themes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from conftest import PATIENCE_MS

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, expect, sync_playwright  # noqa: E402
from ui import chart_points as cp  # noqa: E402

from studio.bench.point import append_point  # noqa: E402
from studio.bench.saved import About  # noqa: E402
from studio.studio import Studio  # noqa: E402
from studio.ui import charts  # noqa: E402
from studio.ui.charts import routes as chartroutes  # noqa: E402
from studio.ui.papers import report  # noqa: E402
from studio.ui.tab import Tab  # noqa: E402

pytestmark = pytest.mark.browser

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
KINDS = ("throughput-latency", "percentiles", "compare")


@pytest.fixture
def folder(studio: Studio) -> Path:
    """Results of a load test in the studio's home."""
    folder = studio.saved.begin(About(name="stand-in", created_at=cp.AT))
    for point in cp.scaling_points():
        append_point(folder, point)
    return folder


@pytest.fixture
def look() -> Iterator[Any]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        trouble: list[str] = []

        def open_page(url: str, width: int = 1280, wait: str = "#ladder-tabs") -> Page:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.set_default_timeout(PATIENCE_MS)
            page.on("pageerror", lambda error: trouble.append(str(error)))
            page.goto(url)
            page.locator(wait).first.wait_for()
            return page

        yield open_page
        browser.close()
        assert trouble == []


@pytest.fixture
def url(studio: Studio, serve: Any, folder: Path) -> str:
    """A page whose second tab holds charts of the results."""

    def build(studio: Studio) -> None:
        places = (charts.place(kind, results=[folder.name], every_s=1) for kind in KINDS)
        gr.HTML(f'<div class="l-charts">{"".join(places)}</div>')

    def plain(studio: Studio) -> None:
        gr.Textbox(label="x", elem_id="first-x", interactive=True)

    tabs = [
        Tab(id="chat", icon="chat", order=1, build=plain),
        Tab(id="runs", icon="runs", order=2, build=build, routes=chartroutes.routes),
    ]
    return serve(tabs).url


def figure(page: Page, kind: str = "throughput-latency") -> Any:
    """Return the place of one chart."""
    return page.locator(f'.l-chart[data-kind="{kind}"]')


def test_plotly_is_loaded_when_the_first_chart_is_seen(url: str, look: Any):
    page, asked = look(url), []
    page.on("request", lambda one: asked.append(one.url))
    page.locator("#first-x").wait_for()
    page.wait_for_timeout(1500)
    assert page.evaluate("typeof window.Plotly") == "undefined"
    page.get_by_role("tab", name="Runs").click()
    expect(figure(page)).to_have_attribute("data-drawn", "wide")
    expect(figure(page).locator(".l-chart-title")).to_contain_text("Most output")
    assert sum("ladder/plotly.js?v=" in one for one in asked) == 1
    assert all(one.startswith((url, "data:", "blob:")) for one in asked)


def test_a_zoom_survives_an_update_and_a_double_click_undoes_it(url: str, look: Any, folder: Path):
    page = look(f"{url}/?tab=runs")
    place = figure(page)
    expect(place).to_have_attribute("data-drawn", "wide")
    extent = "node => node.querySelector('.l-chart-plot')._fullLayout.xaxis.range"
    whole = place.evaluate(extent)
    box = place.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9, steps=6)
    page.mouse.up()
    page.wait_for_function(
        "was => document.querySelector('.l-chart-plot')._fullLayout.xaxis.range[0] > was + 100",
        arg=whole[0],
    )
    near = place.evaluate(extent)
    before = place.get_attribute("data-version")
    for point in cp.load_points("late", loads=(1, 32), results=folder.name):
        append_point(folder, point)
    expect(place).not_to_have_attribute("data-version", before or "")
    page.wait_for_timeout(500)
    assert place.evaluate(extent) == pytest.approx(near)
    place.locator(".nsewdrag").first.dblclick()
    page.wait_for_function(
        "was => Math.abs(document.querySelector('.l-chart-plot')._fullLayout.xaxis.range[0]) < 1",
        arg=whole[0],
    )


def test_a_chart_follows_the_theme_and_the_width(url: str, look: Any):
    page = look(f"{url}/?tab=runs")
    place = figure(page, "percentiles")
    place.scroll_into_view_if_needed()
    expect(place).to_have_attribute("data-drawn", "wide")
    colour = "node => node.querySelector('.l-chart-plot')._fullLayout.font.color"
    light = place.evaluate(colour)
    page.evaluate("ladder.setTheme('dark')")
    page.wait_for_function(
        """was => [...document.querySelectorAll('.l-chart-plot.js-plotly-plot')]
            .every((plot) => plot._fullLayout.font.color !== was)""",
        arg=light,
    )
    page.set_viewport_size({"width": 400, "height": 900})
    expect(place).to_have_attribute("data-drawn", "narrow")
    expect(place.locator(".l-chart-key").first).to_have_text("one-card")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_a_chart_is_saved_as_picture_drawing_and_table(url: str, look: Any, tmp_path: Path):
    page = look(f"{url}/?tab=runs")
    place = figure(page)
    expect(place).to_have_attribute("data-drawn", "wide")
    heads = {"PNG": b"\x89PNG", "SVG": b"<svg", "CSV": b"\xef\xbb\xbfSeries,Users at once"}
    for name, head in heads.items():
        with page.expect_download() as waiting:
            place.get_by_role("button", name=name).click()
        path = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(path)
        assert path.name.startswith("stand-in_") and path.name.endswith(f".{name.lower()}")
        assert path.read_bytes().startswith(head)
        if name == "SVG":
            assert "Most output" in path.read_text("utf-8")
    place.get_by_text("Figures as a table").click()
    expect(place.locator(".l-chart-table tbody tr")).to_have_count(9)


def test_pictures_are_made_without_a_page(studio: Studio, folder: Path, tmp_path: Path):
    pytest.importorskip("kaleido")
    path = charts.save(studio.saved, [folder.name], "compare", tmp_path / "x.svg", "zh")
    text = path.read_text("utf-8")
    assert text.startswith("<svg") and "各种情形的输出吞吐量" in text
    assert (
        charts.save(studio.saved, [folder.name], "memory", tmp_path / "x.png").stat().st_size > 9e3
    )


def test_a_report_draws_itself_from_a_file(studio: Studio, folder: Path, look: Any):
    path = report.write_report(studio, folder, "zh")
    page = look(path.as_uri(), 400, wait="[data-drawn]")
    places = page.locator("figure.l-chart")
    expect(page.locator("[data-drawn='narrow']")).to_have_count(places.count())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
