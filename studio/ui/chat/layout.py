"""Where everything of the Chat tab stands. Nothing here does anything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.ui.actions import acts_html
from studio.ui.chat.bubbles import LATEX
from studio.ui.chat.parts import Parts
from studio.ui.i18n import T
from studio.ui.widgets import Html, icon, live


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The parts that handlers change, and the controls that only call them."""

    parts: Parts
    settings: list[Any]
    """In the order of `Choices`, between the pickers and what is attached."""
    new: Any
    attach: Any
    find: Any
    add: Any
    url: Any
    key: Any
    connect: Any
    watch: Any


def lay_out() -> Layout:
    """Lay out conversations, chat and settings side by side; chat.css makes it fit."""
    with gr.Row(elem_id="chat-frame"):
        with gr.Column(elem_id="chat-side", min_width=0):
            side = _side()
        with gr.Column(elem_id="chat-main", min_width=0):
            bar = _bar()
            with gr.Column(elem_id="chat-start", visible=False) as start:
                panel = _start()
            with gr.Column(elem_id="chat-talk") as talk:
                answers = _talk()
        with gr.Column(elem_id="chat-settings", min_width=0):
            settings = _settings()
        conversation = gr.Textbox(visible="hidden", elem_id="chat-conversation")
        watch = acts_html(
            live("chat/endpoints", every_s=4, show="chatEndpoints"), elem_id="chat-watch"
        )
    found = {**side, **bar, **panel, **answers}
    found |= {"start": start, "talk": talk, "conversation": conversation}
    names = ("new", "find", "url", "key", "connect", "attach")
    apart = {name: found.pop(name) for name in names}
    return Layout(parts=Parts(**found), settings=settings, add=found["add"], watch=watch, **apart)


def _side() -> dict[str, Any]:
    new = gr.Button(T("chat.new"), elem_id="chat-new", elem_classes="chat-iconed")
    find = gr.Textbox(
        placeholder=T("chat.side.search"),
        show_label=False,
        container=False,
        interactive=True,
        max_lines=1,
        elem_id="chat-find",
    )
    return {"new": new, "find": find, "listing": acts_html(elem_id="chat-listing")}


def _bar() -> dict[str, Any]:
    """Lay out the bar above the chat: who answers, and what else can be opened."""
    with gr.Row(elem_id="chat-bar"):
        gr.HTML(_toggle("side", "menu"), elem_classes="chat-tool", apply_default_css=False)
        found = {
            "endpoint": _picker("endpoint", visible=True),
            "model": _picker("model", visible=False),
            "endpoint_b": _picker("endpoint-b", visible=False),
            "model_b": _picker("model-b", visible=False),
            "add": gr.Button(
                T("chat.add"), size="sm", elem_id="chat-add", elem_classes="chat-iconed"
            ),
            "compare_button": gr.Button(
                T("chat.compare"), size="sm", elem_id="chat-compare", elem_classes="chat-iconed"
            ),
            "compare": gr.Checkbox(False, visible="hidden", elem_id="chat-comparing"),
        }
        gr.HTML(_toggle("settings", "sliders"), elem_classes="chat-tool", apply_default_css=False)
    return found


def _picker(name: str, *, visible: bool) -> gr.Dropdown:
    return gr.Dropdown(
        [],
        show_label=False,
        container=False,
        interactive=True,
        allow_custom_value=True,  # the choices of a page that is open may be older than ours
        visible=visible,
        min_width=0,
        elem_id=f"chat-{name}",
        elem_classes="chat-picker",
    )


def _start() -> dict[str, Any]:
    """Lay out the panel that gets an endpoint: steps of one on its way, ways, an address."""
    steps = acts_html(elem_id="chat-steps")
    ways = acts_html(elem_id="chat-ways")
    with gr.Column(elem_id="chat-address") as address:
        gr.HTML(
            f"<header>{icon('link')}<h3>{T('chat.start.url_title')}</h3></header>",
            apply_default_css=False,
        )
        with gr.Row():
            url = gr.Textbox(
                label=T("chat.start.url"),
                placeholder="http://127.0.0.1:11434/v1",
                interactive=True,
                max_lines=1,
                elem_id="chat-url",
                scale=3,
                min_width=200,
            )
            key = gr.Textbox(
                label=T("chat.start.key"),
                placeholder=T("chat.start.key_hint"),
                type="password",
                interactive=True,
                elem_id="chat-key",
                scale=2,
                min_width=160,
            )
            connect = gr.Button(
                T("chat.start.connect"), elem_id="chat-connect", min_width=100, scale=0
            )
    found = {"steps": steps, "ways": ways, "address": address}
    return {**found, "url": url, "key": key, "connect": connect}


def _talk() -> dict[str, Any]:
    with gr.Row(elem_id="chat-sides"):
        left, right = _chatbot("left", visible=True), _chatbot("right", visible=False)
    with gr.Column(elem_id="chat-ask"):
        strip = acts_html(elem_id="chat-strip")
        with gr.Row(elem_id="chat-line"):
            attach = gr.UploadButton(
                T("chat.picture.add"),
                file_count="multiple",
                type="filepath",
                size="sm",
                elem_id="chat-attach",
                elem_classes="chat-iconed",
            )
            box = gr.Textbox(
                placeholder=T("chat.ask"),
                show_label=False,
                container=False,
                interactive=True,
                submit_btn=True,
                lines=1,
                max_lines=8,
                elem_id="chat-box",
            )
        attached = gr.Textbox(visible="hidden", elem_id="chat-attached")
    found = {"left": left, "right": right, "box": box}
    return {**found, "strip": strip, "attached": attached, "attach": attach}


def _chatbot(name: str, *, visible: bool) -> gr.Chatbot:
    return gr.Chatbot(
        show_label=False,
        container=False,
        buttons=[],
        editable="user",
        latex_delimiters=LATEX,
        layout="bubble",
        feedback_options=None,
        height="100%",
        visible=visible,
        elem_id=f"chat-{name}",
        elem_classes="chat-answers",
    )


def _settings() -> list[Any]:
    gr.HTML(f"<h3>{T('chat.settings.title')}</h3>", apply_default_css=False)
    return [_setting(name) for name in _SETTINGS]


_SETTINGS = ("system", "temperature", "top_p", "max_tokens", "seed", "turns", "stop")


def _setting(name: str) -> gr.Textbox:
    """Return a field that may stay empty; Gradio's number field shows a 0 where nothing is set."""
    long = name in ("system", "stop")
    return gr.Textbox(
        label=T(f"chat.settings.{name}"),
        info=T(f"chat.settings.{name}_help"),
        placeholder=""
        if long
        else T("chat.settings.all" if name == "turns" else "chat.settings.own"),
        lines=4 if name == "system" else 1,
        max_lines=12 if long else 1,
        interactive=True,
        elem_id=f"chat-set-{name.replace('_', '-')}",
    )


def _toggle(what: str, drawing: str) -> str:
    return Html(
        f'<button type="button" class="l-tool" data-chat-toggle="{what}">{icon(drawing)}</button>'
    )
