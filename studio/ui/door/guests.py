"""What a guest does not get: tabs that are not for guests leave the page; their handlers refuse.

Two sides of one thing. `Page` refuses a guest's call of any handler that such a tab wired, by
whatever door it comes (page, queue, API). `without` takes labels, values and names of those tabs
out of the description that is sent to a guest's browser. A tab for guests closes a part of itself:

    with gr.Column() as column, for_operators(column):
        ...                             # is laid out and wired for operators alone
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.blocks import Block
from gradio.context import Context

from studio.core.errors import NotAllowed
from studio.ui.door.gate import require_operator
from studio.ui.errors import shown


class Page(gr.Blocks):
    """Gradio's Blocks that knows which tabs and handlers are for operators only."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.closed_tabs: set[int] = set()
        """Ids of the tab items, and of parts of a tab, that guests do not see."""
        self.closed_fns: set[int] = set()
        """Ids of the handlers wired inside those."""

    async def process_api(
        self, block_fn: BlockFunction | int, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Refuse what the caller may not do, then let Gradio do it."""
        number = block_fn if isinstance(block_fn, int) else block_fn._id
        if number in self.closed_fns:
            asked = kwargs.get("request")
            for request in asked if isinstance(asked, list) else [asked]:
                try:
                    require_operator(request)
                except NotAllowed as error:
                    raise shown(error, self.process_api) from error
        return await super().process_api(block_fn, *args, **kwargs)

    def closed_names(self) -> set[str]:
        """Return the `api_name`s of the handlers that guests may not call."""
        names = {self.fns[number].api_name for number in self.closed_fns if number in self.fns}
        return {name for name in names if isinstance(name, str)}


@contextmanager
def for_operators(block: Block) -> Iterator[None]:
    """Close a block of a guests' tab, and every handler wired meanwhile, to guests.

    May be entered again for the same block, where laying out and wiring lie apart.
    """
    page = Context.root_block
    assert isinstance(page, Page), "only our own page knows guests"
    before = set(page.fns)
    yield
    page.closed_tabs.add(block._id)
    page.closed_fns |= set(page.fns) - before


def without(config: dict[str, Any], page: Page) -> dict[str, Any]:
    """Return Gradio's page description without what is closed to guests."""
    gone: set[int] = set()
    pruned = dict(config)
    if "layout" in config:
        pruned["layout"] = _prune(config["layout"], page.closed_tabs, gone)
    pruned["page"] = {
        name: {
            **part,
            "layout": _prune(part["layout"], page.closed_tabs, gone),
            "dependencies": [d for d in part["dependencies"] if d not in page.closed_fns],
        }
        for name, part in config.get("page", {}).items()
    }
    for part in pruned["page"].values():
        part["components"] = [number for number in part["components"] if number not in gone]
    pruned["components"] = [c for c in config["components"] if c["id"] not in gone]
    pruned["dependencies"] = [d for d in config["dependencies"] if d["id"] not in page.closed_fns]
    return pruned


def _prune(node: dict[str, Any], closed: set[int], gone: set[int]) -> dict[str, Any]:
    """Copy a layout without the closed branches, noting everything that went."""
    children = []
    for child in node.get("children", ()):
        if child["id"] in closed:
            gone.update(_ids(child))
        else:
            children.append(_prune(child, closed, gone))
    return {**node, "children": children} if "children" in node else node


def _ids(node: dict[str, Any]) -> Iterator[int]:
    yield node["id"]
    for child in node.get("children", ()):
        yield from _ids(child)
