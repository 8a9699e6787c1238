"""Data as a person hands it in: drop a file, see what it is, add it, mend it, count its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e.test_browser import browser_page, fits, page_served, shot
from studio.core.settings import Settings
from studio.studio import Studio

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

SLOW_MS = 60_000


def talk(*texts: str) -> dict[str, object]:
    turns = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"conversations": turns}


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """Conversations of which two are at fault, one line is torn and one is there twice."""
    rows = [talk(f"问题 {n}：怎么省显存？", "先把批大小降到 1。" * (1 + n % 7)) for n in range(40)]
    rows += [talk("", "没有问题"), {"conversations": [{"from": "alien", "value": "?"}]}, rows[5]]
    text = [json.dumps(row, ensure_ascii=False) for row in rows]
    text.insert(9, '{"conversations": [{"from": "human", "value": "断')
    path = tmp_path / "客服 faq.jsonl"
    path.write_text("\n".join(text) + "\n", encoding="utf-8")
    return path


def give(page: Page, path: Path) -> None:
    page.locator("#data-add [data-drop] input[type=file]").set_input_files(path)
    expect(page.locator(".l-look")).to_be_visible(timeout=SLOW_MS)


def add(page: Page, name: str) -> None:
    page.locator(".l-look [name=name]").fill(name)
    page.locator(".l-look [data-act=add]").click()
    expect(page.locator("#data-one h2")).to_have_text(name, timeout=SLOW_MS)
    expect(page.locator(".l-look")).to_have_count(0, timeout=SLOW_MS)


def open_page(page: Page, name: str) -> None:
    page.locator(f"#data-one [data-page={name}]").click()
    tab = page.locator(f'#data-one [data-page={name}][aria-selected="true"]')
    expect(tab).to_be_visible(timeout=SLOW_MS)


def test_from_a_faulty_file_to_a_registered_version(tmp_path: Path, faulty: Path) -> None:
    home = tmp_path / "home"
    with (
        page_served(home, "--tab", "data") as (url, _),
        browser_page(url) as (page, outside),
    ):
        expect(page.locator("#data-one")).to_contain_text("选一个数据集", timeout=SLOW_MS)
        give(page, faulty)
        look = page.locator(".l-look")
        expect(look).to_contain_text("对话（ShareGPT）")
        expect(look.locator(".l-turn-user").first).to_contain_text("怎么省显存")
        expect(look.locator(".l-faults")).to_contain_text("不认识角色")
        shot(page, "data-look.zh")
        add(page, "faq")
        listed = page.locator('#data-list [data-set="faq"]')
        expect(listed).to_contain_text("41 条", timeout=SLOW_MS)

        open_page(page, "faults")
        faults = page.locator("#data-one .l-faults tbody tr")
        expect(faults).to_have_count(4)
        assert [row.split()[0] for row in faults.all_inner_texts()] == ["10", "42", "43", "44"]
        page.locator("#data-one .l-counts button").filter(has_text="重复").click()
        expect(faults).to_have_count(1, timeout=SLOW_MS)
        shot(page, "data-faults.zh")

        open_page(page, "change")
        page.locator("[data-op=deduplicate] [data-act=apply]").click()
        expect(page.locator("#data-one [data-one-version]")).to_have_value("2", timeout=SLOW_MS)
        expect(listed).to_contain_text("2 个版本", timeout=SLOW_MS)
        info = json.loads((home / "data" / "dataset_info.json").read_text(encoding="utf-8"))
        assert {"faq", "faq.v1", "faq.v2"} <= set(info)
        open_page(page, "register")
        expect(page.locator("#data-one")).to_contain_text('"faq.v2"')

        open_page(page, "rows")
        page.locator("[data-one-find]").fill("问题 7：")
        expect(page.locator("#data-one .l-example")).to_have_count(1, timeout=SLOW_MS)
        page.locator("#data-one [data-one-version]").select_option("1")
        expect(page.locator("#data-one")).to_contain_text("来自 客服 faq.jsonl", timeout=SLOW_MS)

        page.locator('#data-one [data-act=delete][data-value="faq"]').click()
        page.locator(".l-dialog .danger-fill").click()
        expect(listed).to_have_count(0, timeout=SLOW_MS)
        assert outside == []
    assert Studio(Settings(home=home)).data.list()[0].built_in, "nothing of one's own is left"
    assert faulty.exists()


def test_a_dropped_table_is_mapped_by_hand(tmp_path: Path) -> None:
    table = "Q,A,note\n" + "".join(f"What is {n}?,A number.,x\n" for n in range(12))
    with (
        page_served(tmp_path / "home", "--tab", "data") as (url, _),
        browser_page(url, "en-US", 400) as (page, _),
    ):
        drop = page.locator("#data-add [data-drop]")
        expect(drop).to_be_visible(timeout=SLOW_MS)
        file = page.evaluate_handle(
            "(text) => { const all = new DataTransfer();"
            " all.items.add(new File([text], 'numbers.csv')); return all; }",
            table,
        )
        drop.dispatch_event("drop", {"dataTransfer": file})
        look = page.locator(".l-look")
        expect(look).to_be_visible(timeout=SLOW_MS)
        look.locator('[data-map="Q"]').select_option("prompt")
        look.locator('[data-map="A"]').select_option("response")
        expect(look).to_contain_text("Instructions (alpaca)", timeout=SLOW_MS)
        expect(look.locator(".l-turn-assistant").first).to_contain_text("A number.")
        add(page, "numbers")
        for name in ("faults", "lengths", "change", "register", "rows"):
            open_page(page, name)
            fits(page, 400)
        page.reload()
        page.locator('#data-list [data-set="numbers"]').click(timeout=SLOW_MS)
        expect(page.locator("#data-one h2")).to_have_text("numbers", timeout=SLOW_MS)
        expect(page).to_have_url(f"{url}/?tab=data&set=numbers")
        train = page.locator("#data-one a").filter(has_text="Train on it")
        assert "llamafactory-train" in (train.get_attribute("href") or "")


def test_a_wrong_file_is_answered_with_a_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "photo.jsonl"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(500))
    with (
        page_served(tmp_path / "home", "--tab", "data") as (url, _),
        browser_page(url) as (page, _),
    ):
        page.locator("#data-add [data-drop] input[type=file]").set_input_files(broken)
        told = page.locator('#data-add [data-part="told"]')
        expect(told).to_have_class("l-note l-tone-bad", timeout=SLOW_MS)
        page.locator("[data-path]").fill("/nowhere/at/all.jsonl")
        page.locator("[data-path]").press("Enter")
        expect(told).to_contain_text("服务器上没有文件 /nowhere/at/all.jsonl", timeout=SLOW_MS)


@pytest.mark.engine
def test_tokens_are_counted_and_drawn(test_home: Path, faulty: Path) -> None:
    studio = Studio(Settings(home=test_home))
    for found in studio.data.list():
        if found.name == "counted":
            studio.data.delete("counted")
    studio.data.add(faulty, "counted")
    with (
        page_served(test_home, "--tab", "data") as (url, _),
        browser_page(f"{url}/?tab=data&set=counted&show=lengths") as (page, _),
    ):
        form = page.locator("[data-op=lengths]")
        form.locator("[name=cutoff_len]").fill("64", timeout=SLOW_MS)
        form.locator("[data-act=lengths]").click()
        expect(page.locator("#data-one .l-hist")).to_be_visible(timeout=1_800_000)
        expect(page.locator("#data-one .l-hist-cut")).to_contain_text("64")
        expect(page.locator("#data-one .l-figures")).to_contain_text("p99")
        shot(page, "data-lengths.zh")
    studio.data.delete("counted")
