"""A serving plan as a person reads it: a bar per card, one sentence, and what would make it fit.

Bars, figures and advice are drawn the same way for a training (`trainplan.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from studio.jobs.jobs import Run
from studio.planner.measured import compare, read_plan
from studio.planner.result import Advice, CardPlan, ServingPlan
from studio.planner.training_result import TrainingPlan
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say

SERIES = {
    "weights": "weights",
    "draft": "draft",
    "lora": "lora",
    "transformer": "weights",
    "text_encoder": "text-encoder",
    "vae": "vae",
    "cache": "cache",
    "activations": "activations",
    "graphs": "graphs",
    "gradients": "gradients",
    "master": "master",
    "optimizer": "optimizer",
    "buffers": "buffers",
    "logits": "logits",
    "runtime": "reserve",
    "other": "other",
}
"""Part of a card's memory -> colour; `free` is the bar's own ground."""


def plan_html(lang: str, plan: ServingPlan, *, machine: str = "") -> str:
    """Return the bars, the verdict, the figures that matter, and the advice as buttons."""
    figures = figures_html([_named(lang, *fact) for fact in _facts(lang, plan)])
    return f"{machine}{bars(lang, plan.cards)}{verdict(lang, plan)}{figures}"


def bars(lang: str, cards: Sequence[CardPlan]) -> str:
    """Return a bar for every card with the names of its parts below."""
    return "".join(bar(lang, card) for card in cards) + legend(lang, cards)


def figures_html(figures: Sequence[tuple[str, str, str]]) -> str:
    """Return figures side by side: name, value, and a word under it."""
    return f'<div class="l-figures">{"".join(_figure(*figure) for figure in figures)}</div>'


def verdict(lang: str, plan: ServingPlan) -> str:
    """Return whether it fits, in a sentence, and the buttons for what would make it fit."""
    text = say(lang, f"plan.reason.{plan.reason}", **spoken(lang, plan.values))
    advice = [(advice_text(lang, one), one) for one in plan.advice]
    notes = [say(lang, f"plan.note.{key}", **spoken(lang, values)) for key, values in plan.notes]
    return verdict_html(lang, text, plan.fits, advice, notes)


def verdict_html(
    lang: str,
    text: str,
    fits: bool,
    advice: Sequence[tuple[str, Advice]],
    notes: Sequence[str],
) -> str:
    """Return the sentence, a button for each piece of advice, and what else is to be known."""
    buttons = [_button(said, one) for said, one in advice]
    lead = f'<p class="l-plan-lead">{w.esc(say(lang, "plan.would_fit"))}</p>' if buttons else ""
    row = f'<div class="l-actions">{"".join(buttons)}</div>' if buttons else ""
    more = "".join(w.note(note, icon_name="info") for note in notes)
    tone, drawing = ("ok", "check") if fits else ("bad", "alert")
    return f"{w.note(text, tone=tone, icon_name=drawing)}{lead}{row}{more}"


def plan_text(lang: str, plan: ServingPlan) -> list[str]:
    """Return the plan as lines for a terminal: verdict, cards, figures, advice."""
    lines = [say(lang, f"plan.reason.{plan.reason}", **spoken(lang, plan.values))]
    lines += cards_text(lang, plan.cards)
    lines += [
        f"{say(lang, f'plan.figure.{key}')}: {value} {more}"
        for key, value, more in _facts(lang, plan)
    ]
    lines += [f"-> {advice_text(lang, advice)}" for advice in plan.advice]
    return [line.strip() for line in lines]


def cards_text(lang: str, cards: Sequence[CardPlan]) -> list[str]:
    """Return a line for every card."""
    lines = []
    for card in cards:
        name = say(lang, "plan.host") if card.card is None else say(lang, "plan.card", n=card.card)
        parts = [f"{say(lang, f'plan.part.{p.kind}')} {units.size(p.bytes)}" for p in card.parts]
        lines.append(f"{name} {card.name} {units.size(card.total_bytes)}: {', '.join(parts)}")
    return lines


def advice_text(lang: str, advice: Advice) -> str:
    """Return a piece of advice in words."""
    return say(lang, f"plan.advice.{advice.key}", **spoken(lang, advice.values))


def spoken(lang: str, values: dict[str, Any]) -> dict[str, str]:
    """Return values as they are said: bytes with a unit, whole numbers with separators."""
    return {name: _said(lang, name, value) for name, value in values.items()}


def _said(lang: str, name: str, value: Any) -> str:
    if name.endswith("_bytes"):
        return units.size(value)
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{int(value):,}" if value >= 10 else units.number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def bar(lang: str, card: CardPlan) -> str:
    """Return one card's memory as a bar; what does not fit is hatched."""
    shown = [part for part in card.parts if part.kind != "free" and part.bytes > 0]
    total = card.total_bytes or 1
    whole = max(total, sum(part.bytes for part in shown))
    fills = []
    for part in shown:
        name = say(lang, f"plan.part.{part.kind}")
        share = part.bytes / whole * 100
        inside = f"<b>{w.esc(units.size(part.bytes))}</b>" if share > 13 else ""
        fills.append(
            f'<i class="l-part l-series-{SERIES.get(part.kind, "reserve")}" '
            f'style="width:{share:.2f}%" title="{w.esc(name)}: {w.esc(units.size(part.bytes))}">'
            f"{inside}</i>"
        )
    over = ""
    if card.over_bytes > 0:
        width = min(100.0, card.over_bytes / whole * 100)
        over = f'<i class="l-over" style="width:{width:.2f}%"></i>'
    limit = ""
    if whole > total:
        limit = f'<i class="l-limit" style="left:{total / whole * 100:.2f}%"></i>'
    name = say(lang, "plan.host") if card.card is None else say(lang, "plan.card", n=card.card)
    label = f"{name} · {card.name}" if card.name else name
    return (
        f'<div class="l-plan-card"><div class="l-plan-name"><b>{w.esc(label)}</b>'
        f"<span>{w.esc(units.size(card.total_bytes))}</span></div>"
        f'<div class="l-stack l-plan-stack" role="img" aria-label="{w.esc(_aloud(lang, card))}">'
        f"{''.join(fills)}{over}{limit}</div></div>"
    )


