"""The verdicts of a study as banners: met, not met or not measurable here, with value and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from studio.studies.expect import Outcome, Sureness, Verdict
from studio.ui import measures, units, verdict_words
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.study_cases import cell_title
from studio.ui.study_look import Seen

TONES = {Outcome.MET: ("ok", "check"), Outcome.NOT_MET: ("bad", "cross")}
"""Colour and drawing of an outcome; anything else is grey."""


def verdicts_html(lang: str, seen: Seen) -> str:
    """Return a banner for each expectation; while it runs, that the verdict comes at the end."""
    if seen.verdicts:
        names = titles(lang, seen)
        banners = "".join(banner(lang, verdict, names) for verdict in seen.verdicts)
        return f'<div class="l-verdicts">{banners}</div>'
    if seen.alive:
        return w.note(say(lang, "study.verdict.pending"), icon_name="scale")
    return ""


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
            "outcome": say(lang, f"study.verdict.{verdict.state}"),
            "goal": goal(lang, verdict),
            "reason": reason(lang, verdict, names),
        }
        for verdict in seen.verdicts
    ]


def banner(lang: str, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Return one verdict: outcome, what was asked, the value on a scale, what is possible."""
    tone, icon = TONES.get(verdict.state, ("", "minus"))
    sure = ""
    if verdict.sureness is not None and verdict.sureness is not Sureness.UNKNOWN:
        sure = f"<span>{w.esc(say(lang, f'study.verdict.sure.{verdict.sureness}'))}</span>"
    outcome = w.esc(say(lang, f"study.verdict.{verdict.state}"))
    parts = [
        f"<header><b>{outcome}</b>{sure}</header>",
        f"<p>{w.esc(question(lang, verdict, names))}</p>",
        _value(lang, verdict),
        _gauge(verdict),
    ]
    why = reason(lang, verdict, names)
    if why:
        parts.append(f"<p><b>{w.esc(say(lang, 'study.verdict.why'))}</b> {w.esc(why)}</p>")
    if verdict.possible is not None and verdict.state is not Outcome.MET:
        head = w.esc(say(lang, "study.verdict.possible"))
        parts.append(f"<p><b>{head}</b> {w.esc(verdict.possible[lang])}</p>")
    kind = f"l-tone-{tone}" if tone else ""
    return f'<section class="l-told {kind}">{w.icon(icon)}{"".join(parts)}</section>'


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
            low=shown(verdict, low),
            high=shown(verdict, high),
        )
    if low is not None:
        return say(lang, "study.verdict.goal.at_least", value=shown(verdict, low))
    return say(lang, "study.verdict.goal.at_most", value=shown(verdict, high))


def reason(lang: str, verdict: Verdict, names: Mapping[str, str]) -> str:
    """Return why nothing could be measured; empty when it was."""
    return verdict_words.why(lang, verdict, names)


def shown(verdict: Verdict, value: float | None) -> str:
    """Return a value in the verdict's own unit: a ratio as `1.83x`."""
    if not verdict.against:
        return measures.shown(verdict.metric, value)
    if value is None or not math.isfinite(value):
        return units.number(None)
    return f"{units.number(float(value))}\N{MULTIPLICATION SIGN}"


def _value(lang: str, verdict: Verdict) -> str:
    if verdict.value is None:
        return f"<p>{w.esc(goal(lang, verdict))}</p>"
    if verdict.low is None or verdict.high is None:
        spread = say(lang, "study.verdict.no_interval")
    else:
        spread = say(
            lang,
            "study.verdict.interval",
            low=shown(verdict, verdict.low),
            high=shown(verdict, verdict.high),
        )
    wanted = say(lang, "study.verdict.wanted", goal=goal(lang, verdict))
    return (
        f'<p class="l-told-value"><b>{w.esc(shown(verdict, verdict.value))}</b>'
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
