"""How a file is handed in: the place to drop it, and what it is taken for before it is added."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath

from studio.data.model import ROLES, Look
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.data.example import example
from studio.ui.data.faults import fault_rows, repairs
from studio.ui.i18n import say

SHOWN_ROWS = 4
SHOWN_FAULTS = 6
SUFFIXES = ".json,.jsonl,.ndjson,.csv,.tsv,.parquet,.txt,.gz"

NAME_PATTERN = r"[\p{L}\p{N}_\-]+"
"""What the browser lets through as a name; `studio.data` has the last word."""
_PLAIN = re.compile(r"[^\w-]+")


def left(lang: str, largest_bytes: int) -> str:
    """Return the left half: handing a file in, one's chats, and the list with its search."""
    said = {key: w.esc(say(lang, f"data.{key}")) for key in ("add.title", "list", "find")}
    chats = (
        f'<details class="l-fold" id="data-chats"><summary>{w.icon("chat")}'
        f"<span>{w.esc(say(lang, 'data.chats.title'))}</span></summary>"
        f"<div>{w.live('data/chats', every_s=20)}</div></details>"
    )
    find = (
        f'<div class="l-find">{w.icon("search")}<input type="search" data-list-find '
        f'placeholder="{said["find"]}" aria-label="{said["find"]}"></div>'
    )
    return (
        f'<div class="l-work"><h3 class="l-part-title">{said["add.title"]}</h3>'
        f"{frame(lang, largest_bytes)}{chats}"
        f'<h3 class="l-part-title">{said["list"]}</h3>{find}'
        f'<div id="data-list">{w.live("data/list")}</div></div>'
    )


def frame(lang: str, largest_bytes: int) -> str:
    """Return the place to drop a file, to name one on the server, and to look at it."""
    said = {
        key: w.esc(say(lang, f"data.add.{key}"))
        for key in ("drop", "pick", "path", "path_go", "stop", "path_hint")
    }
    kinds = w.esc(say(lang, "data.add.kinds", size=f"{largest_bytes / 2**30:g} GiB"))
    return (
        '<div class="l-adding" id="data-add">'
        f'<div class="l-drop" data-drop>{w.icon("upload")}<b>{said["drop"]}</b>'
        f'<button type="button" class="l-button" data-drop-pick>{w.icon("file")}'
        f"<span>{said['pick']}</span></button><small>{kinds}</small>"
        f'<input type="file" accept="{SUFFIXES}" aria-label="{said["pick"]}"></div>'
        '<div class="l-sending" data-part="progress" hidden>'
        '<span></span><div class="l-bar-track"><i></i></div>'
        f'<button type="button" class="l-button small" data-upload-stop>{said["stop"]}</button>'
        "</div>"
        '<div class="l-inline-form">'
        f'<label class="l-grow">{said["path"]}<input type="text" data-path spellcheck="false" '
        f'autocomplete="off" placeholder="{said["path_hint"]}"></label>'
        f'<button type="button" class="l-button" data-look>{w.icon("eye")}'
        f"<span>{said['path_go']}</span></button></div>"
        '<p class="l-note" data-part="told" role="status" hidden></p>'
        '<div data-part="look"></div></div>'
    )


