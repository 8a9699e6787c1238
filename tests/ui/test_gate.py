"""The gate, in front of an application that tells what reached it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.testclient import TestClient

from studio.core.errors import NotAllowed
from studio.ui.door.accounts import Account, Accounts
from studio.ui.door.gate import Gate, Visitor, require_operator, visitor

HERE = "http://127.0.0.1:7860"
KEY = b"k" * 32


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the trusted headers, or with a page at `/`."""
    request = Request(scope)
    seen = {k: v for k, v in request.headers.items() if k.startswith("x-ladder-")}
    response: Any = JSONResponse(seen)
    if scope["path"] == "/":
        response = HTMLResponse("<html>page</html>")
    await response(scope, receive, send)


class Shout:
    """A dress that can be seen."""

    def wants(self, path: str, visitor: Visitor) -> bool:
        """Rewrite the first page only."""
        return path == "/"

    def dress(self, path: str, body: str, visitor: Visitor, lang: str) -> str:
        """Put who, role and language in front."""
        return f"{visitor.name}/{visitor.role}/{lang} {body}"


def client(*people: Account, lang: str = "auto", base: str = HERE, **how: Any) -> TestClient:
    """Return a browser of sorts in front of a gate."""
    gate = Gate(echo, accounts=Accounts(people, KEY), lang=lang, dress=Shout(), **how)
    return TestClient(gate, base_url=base, follow_redirects=False)


@pytest.fixture(scope="module")
def ann() -> Account:
    return Account.make("ann", "rungs and rails")


@pytest.fixture(scope="module")
def gus() -> Account:
    return Account.make("gus", "just looking", "guest")


def log_in(web: TestClient, name: str, password: str, **headers: str) -> Any:
    """Post the form as gradio_client does, or as a browser with accept=text/html."""
    return web.post("/login", data={"username": name, "password": password}, headers=headers)


def test_without_accounts_everybody_is_the_local_operator():
    web = client()
    assert web.get("/anything").json() == {
        "x-ladder-user": "local",
        "x-ladder-role": "operator",
        "x-ladder-lang": "en",
    }
    assert web.get("/").text == "local/operator/en <html>page</html>"


def test_headers_that_pretend_are_dropped():
    seen = client().get("/x", headers={"x-ladder-user": "root", "X-Ladder-Role": "god"}).json()
    assert seen["x-ladder-user"] == "local" and seen["x-ladder-role"] == "operator"


@pytest.mark.parametrize(
    "path", ["/", "/config", "/gradio_api/queue/join", "/ladder/machine", "/gradio_api/file=/etc/x"]
)
def test_nothing_is_reachable_without_a_session(ann: Account, path: str):
    web = client(ann)
    for answer in (web.get(path), web.post(path)):
        assert answer.status_code == 401 and "x-ladder" not in answer.text


def test_a_browser_gets_the_login_page_in_its_language(ann: Account):
    web = client(ann)
    page = web.get("/?tab=runs", headers={"accept": "text/html", "accept-language": "zh-CN,en"})
    assert page.status_code == 401 and "登录" in page.text and 'value="?tab=runs"' in page.text
    assert web.get("/ladder/assets/ladder.css").status_code == 200


def test_a_script_logs_in_as_gradio_client_does(ann: Account):
    web = client(ann)
    assert log_in(web, "ann", "wrong").status_code == 401
    answer = log_in(web, "ann", "rungs and rails")
    assert answer.json() == {"success": True}
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert web.get("/x").json()["x-ladder-user"] == "ann"


