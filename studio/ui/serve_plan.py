"""What the Serve tab plans: this machine's cards, or cards a person only thinks of buying."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from studio.core.errors import StudioError
from studio.planner.result import CardMemory
from studio.ui import planview, units
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import one_line
from studio.ui.workform import Asked, Planned

if TYPE_CHECKING:
    from studio.studio import Launch, Studio


class Machine(NamedTuple):
    """Cards to plan for: how many, what they are called, and their memory in bytes."""

    num_cards: int
    name: str
    card_bytes: int


MACHINES = {
    "1x4090": Machine(1, "RTX 4090", 24564 * 2**20),
    "2x4090": Machine(2, "RTX 4090", 24564 * 2**20),
    "4xa10g": Machine(4, "A10G", 23028 * 2**20),
    "2xv100": Machine(2, "V100", 32768 * 2**20),
    "8xa100": Machine(8, "A100 80GB", 81920 * 2**20),
    "8xh200": Machine(8, "H200", 143771 * 2**20),
}
"""Machines people ask about; memory as nvidia-smi shows it."""


class ServePlans:
    """Draws the plan of a serving launch."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def draw(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        """Return the plan on this machine, or on one of MACHINES when `on` names it."""
        thought = MACHINES.get(on)
        here = [] if thought else self._studio.card_memory()
        cards = _imagined(thought) if thought else None
        top = self._machine(lang, on, here, asked)
        try:
            plan = self._studio.serving_plan(launch, cards)
        except StudioError as error:
            note = w.note(one_line(lang, error), tone="warn", icon_name="alert")
            return Planned(html=top + note)
        if plan is None:
            return Planned(html=top + w.note(say(lang, "plan.none"), icon_name="info"))
        html = planview.plan_html(lang, plan, machine=top)
        short = say(lang, "plan.short.fits" if plan.fits else "plan.short.over")
        return Planned(html=html, fits=plan.fits or thought is not None, short=short)

    def _machine(self, lang: str, on: str, here: Sequence[CardMemory], asked: Asked) -> str:
        """Return the row that says which cards are planned for, each to pin by a click."""
        options = [("", say(lang, "plan.this_machine"))]
        options += [
            (key, f"{m.num_cards} × {m.name}, {units.gib(m.card_bytes)}")
            for key, m in MACHINES.items()
        ]
        select = "".join(
            f'<option value="{key}"{" selected" if key == on else ""}>{w.esc(text)}</option>'
            for key, text in options
        )
        pinned = asked.cards if isinstance(asked.cards, list) else []
        chips = ""
        if here:
            chips = _chip("", say(lang, "plan.any_idle"), "", not pinned)
            chips += "".join(
                _chip(
                    str(card.index),
                    say(lang, "plan.card", n=card.index),
                    f"{units.gib(card.total_bytes - card.used_bytes)} {say(lang, 'plan.free')}",
                    card.index in pinned,
                )
                for card in here
            )
        return (
            f'<div class="l-machine-row"><label><span>{w.esc(say(lang, "plan.on"))}</span>'
            f"<select data-plan-on>{select}</select></label>"
            f'<div class="l-cards">{chips}</div></div>'
        )


def _imagined(machine: Machine) -> list[CardMemory]:
    return [
        CardMemory(index=n, name=machine.name, total_bytes=machine.card_bytes, used_bytes=0)
        for n in range(machine.num_cards)
    ]


def _chip(card: str, text: str, more: str, on: bool) -> str:
    under = f"<small>{w.esc(more)}</small>" if more else ""
    return (
        f'<button type="button" class="l-cardchip" data-card="{card}" '
        f'aria-pressed="{str(on).lower()}">{w.esc(text)}{under}</button>'
    )
