"""A verdict as a banner: met, not met or not measurable here, with value and why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from studio.studies.expect import Outcome, Sureness, Verdict
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.verdicts import words
from studio.ui.verdicts.words import goal, possible_words, question

TONES = {"met": ("ok", "check"), "not_met": ("bad", "cross"), "failed": ("bad", "cross")}
"""Colour and drawing of an outcome; anything else is grey."""


def banner(lang: str, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Return one verdict: what was asked, the outcome, the value on a scale, what is possible."""
    tone, icon = TONES.get(words.outcome(verdict), ("", "minus"))
    parts = [
        f"<header><b>{w.esc(question(lang, verdict, names))}</b>{_outcome(lang, verdict)}</header>",
        _value(lang, verdict),
        _gauge(verdict),
    ]
    why = words.why(lang, verdict, names)
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
    found = [words.outcome(verdict) for verdict in verdicts]
    for word in (*Outcome, "failed", "not_measured"):
        number = found.count(word)
        if number:
            tone, icon = TONES.get(word, ("", "minus"))
            text = say(lang, f"study.verdict.count.{word}", n=number)
            tags.append(w.tag(text, tone=tone, icon_name=icon))
    return "".join(tags)


def _outcome(lang: str, verdict: Verdict) -> str:
    """Return the outcome in words, and how far the repeats carry it."""
    told = say(lang, f"study.verdict.{words.outcome(verdict)}")
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
            low=words.shown(verdict, verdict.low),
            high=words.shown(verdict, verdict.high),
        )
    return (
        f'<p class="l-told-value"><b>{w.esc(words.shown(verdict, verdict.value))}</b>'
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
