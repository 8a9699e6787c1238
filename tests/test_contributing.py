"""The examples of CONTRIBUTING.md work as they are printed there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import gradio as gr

from studio.core.recipes import read_recipe
from studio.core.settings import ROOT, Settings
from studio.core.spec import State
from studio.engines.engine import Engine
from studio.studio import Studio
from studio.ui.tab import Tab

_BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.DOTALL)
EXAMPLES = dict(_BLOCK.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))


def load(path: str, name: str, monkeypatch) -> types.ModuleType:
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(EXAMPLES[path], path, "exec"), module.__dict__)
    return module


def test_the_tab(settings: Settings, monkeypatch) -> None:
    tab = load("tabs/hello.py", "example_tab", monkeypatch).TAB
    assert isinstance(tab, Tab)
    with gr.Blocks() as page:
        tab.build(Studio(settings))
    greet = next(fn for fn in page.fns.values() if fn.api_name == "greet")
    assert greet.fn("Ann") == "Hello Ann, there are 0 runs."


def test_the_engine_and_its_recipe(settings: Settings, tmp_path: Path, monkeypatch) -> None:
    module = load("studio/engines/counter.py", "example_engine", monkeypatch)
    assert issubclass(module.Counter, Engine)
    studio = Studio(settings)
    studio.__dict__["engines"] = {"counter": module.Counter()}
    path = tmp_path / "counter" / "smoke.yaml"
    path.parent.mkdir()
    path.write_text(EXAMPLES["recipes/counter/smoke.yaml"], encoding="utf-8")
    run = studio.launch(studio.ask_for(read_recipe(path)))
    run = studio.jobs.wait(run.id, timeout_s=20)
    assert run.state is State.DONE
    assert studio.progress(run.id) == (5, 5, "", None)


def test_every_example_is_tested() -> None:
    assert set(EXAMPLES) == {
        "tabs/hello.py",
        "studio/engines/counter.py",
        "recipes/counter/smoke.yaml",
    }
