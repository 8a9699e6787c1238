"""The ladder of the image editor as rows, best rung first, with a bar for every card.

Drawn twice from the same rows: before a launch from its plan (`image_plan.py`), and while a worker
runs from what it tells (`image_ladder.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from studio.planner.result import CardMemory, CardPlan, Kind, Part
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say, words
from studio.ui.plan import view as planview
from studio.ui.sentences import translate

Standing = Literal["chosen", "runs", "fell", "fits", "no"]
"""What a rung is to us: picked by the plan, at work, fallen from, possible, impossible."""

KINDS: tuple[Kind, ...] = ("transformer", "text_encoder", "vae", "activations")
"""What a rung puts on a card, in the order it is drawn."""
SHORT_S = 90.0
"""Below this a time is said in seconds, above in its two largest units."""
_ICONS = {"chosen": "right", "runs": "dot", "fell": "down", "fits": "check", "no": "cross"}
_TONES = {"chosen": "accent", "runs": "ok", "fell": "warn", "fits": "", "no": ""}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rung. Sizes in bytes, times in seconds; what nobody knows is None."""

    name: str
    standing: Standing
    why: str = ""
    """An English sentence of the planner or the worker."""
    cards: Sequence[CardPlan] = ()
    """What it puts on each card, and on the host (`card` is None)."""
    host_bytes: int | None = None
    step_s: float | None = None
    picture_s: float | None = None
    load_s: float | None = None
    measured_step_s: float | None = None
    measured_picture_s: float | None = None
    at: float | None = None
    """When it fell."""
    possible: bool = True
    """False when nobody can have it here, not even by force."""


def ladder_html(lang: str, rows: Sequence[Row], *, act: str = "") -> str:
    """Return the rows with one legend below.

    Each rung but the one in use can be taken: by changing the form, or, where `act` is given, by a
    button with that act and the rung's name.
    """
    items = "".join(_row(lang, row, act) for row in rows)
    parts = [card for row in rows for card in row.cards]
    legend = planview.legend(lang, parts) if parts else ""
    return f'<ol class="l-rungs">{items}</ol>{legend}'


def row_of(
    told: Mapping[str, Any],
    standing: Standing,
    cards: Mapping[int, CardMemory],
    host_total_bytes: int | None = None,
) -> Row:
    """Return a row from what a worker tells of a rung, on cards that are known by their index."""
    needs = [_need(need, cards) for need in told.get("cards") or ()]
    host = _number(told.get("host_bytes"))
    if not needs and host and host_total_bytes:
        needs = [_on_host(told.get("host") or {}, int(host), host_total_bytes)]
    step, picture = _number(told.get("step_s")), _number(told.get("picture_s"))
    measured = _number(told.get("measured_step_s"))
    if measured is None and told.get("measured"):
        measured = step
    return Row(
        name=str(told.get("rung", "")),
        standing=standing,
        why=str(told.get("why") or ""),
        cards=needs,
        host_bytes=int(host) if host else None,
        step_s=step or None,
        picture_s=picture or None,
        load_s=_number(told.get("load_s")) or None,
        measured_step_s=measured,
        measured_picture_s=None if measured is None else _measured_picture(told, measured),
        possible=bool(told.get("possible", True)),
    )


def title(lang: str, rung: str) -> str:
    """Return a rung's name in plain words; one that is not known here goes by its own."""
    return _word(lang, rung, "title") or rung


def span(lang: str, seconds: float | None) -> str:
    """Return an expected time as people say it: `0.77 s`, `31 s`, `40 min`."""
    if seconds is None:
        return "–"
    if seconds < SHORT_S:
        return units.number(seconds if seconds < 10 else int(seconds + 0.5), "s")
    if seconds < 600:
        return units.duration(lang, round(seconds / 10) * 10)
    return units.duration(lang, round(seconds / 60) * 60)


def about(lang: str, seconds: float) -> str:
    """Return an expected time, no more exact than it is known."""
    return span(lang, seconds) if seconds >= 10 else f"{max(seconds, 0.1):.1f} s"


# pieces -----------------------------------------------------------------------------------------


def _row(lang: str, row: Row, act: str) -> str:
    said = say(lang, f"imageworker.standing.{row.standing}")
    tone = _TONES[row.standing]
    tag = w.tag(said, tone=tone) if row.standing in ("chosen", "runs", "fell") else ""
    mark = w.icon(_ICONS[row.standing], title=said)
    about = _word(lang, row.name, "about")
    beside = f'<span class="l-rung-time">{_time(lang, row)}</span>'
    bars = "".join(planview.bar(lang, card) for card in row.cards)
    in_use = row.standing in ("chosen", "runs")
    more = f'<p class="l-sub">{w.esc(about)}</p>' if in_use else ""
    body = f"{more}{bars}{_foot(lang, row, act)}"
    if not bars and not row.possible:  # a rung for another machine: one line says it
        body, beside = "", _why(lang, row)
    head = (
        f'<header title="{w.esc(about)}"><b>{w.esc(title(lang, row.name))}</b>'
        f"<code>{w.esc(row.name)}</code>{tag}{beside}</header>"
    )
    bare = "" if body else " l-bare"
    return (
        f'<li class="l-rung l-rung-{row.standing}{bare}" data-rung="{w.esc(row.name)}">'
        f'<span class="l-rung-mark">{mark}</span><div>{head}{body}</div></li>'
    )


