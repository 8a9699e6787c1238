"""The list of conversations beside the chat: grouped by day, with a menu on each."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime

from studio.chat.conversations import Head, Hit
from studio.ui import widgets as w
from studio.ui.i18n import say

SHOWN = 80
"""Conversations drawn at first; the rest comes with 'Show all'."""


def listing(lang: str, heads: list[Head], current: str, *, every: bool = False) -> str:
    """Return the list, newest first, under today, yesterday, this week and earlier."""
    if not heads:
        text = w.esc(say(lang, "chat.side.none"))
        return f'<div class="chat-list"><p class="chat-none">{text}</p></div>'
    shown = heads if every else heads[:SHOWN]
    parts, group = [], ""
    for head in shown:
        if (name := _day(head.updated_at)) != group:
            group = name
            parts.append(f"<h4>{w.esc(say(lang, f'chat.side.{group}'))}</h4>")
        parts.append(_item(lang, head, current))
    if len(heads) > len(shown):
        label = say(lang, "chat.side.all", n=len(heads))
        parts.append(w.action(label, "all", kind="quiet"))
    return f'<div class="chat-list">{"".join(parts)}</div>'


def found(lang: str, hits: Iterable[Hit], current: str) -> str:
    """Return what a search found, with the words around the match."""
    parts = [_item(lang, hit.head, current, hit.snippet) for hit in hits]
    if not parts:
        parts = [f'<p class="chat-none">{w.esc(say(lang, "chat.side.nothing"))}</p>']
    return f'<div class="chat-list">{"".join(parts)}</div>'


def _item(lang: str, head: Head, current: str, snippet: str = "") -> str:
    title = head.title or say(lang, "chat.side.untitled")
    mark = ' aria-current="true"' if head.id == current else ""
    words = f'<span class="chat-snippet">{w.esc(snippet)}</span>' if snippet else ""
    return (
        f'<div class="chat-item"{mark}>'
        f'<button type="button" class="chat-open" data-act="open" data-value="{head.id}">'
        f'<span class="chat-title" title="{w.esc(title)}">{w.esc(title)}</span>'
        f"{w.when(lang, head.updated_at)}{words}</button>"
        f"{_menu(lang, head, title)}</div>"
    )


def _menu(lang: str, head: Head, title: str) -> str:
    sure = say(lang, "chat.side.delete_confirm", title=title)
    links = "".join(
        f'<a class="l-button quiet" download href="ladder/chat/{head.id}/export.{kind}">'
        f"{w.icon('download')}<span>{w.esc(say(lang, f'chat.side.{kind}'))}</span></a>"
        for kind in ("md", "jsonl")
    )
    rename = w.esc(say(lang, "chat.side.rename"))
    delete = say(lang, "chat.side.delete")
    more = w.esc(say(lang, "chat.side.more"))
    return (
        f'<details class="chat-menu"><summary aria-label="{more}" title="{more}">'
        f"{w.icon('more')}</summary><div>"
        f'<button type="button" class="l-button quiet" data-chat-rename="{head.id}">'
        f"{w.icon('pencil')}<span>{rename}</span></button>{links}"
        f"{w.action(delete, 'delete', head.id, icon_name='trash', kind='danger', confirm=sure)}"
        "</div></details>"
    )


def _day(at: float) -> str:
    today = datetime.fromtimestamp(time.time()).date()
    days = (today - datetime.fromtimestamp(at).date()).days
    if days <= 0:
        return "today"
    return "yesterday" if days == 1 else "week" if days < 7 else "earlier"
