"""HTML whose buttons call Python, and tabs that hear what a link asked for.

    view = acts_html(elem_id="runs-list")
    view.click(act, None, view, show_progress="hidden", api_visibility="private")

    @guard
    def act(event: gr.EventData, request: gr.Request) -> str:
        if event.act == "stop": ...          # from widgets.action("Stop", "stop", run.id)

    asked = opened("runs")
    asked.click(show_run, None, ..., api_visibility="private")
    # `event.query` is {"run": "01jd..."} for `?tab=runs&run=01jd...` and for ladder.open(...)

Buttons inside HTML are for people. What a script may do as well gets an API of its own
(`studio.ui.scripts`).
"""

from __future__ import annotations

from typing import Any

import gradio as gr


def acts_html(value: Any = None, *, elem_id: str, **props: Any) -> gr.HTML:
    """Return an HTML component whose `widgets.action` buttons raise `click` with act and value."""
    return gr.HTML(
        value,
        elem_id=elem_id,
        js_on_load="window.ladder.acts(element, trigger)",
        apply_default_css=False,
        **props,
    )


def opened(tab_id: str, part: str = "") -> gr.HTML:
    """Return an unseen component that raises `click` whenever this tab is opened by a link.

    `part` names the listener when a tab has more than one.
    """
    return gr.HTML(
        "",
        elem_id=f"opened-{tab_id}{part and f'-{part}'}",
        elem_classes="l-unseen",
        js_on_load=f"window.ladder.on({tab_id!r}, (query) => trigger('click', {{query}}))",
        apply_default_css=False,
    )
