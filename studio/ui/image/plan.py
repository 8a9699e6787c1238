"""An image editor's plan as a person reads it, and what the Image edit tab plans.

One sentence, the ladder with a bar for every card, what would make it fit; on this machine, or on
one a person only thinks of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from studio.planner.image_result import ImagePlan, RungPlan
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.forms.work import Asked, Planned
from studio.ui.i18n import say
from studio.ui.image.rungs import Row, ladder_html, span, title
from studio.ui.plan import view as planview
from studio.ui.plan.machines import Machine, machine_row
from studio.ui.plan.planning import planned
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.studio import Launch, Studio

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Imagined:
    """A machine to think of: its cards, if any, and its free host memory in bytes."""

    cards: Machine | None = None
    host_bytes: int


IMAGINED = {
    "1x24": Imagined(cards=Machine(1, "RTX 4090", 24564 * 2**20), host_bytes=64 * GIB),
    "2x24": Imagined(cards=Machine(2, "RTX 4090", 24564 * 2**20), host_bytes=64 * GIB),
    "1x48": Imagined(cards=Machine(1, "L40S", 46068 * 2**20), host_bytes=128 * GIB),
    "1x80": Imagined(cards=Machine(1, "A100 80GB", 81920 * 2**20), host_bytes=128 * GIB),
    "1x141": Imagined(cards=Machine(1, "H200", 143771 * 2**20), host_bytes=256 * GIB),
    "cpu32": Imagined(host_bytes=32 * GIB),
    "cpu64": Imagined(host_bytes=64 * GIB),
    "cpu128": Imagined(host_bytes=128 * GIB),
}
"""Machines people ask about; card memory as nvidia-smi shows it."""


class ImagePlans:
    """Draws the ladder of a launch."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def draw(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        """Return the ladder on this machine, or on one of IMAGINED when `on` names it."""
        thought = IMAGINED.get(on)
        here = [] if thought else self._studio.card_memory()
        top = machine_row(lang, on, here, asked, choices=_choices(lang))
        return planned(
            lang,
            lambda: self._plan(launch, thought),
            lambda plan: plan_html(lang, plan, machine=top),
            top=top,
            imagined=thought is not None,
            short=short,
        )

    def _plan(self, launch: Launch, thought: Imagined | None) -> ImagePlan | None:
        if thought is None:
            return self._studio.image_plan(launch)
        cards = thought.cards.cards if thought.cards else []
        return self._studio.image_plan(launch, cards, thought.host_bytes)


def plan_html(lang: str, plan: ImagePlan, *, machine: str = "") -> str:
    """Return the verdict in a sentence, the figures, the ladder, and the advice as buttons."""
    advice = list(zip(_advice(lang, plan), plan.advice, strict=True))
    verdict = planview.verdict_html(lang, lead(lang, plan), plan.fits, advice, ())
    notes = "".join(w.note(note, icon_name="info") for note in _notes(lang, plan))
    return f"{machine}{verdict}{_figures(lang, plan)}{ladder_html(lang, rows(plan))}{notes}"


def plan_text(lang: str, plan: ImagePlan) -> list[str]:
    """Return the plan as lines for a terminal: the sentence, a line for each rung, advice."""
    lines = [lead(lang, plan)]
    for rung in plan.rungs:
        mark = ">" if rung.name == plan.chosen else "+" if rung.fits else "-"
        time = f"{span(lang, rung.picture_s)}, " if rung.picture_s else ""
        lines.append(f"{mark} {title(lang, rung.name)} ({rung.name}): {time}{_why(lang, rung)}")
    lines += [f"-> {text}" for text in _advice(lang, plan)]
    lines += [f"* {text}" for text in _notes(lang, plan)]
    return lines


def lead(lang: str, plan: ImagePlan) -> str:
    """Return what will run, where, and how long a picture takes; or why nothing can."""
    first = plan.first
    if first is None or not plan.fits:
        return say(lang, f"plan.reason.{plan.reason}", **_spoken(lang, plan.values))
    cards = [card.card for card in first.cards if card.card is not None]
    where = say(lang, "imageworker.on_cpu")
    if len(cards) == 1:
        where = say(lang, "imageworker.on_card", n=cards[0])
    elif cards:
        where = say(lang, "imageworker.on_cards", n=", ".join(map(str, cards)))
    return say(
        lang,
        "imageworker.will_run_measured" if first.measured else "imageworker.will_run",
        rung=first.name,
        where=where,
        time=span(lang, first.picture_s),
        steps=plan.steps,
    )


def short(lang: str, plan: ImagePlan) -> str:
    """Return a few words for beside the button."""
    if plan.first is None or not plan.fits:
        return say(lang, "plan.short.over")
    time = span(lang, plan.first.picture_s)
    return f"{plan.chosen} · {say(lang, 'imageworker.a_picture', time=f'≈ {time}')}"


def rows(plan: ImagePlan) -> list[Row]:
    """Return the ladder as rows, the rung it starts on marked."""
    return [_row(rung, chosen=rung.name == plan.chosen) for rung in plan.rungs]


def _row(rung: RungPlan, *, chosen: bool) -> Row:
    measured = rung.measured and rung.step_s > 0
    cards = rung.cards
    if rung.host is not None and rung.host.over_bytes and rung.host not in cards:
        cards = (*cards, rung.host)
    return Row(
        name=rung.name,
        standing="chosen" if chosen else "fits" if rung.fits else "no",
        why=rung.why,
        cards=cards,
        host_bytes=rung.host_bytes or None,
        step_s=None if measured else rung.step_s or None,
        picture_s=rung.picture_s or None,
        load_s=rung.load_s or None,
        measured_step_s=rung.step_s if measured else None,
        measured_picture_s=rung.picture_s if measured else None,
        possible=rung.possible,
    )


def _figures(lang: str, plan: ImagePlan) -> str:
    first = plan.first
    if first is None:
        return ""
    kind = say(lang, "imageworker.measured" if first.measured else "imageworker.expected")
    size = say(lang, "imageworker.size", width=plan.width, height=plan.height)
    facts = [
        (say(lang, "imageworker.figure.step"), units.number(first.step_s, "s"), kind),
        (say(lang, "imageworker.figure.picture"), span(lang, first.picture_s), size),
        (say(lang, "imageworker.figure.load"), span(lang, first.load_s), ""),
        (say(lang, "plan.host"), units.size(first.host_bytes), ""),
    ]
    if plan.download_bytes:
        facts.append((say(lang, "plan.figure.download"), units.size(plan.download_bytes), ""))
    return planview.figures_html(facts)


def _advice(lang: str, plan: ImagePlan) -> list[str]:
    return [say(lang, f"plan.advice.{one.key}", **_spoken(lang, one.values)) for one in plan.advice]


def _notes(lang: str, plan: ImagePlan) -> list[str]:
    return [say(lang, f"plan.note.{key}", **_spoken(lang, values)) for key, values in plan.notes]


def _why(lang: str, rung: RungPlan) -> str:
    return translate(lang, rung.why)


def _spoken(lang: str, values: dict[str, Any]) -> dict[str, str]:
    said = planview.spoken(lang, values)
    if "rung" in values:
        said["rung"] = title(lang, str(values["rung"]))
    if "why" in values:
        said["why"] = translate(lang, str(values["why"]))
    return said


def _choices(lang: str) -> list[tuple[str, str]]:
    found = []
    for key, thought in IMAGINED.items():
        host = units.gib(thought.host_bytes)
        if thought.cards is None:
            text = say(lang, "imageworker.imagined_cpu", host=host)
        else:
            count, name, size = thought.cards
            text = f"{count} × {name}, {units.gib(size)}"
        found.append((key, text))
    return found
