"""The row above a plan that says which cards it is for: this machine's, or cards to think of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from studio.planner.result import CardMemory
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.forms.work import Asked
from studio.ui.i18n import say


class Machine(NamedTuple):
    """Cards to plan for: how many, what they are called, and their memory in bytes."""

    num_cards: int
    name: str
    card_bytes: int

    @property
    def cards(self) -> list[CardMemory]:
        """Its cards, empty."""
        return [
            CardMemory(index=n, name=self.name, total_bytes=self.card_bytes, used_bytes=0)
            for n in range(self.num_cards)
        ]


MACHINES = {
    "1x4090": Machine(1, "RTX 4090", 24564 * 2**20),
    "2x4090": Machine(2, "RTX 4090", 24564 * 2**20),
    "4xa10g": Machine(4, "A10G", 23028 * 2**20),
    "2xv100": Machine(2, "V100", 32768 * 2**20),
    "8xa100": Machine(8, "A100 80GB", 81920 * 2**20),
    "8xh200": Machine(8, "H200", 143771 * 2**20),
}
"""Machines people ask about; memory as nvidia-smi shows it."""


def machine_row(
    lang: str,
    on: str,
    here: Sequence[CardMemory],
    asked: Asked,
    *,
    choices: Sequence[tuple[str, str]] | None = None,
) -> str:
    """Return the row of one plan: a choice of machines, and this one's cards to pin by a click.

    `on` is a key of MACHINES, or of `choices` (key and text) where a tab has its own; empty for
    this machine, whose cards are `here`.
    """
    if choices is None:
        choices = [
            (key, f"{m.num_cards} × {m.name}, {units.gib(m.card_bytes)}")
            for key, m in MACHINES.items()
        ]
    options = [("", say(lang, "plan.this_machine")), *choices]
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


def _chip(card: str, text: str, more: str, on: bool) -> str:
    under = f"<small>{w.esc(more)}</small>" if more else ""
    return (
        f'<button type="button" class="l-cardchip" data-card="{card}" '
        f'aria-pressed="{str(on).lower()}">{w.esc(text)}{under}</button>'
    )
