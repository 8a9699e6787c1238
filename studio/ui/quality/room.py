"""The voting room: one question, two answers without names, three buttons.

Everything here turns a ballot into HTML; `assets/js/quality.js` presses the buttons by their keys.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from studio.quality.votes import Ballot, Choice, Standing
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say, words

VOTES = ((Choice.LEFT, "1"), (Choice.TIE, "0"), (Choice.RIGHT, "2"))
"""Choices as they stand below the answers, and the key of each."""


def room(lang: str, name: str, ballot: Ballot, standing: Standing) -> str:
    """Return a ballot: how far one is, the question, both answers, the buttons."""
    answers = "".join(
        _answer(lang, key, side, number)
        for number, (key, side) in enumerate((("left", ballot.left), ("right", ballot.right)), 1)
    )
    votes = "".join(_vote(lang, name, ballot.pair, choice, key) for choice, key in VOTES)
    return (
        f'<section class="l-room" data-pair="{w.esc(ballot.pair)}">{_head(lang, ballot, standing)}'
        f'{_asked(lang, ballot)}<div class="l-room-answers">{answers}</div>'
        f'{_reference(lang, ballot)}<div class="l-room-votes">{votes}</div>'
        f"{_foot(lang, name, standing)}</section>"
    )


def over(lang: str, name: str, standing: Standing) -> str:
    """Return what stands there when every pair has its vote, or when there is none."""
    key = "quality.over" if standing.of else "quality.no_pairs"
    buttons = [
        f'<button type="button" class="l-button primary" data-room-leave>{w.icon("chart")}'
        f"<span>{w.esc(say(lang, 'quality.to_result'))}</span></button>"
    ]
    if standing.voted:
        buttons.append(_undo(lang, name))
    text = w.empty(
        lang,
        key,
        icon_name="check" if standing.of else "scale",
        actions=buttons,
        of=standing.of,
        same=standing.same,
        missing=standing.missing,
    )
    return f'<section class="l-room">{text}</section>'


# pieces -----------------------------------------------------------------------------------------


def _head(lang: str, ballot: Ballot, standing: Standing) -> str:
    back = (
        f'<button type="button" class="l-button quiet" data-room-leave>{w.icon("left")}'
        f"<span>{w.esc(say(lang, 'quality.leave'))}</span></button>"
    )
    count = say(lang, "quality.count", n=ballot.number, of=ballot.of)
    return (
        f"<header>{back}{w.bar(standing.voted / max(1, standing.of))}"
        f'<span class="l-room-count">{w.esc(count)}</span></header>'
    )


def _asked(lang: str, ballot: Ballot) -> str:
    """Return the first question; later turns stand between the answers they belong to."""
    tag = w.tag(category(lang, ballot.category))
    return (
        f'<div class="l-room-asked"><span>{tag}</span><div lang="{w.esc(ballot.lang)}">'
        f"{w.esc(ballot.turns[0])}</div>{_later(lang, ballot.turns[1:])}</div>"
    )


def _later(lang: str, turns: Sequence[str]) -> str:
    return "".join(
        f"<div>{w.esc(say(lang, 'quality.then', n=n, text=text))}</div>"
        for n, text in enumerate(turns, 2)
    )


def _answer(lang: str, side: str, turns: Sequence[str], number: int) -> str:
    key = f'<kbd class="l-key">{number}</kbd>'
    name = w.esc(say(lang, f"quality.side.{side}"))
    body = "".join(_turn(lang, text, n if len(turns) > 1 else 0) for n, text in enumerate(turns, 1))
    return (
        f'<article class="l-room-answer" data-side="{side}"><header><b>{key}{name}</b>'
        f"<span>{w.esc(_length(lang, turns))}</span></header>{body}</article>"
    )


def _turn(lang: str, text: str, number: int) -> str:
    head = w.tag(say(lang, "quality.turn", n=number)) if number else ""
    if not text.strip():
        none = w.esc(say(lang, "quality.empty_answer"))
        return f'{head}<div class="l-room-text l-room-none">{none}</div>'
    return f'{head}<div class="l-room-text">{w.esc(text.strip())}</div>'


def _length(lang: str, turns: Sequence[str]) -> str:
    return say(lang, "quality.length", n=units.number(sum(map(len, turns))))


def _reference(lang: str, ballot: Ballot) -> str:
    if not any(text.strip() for text in ballot.reference):
        return ""
    text = "\n\n".join(ballot.reference)
    return (
        f'<details class="l-room-reference"><summary>{w.esc(say(lang, "quality.reference"))}'
        f'</summary><div class="l-room-text">{w.esc(text)}</div></details>'
    )


def _vote(lang: str, name: str, pair: str, choice: Choice, key: str) -> str:
    value = json.dumps({"name": name, "pair": pair, "choice": str(choice)})
    kind = "" if choice is Choice.TIE else "l-room-side"
    return (
        f'<button type="button" class="l-button {kind}" data-act="vote" data-key="{key}" '
        f'data-value="{w.esc(value)}"><kbd class="l-key">{key}</kbd>'
        f"<span>{w.esc(say(lang, f'quality.choice.{choice}'))}</span></button>"
    )


def _undo(lang: str, name: str) -> str:
    value = json.dumps({"name": name})
    return (
        f'<button type="button" class="l-button quiet small" data-act="undo" data-key="u" '
        f'data-value="{w.esc(value)}">{w.icon("undo")}'
        f"<span>{w.esc(say(lang, 'quality.undo'))}</span>"
        '<kbd class="l-key">u</kbd></button>'
    )


def _foot(lang: str, name: str, standing: Standing) -> str:
    undo = _undo(lang, name) if standing.voted else ""
    return (
        f'<div class="l-room-foot">{undo}<span class="l-room-keys">'
        f"{w.esc(say(lang, 'quality.keys'))}</span></div>"
    )


def category(lang: str, name: str) -> str:
    """Return a category's word; one that a file made up stands as it is."""
    key = f"quality.category.{name}"
    return say(lang, key) if key in words(lang) else name.replace("_", " ")