def _aloud(lang: str, card: CardPlan) -> str:
    return ", ".join(
        f"{say(lang, f'plan.part.{part.kind}')} {units.size(part.bytes)}" for part in card.parts
    )


def legend(lang: str, cards: Sequence[CardPlan]) -> str:
    """Return the names and colours of all parts that the bars show."""
    kinds = dict.fromkeys(p.kind for card in cards for p in card.parts if p.bytes > 0)
    items = "".join(
        f'<span><i class="l-series-{SERIES.get(kind, "free")}"></i>'
        f"{w.esc(say(lang, f'plan.part.{kind}'))}</span>"
        for kind in kinds
    )
    return f'<div class="l-legend">{items}</div>'


def _facts(lang: str, plan: ServingPlan) -> list[tuple[str, str, str]]:
    facts: list[tuple[str, str, str]] = []
    if plan.kv_tokens:
        facts.append(("kv_tokens", f"{plan.kv_tokens:,}", ""))
        users = plan.kv_tokens / max(1, plan.max_model_len)
        more = say(lang, "plan.figure.users_at", length=f"{plan.max_model_len:,}")
        facts.append(("users", units.number(users if users < 10 else int(users)), more))
    facts.append(("weights", units.size(plan.weights_bytes), say(lang, "plan.figure.per_card")))
    if plan.kv_bytes_per_token:
        facts.append(("kv_per_token", units.size(plan.kv_bytes_per_token), ""))
    if plan.host_bytes:
        facts.append(("host", units.size(plan.host_bytes), ""))
    if plan.download_bytes:
        facts.append(("download", units.size(plan.download_bytes), ""))
    return facts


def _named(lang: str, key: str, value: str, more: str) -> tuple[str, str, str]:
    return say(lang, f"plan.figure.{key}"), value, more


def _figure(name: str, value: str, more: str) -> str:
    under = f"<small>{w.esc(more)}</small>" if more else ""
    return f"<div><span>{w.esc(name)}</span><b>{w.esc(value)}</b>{under}</div>"


def _button(text: str, advice: Advice) -> str:
    changes = w.esc(json.dumps(advice.changes))
    return (
        f'<button type="button" class="l-button small" data-form-set="{changes}">'
        f"{w.icon('wand')}<span>{w.esc(text)}</span></button>"
    )


def _measure(what: str, value: float) -> str:
    if what.endswith("_bytes"):
        return units.size(value)
    return units.number(value, "s") if what.endswith("_s") else f"{int(value):,}"


def compared(lang: str, run: Run) -> str:
    """Return planned beside measured for a run that has told something; empty for all others."""
    plan = read_plan(run.dir)
    found = compare(plan, run.dir) if plan is not None else None
    if found is None or not found.rows:
        return ""
    words = "trainplan" if isinstance(plan, TrainingPlan) else "plan"
    body = []
    for row in found.rows:
        planned, measured = (_measure(row.what, value) for value in (row.planned, row.measured))
        what = say(lang, f"{words}.measured.{row.what}")
        body.append((what, planned, measured, f"{row.error * 100:+.1f} %"))
    head = [say(lang, f"plan.compare.{key}") for key in ("what", "planned", "measured", "error")]
    return w.card(say(lang, "plan.compare.title"), w.rows(head, body, numeric=(1, 2, 3)))
