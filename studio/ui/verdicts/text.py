"""A verdict as plain text, for a terminal: what was expected, what came, and what is possible."""

from __future__ import annotations

from collections.abc import Mapping

from studio.studies.expect import Sureness, Verdict
from studio.ui.i18n import say
from studio.ui.verdicts.words import goal, outcome, possible_words, question, shown, why


def verdict_text(lang: str, verdict: Verdict, names: Mapping[str, str] | None = None) -> str:
    """Return the outcome and the question in one line, then the figures and the reason, indented.

    `names` are what the study's cases are called.
    """
    stop = "：" if lang == "zh" else ": "
    told = names or {}
    lines = [f"{_outcome(lang, verdict)}{stop}{question(lang, verdict, told)}"]
    lines += [_figures(lang, verdict), why(lang, verdict, told), possible_words(lang, verdict)]
    return "\n    ".join(filter(None, lines))


def _outcome(lang: str, verdict: Verdict) -> str:
    word = say(lang, f"study.verdict.{outcome(verdict)}")
    if verdict.sureness is None or verdict.sureness is Sureness.UNKNOWN:
        return word
    return say(lang, f"study.verdict.sure.{verdict.sureness}", outcome=word)


def _figures(lang: str, verdict: Verdict) -> str:
    """Return value, interval and limit: `1.49×, 95 % between 1.48× and 1.50×, expected ...`."""
    wanted = say(lang, "study.verdict.wanted", goal=goal(lang, verdict))
    if verdict.value is None:
        return wanted
    parts = [shown(verdict, verdict.value)]
    if verdict.low is not None and verdict.high is not None:
        ends = {"low": shown(verdict, verdict.low), "high": shown(verdict, verdict.high)}
        parts.append(say(lang, "study.verdict.interval", **ends))
    return ("，" if lang == "zh" else ", ").join([*parts, wanted])
