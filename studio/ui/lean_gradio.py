"""Import Gradio in half the time, and build its server once for each page.

`gradio.component_meta.create_or_modify_pyi` parses the source of each of the eighty components to
keep `.pyi` files beside them up to date: 1.2 s of 2.5 s (Gradio 6.31). The files serve those who
edit code with Gradio, and an installed Gradio has them already.

A server with all its routes is built when a page is made, when it has been laid out, and when it
is launched; nobody can reach the first two.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MODULE, WRITER = "gradio.component_meta", "create_or_modify_pyi"


def skip_editor_stubs() -> None:
    """Let the coming import of Gradio leave its stubs alone; without effect after it."""
    if MODULE not in sys.modules and _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)


def build_server_once() -> None:
    """Let only `launch` build a server, of the three that take 0.1 s each; imports Gradio."""
    from gradio.routes import App

    build = App.create_app

    def only_to_launch(*blocks: Any, **how: Any) -> Any:
        laying_out = how == {"mcp_server": False}
        return None if laying_out else build(*blocks, **how)

    App.create_app = staticmethod(only_to_launch)


class _Finder:
    """Stands in front of the usual finders for one module, once."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's own spec, with the writer taken out after it was executed."""
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

        spec.loader.exec_module = without_writer  # type: ignore[method-assign]
        return spec


def _nothing(*_: Any) -> None:
    """Take the place of the writer."""
