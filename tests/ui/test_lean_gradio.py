"""Gradio imported through the page's package leaves its stubs alone and is whole."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

CHECK = """
import studio.ui
from pathlib import Path
import gradio
from gradio import component_meta
assert component_meta.create_or_modify_pyi.__module__ == "studio.ui.lean_gradio"
stub = Path(gradio.__file__).parent / "components" / "textbox.pyi"
before = stub.stat().st_mtime_ns if stub.exists() else None
import sys
assert not any("lean_gradio" in getattr(f, "__module__", "") for f in sys.meta_path)
with gradio.Blocks() as page:
    box = gradio.Textbox()
    box.change(lambda x: x, box, box)
assert (stub.stat().st_mtime_ns if stub.exists() else None) == before
"""


def test_stubs_are_left_alone_and_components_work():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_too_late_does_no_harm(monkeypatch):
    from studio.ui import lean_gradio

    monkeypatch.setitem(sys.modules, lean_gradio.MODULE, sys)
    before = list(sys.meta_path)
    lean_gradio.skip_editor_stubs()
    assert sys.meta_path == before


def test_a_page_builds_one_server(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    from gradio.routes import App

    built: list[App] = []
    configure = App.configure_app

    def counted(app: App, *blocks: Any) -> None:
        built.append(app)
        configure(app, *blocks)

    monkeypatch.setattr(App, "configure_app", counted)
    served = serve()
    assert built == [served.page.app]


def test_a_machine_too_busy_to_look_at_its_own_page_serves_it(
    serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    from gradio import networking

    monkeypatch.setattr(networking, "url_ok", lambda url: False)  # as after three slow seconds
    assert serve().url.startswith("http://127.0.0.1:")
