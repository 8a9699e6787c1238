"""A slow server and a fast person: what comes late does not undo what was done meanwhile."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
import pytest
from conftest import spec

playwright = pytest.importorskip("playwright.sync_api")

from playwright.sync_api import Page, Route, expect  # noqa: E402
from ui import study_seeds  # noqa: E402
from ui.test_browser import browser, look  # noqa: E402, F401

from studio.chat.conversations import Conversations  # noqa: E402
from studio.jobs.jobs import Jobs  # noqa: E402
from studio.studio import Studio  # noqa: E402
from studio.ui import routes  # noqa: E402
from studio.ui import widgets as w  # noqa: E402
from studio.ui.actions import acts_html  # noqa: E402
from studio.ui.page.launch import launch_page  # noqa: E402
from studio.ui.tab import Tab  # noqa: E402

pytestmark = pytest.mark.browser


@pytest.fixture
def only(studio: Studio) -> Iterator[Callable[[str], str]]:
    """Serve one of the real tabs; return its address."""
    served = []

    def up(tab: str) -> str:
        served.append(launch_page(studio, only=tab))
        return served[-1].url

    yield up
    for page in served:
        page.close()


@contextmanager
def first_held(page: Page, address: str) -> Iterator[list[Route]]:
    """Keep the first answer of this address back until the end; the others pass."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route(re.compile(address), keep)
    yield held
    with page.expect_response(held[0].request.url):
        held[0].continue_()
    page.wait_for_timeout(300)  # what it would overwrite, it has overwritten by now


def until_held(page: Page, held: list[Route]) -> None:
    for _ in range(600):
        if held:
            return
        page.wait_for_timeout(50)
    raise AssertionError("it was never asked for")


def echo(request: Any) -> dict[str, Any]:
    return {"html": f"<b id=said>{request.query_params.get('of', 'nothing')}</b>", "final": True}


def place_tab() -> list[Tab]:
    """Return a tab with a place that says what it was asked, and a row that is new every time."""
    rows = itertools.count()

    def row(request: Any) -> dict[str, Any]:
        number = next(rows)
        return {"html": w.action("Delete", "delete", str(number)), "version": str(number)}

    def build(studio: Studio) -> None:
        gr.HTML(w.live("echo", every_s=3600, of="one"), elem_id="place")
        view = acts_html(w.live("row", every_s=0.1), elem_id="rows")
        done = gr.Textbox(elem_id="done")
        view.click(_tell, None, done, api_visibility="private")

    def answers(studio: Studio) -> list[routes.Route]:
        return [routes.Route("echo", echo), routes.Route("row", row)]

    return [Tab(id="chat", icon="chat", order=1, build=build, routes=answers)]


def _tell(event: gr.EventData) -> str:
    return f"{event.act} {event.value}"


def test_what_is_asked_while_an_answer_is_on_its_way_is_what_is_shown(serve: Any, look: Any):  # noqa: F811
    url = serve(place_tab()).url
    page = look(url, wait="#place [data-ladder-live]")
    place = page.locator("#place [data-ladder-live]")
    expect(page.locator("#said")).to_have_text("one")
    ask = """(place, of) => {
      place.dataset.query = JSON.stringify({ of });
      ladder.refresh(place);
    }"""
    with first_held(page, r"/ladder/echo\?of=two") as held:
        place.evaluate(ask, "two")
        until_held(page, held)
        place.evaluate(ask, "three")
    expect(page.locator("#said")).to_have_text("three")


def test_a_button_does_not_change_under_the_finger(serve: Any, look: Any):  # noqa: F811
    page = look(serve(place_tab()).url)
    button = page.locator("#rows button")
    button.hover()
    page.mouse.down()
    pressed = button.get_attribute("data-value")
    page.wait_for_timeout(1000)
    page.mouse.up()
    expect(page.locator("#done textarea")).to_have_value(f"delete {pressed}")
    expect(button).not_to_have_attribute("data-value", pressed or "")


def test_a_form_comes_when_the_server_is_back_and_says_what_it_said(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
):
    page = look(only("serve"))
    length = page.locator('[data-name="max_model_len"] input')
    length.fill("777")
    kept = "localStorage.getItem('ladder_form_serve')?.includes('777')"
    page.wait_for_function(kept)
    failures = iter((0, 500, 0))

    def fail(route: Route) -> None:
        status = next(failures, None)
        if status is None:
            route.continue_()
        elif status:
            route.fulfill(status=status, body="{}")
        else:
            route.abort()

    page.route("**/ladder/serve/form*", fail)
    page.reload()
    expect(length).to_have_value("777")
    assert page.evaluate(kept)


def test_a_plan_that_was_not_answered_is_asked_for_again(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
):
    page = look(only("serve"))
    plan = page.locator("[data-work-plan]")
    expect(plan.locator(".l-skeleton")).to_have_count(0)
    expect(page.locator('[data-work="serve"]:not(.l-planning)')).to_be_visible()
    page.route("**/ladder/serve/plan*", lambda route: route.abort(), times=1)
    page.locator('[data-name="model"] input').fill("/nowhere/at/all")
    expect(plan).to_contain_text("/nowhere/at/all")


