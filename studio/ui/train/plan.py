"""A training plan as a person reads it.

A bar per card, one sentence, the figures of the training, and the published estimates beside it.
"""

from __future__ import annotations

from typing import Any

from studio.planner.result import Advice
from studio.planner.training_result import TrainingPlan
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.plan import view as planview


def plan_html(lang: str, plan: TrainingPlan, *, machine: str = "") -> str:
    """Return the bars, the verdict with its advice, the figures, and the published estimates."""
    figures = planview.figures_html([_figure(lang, *fact) for fact in facts(lang, plan)])
    return f"{machine}{planview.bars(lang, plan.cards)}{verdict(lang, plan)}{figures}" + _estimates(
        lang, plan
    )


def verdict(lang: str, plan: TrainingPlan) -> str:
    """Return whether it fits, in a sentence, the buttons for what would make it fit, and notes."""
    advice = [(advice_text(lang, one), one) for one in plan.advice]
    return planview.verdict_html(
        lang, reason_text(lang, plan), plan.fits, advice, notes_text(lang, plan)
    )


def plan_text(lang: str, plan: TrainingPlan) -> list[str]:
    """Return the plan as lines for a terminal: verdict, cards, figures, estimates, advice."""
    lines = [reason_text(lang, plan), *planview.cards_text(lang, plan.cards)]
    lines += [
        f"{name}: {value} {more}"
        for name, value, more in (_figure(lang, *fact) for fact in facts(lang, plan))
    ]
    lines += [
        f"{name}: {card}, {say(lang, 'plan.host')} {host}" for name, card, host in _rows(lang, plan)
    ]
    lines += [f"-> {advice_text(lang, advice)}" for advice in plan.advice]
    lines += [f"* {note}" for note in notes_text(lang, plan)]
    return [line.strip() for line in lines]


def reason_text(lang: str, plan: TrainingPlan) -> str:
    """Return whether it fits, and if not why, in a sentence."""
    return say(lang, f"trainplan.reason.{plan.reason}", **_spoken(lang, plan.values))


def advice_text(lang: str, advice: Advice) -> str:
    """Return a piece of advice in words."""
    return say(lang, f"trainplan.advice.{advice.key}", **_spoken(lang, advice.values))


def notes_text(lang: str, plan: TrainingPlan) -> list[str]:
    """Return what else a person should know about the training."""
    return [
        say(lang, f"trainplan.note.{key}", **_spoken(lang, values)) for key, values in plan.notes
    ]


def facts(lang: str, plan: TrainingPlan) -> list[tuple[str, str, str]]:
    """Return the figures of a training: key below `trainplan.figure`, value, a word under it."""
    share = plan.trainable / (plan.params or 1)
    part = say(lang, "trainplan.figure.share", share=units.number(share * 100, "%"))
    rows = [("trainable", _many(plan.trainable), part)]
    if plan.num_processes > 1 or plan.effective_batch > 1:
        each = plan.effective_batch // plan.num_processes
        more = say(lang, "trainplan.figure.batch_of", each=each, processes=plan.num_processes)
        rows.append(("batch", f"{plan.effective_batch:,}", more if plan.num_processes > 1 else ""))
    if plan.steps is not None:
        tokens = say(lang, "trainplan.figure.tokens", tokens=_many(plan.tokens or 0))
        rows.append(("steps", f"{plan.steps:,}", tokens))
    else:
        rows.append(("tokens_per_step", f"{plan.tokens_per_step:,}", ""))
    on_cards = [card for card in plan.cards if card.card is not None]
    if on_cards:
        rows.append(("peak", units.size(plan.peak_bytes), say(lang, "plan.figure.per_card")))
        waiting = ""
        if plan.offload_bytes:
            size = units.size(plan.offload_bytes)
            waiting = say(lang, "trainplan.figure.offloaded", size=size)
        rows.append(("host", units.size(plan.host_bytes), waiting))
    disk = plan.disk
    more = ""
    if disk.num_checkpoints:
        more = say(
            lang,
            "trainplan.figure.checkpoints",
            n=disk.num_checkpoints,
            size=units.size(disk.checkpoint_bytes),
        )
    elif disk.download_bytes:
        size = units.size(disk.download_bytes)
        more = say(lang, "trainplan.figure.download", size=size)
    rows.append(("disk", units.size(disk.most_bytes), more))
    return rows


def _figure(lang: str, key: str, value: str, more: str) -> tuple[str, str, str]:
    return say(lang, f"trainplan.figure.{key}"), value, more


def _estimates(lang: str, plan: TrainingPlan) -> str:
    """Return the published estimates of the states beside the plan's own, as a small table."""
    head = ["", say(lang, "trainplan.estimate.card"), say(lang, "plan.host")]
    table = w.rows(head, _rows(lang, plan), numeric=(1, 2))
    name, about = say(lang, "trainplan.estimate.title"), say(lang, "trainplan.estimate.about")
    return (
        f'<details class="l-fold"><summary>{w.icon("scale")}<b>{w.esc(name)}</b></summary>'
        f'<div><p class="l-sub">{w.esc(about)}</p>{table}</div></details>'
    )


def _rows(lang: str, plan: TrainingPlan) -> list[tuple[str, str, str]]:
    rows = [
        (
            say(lang, f"trainplan.estimate.{estimate.source}"),
            units.size(estimate.card_bytes),
            units.size(estimate.host_bytes) if estimate.host_bytes else "–",
        )
        for estimate in plan.estimates
    ]
    if not any(estimate.source == "deepspeed" for estimate in plan.estimates):
        rows.append((say(lang, "trainplan.estimate.no_deepspeed"), "–", "–"))
    own = (
        say(lang, "trainplan.estimate.states"),
        units.size(plan.states_bytes),
        units.size(plan.offload_bytes) if plan.offload_bytes else "–",
    )
    whole = (
        say(lang, "trainplan.estimate.whole"),
        units.size(plan.peak_bytes),
        units.size(plan.host_bytes),
    )
    return [*rows, own, whole]


def _spoken(lang: str, values: dict[str, Any]) -> dict[str, str]:
    said = planview.spoken(lang, values)
    if "part" in values:
        said["part"] = say(lang, f"plan.part.{values['part']}")
    return said


def _many(count: int) -> str:
    """Return a large number as people say it: `1.54 B`, `20.2 M`."""
    for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M")):
        if count >= size:
            return units.number(count / size, unit)
    return f"{count:,}"