def test_a_browser_is_sent_back_to_where_it_was_going_and_nowhere_else(ann: Account):
    web = client(ann)
    for wanted, there in (("?tab=runs", "./?tab=runs"), ("//evil.example", "./"), ("", "./")):
        form = {"username": "ann", "password": "rungs and rails", "next": wanted}
        answer = web.post("/login", data=form, headers={"accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, there)


def test_wrong_passwords_are_told_and_slowed_down(ann: Account):
    web = client(ann)
    answers = [log_in(web, "ann", "wrong", accept="text/html") for _ in range(6)]
    assert [a.status_code for a in answers] == [401] * 4 + [429] * 2
    assert "wrong" in answers[0].text and re.search(r"again in \d+ s", answers[-1].text)


def test_logging_out_ends_the_session(ann: Account):
    web = client(ann)
    log_in(web, "ann", "rungs and rails")
    assert web.get("/x").status_code == 200
    assert web.post("/logout").headers["location"] == "./"
    assert web.get("/x").status_code == 401


def test_guests_come_in_as_guests_and_not_through_every_door(gus: Account):
    web = client(gus)
    log_in(web, "gus", "just looking")
    assert web.get("/x").json()["x-ladder-role"] == "guest"
    assert web.post("/gradio_api/component_server").status_code == 403


def test_gradios_own_start_comes_in_once_and_from_this_machine_only(ann: Account):
    gate = Gate(echo, accounts=Accounts([ann], KEY))
    local = TestClient(gate, base_url=HERE, client=("127.0.0.1", 1))
    assert local.get("/gradio_api/startup-events").status_code == 200
    assert local.get("/gradio_api/startup-events").status_code == 401
    away = TestClient(
        Gate(echo, accounts=Accounts([ann], KEY)), base_url=HERE, client=("9.9.9.9", 1)
    )
    assert away.get("/gradio_api/startup-events").status_code == 401


@pytest.mark.parametrize(
    ("base", "status"),
    [
        ("http://localhost:7860", 200),
        ("http://127.0.0.1:7860", 200),
        ("http://192.168.1.7:7860", 200),
        ("http://[::1]:7860", 200),
        ("http://studio.localhost:7860", 200),
        ("http://evil.example:7860", 403),
        ("http://127.0.0.1.evil.example", 403),
    ],
)
def test_a_foreign_name_is_refused_while_there_are_no_accounts(base: str, status: int):
    assert client(base=base).get("/").status_code == status


def test_a_name_may_be_allowed_and_accounts_need_no_name(ann: Account):
    assert client(base="http://gpu.lab:7860", hosts=["gpu.lab"]).get("/").status_code == 200
    assert client(ann, base="http://demo.example").get("/x").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": HERE}, 200),
        ({"origin": "http://127.0.0.1:3000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://public.example", "x-forwarded-host": "public.example"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}, 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, 200),
    ],
)
def test_requests_that_another_site_sent_are_refused(headers: dict[str, str], status: int):
    assert client().post("/x", headers=headers).status_code == status


def test_answers_forbid_the_page_to_talk_to_other_hosts():
    policy = client().get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "frame-ancestors 'self'" in policy


def test_language_is_the_visitors_choice_then_the_setting_then_the_browsers():
    chinese = {"accept-language": "zh-CN,zh;q=0.9"}
    assert client().get("/x", headers=chinese).json()["x-ladder-lang"] == "zh"
    assert client(lang="en").get("/x", headers=chinese).json()["x-ladder-lang"] == "en"
    chosen = {**chinese, "cookie": "ladder_lang=en"}
    assert client(lang="zh").get("/x", headers=chosen).json()["x-ladder-lang"] == "en"
    assert client().get("/x", headers={"accept-language": "fr"}).json()["x-ladder-lang"] == "en"


def test_handlers_learn_who_asks_and_refuse_what_came_around_the_gate():
    def asked(**headers: str) -> Request:
        raw = [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        return Request({"type": "http", "headers": raw})

    guest = asked(x_ladder_user="gus", x_ladder_role="guest", x_ladder_lang="zh")
    assert visitor(guest) == Visitor("gus", "guest")
    with pytest.raises(NotAllowed, match="访客"):
        require_operator(guest)
    assert visitor(None).role == "operator"
    for stray in (asked(), asked(x_ladder_user="x"), asked(x_ladder_user="x", x_ladder_role="god")):
        with pytest.raises(NotAllowed):
            visitor(stray)


def test_a_chinese_name_survives_the_header():
    web = client(Account.make("王芳", "rungs and rails"))
    log_in(web, "王芳", "rungs and rails")
    assert web.get("/").text.startswith("王芳/operator/en")