def test_a_search_in_a_log_is_answered_by_its_own_hits(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
    jobs: Jobs,
):
    run = jobs.submit(spec("leave", 0))
    jobs.wait(run.id, timeout_s=60)
    with run.dir.log.open("a") as log:
        log.write("first light\nsecond light\n")
    page = look(f"{only('runs')}/?tab=runs&run={run.id}")
    find, hits = page.locator("[data-log-find]"), page.locator(".l-log-hits")
    with first_held(page, r"/search\?q=first") as held:
        find.fill("first")
        until_held(page, held)
        find.fill("second")
        expect(hits).to_contain_text("second light")
    expect(hits).to_contain_text("second light")
    expect(hits).not_to_contain_text("first light")


def test_a_pair_of_a_room_that_was_left_stays_away(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
    studio: Studio,
):
    name = study_seeds.comparison(studio, 4)
    page = look(f"{only('bench')}/?tab=bench&view=quality&name={name}")
    opens, room = page.locator("[data-room-open]"), page.locator("#quality-room [data-room]")
    with first_held(page, "/ladder/quality/pair") as held:
        opens.click()
        until_held(page, held)
        page.keyboard.press("Escape")
    expect(room).to_be_empty()
    opens.click()
    expect(room.locator(".l-room-count")).to_contain_text("Pair 1 of 4")


def test_a_title_that_is_being_typed_outlives_a_new_list(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
    studio: Studio,
):
    kept = Conversations(studio.settings.chats_dir, "local")
    kept.append(kept.create(), {"role": "user", "content": "first words"})
    page = look(only("chat"))
    item = page.locator(".chat-item").first
    item.hover()
    item.locator(".chat-menu summary").click()
    item.locator("[data-chat-rename]").click()
    page.locator(".chat-rename").fill("half a ti")
    page.locator("#chat-listing .chat-list").evaluate(
        """(list) => {
          const fresh = list.cloneNode(true);
          fresh.querySelector(".chat-rename").remove();
          list.replaceWith(fresh);
        }"""
    )
    page.keyboard.type("tle")
    page.keyboard.press("Enter")
    expect(page.locator(".chat-title").first).to_have_text("half a title")
    page.reload()
    expect(page.locator(".chat-title").first).to_have_text("half a title")


def test_a_table_that_comes_late_does_not_undo_a_filter(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
    studio: Studio,
):
    study_seeds.comparison(studio, 4)
    url = only("bench")
    page = look(url)
    with first_held(page, "/ladder/bench/table") as held:
        page.goto(f"{url}/?tab=bench&view=results")
        until_held(page, held)
        page.locator('[data-bench-filters] [name="find"]').fill("nothing is called so")
        table = page.locator("[data-bench-table]")
        expect(table).to_have_attribute("data-total", "0")
    expect(table).to_have_attribute("data-total", "0")


def test_of_two_yaml_files_the_later_one_fills_the_form(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
):
    page = look(only("train"))
    text, go = page.locator("[data-yaml] textarea"), page.locator("[data-yaml-go]")
    page.locator("[data-yaml] summary").click()
    rank = page.locator('[data-name="lora_rank"] input')

    def yaml(number: int) -> str:
        model = json.dumps("assets/models/tiny-qwen2.5")
        return f"model_name_or_path: {model}\nfinetuning_type: lora\nlora_rank: {number}\n"

    with first_held(page, "/ladder/train/yaml") as held:
        text.fill(yaml(13))
        go.click()
        until_held(page, held)
        text.fill(yaml(26))
        go.click()
        expect(rank).to_have_value("26")
    page.wait_for_timeout(1000)
    expect(rank).to_have_value("26")


def test_a_launch_asks_what_the_plan_of_its_own_settings_asks(
    only: Callable[[str], str],
    look: Any,  # noqa: F811
    jobs: Jobs,
):
    page = look(only("serve"))
    launch, sure = page.locator('[data-act="launch"][data-ask]'), page.locator("dialog[open]")
    expect(page.locator('[data-work="serve"]:not(.l-planning)')).to_be_visible()
    expect(page.locator("[data-work-plan] .l-skeleton")).to_have_count(0)
    held: list[Route] = []
    page.route("**/ladder/serve/plan*", lambda route: held.append(route))
    page.locator('[data-name="max_model_len"] input').fill("777")
    launch.click()
    until_held(page, held)
    page.wait_for_timeout(500)
    expect(sure).to_have_count(0)
    answer = {"plan": "", "preview": "", "verb": "Launch", "confirm": "It does not fit. Launch?"}
    held[-1].fulfill(json=answer)
    expect(sure).to_contain_text("It does not fit. Launch?")
    assert len(held) == 1
    assert jobs.list() == []