def _time(lang: str, row: Row) -> str:
    """Return seconds per picture and step, the measured ones where there are any."""
    measured = row.measured_step_s is not None or row.measured_picture_s is not None
    picture = row.measured_picture_s if measured else row.picture_s
    step = row.measured_step_s if measured else row.step_s
    parts = []
    if picture is not None:
        text = w.esc(say(lang, "imageworker.a_picture", time="\0"))
        about = "" if measured else "≈ "
        parts.append(text.replace("\0", f"<b>{w.esc(about + span(lang, picture))}</b>"))
    if step is not None:
        parts.append(w.esc(say(lang, "imageworker.a_step", time=units.number(step, "s"))))
    return " ".join(f"<span>{part}</span>" for part in parts)


def _why(lang: str, row: Row) -> str:
    if not row.why:
        return ""
    at = f" {w.when(lang, row.at)}" if row.at is not None else ""
    tone = " bad" if row.standing == "no" else ""
    return f'<span class="l-rung-why{tone}">{w.esc(translate(lang, row.why))}{at}</span>'


def _foot(lang: str, row: Row, act: str) -> str:
    facts = []
    if row.host_bytes is not None and not any(card.card is None for card in row.cards):
        facts.append((say(lang, "plan.host"), units.size(row.host_bytes)))
    if row.load_s is not None:
        facts.append((say(lang, "imageworker.load"), span(lang, row.load_s)))
    measured = ""
    if row.measured_step_s is not None:
        measured = w.tag(say(lang, "imageworker.measured"), tone="ok", icon_name="check")
        if row.step_s is not None:
            expected = say(lang, "imageworker.a_step", time=units.number(row.step_s, "s"))
            facts.append((say(lang, "imageworker.expected"), expected))
    told = "".join(f"<span>{w.esc(name)} <b>{w.esc(value)}</b></span>" for name, value in facts)
    return (
        f'<div class="l-rung-foot">{measured}{_why(lang, row)}{told}{_take(lang, row, act)}</div>'
    )


def _take(lang: str, row: Row, act: str) -> str:
    """Return the button that takes a rung: for good in the form, at once in a worker's ladder."""
    text = say(lang, "imageworker.take")
    if row.standing in ("chosen", "runs") or not row.possible:
        return ""
    if act:
        sure = say(lang, "imageworker.take_confirm", rung=title(lang, row.name))
        return w.action(text, act, row.name, icon_name="wrench", kind="quiet small", confirm=sure)
    changes = w.esc(json.dumps({"rung": row.name}))
    return (
        f'<button type="button" class="l-button quiet small" data-form-set="{changes}">'
        f"{w.icon('wrench')}<span>{w.esc(text)}</span></button>"
    )


def _need(need: Mapping[str, Any], cards: Mapping[int, CardMemory]) -> CardPlan:
    """Return what a rung puts on one card, with what others hold there and what is left."""
    index = int(need.get("card") or 0)
    card = cards.get(index)
    own = [Part(kind=kind, bytes=int(need[kind])) for kind in KINDS if need.get(kind)]
    taken = sum(part.bytes for part in own)
    total, held = (card.total_bytes, card.used_bytes) if card else (taken, 0)
    free = total - held - taken
    parts = [*own, Part(kind="other", bytes=held), Part(kind="free", bytes=max(0, free))]
    return CardPlan(
        card=card.index if card else index,
        name=card.name if card else "",
        total_bytes=total,
        parts=tuple(part for part in parts if part.bytes > 0),
        over_bytes=max(0, -free),
    )


def _on_host(told: Mapping[str, Any], size: int, total: int) -> CardPlan:
    """Return what a rung on the CPU holds, its processes as the runtime."""
    own = [Part(kind=kind, bytes=int(told[kind])) for kind in KINDS if told.get(kind)]
    free = total - size
    rest = size - sum(part.bytes for part in own)
    parts = [*own, Part(kind="runtime", bytes=rest), Part(kind="free", bytes=max(0, free))]
    return CardPlan(
        card=None,
        name="",
        total_bytes=total,
        parts=tuple(part for part in parts if part.bytes > 0),
        over_bytes=max(0, -free),
    )


def _measured_picture(told: Mapping[str, Any], step_s: float) -> float | None:
    """Return a picture's seconds from measured parts, expected ones where none was measured."""
    whole, step = _number(told.get("picture_s")), _number(told.get("step_s"))
    if not whole or not step:
        return None
    ends = [_number(told.get(f"{kind}_s")) or 0.0 for kind in ("encode", "decode")]
    steps = round((whole - sum(ends)) / step)
    seen = [_number(told.get(f"measured_{kind}_s")) for kind in ("encode", "decode")]
    parts = [own or end for own, end in zip(seen, ends, strict=True)]
    return sum(parts) + steps * step_s


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _word(lang: str, rung: str, key: str) -> str:
    return words(lang).get(f"imageworker.rung.{rung}.{key}", "")
