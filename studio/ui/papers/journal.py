"""A journal entry: Markdown with date, machine, commands to copy, results, verdict and remarks.

    journal(saved, "qwen_20260101-120000", "en") -> str       a folder of results or a study
    run_journal(studio, "01k...", "en") -> str                any run
    write_journal(studio, folder) -> Path                     `journal.md` in the folder

What somebody wrote under the last heading, *Remarks*, stays when an entry is written again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.environment import environment
from studio.studies.figures import run_figures, training_figures
from studio.ui import measures, units
from studio.ui.i18n import LANGS, say
from studio.ui.papers.paper import Outcome, Paper, environment_facts, gather, moment, write
from studio.ui.secrets import masked_script
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.bench.saved import Saved
    from studio.jobs.jobs import Run
    from studio.studio import Studio

FILE = "journal.md"
SHORTEST_CODE = "```"


def write_journal(studio: Studio, folder: Path, lang: str = "") -> Path:
    """Write `journal.md` into a folder of results and return its path; raise NotFound."""
    return write(studio, folder, FILE, journal, lang)


def journal(saved: Saved, name: str, lang: str) -> str:
    """Return the journal entry of a folder of results; raise NotFound."""
    paper = gather(saved, name, lang)
    kept = _remarks(saved.get(name).folder / FILE)
    parts = [
        f"# {_plain(paper.title)}",
        _plain(paper.about),
        _bullets(f"{_plain(key)}: {_plain(value)}" for key, value in paper.facts),
        *_part(say(lang, "report.verdict"), _bullets(map(_outcome, paper.outcomes))),
        *_part(say(lang, "report.said"), _sentences(lang, paper)),
        *_part(say(lang, "report.results"), _table(*paper.table)),
        _plain(paper.bars),
        *_part(say(lang, "report.failed"), _bullets(map(_plain, paper.failures))),
        *_part(say(lang, "report.environment"), _pairs(paper.environment)),
        *_part(say(lang, "report.commands"), _commands(paper.commands)),
    ]
    return _whole(lang, parts, kept)


def run_journal(studio: Studio, run_id: str, lang: str) -> str:
    """Return the journal entry of any run; raise NotFound."""
    run = studio.jobs.get(run_id)
    spec = run.spec
    facts = [
        (say(lang, "report.fact.date"), moment(spec.created_at)),
        (say(lang, "report.fact.span"), _span(lang, run)),
        (say(lang, "report.fact.state"), say(lang, f"state.{run.state}")),
        (say(lang, "report.fact.engine"), spec.engine),
        (say(lang, "report.fact.recipe"), spec.recipe or ""),
        (say(lang, "report.fact.cards"), ", ".join(map(str, run.cards))),
        (say(lang, "report.fact.run"), run.id),
    ]
    script = masked_script(run).strip()
    commands = [(say(lang, "report.command.again"), f"python app.py relaunch {run.id}")]
    if script:
        commands.append((say(lang, "report.command.bare"), script))
    versions = {spec.env_name: studio.envs.version(spec.env_name)} if spec.env_name else {}
    told = environment_facts(lang, environment({k: v for k, v in versions.items() if v}))
    parts = [
        f"# {_plain(translate(lang, spec.title) or spec.name)}",
        _plain(translate(lang, run.reason)) if run.reason else "",
        _bullets(f"{_plain(key)}: {_plain(value)}" for key, value in facts if value),
        *_part(say(lang, "report.results"), _figures(lang, studio, run)),
        *_part(say(lang, "report.environment"), _pairs(told)),
        *_part(say(lang, "report.commands"), _commands(commands)),
    ]
    return _whole(lang, parts, "")


# parts ------------------------------------------------------------------------------------------


def _whole(lang: str, parts: Iterable[str], kept: str) -> str:
    remarks = f"## {say(lang, 'report.remarks')}"
    text = kept or f"_{say(lang, 'report.remarks_here')}_"
    return "\n\n".join([*(part for part in parts if part), remarks, text]) + "\n"


def _remarks(path: Path) -> str:
    """Return what somebody wrote under the last heading of an earlier entry; empty for nothing."""
    try:
        old = path.read_text("utf-8")
    except FileNotFoundError:
        return ""
    for lang in LANGS:
        _, found, rest = old.rpartition(f"\n## {say(lang, 'report.remarks')}\n")
        if found:
            text = rest.strip()
            return "" if text == f"_{say(lang, 'report.remarks_here')}_" else text
    return ""


def _part(title: str, body: str) -> list[str]:
    return [f"## {title}", body] if body else []


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _outcome(one: Outcome) -> str:
    told = [f"**{_plain(one.word)}**: {_plain(one.question)}"]
    told.append(" · ".join(_plain(text) for text in (one.value, one.goal) if text))
    told += [_plain(text) for text in (one.why, one.possible) if text]
    return "  \n  ".join(told)


def _sentences(lang: str, paper: Paper) -> str:
    blocks = []
    for heading, sentences in paper.said:
        title = f"### {_plain(heading)}\n\n" if heading else ""
        blocks.append(f"{title}{_bullets(map(_plain, sentences))}")
    if paper.compared:
        title = f"### {say(lang, 'report.compared')}\n\n" if paper.said else ""
        blocks.append(f"{title}{_bullets(map(_plain, paper.compared))}")
    return "\n\n".join(blocks)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    if not body:
        return ""
    rule = ["---", *["---:"] * (len(head) - 1)]
    lines = [[_plain(cell) for cell in head], rule, *([_plain(c) for c in row] for row in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return _bullets(f"{_plain(key)}: {_plain(value)}" for key, value in pairs)


def _commands(commands: Sequence[tuple[str, str]]) -> str:
    return "\n\n".join(f"{_plain(label)}:\n\n{_code(line)}" for label, line in commands)


def _code(text: str) -> str:
    fence = SHORTEST_CODE
    while fence in text:
        fence += "`"
    return f"{fence}bash\n{text}\n{fence}"


def _figures(lang: str, studio: Studio, run: Run) -> str:
    """Return what a run came to: its engine's own figures, speed and memory."""
    if run.state.alive:
        return ""
    figures = training_figures(studio, run) if run.spec.ranks else run_figures(run)
    lines = [
        (measures.label(lang, name), measures.shown(name, value)) for name, value in figures.items()
    ]
    for name, figure in studio.results(run.id).items():
        around = f" ± {units.number(figure.stderr)}" if figure.stderr else ""
        lines.append((name, f"{units.number(figure.value)}{around}"))
    return _pairs(lines)


def _span(lang: str, run: Run) -> str:
    if run.started_at is None or run.ended_at is None:
        return ""
    return units.duration(lang, run.ended_at - run.started_at)


def _plain(text: str) -> str:
    """Return text on one line that Markdown takes as it is."""
    for sign in "\\`*_|<[":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())
