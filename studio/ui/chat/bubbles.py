"""Turn a conversation into what the chat component shows: bubbles, folded thoughts, figures.

A stored message may become several bubbles (thought, answer, figures); `place` tells which stored
message a bubble belongs to, because the component reports clicks by bubble.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from studio.chat.album import names_in
from studio.chat.answer import Look
from studio.chat.errors import SENTENCES
from studio.chat.history import Message
from studio.chat.transcript import text_of
from studio.ui import units
from studio.ui.i18n import say
from studio.ui.sentences import translate
from studio.ui.widgets import esc

Bubble = dict[str, Any]

SHOWN_TURNS = 25
"""Questions and answers drawn at once."""
LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "\\[", "right": "\\]", "display": True},
    {"left": "\\(", "right": "\\)", "display": False},
]
_PICTURES = '<div class="chat-pictures">'
_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`)", re.DOTALL)
_DOLLARS = re.compile(r"(?<![\\$\w])\$(?=[^\s$])([^$\n]{1,300}?)(?<=[^\s\\])\$(?![\w$])")


def bubbles(
    lang: str, messages: list[Message], side: str = "a", *, every: bool = False
) -> list[Bubble]:
    """Return what one side of the page shows of a conversation.

    Of a long one only the last turns are drawn, unless `every`: an answer that is arriving makes
    the browser look at all of them many times a second.
    """
    return [bubble for _, bubble in _placed(lang, messages, side, every)]


def place(lang: str, messages: list[Message], bubble: int, text: str, side: str = "a") -> int:
    """Return which stored question was clicked: by its bubble, as drawn in short or in full.

    `text` is what the bubble says. When neither fits, because the page is old, it is the last
    question.
    """
    for every in (False, True):
        drawn = list(_placed(lang, messages, side, every))
        at, shown = drawn[bubble] if 0 <= bubble < len(drawn) else (-1, {})
        if at >= 0 and shown["content"][0]["text"].strip() == text.strip():
            return at
    return len(messages) - 1


def is_pictures(text: str) -> bool:
    """Tell whether a bubble shows pictures; the component lets people edit even those."""
    return text.startswith(_PICTURES)


def live(lang: str, look: Look, model: str) -> list[Bubble]:
    """Return the bubbles of an answer that is still arriving."""
    found = []
    if look.reasoning:
        title = say(lang, "chat.thinking") if look.thinking else _thought(lang, look.thought_s)
        found.append(thought(title, look.reasoning, pending=look.thinking))
    if look.text:
        found.append(_bubble("assistant", math(look.text)))
    doing = "thinking" if look.thinking else "answering" if found else "waiting"
    waiting = say(lang, f"chat.{doing}")
    seconds = units.duration(lang, look.elapsed_s) if look.elapsed_s >= 1 else ""
    words = " · ".join(part for part in (model, seconds) if part)
    found.append(_html(f'<span class="chat-live">{esc(waiting)}</span><span>{esc(words)}</span>'))
    return found


def thought(title: str, text: str, *, pending: bool = False) -> Bubble:
    """Return a folded thought; a pending one is open and turns."""
    metadata = {"title": title, "status": "pending" if pending else "done"}
    return {**_bubble("assistant", text), "metadata": metadata}


def math(text: str) -> str:
    """Return Markdown in which `$…$` is a formula where it cannot be money, as in Pandoc.

    The opening dollar has no space after it, the closing one none before it and no letter or
    digit after it; code is left alone.
    """
    if "$" not in text:
        return text
    parts = _CODE.split(text)
    parts[::2] = [_DOLLARS.sub(r"\\(\1\\)", part) for part in parts[::2]]
    return "".join(parts)


def figures(lang: str, extra: dict[str, Any]) -> list[tuple[str, str]]:
    """Return an answer's figures as (text, what it means), in the order they are shown."""
    found = []
    tokens = extra.get("tokens")
    if tokens:
        counted = extra.get("counted", "usage")
        key = "tokens" if counted == "usage" else "chunks"
        text = say(
            lang, f"chat.figure.{key}{'_one' if tokens == 1 else ''}", n=units.number(tokens)
        )
        found.append((text, say(lang, f"chat.figure.{key}_help")))
    if extra.get("ttft_s") is not None:
        first = extra["ttft_s"]
        text = units.number(first * 1000, "ms") if first < 1 else units.number(first, "s")
        found.append((say(lang, "chat.figure.ttft", time=text), say(lang, "chat.figure.ttft_help")))
    if extra.get("tokens_per_s") is not None:
        text = units.number(extra["tokens_per_s"], "tok/s")
        found.append((text, say(lang, "chat.figure.rate_help")))
    prompt, cached = extra.get("prompt_tokens"), extra.get("cached_tokens")
    if prompt and cached is not None:
        share = units.percent(cached / prompt)
        help_text = say(lang, "chat.figure.cached_help", prompt=units.number(prompt))
        found.append((say(lang, "chat.figure.cached", share=share), help_text))
    if extra.get("model"):
        found.append((extra["model"], say(lang, "chat.figure.model_help", **_where(extra))))
    return found


