"""Import Gradio in half the time, and build its server once for each page.

`gradio.component_meta.create_or_modify_pyi` parses the source of each of the eighty components to
keep `.pyi` files beside them up to date: 1.2 s of 2.5 s (Gradio 6.31). The files serve those who
edit code with Gradio, and an installed Gradio has them already. As much as a sixth of the rest goes
into the docstrings of 217 event listeners, each a template of Jinja's with the component's name.

A server with all its routes is built when a page is made, when it has been laid out, and when it
is launched; nobody can reach the first two. As often the whole page is described for browsers, and
the parameters of a component's class are looked up for each component that there is.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from weakref import WeakSet

MODULE, WRITER = "gradio.component_meta", "create_or_modify_pyi"


def skip_editor_stubs() -> None:
    """Let the coming import of Gradio leave its stubs alone; without effect after it."""
    if MODULE not in sys.modules and _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def build_server_once() -> None:
    """Let only `launch` build a server and describe the page to it; imports Gradio.

    Both happen three times otherwise, and take 0.1 s each.
    """
    from gradio.blocks import Blocks
    from gradio.routes import App

    build, describe = App.create_app, Blocks.get_config_file
    launched: WeakSet[Blocks] = WeakSet()

    def only_to_launch(blocks: Blocks, *rest: Any, **how: Any) -> Any:
        if how == {"mcp_server": False}:  # it has just been laid out
            return None
        launched.add(blocks)
        return build(blocks, *rest, **how)

    def only_to_serve(self: Blocks) -> Any:
        return describe(self) if self in launched else {"pages": self.pages}

    App.create_app = staticmethod(only_to_launch)
    Blocks.get_config_file = only_to_serve


def remember_parameters() -> None:
    """Look up what a component's class takes once, not for each component; imports Gradio."""
    from gradio import blocks, component_meta

    for module in (blocks, component_meta):
        setattr(module, "inspect", _Remembering("inspect"))  # noqa: B010


class _Remembering(ModuleType):
    """Plays `inspect` for Gradio, and remembers what it said of an `__init__`."""

    def __getattr__(self, name: str) -> Any:
        return getattr(inspect, name)

    def signature(self, of: Any, **how: Any) -> inspect.Signature:
        """Return what `inspect.signature` does."""
        plain = how or getattr(of, "__name__", "") != "__init__"
        return inspect.signature(of, **how) if plain else _signature(of)

    def getfullargspec(self, of: Any) -> inspect.FullArgSpec:
        """Return what `inspect.getfullargspec` does."""
        plain = getattr(of, "__name__", "") != "__init__"
        return inspect.getfullargspec(of) if plain else _arguments(of)


_signature = cache(inspect.signature)
_arguments = cache(inspect.getfullargspec)


class _Finder:
    """Stands in front of the usual finders for one module, once."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec; both writers are taken out after it was executed."""
        if name != MODULE:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def without_writer(module: ModuleType) -> None:
            execute(module)
            if hasattr(module, WRITER):
                setattr(module, WRITER, _nothing)
            if hasattr(listener := getattr(module, "EventListener", None), "set_doc"):
                setattr(listener, "set_doc", _nothing)  # noqa: B010

        spec.loader.exec_module = without_writer  # type: ignore[method-assign]
        return spec


def _nothing(*_: Any, **__: Any) -> None:
    """Take the place of a writer."""
