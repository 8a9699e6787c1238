"""The page served for real: what is sent to whom, and who may call what."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, AuthenticationError
from ui.pages import GUEST, OPERATOR, accounts, small_tabs

from studio.core.errors import NotFound, StudioError
from studio.studio import Studio
from studio.ui.errors import guard, shown
from studio.ui.page.launch import launch_page
from studio.ui.page.shell import Served, build_page, choose_tabs
from studio.ui.routes import fragment


def config_of(page: str) -> dict[str, Any]:
    """Return Gradio's description out of a page."""
    found = re.search(r"window\.gradio_config = (.*?);</script>", page, re.DOTALL)
    assert found
    return json.loads(found[1])


def logged_in(url: str, who: tuple[str, str]) -> httpx.Client:
    """Return a web client with a session."""
    web = httpx.Client(base_url=url)
    web.post("/login", data={"username": who[0], "password": who[1]}).raise_for_status()
    return web


@pytest.fixture(scope="module")
def closed(lasting: Studio) -> Iterator[Served]:
    """A page with an operator and a guest."""
    served = launch_page(lasting, small_tabs(), accounts=accounts())
    yield served
    served.close()


def test_the_frame_stands_in_the_first_page(opened: Served):
    page = httpx.get(opened.url, headers={"accept-language": "zh-CN"}).text
    assert '<html\n\tlang="zh-CN"' in page
    assert 'data-ladder-open="chat"' in page and "words-zh.js" in page
    assert page.index('id="ladder-strip"') < page.index("<gradio-app")
    assert "og:image" not in page and "manifest.json" not in page
    assert "English" in page or ">EN<" in page


def test_every_asset_of_the_page_is_there_and_kept_by_the_browser(opened: Served):
    page = httpx.get(opened.url).text
    names = set(re.findall(r'(?:href|src)="(ladder/assets/[^"#]+)', page))
    assert len(names) >= 5
    for name in names:
        answer = httpx.get(f"{opened.url}/{name}")
        assert answer.status_code == 200, name
        assert "immutable" in answer.headers["cache-control"]
    for wrong in ("css/../../pyproject.toml", "locales/en/shell.yaml", "js/nothing.js"):
        assert httpx.get(f"{opened.url}/ladder/assets/{wrong}").status_code == 404


def test_handlers_are_called_with_visitor_and_language(opened: Served):
    client = Client(opened.url, verbose=False)
    assert client.predict("Hello", api_name="/greet") == "Hello local operator en"
    assert client.predict(api_name="/stop_all") == "stopped by local"


def test_the_api_is_described_in_words(opened: Served):
    info = httpx.get(f"{opened.url}/gradio_api/info", headers={"accept-language": "zh"}).json()
    assert info["named_endpoints"]["/greet"]["parameters"][0]["label"] == "用户名"
    assert "translation_metadata" not in httpx.get(f"{opened.url}/gradio_api/info").text


def test_errors_reach_scripts_as_sentences_and_bugs_without_their_insides(opened: Served):
    client = Client(opened.url, verbose=False)
    with pytest.raises(AppError, match=r"needs &lt;2&gt; GPUs\.\nStop another run\."):
        client.predict("", api_name="/fail")
    with pytest.raises(AppError, match="ZeroDivisionError") as caught:
        client.predict("bug", api_name="/fail")
    assert "secret detail" not in str(caught.value)


def test_routes_answer_json_and_tell_errors(opened: Served):
    web = httpx.Client(base_url=opened.url)
    assert web.get("/ladder/count").json() == {"html": "<b id=count>0</b>"}
    assert web.get("/ladder/count").headers["cache-control"] == "no-store"
    known = web.get("/ladder/broken/known")
    assert (known.status_code, known.json()) == (400, {"error": "Not enough.", "hint": "Fewer."})
    bug = web.get("/ladder/broken/bug")
    assert bug.status_code == 500 and "secret detail" not in bug.text
    assert web.get("/ladder/nothing").status_code == 404
    assert web.post("/ladder/count").status_code == 405


def test_one_tab_alone_has_only_its_own_api(serve: Callable[..., Served]):
    served = serve(only="chat")
    web = httpx.Client(base_url=served.url)
    names = set(web.get("/gradio_api/info").json()["named_endpoints"])
    assert "/greet" in names and "/stop_all" not in names
    assert "only operators read this" not in web.get("/").text
    assert web.get("/ladder/count").status_code == 404
    assert 'role="tablist"' not in web.get("/").text.partition("<gradio-app")[0]