def look(
    lang: str, found: Look, file: str, picture: Callable[[int, str], str] | None = None
) -> str:
    """Return what a file is taken for: kind, columns, first rows, first faults, and its name."""
    ready = bool(found.kind and found.rows)
    body = [
        f'<div class="l-tags">{"".join(_facts(lang, found))}</div>',
        _columns(lang, found),
    ]
    if found.kind is None:
        body.append(w.note(say(lang, "data.look.unknown"), tone="warn", icon_name="alert"))
    if found.rows:
        shown = "".join(example(lang, row, picture=picture) for row in found.rows[:SHOWN_ROWS])
        body.append(f"<h4>{w.esc(say(lang, 'data.look.rows'))}</h4>")
        body.append(f'<div class="l-examples">{shown}</div>')
    elif found.raw:
        shown = "".join(example(lang, {"text": _raw(row)}) for row in found.raw[:SHOWN_ROWS])
        body.append(f"<h4>{w.esc(say(lang, 'data.look.raw'))}</h4>")
        body.append(f'<div class="l-examples">{shown}</div>')
    body.append(repairs(lang, found.repaired))
    if found.faults:
        key = "data.look.faults" if found.whole else "data.look.faults_head"
        head = say(lang, key, n=units.number(len(found.faults)))
        body.append(w.note(head, tone="warn", icon_name="alert"))
        body.append(fault_rows(lang, found.faults[:SHOWN_FAULTS]))
    elif ready:
        key = "data.look.clean" if found.whole else "data.look.clean_head"
        body.append(w.note(say(lang, key), tone="ok", icon_name="check"))
    body.append(_name(lang, file, ready))
    close = (
        f'<button type="button" class="l-button quiet small" data-look-close>'
        f"{w.icon('cross')}<span>{w.esc(say(lang, 'data.look.close'))}</span></button>"
    )
    return (
        f'<section class="l-card l-look" data-gathered><header><h3>{w.esc(file)}</h3>{close}'
        f"</header>{''.join(body)}</section>"
    )


def kind_name(lang: str, kind: str | None) -> str:
    """Return what a kind is called."""
    return say(lang, f"data.kind.{kind or 'unknown'}")


def suggested_name(file: str) -> str:
    """Return a name for a data set made of a file's name: `Our FAQ.v2.jsonl` is `Our_FAQ_v2`."""
    stem = PurePath(file).name
    for suffix in reversed(PurePath(stem).suffixes):
        if suffix.lower() in SUFFIXES.split(","):
            stem = stem.removesuffix(suffix)
    return _PLAIN.sub("_", stem).strip("_-")[:48] or "data"


def _facts(lang: str, found: Look) -> list[str]:
    encoding = found.encoding and found.encoding not in ("utf-8", "utf-8-sig")
    known = found.kind is not None
    return [
        w.tag(kind_name(lang, found.kind), tone="accent" if known else "warn", icon_name="data"),
        w.tag(found.format.upper()),
        w.tag(units.size(found.bytes)),
        w.tag(found.encoding, tone="warn") if encoding else "",
    ]


def _columns(lang: str, found: Look) -> str:
    """Return a select for each column: what it means."""
    if not found.columns:
        return ""
    lines = []
    for column in found.columns:
        now = found.mapping.get(column, "")
        options = f'<option value="">{w.esc(say(lang, "data.column.unused"))}</option>'
        for role in ROLES:
            chosen = " selected" if role == now else ""
            name = w.esc(say(lang, f"data.column.{role}"))
            options += f'<option value="{role}"{chosen}>{name}</option>'
        lines.append(
            f"<label><code>{w.esc(column)}</code>"
            f'<select data-map="{w.esc(column)}">{options}</select></label>'
        )
    return (
        f"<h4>{w.esc(say(lang, 'data.look.columns'))}</h4>"
        f'<div class="l-maps">{"".join(lines)}</div>'
    )


def _name(lang: str, file: str, ready: bool) -> str:
    label = w.esc(say(lang, "data.look.name"))
    off = "" if ready else " disabled"
    return (
        f'<div class="l-look-name"><label>{label}<input type="text" name="name" required '
        f'maxlength="60" pattern="{NAME_PATTERN}" spellcheck="false" '
        f'title="{w.esc(say(lang, "data.look.name_hint"))}" '
        f'value="{w.esc(suggested_name(file))}"></label>'
        f'<button type="button" class="l-button primary" data-act="add" data-gather '
        f'data-value=""{off}>{w.icon("plus")}<span>{w.esc(say(lang, "data.look.add"))}</span>'
        "</button></div>"
    )


def _raw(row: dict[str, object]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in row.items())
