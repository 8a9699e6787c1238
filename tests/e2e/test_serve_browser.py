"""Serving as a person does it: choose, see whether it fits, launch, watch, hang an adapter on."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.adapter import write_adapter
from e2e.conftest import launched
from e2e.test_browser import browser_page, fits, page_served, shot
from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.timeout(2400)]

TINY = ROOT / "assets/models/tiny-qwen2.5"


def field(page: Page, name: str):
    """Return the control of one setting."""
    return page.locator(f'[data-work="serve"] .l-field[data-name="{name}"]').locator(
        "input, select, textarea"
    )


def plan_on(page: Page, machine: str) -> None:
    page.locator("[data-plan-on]").select_option(machine)


def test_a_plan_that_fits_and_one_that_does_not(test_home: Path) -> None:
    with page_served(test_home, "--tab", "serve") as (url, _), browser_page(url) as (page, outside):
        plan = page.locator("[data-work-plan]")
        launch = page.locator('[data-work="serve"] [data-act="launch"]')
        page.locator('[data-choose="vllm/qwen2.5-7b"]').click()
        plan_on(page, "1x4090")
        expect(plan.locator(".l-tone-ok")).to_be_visible()
        expect(launch).to_have_text("启动")
        shot(page, "serve-fits.zh")
        page.locator('[data-choose="vllm/qwen2.5-14b-tp2"]').click()
        field(page, "tensor_parallel_size").fill("1")
        expect(plan.locator(".l-tone-bad")).to_be_visible()
        expect(plan.locator(".l-over").first).to_be_visible()
        shot(page, "serve-does-not-fit.zh")
        plan_on(page, "2x4090")
        advice = plan.locator('[data-form-set*="tensor_parallel_size"]').first
        expect(advice).to_be_visible()
        advice.click()
        expect(plan.locator(".l-tone-ok")).to_be_visible()
        assert field(page, "tensor_parallel_size").input_value() == "2"
        expect(plan.locator(".l-plan-card")).to_have_count(2)
        field(page, "tensor_parallel_size").fill("0")
        expect(launch).to_be_disabled()
        assert outside == []


def test_search_shows_the_setting_wherever_it_is_folded(test_home: Path) -> None:
    words = ["--tab", "serve"]
    with page_served(test_home, *words) as (url, _), browser_page(url, "en-US", 400) as (page, _):
        expect(page.locator("[data-form-find]")).to_be_visible()
        expect(field(page, "kv_cache_dtype")).to_have_count(1)
        expect(field(page, "kv_cache_dtype")).to_be_hidden()
        page.locator("[data-form-find]").fill("kv cache type")
        expect(field(page, "kv_cache_dtype")).to_be_visible()
        expect(field(page, "model")).to_be_hidden()
        page.locator("[data-form-find]").fill("")
        field(page, "model").fill("/nowhere")
        expect(page.locator("[data-work-plan]")).to_contain_text("/nowhere")
        fits(page, 400)


def test_launch_watch_adapter_stop(test_home: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "poet", TINY, seed=3)
    studio = Studio(Settings(home=test_home))
    before = {run.id for run in studio.jobs.list()}
    with page_served(test_home) as (url, _), browser_page(url) as (page, outside):
        page.locator("#nav-serve").click()
        page.locator('[data-choose="vllm/smoke"]').click()
        page.locator('.l-group[data-group="lora"] summary').click()
        field(page, "enable_lora").check()
        field(page, "hot_lora").check()
        expect(page.locator("[data-work-preview]")).to_contain_text("--enable-lora")
        page.locator('[data-work="serve"] [data-act="launch"]').click()
        run = launched(studio, before, lambda run: run.spec.serves)
        expect(page.locator("#serve-head")).to_contain_text("smoke")
        run = studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=1800)
        expect(page.locator("#serve-live")).to_contain_text("/v1")
        base = f"http://127.0.0.1:{run.spec.port}/v1"

        page.locator("#serve-tabs").get_by_role("tab").nth(1).click()
        form = page.locator("#serve-adapters")
        expect(form.locator('[name="name"]')).to_be_visible()
        form.locator('[name="name"]').fill("poet")
        form.locator('[name="folder"]').fill(str(adapter))
        form.locator('[data-act="lora-load"]').click()
        expect(form.locator("table")).to_contain_text("poet")
        assert _answer(base, "poet") != _answer(base, "tiny-qwen2.5"), "the adapter changes it"

        page.locator("#serve-tabs").get_by_role("tab").nth(0).click()
        with ThreadPoolExecutor(4) as pool:
            for _ in range(6):
                list(pool.map(lambda _: _answer(base, "tiny-qwen2.5", 96), range(8)))
        expect(page.locator("#serve-live")).to_contain_text("p99")
        page.wait_for_timeout(2500)
        shot(page, "serve.zh")

        page.locator("#serve-tabs").get_by_role("tab").nth(1).click()
        form.locator('[data-act="lora-unload"]').first.click()
        expect(form.locator("table")).not_to_contain_text("poet")
        page.locator('#serve-head [data-act="stop"]').click()
        expect(page.locator("#serve-head .l-stopped")).to_be_visible()
        assert outside == []
    assert studio.jobs.get(run.id).state is State.STOPPED
    assert procs.marked(run.id) == []


def _answer(base: str, model: str, tokens: int = 24) -> str:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": f"你是谁？{time.time() if tokens > 24 else ''}"}],
        "max_tokens": tokens,
        "temperature": 0,
        "ignore_eos": tokens > 24,
    }
    request = urllib.request.Request(
        f"{base}/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]
