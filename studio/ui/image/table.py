"""The ladder of an image editor as a table for a terminal."""

from __future__ import annotations

from studio.planner.image_result import ImagePlan, RungPlan
from studio.ui import units
from studio.ui.i18n import say
from studio.ui.plan import view as planview
from studio.ui.sentences import translate

COLUMNS = ("", "rung", "cards", "host", "load", "step", "picture", "")


def plan_text(lang: str, plan: ImagePlan) -> list[str]:
    """Return the plan as lines: verdict, a row for every rung, notes, advice."""
    values = {**plan.values, "why": translate(lang, str(plan.values.get("why", "")))}
    lines = [say(lang, f"plan.reason.{plan.reason}", **planview.spoken(lang, values))]
    rows = [COLUMNS, *(_row(lang, plan, rung) for rung in plan.rungs)]
    widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[-1]]).rstrip())
    for key, said in plan.notes:
        lines.append(say(lang, f"plan.note.{key}", **planview.spoken(lang, said)))
    lines += [f"-> {planview.advice_text(lang, advice)}" for advice in plan.advice]
    return lines


def _row(lang: str, plan: ImagePlan, rung: RungPlan) -> tuple[str, ...]:
    mark = "*" if rung.name == plan.chosen else "+" if rung.fits else "-"
    if not rung.host_bytes:
        return (mark, rung.name, "", "", "", "", "", translate(lang, rung.why))
    cards = " + ".join(
        units.size(card.total_bytes - card.of("free") - card.of("other"))
        for card in rung.cards
        if card.card is not None
    )
    about = "" if rung.measured else "~"
    return (
        mark,
        rung.name,
        cards,
        units.size(max(rung.host_bytes, rung.host_load_bytes)),
        f"~{units.duration(lang, rung.load_s)}",
        about + units.number(rung.step_s, "s"),
        about + units.duration(lang, rung.picture_s),
        translate(lang, rung.why),
    )
