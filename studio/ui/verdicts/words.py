"""Why an expectation could not be measured, and what physics allows, in words.

The page, the report, the journal and the command line say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.studies.expect import Outcome, Verdict
from studio.ui import measures, units
from studio.ui.i18n import say
from studio.ui.sentences import translate


def outcome(verdict: Verdict) -> str:
    """Return the end of the key that names an outcome below `study.verdict`.

    Only what this machine cannot measure is not measurable here; a case that failed, or has not
    run, is another matter.
    """
    if verdict.state is not Outcome.NOT_MEASURABLE or verdict.why in ("", "not_here"):
        return str(verdict.state)
    return "failed" if verdict.why == "failed" else "not_measured"


def why(lang: str, verdict: Verdict, names: Mapping[str, str] | None = None) -> str:
    """Return what stood in the way of a verdict; empty when it was measured.

    `names` are what the study's cases are called.
    """
    said = verdict.reason
    if said is None:
        return ""
    key = said.key
    if verdict.why == "failed" and not said.values.get("error"):
        key = "expect.why.failed_silently"
    told = {name: _value(lang, name, value, names or {}) for name, value in said.values.items()}
    return say(lang, key, **told)


def bound(lang: str, verdict: Verdict) -> str:
    """Return what physics allows where it allows less than was expected; empty else."""
    if not verdict.forbidden or verdict.bound is None or verdict.state is Outcome.MET:
        return ""
    key = "expect.most" if verdict.limit[0] is not None else "expect.least"
    return say(lang, key, value=shown(verdict, verdict.bound))


def shown(verdict: Verdict, value: float | None) -> str:
    """Return a value in the verdict's own unit: a ratio as `1.83×`."""
    if not verdict.against:
        return measures.shown(verdict.metric, value)
    if value is None:
        return units.number(None)
    return f"{units.number(float(value))}\N{MULTIPLICATION SIGN}"


def possible_words(lang: str, verdict: Verdict) -> str:
    """Return what can be had where the expectation was not met; empty where it was."""
    if verdict.state is Outcome.MET:
        return ""
    told = verdict.possible[lang] if verdict.possible is not None else ""
    return ("" if lang == "zh" else " ").join(filter(None, (bound(lang, verdict), told)))


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


def _value(lang: str, name: str, value: Any, names: Mapping[str, str]) -> str:
    if name == "case":
        return names.get(value, str(value))
    if name == "metric":
        return measures.label(lang, value)
    if name == "where":
        joint = "、" if lang == "zh" else ", "
        return joint.join(f"{measures.condition(lang, k)} {v}" for k, v in value.items())
    return translate(lang, str(value)).rstrip()