def test_an_operator_logs_in_by_script(closed: Served):
    with pytest.raises(AuthenticationError):
        Client(closed.url, verbose=False)
    with pytest.raises(AuthenticationError):
        Client(closed.url, auth=("ann", "wrong password"), verbose=False)
    client = Client(closed.url, auth=OPERATOR, verbose=False)
    assert client.predict("Hi", api_name="/greet") == "Hi ann operator en"
    assert client.predict(api_name="/stop_all") == "stopped by ann"


def test_a_guest_may_use_guest_tabs_and_nothing_else(closed: Served):
    client = Client(closed.url, auth=GUEST, verbose=False)
    assert client.predict("Hi", api_name="/greet") == "Hi gus guest en"
    web = logged_in(closed.url, GUEST)
    numbers = [n for n, fn in closed.page.fns.items() if fn.api_name == "stop_all"]
    calls = [
        ("/gradio_api/run/stop_all", {"data": []}),
        ("/gradio_api/call/stop_all", {"data": []}),
        ("/gradio_api/queue/join", {"data": [], "fn_index": numbers[0], "session_hash": "s1"}),
    ]
    for path, body in calls:
        answer = web.post(path, json=body)
        text = answer.text
        if answer.status_code == 200 and "event_id" in text:
            where = "queue/data?session_hash=s1"
            if "call" in path:
                where = f"call/stop_all/{answer.json()['event_id']}"
            text = web.get(f"/gradio_api/{where}", timeout=20).text
        assert "stopped by" not in text, path
    assert web.get("/ladder/count").status_code == 403
    assert web.get("/ladder/machine").status_code == 200


def test_a_guest_is_not_sent_what_the_other_tabs_hold(closed: Served):
    web = logged_in(closed.url, GUEST)
    for path in ("/", "/config", "/gradio_api/info"):
        text = web.get(path).text
        assert "only operators read this" not in text and "stop_all" not in text, path
    assert 'id="nav-runs"' not in web.get("/").text
    described = config_of(web.get("/").text)
    known = {component["id"] for component in described["components"]}
    for event in described["dependencies"]:
        assert known.issuperset(event["inputs"]) and known.issuperset(event["outputs"])
    mine = logged_in(closed.url, OPERATOR).get("/").text
    assert "only operators read this" in mine and 'id="nav-runs"' in mine


def test_a_shared_page_needs_accounts(studio: Studio, serve: Callable[..., Served]):
    with pytest.raises(StudioError, match="not shared"):
        serve(share=True)


def test_tabs_are_in_order_and_an_unknown_one_is_told(studio: Studio):
    assert [tab.id for tab in choose_tabs(reversed(small_tabs()), None)] == ["chat", "runs"]
    with pytest.raises(NotFound, match="no tab 'shop'"):
        build_page(studio, small_tabs(), only="shop")


def test_uploads_stay_in_the_home_and_files_elsewhere_are_not_served(
    opened: Served, lasting: Studio
):
    web = httpx.Client(base_url=opened.url)
    stored = web.post("/gradio_api/upload", files={"files": ("a.txt", b"hello")}).json()[0]
    assert stored.startswith(str(lasting.settings.home / "uploads"))
    assert web.get(f"/gradio_api/file={stored}").text == "hello"
    assert web.get("/gradio_api/file=/etc/passwd").status_code == 403
    database = lasting.settings.database
    assert web.get(f"/gradio_api/file={database}").status_code == 403
    for path in ("/monitoring/summary", "/gradio_api/runs", "/docs", "/redoc"):
        assert web.get(path).status_code in (403, 404), path


def test_guard_keeps_signatures_and_all_kinds_of_functions():
    class Some:
        """Handlers are often methods."""

        def stream(self, x: int, request: gr.Request) -> Any:
            """Yield, then fail."""
            yield x
            raise StudioError("no")

        async def later(self, x: int) -> int:
            """Fail."""
            raise StudioError(f"no {x}")

    wrapped = guard(Some().stream)
    assert gr.utils.get_type_hints(wrapped)["request"] is gr.Request
    steps = wrapped(3, None)
    assert next(steps) == 3
    with pytest.raises(gr.Error):
        next(steps)
    waiting = guard(Some().later)(4)
    with pytest.raises(gr.Error, match="no 4"):
        waiting.send(None)


def test_errors_that_are_toasts_already_are_left_alone():
    error = gr.Error("as it is")
    assert shown(error, guard) is error


def test_a_fragment_is_sent_only_when_it_is_news():
    class Asked:
        """Just the query."""

        query_params: dict[str, str] = {}

    first = fragment(Asked(), "<b>1</b>")  # type: ignore[arg-type]
    assert first["html"] == "<b>1</b>"
    Asked.query_params = {"have": first["version"]}
    assert "html" not in fragment(Asked(), "<b>1</b>")  # type: ignore[arg-type]
    assert fragment(Asked(), "<b>2</b>", final=True)["final"] is True  # type: ignore[arg-type]
