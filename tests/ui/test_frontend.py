"""Gradio's scripts and styles as the page sends them, and what is done before the first visitor."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import brotli
import httpx
from ui.pages import accounts, small_tabs

from studio.studio import Studio
from studio.ui.page import ahead, frontend
from studio.ui.page.launch import find_tabs, launch_page
from studio.ui.page.shell import Served

LINK = re.compile(
    r'<link rel="(?P<rel>\w+)" (?P<how>disabled |crossorigin )?href="\./assets/(.+?)"'
)


def linked(url: str) -> list[tuple[str, str, str]]:
    """Return the links of a page to Gradio's files: what they are, how, and the name."""
    return [found.groups("") for found in LINK.finditer(httpx.get(url).text)]  # type: ignore[misc]


def test_the_head_names_what_the_components_need(opened: Served):
    links = linked(opened.url)
    scripts = [name for rel, _, name in links if rel == "modulepreload"]
    assert scripts[0].startswith("index-"), "the entry is wanted first"
    assert {name.partition("-")[0] for name in scripts} >= {"index", "core", "Blocks", "HTML"}
    types = {c["type"] for c in opened.page.config["components"]}
    assert {"textbox", "button", "html"} <= types
    more = frontend.needed(types | {"imageeditor"})
    assert len(more) > len(frontend.needed(types)) >= len(scripts)


def test_every_linked_file_is_sent_packed_or_plain_and_kept(opened: Served):
    for _, how, name in linked(opened.url):
        url = f"{opened.url}/assets/{name}"
        plain = httpx.get(url, headers={"accept-encoding": "identity"})
        assert plain.status_code == 200 and "immutable" in plain.headers["cache-control"], name
        assert "content-encoding" not in plain.headers
        with httpx.stream("GET", url, headers={"accept-encoding": "br"}) as packed:
            body = b"".join(packed.iter_raw())
            assert packed.headers["content-encoding"] == "br"
        assert brotli.decompress(body) == plain.content
        if not name.startswith("page-"):
            assert plain.content == (frontend.FOLDER / name).read_bytes()
        assert how != "disabled " or name.endswith(".css")


def test_the_one_style_sheet_holds_those_that_are_not_asked_for(opened: Served):
    links = linked(opened.url)
    held = [name for rel, how, name in links if rel == "stylesheet" and how == "disabled "]
    (whole,) = [name for rel, how, name in links if rel == "stylesheet" and "page-" in name]
    style = httpx.get(f"{opened.url}/assets/{whole}").content
    assert len(held) > 5 and "url(" not in style.decode()
    for name in held:
        assert (frontend.FOLDER / name).read_bytes() in style


def test_no_other_file_is_sent(opened: Served):
    for wrong in ("nothing.js", "..%2f..%2fshare.html", "x/index.js", "page-1.css"):
        assert httpx.get(f"{opened.url}/assets/{wrong}").status_code in (403, 404), wrong


def test_another_gradio_goes_its_own_way(opened: Served, tmp_path, monkeypatch):
    frontend._names.cache_clear()
    monkeypatch.setattr(frontend, "FOLDER", tmp_path / "assets")
    assert frontend.needed({"html"}) == []
    assert frontend.Frontend(opened.page).links == ""
    monkeypatch.undo()
    frontend._names.cache_clear()


def test_files_of_a_closed_page_are_closed(lasting: Studio):
    served = launch_page(lasting, small_tabs(), accounts=accounts())
    try:
        name = frontend.needed({"html"})[0]
        assert httpx.get(f"{served.url}/assets/{name}").status_code == 401
        ahead.begin(lasting, served)  # makes the log-in page, and does not mind
        assert httpx.get(served.url, headers={"accept": "text/html"}).status_code == 401
    finally:
        served.close()


def test_tabs_read_ahead_once_the_page_answers(lasting: Studio, opened: Served):
    read = threading.Event()
    first, *_ = small_tabs()
    broken = replace(first, ahead=lambda given: 1 // 0)
    opened.tabs = [broken, replace(first, ahead=lambda given: given is lasting and read.set())]
    ahead.begin(lasting, opened)
    assert read.wait(30)


def test_the_bench_tab_reads_its_points_ahead(studio: Studio, monkeypatch):
    (bench,) = [tab for tab in find_tabs() if tab.id == "bench"]
    looked: list[bool] = []
    monkeypatch.setattr(studio.saved, "folders", lambda: looked.append(True) or [])
    bench.ahead(studio)
    assert looked == [True]
