"""The page in a real browser: what a person sees, and what the browser asks for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import PATIENCE_MS

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Browser, Page, expect, sync_playwright  # noqa: E402

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CHROMIUM = os.environ.get("LADDER_TEST_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for all tests of this file."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH, and LADDER_TEST_CHROMIUM is not set")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a page and wait for Gradio; in the end nothing may have gone outside or broken."""
    pages: list[tuple[Any, list[str]]] = []

    def open_page(url: str, *, wait: str = "#ladder-tabs", **how: Any) -> Page:
        context = browser.new_context(viewport={"width": 1440, "height": 900}, **how)
        context.set_default_timeout(PATIENCE_MS)
        page, trouble = context.new_page(), []
        page.on("requestfinished", lambda r: None if _local(r.url) else trouble.append(r.url))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        pages.append((context, trouble))
        page.goto(url)
        page.locator(wait).wait_for()
        return page

    yield open_page
    for context, trouble in pages:
        context.close()
        assert trouble == []


def _local(url: str) -> bool:
    return re.match(r"(http://(127\.0\.0\.1|localhost):\d+/|data:|blob:)", url) is not None


def test_the_frame_is_there_before_gradio_and_stays_where_it_is(serve: Any, look: Any):
    page = look(serve().url, wait="#nav-chat")
    tab = page.get_by_role("tab", name="Chat")
    before = tab.bounding_box()
    page.locator("#chat-name textarea").wait_for()
    assert tab.bounding_box() == before
    expect(tab).to_have_attribute("aria-selected", "true")
    expect(page.locator("#ladder-opening")).to_have_count(0)
    assert page.title() == "Chat · Ladder Studio"


def test_what_only_scripts_call_is_no_part_of_the_page(serve: Any, look: Any):
    page = look(serve().url)
    types = page.evaluate("window.gradio_config.components.map(({ type }) => type)")
    assert "textbox" in types and "api" not in types
    names = page.evaluate("window.gradio_config.dependencies.map((d) => d.api_name)")
    assert {"greet", "stop_all"} <= set(names), "the view of the API tells of them"


def test_gradio_s_files_are_named_in_advance_and_its_styles_come_as_one(serve: Any, look: Any):
    page = look(serve().url, wait="#chat-name textarea")
    asked = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name }) => new URL(name).pathname)"
    )
    files = [path for path in asked if path.startswith("/assets/")]
    assert len(files) == len(set(files))
    named = page.locator("link[rel=modulepreload], link[rel=stylesheet]").evaluate_all(
        "(links) => links.map(({ href }) => new URL(href).pathname)"
    )
    assert set(files) - {path for path in files if "/index-" in path} <= set(named)
    styles = [path.rpartition("/")[2] for path in files if path.endswith(".css")]
    assert sorted(name.partition("-")[0] for name in styles) == ["index", "page"]


def test_tabs_have_addresses_and_the_browser_can_go_back(serve: Any, look: Any):
    url = serve().url
    page = look(f"{url}/?tab=runs&run=42")
    expect(page.locator("#runs-said textarea")).to_have_value("opened {'run': '42'}")
    page.get_by_role("tab", name="Chat").click()
    expect(page.locator("#chat-name")).to_be_visible()
    assert page.url == f"{url}/?tab=chat"
    page.go_back()
    expect(page.locator("#runs-said")).to_be_visible()
    expect(page.get_by_role("tab", name="Runs")).to_have_attribute("aria-selected", "true")
    page.locator("#runs-view").get_by_text("chat").click()
    expect(page.locator("#chat-name")).to_be_visible()


def test_an_unknown_tab_in_the_address_opens_the_first(serve: Any, look: Any):
    page = look(f"{serve().url}/?tab=nothing")
    expect(page.locator("#chat-name")).to_be_visible()


def test_language_is_switched_and_kept(serve: Any, look: Any):
    page = look(serve().url)
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="继续")).to_be_visible()
    expect(page.get_by_role("tab", name="对话")).to_be_visible()
    expect(page.get_by_label("用户名")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="继续")).to_be_visible()
    page.locator("#chat-name textarea").fill("x")
    page.get_by_role("button", name="继续").click()
    expect(page.locator("#chat-answer textarea")).to_have_value("x local operator zh")


def test_a_chinese_browser_is_greeted_in_chinese(serve: Any, look: Any):
    page = look(serve().url, locale="zh-CN")
    expect(page.get_by_role("button", name="继续")).to_be_visible()


