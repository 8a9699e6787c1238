"""What a report and a journal entry say about a folder of results, before it becomes HTML or text.

`gather` reads; `report` and `journal` beside it only lay out. All words are in the
language asked for already. `write` puts what they made beside the results.
"""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from studio.bench.compare import compare, group_by
from studio.bench.point import Point
from studio.bench.saved import Results, Saved
from studio.bench.verdict import parts, verdict
from studio.studies.expect import Sureness, Verdict, read_summary
from studio.studies.record import Record, worked_s
from studio.ui import charts, measures, units
from studio.ui.charts import sources
from studio.ui.charts.series import alone, axis_of
from studio.ui.i18n import LANGS, say
from studio.ui.papers.table import NO_TABLE, Table, bars_said, results_table
from studio.ui.sentences import translate
from studio.ui.verdicts.words import goal, outcome, possible_words, question, shown, why

if TYPE_CHECKING:
    from studio.studio import Studio

MOST_FAILURES = 10
MOST_SENTENCES = 40
MOST_PARTS = 12
"""Pairs of lengths that a paper speaks of one by one; its table shows all."""
MOST_COMPARED = 4
FIRST = (
    "output_throughput",
    "ttft_p90_ms",
    "tpot_median_ms",
    "tokens_per_s",
    "picture_s",
    "peak_card_gib",
)
"""Figures that cases are compared by where a study does not ask for others."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation, in words."""

    state: str
    word: str
    """With how far the repeats carry it: `Met, clearly`."""
    question: str
    goal: str
    value: str
    why: str
    possible: str


@dataclass(frozen=True)
class Paper:
    """Everything that a report says, in one language."""

    name: str
    title: str
    about: str
    """What was asked, in a sentence or two; empty where nobody said."""
    facts: tuple[tuple[str, str], ...]
    """When, by which run, how many points."""
    outcomes: tuple[Outcome, ...]
    said: tuple[tuple[str, tuple[str, ...]], ...]
    """Sentences under a heading, which is empty where there is only one."""
    compared: tuple[str, ...]
    """Cases against the first one, in sentences."""
    charts: tuple[str, ...]
    """Kinds of charts that show something, the study's own first."""
    points: tuple[Point, ...]
    names: Mapping[str, str]
    table: Table
    bars: str
    """What stands beside the means in the table; empty where nothing was repeated."""
    failures: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    commands: tuple[tuple[str, str], ...]
    settings: Mapping[str, Any]


def gather(saved: Saved, name: str, lang: str) -> Paper:
    """Read a folder of results, and those of a study's cases with it; raise NotFound."""
    family = sources.folders(saved, [name])
    whole = family[0]
    points = tuple(sources.points_of(family))
    study = sources.study_of(whole)
    names = sources.titles(family, lang)
    table = _if_any(lambda: results_table(lang, points, names), NO_TABLE, "table", whole.name)
    return Paper(
        name=whole.name,
        title=whole.title(lang),
        about=_about(study, lang),
        facts=tuple(_facts(lang, whole, points, _without(study, points, names))),
        outcomes=tuple(_outcomes(lang, whole, names)),
        said=tuple(_if_any(lambda: _said(lang, family, names), [], "sentences", whole.name)),
        compared=tuple(
            _if_any(lambda: _compared(lang, whole, points, names), [], "comparison", whole.name)
        ),
        charts=tuple(_if_any(lambda: _charts(study, points), [], "charts", whole.name)),
        points=points,
        names=names,
        table=table,
        bars=bars_said(lang, table),
        failures=tuple(_failures(lang, points, names)),
        environment=tuple(environment_facts(lang, whole.about.environment)),
        commands=tuple(_commands(lang, family, names)),
        settings=whole.about.settings or study.get("settings") or {},
    )


