"""The Image edit tab as a public link shows it: what guests reach, and all that they do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from conftest import free_port
from engines.image_edit.hostile import files
from images.stand_in import png
from ui.pages import GUEST, OPERATOR, accounts

from studio.core.settings import Settings
from studio.images.request import GUEST as LIMITS
from studio.studio import Studio
from studio.ui.chat.parts import BROWSER
from studio.ui.page.launch import find_tabs, launch_page
from studio.ui.page.shell import Served

FOR_GUESTS = {
    "image/desk",
    "image/now",
    "image/worker",
    "image/gallery",
    "image/sample/{name}",
    "image/upload",
    "image/upload/{id}",
    "image/item/{id}",
    "image/item/{id}/preview",
    "image/item/{id}/{name}",
}
"""Every address of the tab that a guest may ask; each answers for the guest alone."""
LARGER_BYTES = LIMITS.max_bytes + 2**20
"""More than a guest may send."""
TOO_LARGE = f"{LIMITS.max_bytes / 2**20:.0f} MB"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio without a worker."""
    home = tmp_path_factory.mktemp("home")
    return Studio(Settings(home=home, port=free_port(17960)))


@pytest.fixture(scope="module")
def shared(studio: Studio) -> Iterator[Served]:
    """The tab alone with an operator and a guest, as `--tab image-edit --share` serves it."""
    served = launch_page(studio, only="image-edit", accounts=accounts())
    yield served
    served.close()


@contextmanager
def logged_in(url: str, who: tuple[str, str]) -> Iterator[httpx.Client]:
    """Open a browser of sorts with a session."""
    with httpx.Client(base_url=url, cookies={BROWSER: "a" * 32}, timeout=60) as web:
        web.post("/login", data={"username": who[0], "password": who[1]}).raise_for_status()
        yield web


@pytest.fixture(scope="module")
def guest(shared: Served) -> Iterator[httpx.Client]:
    with logged_in(shared.url, GUEST) as web:
        yield web


def tab_routes(studio: Studio) -> list[Any]:
    """Return every route of the tab."""
    tab = next(tab for tab in find_tabs() if tab.id == "image-edit")
    return list(tab.routes(studio))


def test_the_routes_for_guests_are_these_and_no_others(studio: Studio) -> None:
    assert {route.path for route in tab_routes(studio) if route.guest} == FOR_GUESTS


def test_every_other_route_refuses_a_guest(studio: Studio, guest: httpx.Client) -> None:
    closed = [route for route in tab_routes(studio) if not route.guest]
    paths = {route.path for route in closed}
    assert {"image-edit/plan", "image-edit/form", "run/{id}/ladder", "run/{id}/log"} <= paths
    for path in paths:
        where = path.replace("{id}", "01k").replace("{name:path}", "log.txt")
        answer = guest.get(f"/ladder/{where}")
        assert answer.status_code == 403, path
        assert answer.json()["error"]


def test_an_operator_is_let_in(shared: Served) -> None:
    with logged_in(shared.url, OPERATOR) as web:
        assert "data-image-worker" in web.get("/ladder/image-edit/worker").json()["html"]
        assert 'id="image-worker"' in web.get("/").text or "image-worker" in web.get("/").text


def test_every_recipe_opens_as_a_form_and_has_a_ladder(shared: Served, studio: Studio) -> None:
    with logged_in(shared.url, OPERATOR) as web:
        cards = web.get("/ladder/image-edit/choices").json()["html"]
        recipes = [recipe for recipe in studio.recipes.list() if recipe.engine == "image-edit"]
        assert len(recipes) >= 6
        for recipe in recipes:
            assert f'data-choose="{recipe.name}"' in cards
            form = web.get("/ladder/image-edit/form", params={"recipe": recipe.name}).json()
            assert 'data-name="rung"' in form["html"]
            ask = {"engine": recipe.engine, "settings": recipe.settings, "recipe": recipe.name}
            for on in ("", "2x24", "cpu64"):
                asked = {"ask": json.dumps(ask), "on": on}
                answer = web.get("/ladder/image-edit/plan", params=asked).json()
                assert 'class="l-rungs"' in answer["plan"], (recipe.name, on)
                assert "image_worker.py" in answer["preview"]


def test_nothing_of_the_workers_is_sent(guest: httpx.Client) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        text = guest.get(path).text
        for word in ("image-worker", "image_launch", "image_rung", "image_plan", "image_batch"):
            assert word not in text, (path, word)


def test_handlers_of_the_workers_cannot_be_called_by_number(
    shared: Served, guest: httpx.Client, studio: Studio
) -> None:
    """A page description without them keeps nobody from counting."""
    closed = sorted(shared.page.closed_fns)
    assert len(closed) >= 8, "launch, plan, rung, stop, relaunch, the pane's own"
    ask = json.dumps({"engine": "image-edit", "settings": {}, "recipe": "diffusers/smoke"})
    for act in ("launch", "stop", "relaunch", "rung", "delete"):
        asked: dict[str, int] = {}
        for number in closed:
            body = {
                "data": ["x", "x"],
                "fn_index": number,
                "session_hash": act,
                "event_data": {"act": act, "value": ask},
            }
            answer = guest.post("/gradio_api/queue/join", json=body)
            if answer.status_code == 200:
                asked[answer.json()["event_id"]] = number
        ended = how_they_ended(guest, act, set(asked))
        assert {n: ended.get(id_) for id_, n in asked.items() if ended.get(id_) is not False} == {}
    assert studio.jobs.list() == []


