"""The launch form when the server answers late: nothing typed is lost, nothing old is launched."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from e2e.test_browser import browser_page, page_served

pytestmark = pytest.mark.browser

BIG, SMALL = "vllm/qwen2.5-14b-tp2", "vllm/qwen2.5-7b"


class LateForms:
    """Answers of /form, held back until somebody lets them go, recipe by recipe."""

    def __init__(self, page: Page) -> None:
        self.held: dict[str, Route] = {}
        page.route("**/ladder/serve/form?*", self._hold)

    def _hold(self, route: Route) -> None:
        asked = parse_qs(urlsplit(route.request.url).query)
        self.held[asked["recipe"][0]] = route

    def let_go(self, recipe: str) -> None:
        self.held.pop(recipe).continue_()


def field(page: Page, name: str):
    return page.locator(f'[data-work="serve"] .l-field[data-name="{name}"] input')


def asked(page: Page) -> dict:
    """Return what the launch button would launch."""
    return json.loads(page.locator('[data-act="launch"][data-ask]').get_attribute("data-value"))


def test_a_form_about_to_be_replaced_takes_no_words_and_no_launch(tmp_path: Path) -> None:
    with page_served(tmp_path, "--tab", "serve") as (url, _), browser_page(url) as (page, _):
        launch = page.locator('[data-act="launch"][data-ask]')
        page.locator(f'[data-choose="{SMALL}"]').click()
        expect(field(page, "max_model_len")).to_be_editable()
        forms = LateForms(page)
        page.locator(f'[data-choose="{BIG}"]').click()
        expect(field(page, "max_model_len")).to_be_disabled()
        expect(launch).to_be_disabled()
        forms.let_go(BIG)
        expect(field(page, "tensor_parallel_size")).to_have_value("2")
        field(page, "max_model_len").fill("2048")
        assert asked(page)["recipe"] == BIG
        assert asked(page)["settings"]["max_model_len"] == 2048


def test_of_two_quick_choices_the_later_counts(tmp_path: Path) -> None:
    with page_served(tmp_path, "--tab", "serve") as (url, _), browser_page(url) as (page, _):
        expect(field(page, "max_model_len")).to_be_editable()
        forms = LateForms(page)
        page.locator(f'[data-choose="{SMALL}"]').click()
        page.locator(f'[data-choose="{BIG}"]').click()
        forms.let_go(BIG)
        expect(field(page, "tensor_parallel_size")).to_have_value("2")
        with page.expect_response("**/ladder/serve/form?*"):
            forms.let_go(SMALL)
        expect(page.locator(f'[data-choose="{BIG}"]')).to_have_attribute("aria-pressed", "true")
        expect(field(page, "tensor_parallel_size")).to_have_value("2")
        assert asked(page)["recipe"] == BIG


def test_a_form_that_could_not_be_had_leaves_the_old_one(tmp_path: Path) -> None:
    with page_served(tmp_path, "--tab", "serve") as (url, _), browser_page(url) as (page, _):
        page.locator(f'[data-choose="{SMALL}"]').click()
        field(page, "max_model_len").fill("4096")
        page.route("**/ladder/serve/form?*", lambda route: route.abort())
        page.locator(f'[data-choose="{BIG}"]').click()
        expect(field(page, "max_model_len")).to_be_editable()
        expect(field(page, "max_model_len")).to_have_value("4096")
        assert asked(page)["recipe"] == SMALL