def test_theme_follows_the_system_until_it_is_chosen(serve: Any, look: Any):
    page = look(serve().url, color_scheme="dark")
    dark = re.compile(r"\bdark\b")
    expect(page.locator("body")).to_have_class(dark)
    page.emulate_media(color_scheme="light")
    expect(page.locator("body")).not_to_have_class(dark)
    switch = page.locator("#ladder-theme")
    switch.click()
    switch.click()
    expect(page.locator("body")).to_have_class(dark)
    expect(switch).to_have_attribute("title", "Theme: Dark")
    page.reload()
    expect(page.locator("html")).to_have_class(dark)


def test_errors_are_toasts_with_the_way_out(serve: Any, look: Any):
    page = look(serve().url)
    page.locator("#chat-fail").click()
    toast = page.get_by_test_id("toast-body")
    expect(toast).to_contain_text("vLLM needs <2> GPUs.")
    expect(toast).to_contain_text("Stop another run.")
    expect(toast).to_contain_text("That did not work")


def test_a_button_in_html_asks_first_and_then_acts(serve: Any, look: Any):
    page = look(f"{serve().url}/?tab=runs")
    delete = page.get_by_role("button", name="Delete", exact=True)
    said = page.locator("#runs-said textarea")
    delete.first.click()
    expect(page.locator(".l-dialog")).to_contain_text("Really?")
    page.locator(".l-dialog").get_by_role("button", name="Cancel").click()
    expect(page.locator(".l-dialog")).to_have_count(0)
    expect(said).to_have_value("opened {}")
    delete.first.click()
    page.locator(".l-dialog").get_by_role("button", name="Delete").click()
    expect(said).to_have_value("delete 42")


def test_a_live_place_moves_while_it_is_seen_and_rests_while_it_is_not(serve: Any, look: Any):
    page = look(f"{serve().url}/?tab=runs")
    count = page.locator("#count")
    expect(count).to_have_text(re.compile("[1-9]"))
    asked: list[str] = []
    page.get_by_role("tab", name="Chat").click()
    expect(page.locator("#chat-name")).to_be_visible()
    page.on("request", lambda r: asked.append(r.url) if "/ladder/count" in r.url else None)
    expect(page.locator("#ladder-strip .l-meter-none")).to_be_visible()
    page.wait_for_timeout(3000)
    assert len(asked) <= 1
    rested = count.text_content() or ""
    page.get_by_role("tab", name="Runs").click()
    expect(count).not_to_have_text(rested)


@pytest.mark.parametrize("count", [0, 2, 8])
@pytest.mark.parametrize("width", [1440, 400])
def test_the_machine_strip_fits(
    serve: Any, look: Any, fake_cards: Callable[..., None], count: int, width: int
):
    fake_cards(*({"used": 20_000, "load": 90} for _ in range(count)))
    page = look(serve().url)
    page.set_viewport_size({"width": width, "height": 800})
    expect(page.locator(".l-meter-card")).to_have_count(count)
    expect(page.locator(".l-meter-host")).to_have_count(2)
    expect(page.locator(".l-meter-none")).to_have_count(0 if count else 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if count:
        first = page.locator(".l-meter-card").first
        first.hover()
        expect(first.locator(".l-tip")).to_contain_text("19.5 GiB / 24.0 GiB")


def test_a_person_logs_in_sees_a_guests_page_and_logs_out(serve: Any, look: Any):
    from ui.pages import GUEST, accounts

    page = look(f"{serve(accounts=accounts()).url}/?tab=chat", wait=".l-login form")
    page.get_by_label("Name").fill(GUEST[0])
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    expect(page.get_by_label("Name")).to_have_value(GUEST[0])
    page.get_by_label("Password").fill(GUEST[1])
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#chat-name")).to_be_visible()
    assert page.url.endswith("/?tab=chat")
    expect(page.get_by_role("tab", name="Runs")).to_have_count(0)
    expect(page.locator(".l-user")).to_contain_text("gus")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_a_server_that_goes_away_is_told(serve: Any, look: Any):
    served = serve()
    page = look(served.url)
    expect(page.locator(".l-meter-host")).to_have_count(2)
    page.route("**/ladder/machine*", lambda route: route.abort())
    expect(page.locator("#ladder-banner")).to_contain_text("does not answer")
    page.unroute("**/ladder/machine*")
    expect(page.locator("#ladder-banner")).to_contain_text("back")


def test_no_page_of_ours_can_reach_another_host(serve: Any, look: Any):
    page = look(serve().url)
    reached = page.evaluate("""() => new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", (e) => resolve(e.effectiveDirective));
      const picture = new Image();
      picture.onload = () => resolve("loaded");
      picture.src = "https://example.invalid/x.png?secret";
      document.body.append(picture);
    })""")
    assert reached == "img-src"
