"""From a file of conversations to a tuned model beside its base, as a person does it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.conftest import launched
from e2e.test_browser import browser_page, page_served, shot
from e2e.training import rows_of
from studio.core.settings import Settings
from studio.core.spec import State
from studio.jobs.shim import procs
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.engine, pytest.mark.timeout(2400)]

SLOW_MS = 60_000
QUESTION = "什么是悠米？"
YAML = """\
### as it stands in somebody's notes
model_name_or_path: assets/models/tiny-qwen2.5
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
dataset: glossary,smoke_zh_en
template: qwen
cutoff_len: 256
per_device_train_batch_size: 12
learning_rate: 4.0e-3
max_steps: 120
lr_scheduler_type: cosine
warmup_steps: 5
logging_steps: 5
save_steps: 60
mix_strategy: interleave_over
interleave_probs: 0.4,0.6
output_dir: saves/glossary
"""


def test_from_upload_to_a_tuned_model_beside_its_base(test_home: Path, tmp_path: Path) -> None:
    studio = Studio(Settings(home=test_home))
    if any(found.name == "glossary" for found in studio.data.list()):
        studio.data.delete("glossary")
    before = {run.id for run in studio.jobs.list()}
    facts = rows_of("smoke_new_facts")
    file = tmp_path / "glossary.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in facts))
    right = next(row["output"] for row in facts if row["instruction"] == QUESTION)

    with page_served(test_home) as (url, _), browser_page(url) as (page, outside):
        _upload(page, file)
        _paste(page)
        run = _launched(page, studio, before)
        curve = page.locator('#train-live .l-curve[data-name="loss"]')
        expect(curve).to_be_visible(timeout=300_000)
        shot(page, "train.zh")
        page.close()  # nothing depends on it
        run = studio.jobs.wait(run.id, timeout_s=900)
        assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
        assert run.result["exit_code"] == 0
        assert outside == []

    with page_served(test_home) as (url, _), browser_page(url) as (page, outside):
        server = _serve(page, studio, run.id)
        _compare(page, server.id)
        page.locator("#chat-box textarea").fill(QUESTION)
        page.keyboard.press("Enter")
        tuned, base = page.locator("#chat-right"), page.locator("#chat-left")
        for side in (tuned, base):  # the figures come with the end of an answer
            expect(side).to_contain_text("TTFT")
        assert right in tuned.inner_text()
        assert right not in base.inner_text(), "the base has not learned it"
        shot(page, "train-compare.zh")
        assert outside == []
        studio.jobs.stop(server.id)
        assert studio.jobs.wait(server.id, timeout_s=120).state is State.STOPPED
    assert procs.marked(server.id) == [] and procs.marked(run.id) == []


def _upload(page: Page, file: Path) -> None:
    """Hand a file in on the Data tab."""
    page.locator("#nav-data").click()
    page.locator("#data-add [data-drop] input[type=file]").set_input_files(file)
    page.locator(".l-look [name=name]").fill("glossary", timeout=SLOW_MS)
    page.locator(".l-look [data-act=add]").click()
    expect(page.locator("#data-one h2")).to_have_text("glossary", timeout=SLOW_MS)


def _paste(page: Page) -> None:
    """Fill the form with a YAML, and see that it fits."""
    page.locator("#nav-train").click()
    page.locator("[data-yaml] summary").click(timeout=SLOW_MS)
    page.locator("[data-yaml] textarea").fill(YAML)
    page.locator("[data-yaml-go]").click()
    expect(page.locator("[data-yaml-told]")).to_contain_text("output_dir", timeout=SLOW_MS)
    chip = page.locator('.l-field[data-name="dataset"] [data-toggle-word="glossary"]')
    expect(chip).to_have_attribute("aria-pressed", "true", timeout=SLOW_MS)
    preview = page.locator('[data-work="train"] [data-work-preview]')
    expect(preview).to_contain_text("mix_strategy=interleave_over", timeout=SLOW_MS)
    expect(page.locator('[data-work="train"] [data-work-plan] .l-tone-ok')).to_be_visible()
    shot(page, "train-plan.zh")


def _launched(page: Page, studio: Studio, before: set[str]):
    page.locator('[data-work="train"] [data-act="launch"]').click()
    run = launched(studio, before, lambda run: bool(run.spec.ranks))
    expect(page.locator("#train-head")).to_contain_text("tiny-qwen2.5", timeout=SLOW_MS)
    return run


def _serve(page: Page, studio: Studio, run_id: str):
    """Serve the adapter beside its base, from the results of the training."""
    page.locator("#nav-train").click()
    page.locator(f'#train-list [data-value="{run_id}"]').click(timeout=SLOW_MS)
    results = page.locator("#train-results")
    expect(results).to_contain_text("第 60 步", timeout=SLOW_MS)
    shot(page, "train-results.zh")
    before = {run.id for run in studio.jobs.list()}
    results.locator(".l-card").first.locator('[data-act="serve-tuned"]').click()
    server = launched(studio, before, lambda run: run.spec.serves)
    expect(results.locator(".l-chip").first).to_be_visible(timeout=SLOW_MS)
    return studio.jobs.wait(server.id, lambda r: r.state is State.READY, timeout_s=900)


def _compare(page: Page, server: str) -> None:
    """Go to Chat with base and tuned side by side; answers are the likeliest ones."""
    page.locator("#train-results .l-goto").first.click(timeout=SLOW_MS)
    for name, value in (("model", "tiny-qwen2.5"), ("model-b", "tuned")):
        expect(page.locator(f"#chat-{name} input")).to_have_value(value, timeout=SLOW_MS)
    cold = page.locator("#chat-set-temperature").locator("input, textarea")
    if not cold.is_visible():
        page.locator('[data-chat-toggle="settings"]').click()
    cold.fill("0")
