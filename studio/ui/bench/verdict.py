"""What a folder of results comes to: a load test in sentences, a study by its expectations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studio.bench.said import Said
from studio.bench.verdict import verdict
from studio.studies.expect import read_summary
from studio.ui import measures
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import translate
from studio.ui.verdicts.banner import banner

if TYPE_CHECKING:
    from studio.bench.point import Point
    from studio.bench.saved import Results

SHAPES = ("shape", "shape_named")
"""Sentences that begin a part: a pair of lengths of its own."""
DOUBTS = (
    "failed_points",
    "failed_requests",
    "noise",
    "once",
    "few",
    "ignored_lengths",
    "all_failed",
)
"""Sentences that warn."""
REASONS = ("why_", "broken_")


def said_of(results: Results, points: Sequence[Point]) -> list[Said]:
    """Return the verdict over a load test's points; empty for what is no load test."""
    loaded = [
        p for p in points if p.condition.get("concurrency") or p.condition.get("request_rate")
    ]
    if not loaded or results.about.kind != "load":
        return []
    return verdict(loaded, server=results.about.server)


def verdict_card(
    lang: str, results: Results, points: Sequence[Point], names: Mapping[str, str]
) -> str:
    """Return the card of sentences; empty where there is nothing to say.

    `names` are what a study's cases are called.
    """
    found = read_summary(results.verdict)
    if found:
        body = "".join(banner(lang, one, names) for one in found)
        more = w.link(say(lang, "bench.verdict.study"), "bench", view="studies", name=results.name)
        return w.card(say(lang, "bench.verdict.title"), body, side=more)
    said = said_of(results, points)
    if not said:
        return ""
    return w.card(say(lang, "bench.verdict.title"), sentences(lang, said))


def sentences(lang: str, said: Sequence[Said]) -> str:
    """Return a verdict as HTML: a part for each pair of lengths, the doubts below all of them."""
    parts: list[list[str]] = [[]]
    doubts: list[str] = []
    for one in said:
        key = one.key.rpartition(".")[2]
        text = w.esc(_whole(lang, one))
        if key in SHAPES:
            parts.append([f"<h4>{text}</h4>"])
        elif key in DOUBTS:
            doubts.append(f'<p class="l-b-doubt">{w.icon("alert")}<span>{text}</span></p>')
        elif key.startswith("limits"):
            doubts.append(f'<p class="l-sub">{text}</p>')
        elif key.startswith(REASONS):
            parts[-1].append(f'<p class="l-b-reason">{text}</p>')
        else:
            parts[-1].append(f'<p class="l-b-main">{text}</p>')
    body = "".join(f"<section>{''.join(lines)}</section>" for lines in parts if lines)
    return f'<div class="l-b-verdict">{body}</div><div class="l-b-doubts">{"".join(doubts)}</div>'


def _whole(lang: str, one: Said) -> str:
    """Say a sentence; an engine's error inside it is said in the visitor's language too."""
    if "error" in one.values:
        told = translate(lang, str(one.values["error"]))
        one = Said(one.key, {**one.values, "error": told or one.values["error"]})
    return measures.sentence(lang, one)
