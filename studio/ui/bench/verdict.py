"""What a folder of results comes to: a load test in sentences, a study by its expectations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from studio.bench.said import Said
from studio.bench.verdict import DOUBTS, Part, parts, verdict
from studio.studies.expect import read_summary
from studio.ui import measures
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.sentences import translate
from studio.ui.verdicts.banner import banner

if TYPE_CHECKING:
    from studio.bench.point import Point
    from studio.bench.saved import Results

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
    found, whole = parts(said)
    body = "".join(_section(lang, part) for part in found)
    below = "".join(_below(lang, one) for one in whole)
    return f'<div class="l-b-verdict">{body}</div><div class="l-b-doubts">{below}</div>'


def _section(lang: str, part: Part) -> str:
    lines = [f"<h4>{w.esc(_whole(lang, part.about))}</h4>"] if part.about else []
    for one in part.told:
        if one.key.rpartition(".")[2] in DOUBTS:
            lines.append(_below(lang, one))
            continue
        kind = "reason" if one.key.rpartition(".")[2].startswith(REASONS) else "main"
        lines.append(f'<p class="l-b-{kind}">{w.esc(_whole(lang, one))}</p>')
    return f"<section>{''.join(lines)}</section>"


def _below(lang: str, one: Said) -> str:
    """Return limits quietly, a doubt with its sign."""
    text = w.esc(_whole(lang, one))
    if one.key.rpartition(".")[2] in DOUBTS:
        return f'<p class="l-b-doubt">{w.icon("alert")}<span>{text}</span></p>'
    return f'<p class="l-sub">{text}</p>'


def _whole(lang: str, one: Said) -> str:
    """Say a sentence; an engine's error inside it is said in the visitor's language too."""
    if "error" in one.values:
        told = translate(lang, str(one.values["error"]))
        one = Said(one.key, {**one.values, "error": told or one.values["error"]})
    return measures.sentence(lang, one)