def how_they_ended(web: httpx.Client, session: str, events: set[str]) -> dict[str, bool]:
    """Return for each event of a session whether it succeeded, once all have ended."""
    ended: dict[str, bool] = {}
    if not events:
        return ended
    with web.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as lines:
        for line in lines.iter_lines():
            told = json.loads(line[6:]) if line.startswith("data: ") else {}
            if told.get("msg") == "process_completed":
                ended[told["event_id"]] = told.get("success")
            if events <= ended.keys():
                break
    return ended


@pytest.mark.parametrize("name", ["image_launch", "image_plan", "image_rung"])
def test_the_scripts_of_operators_refuse(guest: httpx.Client, studio: Studio, name: str) -> None:
    data = {"image_launch": [{}, ""], "image_plan": [{}, ""], "image_rung": ["01k", "cpu"]}[name]
    answer = guest.post(f"/gradio_api/call/{name}", json={"data": data})
    text = answer.text
    if answer.status_code == 200:
        event = answer.json()["event_id"]
        text = guest.get(f"/gradio_api/call/{name}/{event}").text
        assert "event: error" in text
    assert studio.jobs.list() == []


def test_looking_starts_nothing(guest: httpx.Client, studio: Studio) -> None:
    """A shared page never starts a worker by itself, nor for a guest."""
    for path in sorted(FOR_GUESTS):
        if "{" not in path and path != "image/upload":
            assert guest.get(f"/ladder/{path}").status_code == 200, path
    said = guest.get("/ladder/image/now").json()["html"]
    assert "data-act" not in said and "data-image-fold" not in said
    assert studio.jobs.list() == []


@pytest.mark.parametrize("path", ["machine/gpus", "runs", "serve/work", "train/work", "data/list"])
def test_the_rest_of_the_studio_is_not_there(guest: httpx.Client, path: str) -> None:
    assert guest.get(f"/ladder/{path}").status_code in (403, 404)


@pytest.mark.parametrize("path", ["/proc/self/environ", "/etc/passwd", "images"])
def test_files_are_not_reachable(guest: httpx.Client, studio: Studio, path: str) -> None:
    where = path if path.startswith("/") else str(studio.settings.home / path)
    assert guest.get(f"/gradio_api/file={where}").status_code in (403, 404)
    for name in ("..%2f..%2fitem.json", "%2e%2e", "item.json", "end.json"):
        answer = guest.get(f"/ladder/image/item/01k0000000000000000/{name}")
        assert answer.status_code in (400, 404), name


# uploads ------------------------------------------------------------------------------------------


def test_a_hostile_file_is_refused_in_a_sentence(guest: httpx.Client) -> None:
    bad = [one for one in files() if one.refused]
    assert len(bad) >= 25
    for one in bad:
        answer = guest.post("/ladder/image/upload?name=cat.png", content=one.data)
        assert answer.status_code == 400, (one.name, answer.text)
        said = answer.json()["error"]
        assert len(said) > 10 and "Traceback" not in said, one.name
        assert "Error" not in said, f"{one.name}: a sentence, not a name out of Python"


def test_after_all_that_the_page_takes_a_picture(guest: httpx.Client) -> None:
    told = guest.post("/ladder/image/upload?name=cat.png", content=png()).json()
    assert told["id"] and told["width"] > 0
    assert guest.get(f"/ladder/image/upload/{told['id']}").headers["content-type"] == "image/png"


def test_too_large_is_refused_before_it_has_all_come(guest: httpx.Client) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(LARGER_BYTES * 4 // 65536):
            sent += 65536
            yield bytes(65536)

    try:
        answer = guest.post("/ladder/image/upload", content=body())
        assert answer.status_code == 400 and TOO_LARGE in answer.json()["error"]
    except httpx.TransportError:
        pass  # the server has closed the connection while we were still sending
    assert guest.get("/ladder/image/now").status_code == 200


def test_a_length_that_is_too_large_is_refused_at_once(guest: httpx.Client) -> None:
    answer = guest.post("/ladder/image/upload", content=bytes(LARGER_BYTES))
    assert answer.status_code == 400 and TOO_LARGE in answer.json()["error"]


@pytest.mark.parametrize("name", ["../../x.png", "/etc/passwd", "a" * 4000, "\u202egnp.exe", ""])
def test_a_name_leads_nowhere(guest: httpx.Client, studio: Studio, name: str) -> None:
    before = {p for p in studio.settings.home.rglob("*") if p.is_file()}
    answer = guest.post("/ladder/image/upload", params={"name": name}, content=png())
    assert answer.status_code == 200 and "/" not in answer.json()["name"]
    made = {p for p in studio.settings.home.rglob("*") if p.is_file()} - before
    uploads = studio.settings.home / "uploads"
    assert made and all(p.is_relative_to(uploads) for p in made)


def test_nobody_comes_in_without_a_session(shared: Served) -> None:
    with httpx.Client(base_url=shared.url) as web:
        for path in sorted(FOR_GUESTS):
            assert web.get(f"/ladder/{path}").status_code == 401, path
        assert web.post("/ladder/image/upload", content=png()).status_code == 401


def test_another_site_cannot_send_a_picture(guest: httpx.Client) -> None:
    evil = {"origin": "https://evil.example"}
    answer = guest.post("/ladder/image/upload", content=png(), headers=evil)
    assert answer.status_code == 403


def test_with_every_tab_a_guest_has_the_desk_and_the_chat(serve: Callable[..., Served]) -> None:
    served = serve(tabs=find_tabs(), accounts=accounts())
    with logged_in(served.url, GUEST) as web:
        page = web.get("/").text
        assert 'id="nav-image-edit"' in page and 'id="nav-serve"' not in page
        assert "image-worker" not in page
        assert web.get("/ladder/image-edit/plan").status_code == 403
