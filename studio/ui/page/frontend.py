"""Gradio's own scripts and style sheets: sent from memory, and named to the browser in advance.

Gradio's page asks for eighty small files, each batch only when the scripts of the one before have
run, and its server opens and packs each anew. Their names carry a hash of their content. So the
head of our page names the scripts that its components will need, the styles go as one file, and
browsers keep both. What cannot be read out of another Gradio's scripts goes Gradio's own way.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.ui.packed import pack, sent

PREFIX = "/assets/"
FOLDER = Path(gr.__file__).parent / "templates" / "frontend" / "assets"
KINDS = {".js": "text/javascript", ".css": "text/css"}

_ENTRY = re.compile(r'<script type="module"[^>]* src="\./assets/(?P<name>[\w.-]+)"')
_FILES = re.compile(r"m\.f=\[(?P<names>[^\]]*)\]")
_IMPORT = re.compile(
    r"import\(`\./(?P<name>[\w.-]+)`\)(?:(?!import\().)*?__vite__mapDeps\(\[(?P<more>[\d,]*)\]"
)
"""A script that another one imports when it needs it, and the numbers of what that one needs."""
_COMPONENT = re.compile(
    r"[{,](?P<type>\w+):\{(?:(?!component:)[^{}])*component:\(\)=>\w+\(\(\)=>"
    r"import\(`\./(?P<name>[\w.-]+)`\)"
)


class Frontend:
    """The files that the browser needs for a page."""

    def __init__(self, page: gr.Blocks) -> None:
        self._page = page

    @cached_property
    def links(self) -> str:
        """Elements for the head of the page.

        Gradio's loader takes a style sheet for loaded when there is a link to it; the links to
        those in our one file are disabled, so that no browser asks for them.
        """
        if not self._names:
            return ""
        scripts = [name for name in self._names if name.endswith(".js")]
        return (
            "".join(f'<link rel="modulepreload" crossorigin href=".{PREFIX}{n}">' for n in scripts)
            + f'<link rel="stylesheet" href=".{PREFIX}{self._style_name}">'
            + "".join(f'<link rel="stylesheet" disabled href=".{PREFIX}{n}">' for n in self._styles)
        )

    def pack(self) -> None:
        """Pack everything now, before somebody asks for it."""
        pack(self._style)
        for name in self._names:
            if name.endswith(".js"):
                pack(_content(name))

    def content(self, name: str) -> bytes | None:
        """Return a file by its name, or the page's styles; None for what is not ours to send."""
        if name in _names():
            return _content(name)
        return self._style if name == self._style_name else None

    @cached_property
    def _names(self) -> list[str]:
        """Of what is hidden Gradio asks for nothing."""
        there: list[dict[str, Any]] = self._page.config["components"]
        return needed({c["type"] for c in there if c["props"].get("visible") is not False})

    @cached_property
    def _styles(self) -> list[str]:
        """Those that hold no address, which would be a relative one."""
        return [n for n in self._names if n.endswith(".css") and b"url(" not in _content(n)]

    @cached_property
    def _style(self) -> bytes:
        return b"\n".join(map(_content, self._styles))

    @cached_property
    def _style_name(self) -> str:
        return f"page-{hashlib.sha256(self._style).hexdigest()[:10]}.css"


class SendFrontend:
    """Middleware that answers `GET /assets/…` and passes everything else on."""

    def __init__(self, app: ASGIApp, frontend: Frontend) -> None:
        self._app = app
        self._frontend = frontend

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on."""
        if scope["type"] == "http" and scope["method"] == "GET":
            place, _, name = scope["path"].rpartition("/")
            content = self._frontend.content(name) if f"{place}/" == PREFIX else None
            if content is not None:
                kind = KINDS[Path(name).suffix]
                await sent(Headers(scope=scope), content, kind)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def needed(types: Collection[str]) -> list[str]:
    """Return the files that a page with components of these types asks for, first ones first."""
    shell = FOLDER.parent / "index.html"
    entry = _ENTRY.search(shell.read_text(encoding="utf-8")) if shell.is_file() else None
    if entry is None:
        return []
    wanted = [entry["name"]]
    for name, files in _imports(entry["name"]).items():
        wanted += files
        known = _imports(name)
        wanted += next((more for at, more in known.items() if at.startswith("Blocks-")), [])
        if name.startswith("core-"):
            kinds = {found["type"]: found["name"] for found in _COMPONENT.finditer(_text(name))}
            wanted += (
                file for kind in sorted(types) for file in known.get(kinds.get(kind, ""), [])
            )
    there = re.compile(r"index-.*\.css")  # the page links to it by itself
    return [n for n in dict.fromkeys(wanted) if n in _names() and not there.fullmatch(n)]


def _imports(name: str) -> dict[str, list[str]]:
    """Return the scripts that a script imports when it needs them, each with what it needs."""
    if name not in _names() or not name.endswith(".js"):
        return {}
    text = _text(name)
    head = _FILES.search(text)
    files = re.findall(r'"\./([\w.-]+)"', head["names"]) if head else []
    return {
        found["name"]: [
            found["name"],
            *(files[int(n)] for n in found["more"].split(",") if n and int(n) < len(files)),
        ]
        for found in _IMPORT.finditer(text)
    }


@cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in FOLDER.glob("*.*") if path.suffix in KINDS)


@cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def _text(name: str) -> str:
    return _content(name).decode()
