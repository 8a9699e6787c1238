"""A study as a person asks it, stops it and goes on with it; blind votes by key and by thumb."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from ui import study_seeds

from e2e.test_browser import browser_page, fits, page_served, shot
from studio.core.settings import Settings
from studio.core.spec import State
from studio.jobs.shim import procs
from studio.studies import studies
from studio.studies.record import Phase
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.timeout(2400)]

SLOW_MS = 60_000
PROCESSES = "studies/smoke-processes"


@pytest.mark.engine
def test_a_study_is_asked_stopped_and_gone_on_with(real_studio: Studio, test_home: Path) -> None:
    before = {look.name for look in studies.looks(real_studio)}
    with (
        page_served(test_home) as (url, _),
        browser_page(f"{url}/?tab=bench&view=studies") as (
            page,
            outside,
        ),
    ):
        page.locator(f'[data-study-open="{PROCESSES}"]').click(timeout=SLOW_MS)
        form = page.locator("#study-work [data-work-form]")
        expect(form.locator('[data-case="two"]')).to_have_attribute(
            "aria-pressed", "true", timeout=SLOW_MS
        )
        _row(page, "max_steps").fill("6")
        form.locator('[name="repeats"]').fill("1")
        plan = page.locator("#study-work [data-work-plan]")
        expect(plan.locator(".l-case-plan")).to_have_count(2, timeout=SLOW_MS)
        page.locator("#study-work .l-command summary").click()
        preview = page.locator("#study-work [data-work-preview]")
        line = "python app.py study smoke-processes repeats=1 max_steps=6"
        expect(preview).to_contain_text(re.compile(r"max_steps=6"), timeout=SLOW_MS)
        assert set(line.split()) == set(preview.locator("pre").inner_text().split())
        page.locator('#study-work [data-act="launch"]').click()

        cases = page.locator('[data-study-part="cases"]')
        expect(cases.locator(".l-case-row > .l-running")).to_be_visible(timeout=300_000)
        shot(page, "study-running.zh")
        page.locator('#study-results [data-act="study-stop"]').click()
        resume = page.locator('#study-results [data-act="study-resume"]')
        expect(resume).to_be_visible(timeout=300_000)
        name = next(k.name for k in studies.looks(real_studio) if k.name not in before)
        stopped = studies.look(real_studio, name)
        assert stopped.phase is Phase.STOPPED
        assert procs.marked(stopped.run) == []

        resume.click()
        head = page.locator('[data-study-part="head"] .l-study-title')
        expect(head.locator(".l-done")).to_be_visible(timeout=900_000)
        verdicts = page.locator('[data-study-part="verdict"] .l-told')
        expect(verdicts).to_have_count(3, timeout=SLOW_MS)
        chart = page.locator('[data-study-part="charts"] .l-chart').first
        chart.evaluate("(figure) => figure.scrollIntoView()")  # it is drawn when it is seen
        expect(chart.locator("svg").first).to_be_visible(timeout=SLOW_MS)
        expect(page.locator('[data-study-part="points"] tbody tr')).to_have_count(2)
        shot(page, "study-done.zh")
        assert outside == []
    look = studies.look(real_studio, name)
    assert look.phase is Phase.DONE and look.rows_done == 2
    assert real_studio.jobs.get(look.run).state is State.DONE


def _row(page: Page, setting: str):
    """Return the value's field of a common setting."""
    rows = page.locator("#study-work .l-pair-row")
    expect(rows.first).to_be_visible(timeout=SLOW_MS)
    for number in range(rows.count()):
        name, value = (rows.nth(number).locator("input").nth(n) for n in (0, 1))
        if name.input_value() == setting:
            return value
    raise AssertionError(f"no row for {setting}")


@pytest.mark.parametrize("width", [1440, 400])
def test_votes_by_keys_and_buttons_without_names(tmp_path: Path, width: int) -> None:
    studio = Studio(Settings(home=tmp_path / "home"))
    name = study_seeds.comparison(studio, 4)
    with page_served(tmp_path / "home") as (url, _):
        asked = f"{url}/?tab=bench&view=quality&name={name}"
        with browser_page(asked, width=width) as (page, outside):
            page.locator("[data-room-open]").click(timeout=SLOW_MS)
            room = page.locator("#quality-room")
            count = room.locator(".l-room-count")
            expect(count).to_contain_text("1 / 4", timeout=SLOW_MS)
            assert "tuned" not in room.inner_text() and "base" not in room.inner_text()
            shot(page, f"quality-vote-{width}.zh")
            fits(page, width)
            for number, key in ((2, "1"), (3, "2"), (4, "0"), (3, "u"), (4, "2")):
                page.keyboard.press(key)
                expect(count).to_contain_text(f"{number} / 4", timeout=SLOW_MS)
            room.locator('[data-key="0"]').click()
            expect(room.locator("[data-room-leave]").first).to_be_visible(timeout=SLOW_MS)
            expect(room).to_contain_text("全部投完", timeout=SLOW_MS)
            room.locator("[data-room-leave]").first.click()
            wins = page.locator('[data-quality-part="wins"]')
            expect(wins).to_contain_text("tuned", timeout=SLOW_MS)
            expect(wins).to_contain_text("95%")
            shot(page, f"quality-{width}.zh")
            fits(page, width)
            assert outside == []
    choices = [vote.verdict.won for vote in studio.quality._votes(name).all()]
    assert choices == ["left", "right", "right", "tie"]
