"""The verdicts of a study on its page: banners, hopes before it was asked, plain values."""

from __future__ import annotations

from typing import Any

from studio.core.recipes import Recipe
from studio.engines.study_config import Expectation
from studio.studies.expect import judge
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.study.cases import cell_title
from studio.ui.study.look import Seen
from studio.ui.study.settings import case_title
from studio.ui.verdicts import words
from studio.ui.verdicts.banner import banner
from studio.ui.verdicts.words import goal, possible_words, question


def verdicts_html(lang: str, seen: Seen) -> str:
    """Return a banner for each expectation; while it runs, that the verdict comes at the end.

    Of a study that was broken off only those are shown that something was measured for.
    """
    shown = [one for one in seen.verdicts if not seen.broken_off or one.value is not None]
    if shown and not seen.alive:
        names = titles(lang, seen)
        banners = "".join(banner(lang, verdict, names) for verdict in shown)
        return f'<div class="l-verdicts">{banners}</div>'
    if seen.alive:
        return w.note(say(lang, "study.verdict.pending"), icon_name="scale")
    return ""


def hopes_html(lang: str, recipe: Recipe) -> str:
    """Return what is expected of a study that was never asked."""
    names = {name: case_title(lang, recipe, name) for name in recipe.settings.get("cases", {})}
    hopes = [Expectation.model_validate(row) for row in recipe.settings.get("expect", [])]
    if not hopes:
        return w.note(say(lang, "study.verdict.none"))
    items = "".join(
        f"<li>{w.icon('scale')}<span>{w.esc(question(lang, verdict, names))} "
        f"<small>{w.esc(goal(lang, verdict))}</small></span></li>"
        for verdict in judge(hopes, ())
    )
    return w.card(say(lang, "study.hopes"), f'<ul class="l-hopes">{items}</ul>')


def titles(lang: str, seen: Seen) -> dict[str, str]:
    """Return what each case of a study is called."""
    return {cell.name: cell_title(lang, cell) for cell in seen.look.cells} if seen.look else {}


def verdict_rows(lang: str, seen: Seen) -> list[dict[str, Any]]:
    """Return verdicts as plain values with their words."""
    names = titles(lang, seen)
    return [
        {
            **verdict.model_dump(mode="json"),
            "question": question(lang, verdict, names),
            "outcome": say(lang, f"study.verdict.{words.outcome(verdict)}"),
            "goal": goal(lang, verdict),
            "reason": words.why(lang, verdict, names),
            "possible_here": possible_words(lang, verdict),
        }
        for verdict in seen.verdicts
    ]
