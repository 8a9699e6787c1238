"""A small page: a tab for everybody and one for operators, with the titles of real ones."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr
from gradio.events import api

from studio.core.errors import NotEnoughGpus
from studio.studio import Studio
from studio.ui import widgets as w
from studio.ui.actions import acts_html, opened
from studio.ui.door.accounts import Account
from studio.ui.door.gate import visitor
from studio.ui.errors import guard
from studio.ui.i18n import T, lang_of
from studio.ui.routes import Route
from studio.ui.tab import Tab

OPERATOR = ("ann", "rungs and rails")
GUEST = ("gus", "just looking")


def accounts() -> list[Account]:
    """Return an operator and a guest."""
    return list(_accounts())


@cache
def _accounts() -> tuple[Account, ...]:
    return Account.make(*OPERATOR), Account.make(*GUEST, "guest")  # hashing takes its time


def small_tabs() -> list[Tab]:
    """Return a tab for everybody and one for operators, with the titles of real ones."""
    return [
        Tab(id="chat", icon="chat", order=1, build=_build_chat, guest=True),
        Tab(id="runs", icon="runs", order=2, build=_build_runs, routes=_routes),
    ]


def _build_chat(studio: Studio) -> None:
    name = gr.Textbox(label=T("login.name"), elem_id="chat-name")
    answer = gr.Textbox(label="answer", elem_id="chat-answer")
    go = gr.Button(T("shell.go_on"), elem_id="chat-go")
    go.click(guard(_greet), name, answer, api_name="greet")
    broken = gr.Button("fail", elem_id="chat-fail")
    broken.click(guard(_fail), name, answer, api_name="fail")


def _greet(name: str, request: gr.Request) -> str:
    who = visitor(request)
    return f"{name} {who.name} {who.role} {lang_of(request)}"


def _fail(name: str, request: gr.Request) -> str:
    if name == "bug":
        raise ZeroDivisionError("secret detail")
    raise NotEnoughGpus("vLLM needs <2> GPUs.", hint="Stop another run.")


def _build_runs(studio: Studio) -> None:
    gr.Textbox(value="only operators read this", elem_id="runs-secret")
    buttons = w.action("Delete", "delete", "42", confirm="Really?") + w.link("chat", "chat")
    view = acts_html(buttons + w.live("count"), elem_id="runs-view")
    said = gr.Textbox(elem_id="runs-said")
    view.click(_act, None, said, api_visibility="private")
    opened("runs").click(_opened, None, said, api_visibility="private")
    api(guard(_stop_all), api_name="stop_all")


def _act(event: gr.EventData) -> str:
    return f"{event.act} {event.value}"


def _opened(event: gr.EventData) -> str:
    return f"opened {event.query}"


def _stop_all(request: gr.Request) -> str:
    return f"stopped by {visitor(request).name}"


def _routes(studio: Studio) -> list[Route]:
    looks = iter(range(10**9))
    return [
        Route("count", lambda request: {"html": f"<b id=count>{next(looks)}</b>"}),
        Route("broken/{what}", _broken, guest=True),
    ]


def _broken(request: Any) -> Any:
    if request.path_params["what"] == "bug":
        raise ZeroDivisionError("secret detail")
    raise NotEnoughGpus("Not enough.", hint="Fewer.")
