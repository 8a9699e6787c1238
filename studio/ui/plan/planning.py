"""How a tab says the plan of a launch, whatever it is that is planned.

A tab knows what to ask of the studio and how to draw the answer; which machine is meant, and what
is said when there is no plan or it cannot be worked out, is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from studio.core.errors import StudioError
from studio.planner.result import CardMemory, Plan
from studio.ui import widgets as w
from studio.ui.forms.work import Asked, Planned
from studio.ui.i18n import say
from studio.ui.plan.machines import MACHINES, machine_row
from studio.ui.sentences import one_line

if TYPE_CHECKING:
    from studio.studio import Launch, Studio

P = TypeVar("P", bound=Plan)
Given = TypeVar("Given", bound=Plan, contravariant=True)


class Drawing(Protocol[Given]):
    """How a plan becomes HTML, below the row that says which machine it is for."""

    def __call__(self, lang: str, plan: Given, *, machine: str = "") -> str:
        """Return the plan, drawn."""
        ...


class MachinePlans(Generic[P]):
    """Draws the plan of a launch on this machine, or on one of MACHINES.

    `ask` is the studio's own question, such as `studio.serving_plan`; without cards it plans for
    those of this machine.
    """

    def __init__(
        self,
        studio: Studio,
        ask: Callable[[Launch, list[CardMemory] | None], P | None],
        drawing: Drawing[P],
    ) -> None:
        self._studio, self._ask, self._drawing = studio, ask, drawing

    def draw(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        """Return the plan on this machine, or on one of MACHINES when `on` names it."""
        thought = MACHINES.get(on)
        here = [] if thought else self._studio.card_memory()
        top = machine_row(lang, on, here, asked)
        return planned(
            lang,
            lambda: self._ask(launch, thought.cards if thought else None),
            lambda plan: self._drawing(lang, plan, machine=top),
            top=top,
            imagined=thought is not None,
        )


def fits(lang: str, plan: Plan) -> str:
    """Return in a few words whether a launch fits."""
    return say(lang, "plan.short.fits" if plan.fits else "plan.short.over")


def planned(
    lang: str,
    ask: Callable[[], P | None],
    draw: Callable[[P], str],
    *,
    top: str,
    imagined: bool,
    short: Callable[[str, P], str] = fits,
) -> Planned:
    """Return what `ask` plans as `draw` draws it; a sentence below `top` where there is no plan.

    `imagined` is a machine that is only thought of: there nothing is launched, so nothing can be
    refused. `short` says the plan in a few words.
    """
    try:
        plan = ask()
    except StudioError as error:
        return Planned(html=top + w.note(one_line(lang, error), tone="warn", icon_name="alert"))
    if plan is None:
        return Planned(html=top + w.note(say(lang, "plan.none"), icon_name="info"))
    return Planned(html=draw(plan), fits=plan.fits or imagined, short=short(lang, plan))
