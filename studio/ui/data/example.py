"""One row of a data set as a person reads it: bubbles, pairs side by side, text, pictures.

Rows are drawn by what they hold, in whichever of the known forms: alpaca columns, ShareGPT turns
(`from`/`value`), OpenAI messages (`role`/`content`), preference pairs, KTO labels, plain text.
Everything from the file is escaped in here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say

Role = Literal["system", "user", "assistant", "tool", "other"]

LONGEST_TEXT = 6000
"""Characters of one message that are drawn."""
MOST_TURNS = 40
MOST_PICTURES = 8
ROLES: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "function_call": "tool",
}
_MARK = re.compile(r"&lt;(image|video|audio)&gt;")


def example(
    lang: str,
    row: Mapping[str, Any],
    *,
    number: int | None = None,
    find: str = "",
    picture: Callable[[int, str], str] | None = None,
) -> str:
    """Return one row; `picture(index, name)` gives the HTML of its pictures, else their names."""
    turns = list(turns_of(row))
    parts = [_turn(lang, role, text, find) for role, text in turns[:MOST_TURNS]]
    if row.get("tools"):
        parts.insert(0, _tools(lang, row["tools"], find))
    if len(turns) > MOST_TURNS:
        more = say(lang, "data.row.more_turns", n=units.number(len(turns) - MOST_TURNS))
        parts.append(f'<p class="l-muted">{w.esc(more)}</p>')
    if "chosen" in row and "rejected" in row:
        parts.append(_pair(lang, row["chosen"], row["rejected"], find))
    if not parts:
        parts.append(_plain(row, find))
    label = _label(lang, row.get("label", row.get("kto_tag")))
    count = say(lang, "data.row.turns", n=len(turns)) if len(turns) > 2 else ""
    head = "".join(w.tag(text) for text in (count,) if text) + label
    at = "" if number is None else f"<b>#{number:,}</b>"
    top = f"<header>{at}{head}</header>" if at or head else ""
    shown = _pictures(pictures_of(row), picture)
    return f'<article class="l-example">{top}{shown}{"".join(parts)}</article>'


def turns_of(row: Mapping[str, Any]) -> Iterable[tuple[Role, str]]:
    """Yield a row's messages as (role, text), the answers of a pair left out."""
    told = next((row[k] for k in ("conversations", "messages") if row.get(k)), None)
    if isinstance(told, list):
        if row.get("system"):
            yield "system", text_of(row["system"])
        yield from (_message(item) for item in told)
        return
    if "instruction" in row or "prompt" in row or "output" in row:
        if row.get("system"):
            yield "system", text_of(row["system"])
        for pair in row.get("history") or ():
            if isinstance(pair, list | tuple) and len(pair) == 2:
                yield "user", text_of(pair[0])
                yield "assistant", text_of(pair[1])
        asked = [row.get("instruction", row.get("prompt")), row.get("input", row.get("query"))]
        yield "user", "\n".join(text_of(part) for part in asked if part)
        answer = row.get("output", row.get("response"))
        if answer is not None and not isinstance(answer, list):
            yield "assistant", text_of(answer)


def pictures_of(row: Mapping[str, Any]) -> list[str]:
    """Return the pictures a row names, as they are written there."""
    named = row.get("images") or ()
    if isinstance(named, str):
        named = [named]
    return [name for name in named if isinstance(name, str)]


def text_of(value: Any) -> str:
    """Return text; of OpenAI's parts their texts, of anything else its JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        if "content" in value or "value" in value:
            return _message(value)[1]
    elif isinstance(value, Sequence) and value and all(isinstance(v, Mapping) for v in value):
        parts = [v["text"] if "text" in v else f"<{v.get('type', '?')}>" for v in value]
        return "\n".join(map(str, parts)).replace("<image_url>", "<image>")
    return json.dumps(value, ensure_ascii=False, default=str)


def prose(text: str, find: str = "") -> str:
    """Return text as HTML: escaped, cut when very long, `<image>` marks and found words shown."""
    cut = text[:LONGEST_TEXT]
    if find:
        pieces = re.split(f"({re.escape(find)})", cut, flags=re.IGNORECASE)
        html = "".join(
            f"<mark>{w.esc(piece)}</mark>" if i % 2 else w.esc(piece)
            for i, piece in enumerate(pieces)
        )
    else:
        html = w.esc(cut)
    html = _MARK.sub(lambda m: f'<span class="l-mark">{w.icon("image")}{m[1]}</span>', html)
    more = len(text) - len(cut)
    return f"{html} … <i>+{more:,}</i>" if more > 0 else html


def _message(item: Any) -> tuple[Role, str]:
    if not isinstance(item, Mapping):
        return "other", text_of(item)
    role = ROLES.get(str(item.get("role", item.get("from", ""))), "other")
    return role, text_of(item.get("content", item.get("value", "")))


def _turn(lang: str, role: Role, text: str, find: str) -> str:
    return (
        f'<div class="l-turn l-turn-{role}"><span>{w.esc(say(lang, f"data.role.{role}"))}</span>'
        f"<div>{prose(text, find)}</div></div>"
    )


def _tools(lang: str, tools: Any, find: str) -> str:
    title = w.esc(say(lang, "data.column.tools"))
    return (
        f'<details class="l-tools"><summary>{w.icon("wrench")}{title}</summary>'
        f"<pre>{prose(text_of(tools), find)}</pre></details>"
    )


def _pair(lang: str, chosen: Any, rejected: Any, find: str) -> str:
    sides = (("chosen", chosen, "check"), ("rejected", rejected, "cross"))
    return '<div class="l-pair">{}</div>'.format(
        "".join(
            f'<div class="l-{name}"><span>{w.icon(icon)}{w.esc(say(lang, f"data.row.{name}"))}'
            f"</span><div>{prose(text_of(value), find)}</div></div>"
            for name, value, icon in sides
        )
    )


def _label(lang: str, value: Any) -> str:
    if not isinstance(value, bool):
        return ""
    name, tone, icon = ("good", "ok", "check") if value else ("poor", "bad", "cross")
    return w.tag(say(lang, f"data.row.{name}"), tone=tone, icon_name=icon)


def _plain(row: Mapping[str, Any], find: str) -> str:
    if isinstance(row.get("text"), str):
        return f'<div class="l-turn l-turn-text"><div>{prose(row["text"], find)}</div></div>'
    cells = [(str(key), w.Html(prose(text_of(value), find))) for key, value in row.items()]
    return w.table(cells)


def _pictures(names: list[str], picture: Callable[[int, str], str] | None) -> str:
    if not names:
        return ""
    shown = [
        picture(index, name) if picture else w.tag(name.rpartition("/")[2], icon_name="image")
        for index, name in enumerate(names[:MOST_PICTURES])
    ]
    more = w.tag(f"+{len(names) - MOST_PICTURES}") if len(names) > MOST_PICTURES else ""
    return f'<div class="l-thumbs">{"".join(shown)}{more}</div>'
