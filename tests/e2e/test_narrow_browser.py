"""A phone's page with everything that can go wrong on it: long names, failures, a full queue."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from ui.study_seeds import comparison

from e2e.test_browser import browser_page, page_served
from studio.core.errors import StudioError
from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, Resources
from studio.jobs.jobs import Run
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

WIDTH = 400
LONG = "Qwen2.5-72B-Instruct-GPTQ-Int4-long-context-experiment-0123456789"
TALK = f"print('/data/{'x' * 200}/model.safetensors ' * 3, flush=True)"
RECIPES = (
    "vllm/smoke",
    "llamafactory/smoke-lora",
    "diffusers/smoke",
    "guidellm/endpoint",
    "lm-eval/endpoint",
    "studies/ladder",
)
TAB_OF = {
    "vllm": "serve",
    "llamafactory-train": "train",
    "lm-eval": "train",
    "image-edit": "image-edit",
    "guidellm": "bench",
    "study": "bench",
}

STICKING_OUT = """() => {
  const wide = document.documentElement.scrollWidth;
  if (wide <= innerWidth) return [];
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    if (one.getBoundingClientRect().right <= innerWidth + 0.5) continue;
    let box = one.parentElement;
    while (box && box !== document.body && getComputedStyle(box).overflowX === "visible") {
      box = box.parentElement;
    }
    const said = `${one.tagName}.${one.className}: ${one.textContent.slice(0, 60)}`;
    if (box === document.body) found.push(said);
  }
  return [`${wide} px`, ...found.slice(-3)];
}"""
"""What makes the page wider than the window, innermost last."""


def submitted(studio: Studio, recipe: str, code: str, *after: str) -> Run:
    """Launch a recipe's spec with a stand-in for its program."""
    spec = studio.preview(studio.ask_for(studio.recipes.get(recipe)))
    own = {
        "id": new_id(),
        "name": f"{recipe.split('/')[1]}-{LONG}",
        "command": Command(argv=(sys.executable, "-c", code)),
        "after": after,
        "resources": Resources(),
        "env_name": "",
    }
    return studio.jobs.submit(spec.model_copy(update=own))


@contextlib.contextmanager
def crowded(home: Path) -> Iterator[list[Run]]:
    """A home in which runs of every kind failed, were lost, are at work or wait."""
    studio = Studio(Settings(home=home))
    ended: list[Run] = []
    for recipe in RECIPES:
        failed = submitted(studio, recipe, f"{TALK}; raise MemoryError('CUDA out of memory ' * 9)")
        ended.append(studio.jobs.wait(failed.id, timeout_s=60))
    lost = submitted(studio, "vllm/smoke", f"{TALK}; import time; time.sleep(600)")
    watcher = lost.dir.supervisor()
    assert watcher is not None
    os.kill(watcher.pid, signal.SIGKILL)
    ended.append(studio.jobs.wait(lost.id, timeout_s=60))
    works = submitted(studio, "vllm/smoke", f"{TALK}; import time; time.sleep(600)")
    waits = submitted(studio, "llamafactory/smoke-lora", "pass", works.id)
    comparison(studio)
    try:
        yield [*ended, works, waits]
    finally:
        for run in (waits, works):
            with contextlib.suppress(StudioError):
                studio.jobs.stop(run.id, now=True)
            studio.jobs.wait(run.id, timeout_s=60)


def looked_at(page: Page, where: str) -> list[str]:
    """Open every view of what is shown; return what sticks out."""
    wrong = []
    panel = page.locator(".tabitem:visible").first
    expect(panel).to_be_visible()
    names = [""] + [tab.inner_text() for tab in panel.get_by_role("tab").all() if tab.is_visible()]
    for name in dict.fromkeys(names):
        if name:
            panel.get_by_role("tab", name=name, exact=True).first.click()
        time.sleep(0.5)  # what stands there is read from the server
        if found := page.evaluate(STICKING_OUT):
            wrong.append(f"{where} {name}: {found}")
    return wrong


@pytest.mark.parametrize("lang", ["zh-CN", "en-US"])
def test_nothing_sticks_out_on_a_phone(tmp_path: Path, lang: str) -> None:
    with (
        crowded(tmp_path) as runs,
        page_served(tmp_path) as (url, _),
        browser_page(url, lang, WIDTH) as (page, outside),
    ):
        wrong = []
        for tab in ("chat", "image-edit", "serve", "train", "bench", "data", "runs", "machine"):
            page.goto(f"{url}/?tab={tab}")
            wrong += looked_at(page, tab)
        for run in runs:
            for tab in {"runs", TAB_OF[run.spec.engine]}:
                page.goto(f"{url}/?tab={tab}&run={run.id}")
                wrong += looked_at(page, f"{tab}, {run.spec.recipe} {run.state}")
        assert not wrong, "\n".join(wrong)
        assert outside == []