def environment_facts(lang: str, told: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the machine as pairs: cards, driver, processor, memory, system, versions."""
    cards = list(told.get("cards") or [])
    sizes = list(told.get("card_memory") or [])
    counted = {card: cards.count(card) for card in cards}
    memory = f", {units.size(sizes[0])}" if sizes and len(set(sizes)) == 1 else ""
    shown_cards = [
        f"{n} × {card}{memory}" if n > 1 else f"{card}{memory}" for card, n in counted.items()
    ]
    cores = told.get("cores")
    pairs = [
        ("cards", ", ".join(shown_cards) or say(lang, "report.no_cards")),
        ("driver", told.get("driver")),
        (
            "cpu",
            f"{told.get('cpu', '')} ({say(lang, 'report.cores', n=cores)})"
            if cores
            else told.get("cpu"),
        ),
        (
            "memory",
            units.size(told["host_memory_bytes"]) if told.get("host_memory_bytes") else None,
        ),
        ("os", told.get("os")),
        ("python", told.get("python")),
    ]
    found = [(say(lang, f"report.env.{key}"), str(value)) for key, value in pairs if value]
    versions = told.get("versions") or {}
    return [*found, *((str(name), str(version)) for name, version in versions.items())]


def write(
    studio: Studio, folder: Path, file: str, make: Callable[[Saved, str, str], str], lang: str
) -> Path:
    """Write what `make` says of a folder of results into it and return its path; raise NotFound.

    Without `lang` it is in the studio's language, English where that follows the browser. The file
    is written whole, or not at all.
    """
    lang = lang or (studio.settings.lang if studio.settings.lang in LANGS else "en")
    path, text = folder / file, make(studio.saved, folder.name, lang)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)
    return path


def _if_any(make: Callable[[], T], nothing: T, what: str, name: str) -> T:
    """Return a part of a paper; nothing, and a word in the log, where odd points break it."""
    try:
        return make()
    except Exception as error:  # the rest of the paper is worth having
        _log.warning("%s of %s left out: %r", what, name, error)
        return nothing


# head -------------------------------------------------------------------------------------------


def _about(study: Mapping[str, Any], lang: str) -> str:
    told = study.get("about") or {}
    return str(told.get(lang) or told.get("en") or "") if isinstance(told, Mapping) else ""


def _without(
    study: Mapping[str, Any], points: Sequence[Point], names: Mapping[str, str]
) -> list[str]:
    """Return what a study's cases are called that have no point, as when it was interrupted."""
    seen = {point.case for point in points}
    cases = [str(cell["name"]) for cell in study.get("cells", ())]
    return [names.get(case, case) for case in cases if case not in seen]


def _facts(
    lang: str, whole: Results, points: Sequence[Point], without: Sequence[str]
) -> list[tuple[str, str]]:
    done = sum(point.done for point in points)
    begin, end = whole.created_at, max((p.at for p in points), default=whole.ended_at)
    models = dict.fromkeys(p.model.rstrip("/").rpartition("/")[2] for p in points if p.model)
    servers = dict.fromkeys(p.server for p in points if p.server)
    pairs = [
        ("date", moment(begin)),
        ("span", _span(lang, whole, end)),
        ("model", ", ".join(models) or whole.about.model),
        ("server", ", ".join(servers)),
        ("points", say(lang, "report.counted", done=done, failed=len(points) - done)),
        ("without", "; ".join(without)),
        ("run", whole.about.run),
        ("folder", whole.name),
    ]
    return [(say(lang, f"report.fact.{key}"), value) for key, value in pairs if value]


def _span(lang: str, whole: Results, end: float) -> str:
    """Return how long it took; of a study that was resumed, the time that its runs were at work."""
    rows = Record(whole.folder).rows() if whole.about.kind == "study" else []
    took = worked_s(rows) or max(0.0, end - whole.created_at)
    runs = len({row["run"] for row in rows if not row["cell"] and row.get("run")})
    told = units.duration(lang, took) if took else ""
    return say(lang, "report.sittings", span=told, n=runs) if told and runs > 1 else told


def moment(at: float) -> str:
    """Return a moment as local date and time, with the zone."""
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(at)) if at else ""


# what it came to --------------------------------------------------------------------------------


def _outcomes(lang: str, whole: Results, names: Mapping[str, str]) -> list[Outcome]:
    return [_outcome(lang, one, names) for one in read_summary(whole.verdict)]


def _outcome(lang: str, one: Verdict, names: Mapping[str, str]) -> Outcome:
    value = shown(one, one.value) if one.value is not None else ""
    if value and one.low is not None and one.high is not None:
        ends = shown(one, one.low), shown(one, one.high)
        value = say(lang, "report.between", value=value, low=ends[0], high=ends[1])
    return Outcome(
        state=str(one.state),
        word=_word(lang, one),
        question=question(lang, one, names),
        goal=goal(lang, one),
        value=value,
        why=why(lang, one, names),
        possible=possible_words(lang, one),
    )


