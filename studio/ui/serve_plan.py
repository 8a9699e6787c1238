"""What the Serve tab plans: this machine's cards, or cards a person only thinks of buying."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studio.core.errors import StudioError
from studio.ui import planview
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.machines import MACHINES, machine_row
from studio.ui.sentences import one_line
from studio.ui.workform import Asked, Planned

if TYPE_CHECKING:
    from studio.studio import Launch, Studio


class ServePlans:
    """Draws the plan of a serving launch."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def draw(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        """Return the plan on this machine, or on one of MACHINES when `on` names it."""
        thought = MACHINES.get(on)
        here = [] if thought else self._studio.card_memory()
        top = machine_row(lang, on, here, asked)
        try:
            plan = self._studio.serving_plan(launch, thought.cards if thought else None)
        except StudioError as error:
            note = w.note(one_line(lang, error), tone="warn", icon_name="alert")
            return Planned(html=top + note)
        if plan is None:
            return Planned(html=top + w.note(say(lang, "plan.none"), icon_name="info"))
        html = planview.plan_html(lang, plan, machine=top)
        short = say(lang, "plan.short.fits" if plan.fits else "plan.short.over")
        return Planned(html=html, fits=plan.fits or thought is not None, short=short)
