"""The verdicts of a study as banners: met, not met or not measurable here, with value and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from studio.core.recipes import Recipe
from studio.engines.study_config import Expectation
from studio.studies.expect import Outcome, Sureness, Verdict, judge
from studio.ui import measures, verdict_words
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.study_cases import cell_title
from studio.ui.study_look import Seen
from studio.ui.study_settings import case_title

TONES = {"met": ("ok", "check"), "not_met": ("bad", "cross"), "failed": ("bad", "cross")}
"""Colour and drawing of an outcome; anything else is grey."""


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
            "outcome": say(lang, f"study.verdict.{verdict_words.outcome(verdict)}"),
            "goal": goal(lang, verdict),
            "reason": verdict_words.why(lang, verdict, names),
            "possible_here": possible_words(lang, verdict),
        }
        for verdict in seen.verdicts
    ]


def banner(lang: str, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Return one verdict: what was asked, the outcome, the value on a scale, what is possible."""
    tone, icon = TONES.get(verdict_words.outcome(verdict), ("", "minus"))
    parts = [
        f"<header><b>{w.esc(question(lang, verdict, names))}</b>{_outcome(lang, verdict)}</header>",
        _value(lang, verdict),
        _gauge(verdict),
    ]
    why = verdict_words.why(lang, verdict, names)
    if why:
        parts.append(f'<p class="l-told-why">{w.esc(why)}</p>')
    possible = possible_words(lang, verdict)
    if possible:
        head = w.esc(say(lang, "study.verdict.possible"))
        parts.append(f'<p class="l-told-more"><b>{head}</b> {w.esc(possible)}</p>')
    kind = f"l-tone-{tone}" if tone else ""
    return f'<section class="l-told {kind}">{w.icon(icon)}{"".join(parts)}</section>'


def counts(lang: str, verdicts: Sequence[Verdict]) -> str:
    """Return how many expectations were met, not met, not measurable and so on, as tags."""
    tags = []
    found = [verdict_words.outcome(verdict) for verdict in verdicts]
    for word in (*Outcome, "failed", "not_measured"):
        number = found.count(word)
        if number:
            tone, icon = TONES.get(word, ("", "minus"))
            text = say(lang, f"study.verdict.count.{word}", n=number)
            tags.append(w.tag(text, tone=tone, icon_name=icon))
    return "".join(tags)


def possible_words(lang: str, verdict: Verdict) -> str:
    """Return what can be had where the expectation was not met; empty where it was."""
    if verdict.state is Outcome.MET:
        return ""
    told = verdict.possible[lang] if verdict.possible is not None else ""
    return " ".join(filter(None, (verdict_words.bound(lang, verdict), told)))


def question(lang: str, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Return what was expected, in words."""
    told = verdict.title[lang] if verdict.title is not None else ""
    if not told:
        key = "study.verdict.times" if verdict.against else "study.verdict.plain"
        told = say(
            lang,
            key,
            metric=measures.label(lang, verdict.metric),
            of=names.get(verdict.of, verdict.of),
            against=names.get(verdict.against, verdict.against),
        )
    return told


def goal(lang: str, verdict: Verdict) -> str:
    """Return the limit: `at least 1.80x`."""
    low, high = verdict.limit
    if low is not None and high is not None:
        return say(
            lang,
            "study.verdict.goal.between",
            low=verdict_words.shown(verdict, low),
            high=verdict_words.shown(verdict, high),
        )
    if low is not None:
        return say(lang, "study.verdict.goal.at_least", value=verdict_words.shown(verdict, low))
    return say(lang, "study.verdict.goal.at_most", value=verdict_words.shown(verdict, high))


def _outcome(lang: str, verdict: Verdict) -> str:
    """Return the outcome in words, and how far the repeats carry it."""
    told = say(lang, f"study.verdict.{verdict_words.outcome(verdict)}")
    if verdict.sureness in (None, Sureness.UNKNOWN):
        return f"<span>{w.esc(told)}</span>"
    sure = say(lang, f"study.verdict.sure.{verdict.sureness}", outcome=told)
    return f"<span>{w.esc(sure)}</span>"


def _value(lang: str, verdict: Verdict) -> str:
    wanted = say(lang, "study.verdict.wanted", goal=goal(lang, verdict))
    if verdict.value is None:
        return f'<p class="l-told-value"><span>{w.esc(wanted)}</span></p>'
    if verdict.low is None or verdict.high is None:
        spread = say(lang, "study.verdict.no_interval")
    else:
        spread = say(
            lang,
            "study.verdict.interval",
            low=verdict_words.shown(verdict, verdict.low),
            high=verdict_words.shown(verdict, verdict.high),
        )
    return (
        f'<p class="l-told-value"><b>{w.esc(verdict_words.shown(verdict, verdict.value))}</b>'
        f"<span>{w.esc(wanted)} · {w.esc(spread)}</span></p>"
    )


def _gauge(verdict: Verdict) -> str:
    """Return the value, its interval and the limit on one scale; empty without a value."""
    if verdict.value is None:
        return ""
    low, high = verdict.limit
    ends = [
        end
        for end in (verdict.value, verdict.low, verdict.high, low, high)
        if end is not None and math.isfinite(end)
    ]
    least, most = min(ends), max(ends)
    reach = (most - least) or abs(most) or 1.0
    least, most = least - 0.18 * reach, most + 0.18 * reach

    def at(value: float) -> str:
        return f"{(min(most, max(least, value)) - least) / (most - least) * 100:.1f}%"

    good_from, good_to = (
        at(low if low is not None else least),
        at(high if high is not None else most),
    )
    good = (
        f'<i class="l-gauge-good" style="left:{good_from};width:calc({good_to} - {good_from})"></i>'
    )
    span = ""
    if verdict.low is not None and verdict.high is not None:
        span = (
            f'<i class="l-gauge-span" style="left:{at(verdict.low)};'
            f'width:calc({at(verdict.high)} - {at(verdict.low)})"></i>'
        )
    lines = "".join(
        f'<i class="l-gauge-line" style="left:{at(end)}"></i>'
        for end in (low, high)
        if end is not None
    )
    return (
        f'<div class="l-gauge" aria-hidden="true"><i class="l-gauge-track"></i>{good}{span}{lines}'
        f'<i class="l-gauge-dot" style="left:{at(verdict.value)}"></i></div>'
    )