def failure(lang: str, error: dict[str, Any]) -> tuple[str, str]:
    """Return the sentence and the hint of a kept error, in the reader's language if it has one."""
    code, facts = error.get("code", ""), error.get("facts") or {}
    if code in SENTENCES:
        says, hint = say(lang, f"chat.fault.{code}.says", **facts), f"chat.fault.{code}.hint"
        return says, say(lang, hint, **facts)
    message, hint = (translate(lang, str(error.get(part, ""))) for part in ("message", "hint"))
    return message, hint


def _placed(
    lang: str, messages: list[Message], side: str, every: bool
) -> Iterator[tuple[int, Bubble]]:
    asked = [index for index, message in enumerate(messages) if message["role"] == "user"]
    first = 0 if every or len(asked) <= SHOWN_TURNS else asked[-SHOWN_TURNS]
    if first:
        label = esc(say(lang, "chat.earlier", n=len(asked) - SHOWN_TURNS))
        earlier = f'<button type="button" class="chat-earlier">{label}</button>'
        yield -1, _bubble("assistant", earlier)
    for index, message in enumerate(messages[first:], first):
        extra = message.get("studio") or {}
        if message["role"] == "user":
            names, text = names_in(message), text_of(message)
            if names:
                yield index, _bubble("user", _pictures(lang, names))
            if text or not names:
                yield index, _bubble("user", math(text))
        elif message["role"] == "assistant" and extra.get("side", "a") == side:
            for bubble in _answered(lang, message, extra):
                yield index, bubble


def _pictures(lang: str, names: list[str]) -> str:
    alt, look = esc(say(lang, "chat.picture.alt")), esc(say(lang, "chat.picture.enlarge"))
    shown = (
        f'<button type="button" class="chat-picture" title="{look}">'
        f'<img src="ladder/chat/picture/{esc(name)}" alt="{alt}"></button>'
        for name in names
    )
    return f"{_PICTURES}{''.join(shown)}</div>"


def _answered(lang: str, message: Message, extra: dict[str, Any]) -> Iterator[Bubble]:
    if extra.get("reasoning"):
        yield thought(_thought(lang, extra.get("thought_s")), extra["reasoning"])
    text = text_of(message)
    if text:
        yield _bubble("assistant", math(text))
    if extra.get("error"):
        says, hint = failure(lang, extra["error"])
        note = f"<b>{esc(says)}</b><br>{esc(hint)}"
        yield _bubble("assistant", f'<div class="chat-fault">{note}</div>')
    yield _html(_facts(lang, extra, copies=bool(text)))


def _facts(lang: str, extra: dict[str, Any], *, copies: bool) -> str:
    parts = []
    if copies:
        copy = esc(say(lang, "chat.copy"))
        parts.append(f'<button type="button" class="chat-copy" title="{copy}">{copy}</button>')
    ended = extra.get("ended", "done")
    mark = f"chat.ended.{ended}" if ended in ("stopped", "cut") else ""
    if ended == "done" and extra.get("finish_reason") == "length":
        mark = "chat.ended.length"
    if mark:
        hint = esc(say(lang, f"{mark}_help"))
        parts.append(f'<span class="chat-mark" title="{hint}">{esc(say(lang, mark))}</span>')
    shown = figures(lang, extra)
    parts += [f'<span title="{esc(meaning)}">{esc(text)}</span>' for text, meaning in shown]
    return "".join(parts)


def _thought(lang: str, seconds: float | None) -> str:
    if not seconds or seconds < 1:
        return say(lang, "chat.thought")
    return say(lang, "chat.thought_for", time=units.duration(lang, seconds))


def _where(extra: dict[str, Any]) -> dict[str, str]:
    return {"endpoint": str(extra.get("endpoint", "–"))}


def _bubble(role: str, text: str) -> Bubble:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _html(inner: str) -> Bubble:
    return _bubble("assistant", f'<div class="chat-facts">{inner}</div>')