def _word(lang: str, one: Verdict) -> str:
    word = say(lang, f"study.verdict.{outcome(one)}")
    if one.sureness is None or one.sureness is Sureness.UNKNOWN:
        return word
    return say(lang, f"study.verdict.sure.{one.sureness}", outcome=word)


def _said(
    lang: str, family: Sequence[Results], names: Mapping[str, str]
) -> list[tuple[str, tuple[str, ...]]]:
    """Return what each load test says in sentences."""
    found = []
    for item in family:
        loads = [p for p in item.points if axis_of([p])]
        if not loads:
            continue
        case = names.get(item.about.case, item.about.case) if len(family) > 1 else ""
        told, whole = parts(verdict(loads, server=item.about.server))
        closing = measures.sentences(lang, whole)
        if len(told) < 2:
            only = [one for part in told for one in part.told]
            found.append((case, (*measures.sentences(lang, only), *closing)))
            continue
        for part in told[:MOST_PARTS]:
            about = measures.sentence(lang, part.about).rstrip(":：") if part.about else ""
            found.append((_joined(case, about), tuple(measures.sentences(lang, part.told))))
        if closing:
            found.append((_joined(case, say(lang, "report.overall")), tuple(closing)))
    return found


def _joined(*names: str) -> str:
    return " · ".join(filter(None, names))


def _compared(
    lang: str, whole: Results, points: Sequence[Point], names: Mapping[str, str]
) -> list[str]:
    """Return how the cases differ in the figures that were asked about, else the first ones."""
    groups = group_by((point for point in alone(points) if point.done), "case")
    if len(groups) < 2:
        return []
    told = {name for point in points for name in point.figures}
    asked = [one.metric for one in read_summary(whole.verdict)]
    metrics = dict.fromkeys(name for name in (*asked, *FIRST) if name in told)
    named = {names.get(case, case): found for case, found in groups.items()}
    found = compare(named, metrics=list(metrics)[:MOST_COMPARED])
    if not found.rows:
        return []  # cases of different kinds, as the rungs of a ladder
    return measures.sentences(lang, found.said()[:MOST_SENTENCES])


def _charts(study: Mapping[str, Any], points: Sequence[Point]) -> list[str]:
    wanted = (study.get("settings") or {}).get("chart") or []
    first = [wanted] if isinstance(wanted, str) else list(wanted)
    kinds = [kind for kind in first if kind in charts.CHARTS]
    rest = [kind for kind in charts.fitting(points) if kind != "history"]
    return list(dict.fromkeys([*kinds, *rest]))


def _failures(lang: str, points: Sequence[Point], names: Mapping[str, str]) -> list[str]:
    failed = [point for point in points if not point.done]
    told = [
        " · ".join(
            part
            for part in (names.get(p.case, p.case), p.id, translate(lang, p.error.strip()))
            if part
        )
        for p in failed
    ]
    more = len(told) - MOST_FAILURES
    return [*told[:MOST_FAILURES], *([say(lang, "report.more_failed", n=more)] if more > 0 else [])]


# how to do it again -----------------------------------------------------------------------------


def _commands(
    lang: str, family: Sequence[Results], names: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return what each line of shell does, and the line: the whole, each server, one point."""
    found = []
    whole = family[0]
    tested = {item.about.case for item in family[1:]}  # their servers are told with their points
    if whole.about.command:
        found.append((say(lang, "report.command.again"), whole.about.command))
    for item in family:
        case = names.get(item.about.case, item.about.case)
        server = (item.about.server or {}).get("argv")
        if server:
            found.append(
                (_headed(say(lang, "report.command.server"), case), shlex.join(map(str, server)))
            )
        told = tested if item is whole else ()
        first = next((p for p in item.points if p.done and p.argv and p.case not in told), None)
        if first is not None:
            case = case or names.get(first.case, first.case)
            label = say(lang, "report.command.point", id=first.id)
            found.append((_headed(label, case), shlex.join(first.argv)))
    return found


def _headed(label: str, case: str) -> str:
    return f"{label} ({case})" if case else label
