"""A load test as a person does it: choose a server, launch, watch, stop, go on, read, compare."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.conftest import launched, ready
from e2e.test_browser import browser_page, fits, page_served, shot
from studio.core.settings import Settings
from studio.core.spec import State
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.timeout(2400)]

SMALL = {"input_len": "32", "output_len": "48", "concurrency": "1, 2", "repeats": "3"}
POINTS, REQUESTS = 6, 24
"""So many that a stop after the first point comes before the last one, also on a fast machine."""
SLOW = 240_000


def field(page: Page, name: str):
    """Return the control of one setting."""
    return page.locator(f'[data-work="bench"] .l-field[data-name="{name}"]').locator(
        "input, select, textarea"
    )


def test_load_test_stop_resume_results_compare_delete(test_home: Path, real_studio: Studio) -> None:
    server = ready(real_studio, real_studio.launch_recipe("vllm/smoke"))
    base = f"http://127.0.0.1:{server.spec.port}/v1"
    before = {results.name for results in real_studio.saved.folders()}
    with page_served(test_home) as (url, _), browser_page(url) as (page, outside):
        page.goto(f"{url}/?tab=bench")
        page.locator('[data-choose="vllm-bench/smoke"]').click()
        page.locator(f'[data-bench-endpoint="{base}"]').click()
        expect(field(page, "base_url")).to_have_value(base)
        card = page.locator(f'[data-bench-endpoint="{base}"]')
        expect(card).to_have_attribute("aria-pressed", "true")
        for name, value in SMALL.items():
            field(page, name).fill(value)
        page.locator('[data-work="bench"] [data-form-find]').fill("num_prompts")
        field(page, "num_prompts").fill(str(REQUESTS))
        plan = page.locator('[data-work="bench"] [data-work-plan]')
        expect(plan).to_contain_text(f"{POINTS * REQUESTS}")
        known = {run.id for run in real_studio.jobs.list(engine="vllm-bench")}
        page.locator('[data-work="bench"] [data-act="launch"]').click()

        run = launched(real_studio, known, lambda run: run.spec.engine == "vllm-bench")
        live = page.locator("#bench-live")
        expect(live.locator(f'[data-ladder-live="bench/run/{run.id}"]')).to_be_visible()
        expect(live.locator(".l-b-dots .l-on").first).to_be_visible(timeout=SLOW)
        shot(page, "bench-live.zh")
        page.locator('#bench-head [data-act="stop"]').click()
        expect(page.locator("#bench-head .l-stopped")).to_be_visible()
        resume = live.locator('[data-act="resume"]')
        expect(resume).to_be_visible()
        name = resume.get_attribute("data-value")
        first = real_studio.saved.get(name)
        kept = {point.id: point.at for point in first.points if point.done}
        assert 0 < len(kept) < POINTS and name not in before

        resume.click()
        expect(live.locator(".l-b-dots .l-on")).to_have_count(POINTS, timeout=SLOW)
        expect(page.locator("#bench-head .l-done")).to_be_visible()
        expect(live.locator(".l-b-verdict")).to_be_visible()
        whole = real_studio.saved.get(name)
        assert {p.id: p.at for p in whole.points if p.id in kept} == kept, "done points stay"
        assert sum(point.done for point in whole.points) == POINTS

        page.locator("#bench-view-results-button").click()
        table = page.locator("[data-bench-table]")
        expect(table.locator(f'tr[data-key="{name}"]')).to_be_visible()
        page.locator("[data-bench-by=points]").click()
        page.locator('[data-bench-filters] [name="find"]').fill(name)
        expect(table).to_have_attribute("data-total", str(POINTS))
        page.locator('[data-bench-sort="output_throughput"]').click()
        expect(table.locator('th[aria-sort="descending"]')).to_contain_text("tok/s")
        page.locator('[data-bench-what="output_throughput"]').click()
        expect(page.locator(".l-b-words .l-on")).to_contain_text("output_throughput")
        page.locator("[data-bench-shut]").click()

        for ident in ("in32-out48-c1-r0", "in32-out48-c2-r0"):
            table.locator(f'tr[data-key="{name}/{ident}"] input').check()
        page.locator("[data-bench-compare]").click()
        expect(page.locator(".l-b-compared")).to_contain_text("%")
        page.go_back()
        page.locator("[data-bench-by=folders]").click()
        table.locator(f'tr[data-key="{name}"] .l-link').click()
        one = page.locator(".l-b-one")
        expect(one.locator(".l-b-verdict")).to_be_visible()
        expect(one.locator('[data-kind="throughput-latency"] svg').first).to_be_visible()
        shot(page, "bench-results.zh")
        one.locator('[data-act="delete"]').click()
        page.locator("dialog .danger-fill").click()
        expect(table.locator(f'tr[data-key="{name}"]')).to_have_count(0)
        assert outside == []
    assert not (test_home / "bench" / name).exists()
    for run in real_studio.jobs.list(engine="vllm-bench"):
        assert run.state in (State.DONE, State.STOPPED, State.FAILED)
        assert procs.marked(run.id) == []
    real_studio.jobs.stop(server.id)
    real_studio.jobs.wait(server.id, timeout_s=60)


def test_nothing_sticks_out_on_a_phone_and_an_empty_home_teaches(tmp_path: Path) -> None:
    home = tmp_path / "home"
    Studio(Settings(home=home))
    words = ["--tab", "bench"]
    with page_served(home, *words) as (url, _), browser_page(url, "en-US", 400) as (page, _):
        for view, words in (
            ("results", "Nothing was measured yet"),
            ("load", "No server answers yet"),
        ):
            page.locator(f"#bench-view-{view}-button").click()
            expect(page.locator(f"#bench-view-{view}")).to_contain_text(words)
            fits(page, 400)
        assert "view=load" in page.url
