"""The frame around Gradio: head, header with machine strip and switches, row of tabs, footer.

Gradio's first page is an empty shell that fills itself after a second or two. We send the frame
as plain HTML around it, per visitor and language, so that it stands at the first paint, and let
`assets/js/ladder.js` connect the two.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio import __version__
from studio.ui.assets import asset_url
from studio.ui.door.gate import Visitor
from studio.ui.door.guests import Page, without
from studio.ui.i18n import LANGS, Lang, say
from studio.ui.page.frontend import Frontend
from studio.ui.tab import Tab
from studio.ui.widgets import esc, icon

CONFIG = "/config"
INFO = "/gradio_api/info"
NAMES = {"en": "EN", "zh": "中文"}

_LABEL = re.compile(r'\{"key":"(?P<key>[\w.-]+)","_type":"translation_metadata"\}')
"""A label as Gradio writes it into its API description, where nothing translates it."""
_META = re.compile(r'\s*<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
_CONFIG = re.compile(
    r"<script>window\.gradio_config = (?P<config>.*?);</script>"
    r"<script>window\.gradio_api_info = (?P<info>.*?);</script>",
    re.DOTALL,
)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What the frame shows, the same for the life of the page."""

    tabs: Sequence[Tab]
    page: Page
    frontend: Frontend
    accounts: bool
    """True when there is somebody to log out."""

    def wants(self, path: str, visitor: Visitor) -> bool:
        """Tell whether the answer to a GET of this path has to be rewritten."""
        return path in ("/", INFO) or (path == CONFIG and visitor.role != "operator")

    def dress(self, path: str, body: str, visitor: Visitor, lang: Lang) -> str:
        """Put our frame around Gradio's page, and take from guests what is not for them."""
        guest = visitor.role != "operator"
        if path == CONFIG:
            return json.dumps(without(json.loads(body), self.page))
        body = _LABEL.sub(lambda found: json.dumps(say(lang, found["key"])), body)
        if path == INFO:
            return json.dumps(self._fewer_names(json.loads(body))) if guest else body
        page = _CONFIG.sub(self._for_guests, body, count=1) if guest else body
        page = _META.sub("", page)
        page = page.replace('<link rel="manifest" href="/manifest.json" />', "", 1)
        page = page.replace('lang="en"', f'lang="{"zh-CN" if lang == "zh" else "en"}"', 1)
        page = page.replace('<meta charset="utf-8" />', self._head_first(), 1)
        page = page.replace("<script data-gradio-mode>", self._head_last(lang), 1)
        page = page.replace("</head>", f"{self.frontend.links}</head>", 1)
        page = page.replace("<gradio-app", self._header(visitor, lang) + "<gradio-app", 1)
        return page.replace("</gradio-app>", "</gradio-app>" + self._footer(lang), 1)

    def visible(self, visitor: Visitor) -> list[Tab]:
        """Return the tabs this visitor may see."""
        return [tab for tab in self.tabs if tab.guest or visitor.role == "operator"]

    def _for_guests(self, found: re.Match[str]) -> str:
        config = without(json.loads(found["config"]), self.page)
        info = self._fewer_names(json.loads(found["info"]))
        return (
            f"<script>window.gradio_config = {_in_script(config)};</script>"
            f"<script>window.gradio_api_info = {_in_script(info)};</script>"
        )

    def _fewer_names(self, info: dict[str, Any]) -> dict[str, Any]:
        closed = {f"/{name}" for name in self.page.closed_names()}
        named = info.get("named_endpoints", {})
        return {**info, "named_endpoints": {k: v for k, v in named.items() if k not in closed}}

    def _head_first(self) -> str:
        return (
            f'<meta charset="utf-8" />\n<title>Ladder Studio</title>'
            f'<link rel="icon" href="{asset_url("icons/favicon.svg")}">'
            f'<link rel="stylesheet" href="{asset_url("ladder.css")}">'
            f'<script src="{asset_url("js/early.js")}"></script>'
        )

    def _head_last(self, lang: Lang) -> str:
        return (
            f'<script src="{asset_url(f"words-{lang}.js")}"></script>'
            f'<script src="{asset_url("ladder.js")}"></script>'
            "<script data-gradio-mode>"
        )

    def _header(self, visitor: Visitor, lang: Lang) -> str:
        tabs = self.visible(visitor)
        row = "".join(
            f'<a role="tab" class="l-tab" id="nav-{tab.id}" aria-controls="tab-{tab.id}" '
            f'href="?tab={tab.id}" '
            f'data-ladder-open="{tab.id}">{icon(tab.icon)}<span>{esc(say(lang, f"tab.{tab.id}"))}'
            "</span></a>"
            for tab in tabs
        )
        nav = f'<nav class="l-nav" role="tablist" aria-label="{esc(say(lang, "shell.sections"))}">'
        nav = f"{nav}{row}</nav>" if len(tabs) > 1 else ""
        machine = esc(say(lang, "strip.label"))
        return f"""<a class="l-skip" href="#ladder-tabs">{esc(say(lang, "shell.skip"))}</a>
<header class="l-top">
<div class="l-top-row">
<a class="l-brand" href="./" aria-label="Ladder Studio">{icon("logo")}<span>Ladder Studio</span></a>
<div class="l-strip" id="ladder-strip" role="group" aria-label="{machine}"></div>
<div class="l-tools">{_languages(lang)}{_theme(lang)}{self._user(visitor, lang)}</div>
</div>
{nav}
</header>
<div class="l-banner" id="ladder-banner" role="status" hidden></div>
<div class="l-opening" id="ladder-opening" aria-hidden="true">
<div></div><div></div><div></div><p>{esc(say(lang, "shell.loading"))}</p></div>
<noscript>{esc(say(lang, "shell.no_script"))}</noscript>
"""

    def _user(self, visitor: Visitor, lang: Lang) -> str:
        if not self.accounts:
            return ""
        guest = f"<em>{esc(say(lang, 'shell.guest'))}</em>" if visitor.role == "guest" else ""
        label = esc(say(lang, "shell.log_out"))
        return (
            f'<span class="l-user">{icon("user")}<span>{esc(visitor.name)}</span>{guest}</span>'
            f'<form method="post" action="logout"><button class="l-tool" title="{label}" '
            f'aria-label="{label}">{icon("logout")}</button></form>'
        )

    def _footer(self, lang: Lang) -> str:
        return (
            f'<footer class="l-foot"><span>Ladder Studio {esc(__version__)}</span>'
            f"<span>{esc(say(lang, 'shell.tagline'))}</span>"
            f'<a href="?view=api" id="ladder-api">{esc(say(lang, "shell.api"))}</a></footer>'
        )


def _languages(lang: Lang) -> str:
    buttons = "".join(
        f'<button type="button" data-ladder-lang="{code}" lang="{code}" '
        f'aria-pressed="{str(code == lang).lower()}">{NAMES[code]}</button>'
        for code in LANGS
    )
    label = esc(say(lang, "shell.language"))
    return f'<div class="l-switch" role="group" aria-label="{label}">{buttons}</div>'


def _theme(lang: Lang) -> str:
    label = esc(say(lang, "shell.theme.label"))
    drawings = "".join(
        f'<i data-theme="{name}">{icon(name if name == "auto" else drawing)}</i>'
        for name, drawing in (("auto", "auto"), ("light", "sun"), ("dark", "moon"))
    )
    return (
        f'<button type="button" class="l-tool" id="ladder-theme" title="{label}" '
        f'aria-label="{label}">{drawings}</button>'
    )


def _in_script(value: object) -> str:
    """Return JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
