"""The Bench tab and guests of a public link: they reach nothing of it, by no way."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from conftest import free_port
from ui.pages import GUEST, OPERATOR, accounts
from ui.test_image_guests import how_they_ended, logged_in

from studio.core.settings import Settings
from studio.studio import Studio
from studio.ui.page.launch import find_tabs, launch_page
from studio.ui.page.shell import Served

FOLDER = "zero-stages_20260101-120000"
SCRIPTS = {
    "bench_launch": [{}, ""],
    "bench_plan": [{}, ""],
    "bench_points": [{}],
    "bench_compare": [[FOLDER], [FOLDER]],
    "bench_verdict": [FOLDER],
    "study_launch": ["studies/smoke-load", ""],
    "study_state": [FOLDER],
    "study_verdict": [FOLDER],
    "quality_launch": [{}, ""],
    "quality_vote": [FOLDER, "1", "a"],
    "quality_table": [],
}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio with one folder of results that a guest might want."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "bench" / FOLDER
    folder.mkdir(parents=True)
    about = {"v": 1, "kind": "study", "name": FOLDER, "model": "secret-model", "created_at": 1.0}
    (folder / "about.json").write_text(json.dumps(about))
    return Studio(Settings(home=home, port=free_port(18020)))


@pytest.fixture(scope="module")
def shared(studio: Studio) -> Iterator[Served]:
    """Every tab, with an operator and a guest, as `--share` serves them."""
    served = launch_page(studio, accounts=accounts())
    yield served
    served.close()


@pytest.fixture(scope="module")
def guest(shared: Served) -> Iterator[httpx.Client]:
    with logged_in(shared.url, GUEST) as web:
        yield web


def paths(studio: Studio) -> list[str]:
    """Return the address of every route of the tab, filled in with what is there."""
    tab = next(tab for tab in find_tabs() if tab.id == "bench")
    assert not tab.guest and not any(route.guest for route in tab.routes(studio))
    found = []
    for route in tab.routes(studio):
        path = route.path.replace("{path:path}", "about.json")
        for name in ("{name}", "{id}"):
            path = path.replace(name, FOLDER)
        assert "{" not in path.replace("{name:path}", "")
        found.append(path.replace("{name:path}", "log.txt"))
    return found


def test_every_route_refuses_a_guest(studio: Studio, guest: httpx.Client) -> None:
    found = paths(studio)
    assert {"bench/table", f"bench/report/{FOLDER}", f"bench/raw/{FOLDER}/about.json"} <= {*found}
    assert {path.split("/")[0] for path in found} >= {"bench", "study", "quality"}
    for path in found:
        answer = guest.get(f"/ladder/{path}", params={"name": FOLDER, "results": FOLDER})
        assert answer.status_code == 403, path
        assert "secret-model" not in answer.text, path


def test_nobody_comes_in_without_a_session(studio: Studio, shared: Served) -> None:
    with httpx.Client(base_url=shared.url) as web:
        for path in paths(studio):
            assert web.get(f"/ladder/{path}").status_code == 401, path


def test_an_operator_is_let_in(shared: Served) -> None:
    with logged_in(shared.url, OPERATOR) as web:
        assert FOLDER in web.get("/ladder/bench/table").text
        assert 'id="nav-bench"' in web.get("/").text


def test_nothing_of_the_tab_is_sent(guest: httpx.Client) -> None:
    for path in ("/", "/?tab=bench&view=results", "/config", "/gradio_api/info"):
        text = guest.get(path).text
        for word in ("nav-bench", "bench-results", "bench-view", *SCRIPTS):
            assert word not in text, (path, word)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_scripts_of_operators_refuse(guest: httpx.Client, studio: Studio, name: str) -> None:
    answer = guest.post(f"/gradio_api/call/{name}", json={"data": SCRIPTS[name]})
    text = answer.text
    if answer.status_code == 200:
        event = answer.json()["event_id"]
        text = guest.get(f"/gradio_api/call/{name}/{event}").text
        assert "event: error" in text
    assert "secret-model" not in text
    assert studio.jobs.list() == []


def test_handlers_cannot_be_called_by_number(
    shared: Served, guest: httpx.Client, studio: Studio
) -> None:
    """Deleting results is a click on the page: a guest who counts functions gets nowhere."""
    closed = sorted(shared.page.closed_fns)
    assert len(closed) >= 8
    asked: dict[str, int] = {}
    for number in closed:
        body = {
            "data": [FOLDER, FOLDER],
            "fn_index": number,
            "session_hash": "counting",
            "event_data": {"act": "delete", "value": FOLDER},
        }
        answer = guest.post("/gradio_api/queue/join", json=body)
        if answer.status_code == 200:
            asked[answer.json()["event_id"]] = number
    ended = how_they_ended(guest, "counting", set(asked))
    assert {n: ended.get(id_) for id_, n in asked.items() if ended.get(id_) is not False} == {}
    assert (studio.settings.home / "bench" / FOLDER / "about.json").is_file()
    assert studio.jobs.list() == []
