"""A report: one HTML file with question, verdicts, charts, tables, machine and commands.

    report(saved, "qwen_20260101-120000", "zh") -> str         the whole page
    write_report(studio, folder) -> Path                       `report.html` in the folder

It holds its styles, its script and Plotly, so it asks nothing of any server: it can be mailed, put
on a disk or opened in ten years. Charts can be zoomed and saved as in the page.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from studio import __version__
from studio.core.errors import NotFound
from studio.core.settings import ROOT
from studio.ui import charts
from studio.ui import widgets as w
from studio.ui.charts import sheet
from studio.ui.charts.place import plain
from studio.ui.i18n import say
from studio.ui.measure_tables import points_table
from studio.ui.papers.paper import Outcome, Paper, gather, moment, write
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.bench.saved import Saved
    from studio.studio import Studio

_log = logging.getLogger(__name__)
FILE = "report.html"
POLICY = "default-src 'unsafe-inline' data: blob:"
"""What the file may load: only what it brings along."""
TONES = {"met": "ok", "not_met": "bad"}
_DARK = (
    "document.documentElement.classList.toggle("
    "'dark', matchMedia('(prefers-color-scheme: dark)').matches);"
)


def write_report(studio: Studio, folder: Path, lang: str = "") -> Path:
    """Write `report.html` into a folder of results and return its path; raise NotFound."""
    return write(studio, folder, FILE, report, lang)


def report(saved: Saved, name: str, lang: str) -> str:
    """Return a folder of results as one HTML page; raise NotFound."""
    paper = gather(saved, name, lang)
    drawn, left_out = _charts(paper, lang)
    places = "".join(f'<figure class="l-chart" id="{ident}"></figure>' for ident, _ in drawn)
    shown = f'<div class="l-charts">{places}</div>' if drawn else ""
    parts = [
        _head(paper),
        _section(say(lang, "report.verdict"), _outcomes(lang, paper.outcomes)),
        _section(say(lang, "report.said"), _sentences(lang, paper)),
        _section(say(lang, "report.charts"), f"{shown}{_list(left_out)}"),
        _section(say(lang, "report.results"), f"{_table(*paper.table)}{_small(paper.bars)}"),
        _section(say(lang, "report.failed"), _list(paper.failures)),
        _section(say(lang, "report.environment"), w.table(paper.environment)),
        _section(say(lang, "report.commands"), _commands(paper)),
        _section(say(lang, "report.everything"), _everything(lang, paper)),
        _foot(lang),
    ]
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if lang == "zh" else "en"}">\n<head>\n'
        f'<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{w.esc(paper.title)} · Ladder Studio</title>\n"
        f"<style>\n{sheet.styles()}\n{_style()}\n</style>\n<script>{_DARK}</script>\n</head>\n"
        f"<body>\n<main>\n{''.join(parts)}\n</main>\n{sheet.scripts(lang, drawn)}</body>\n</html>\n"
    )


def _charts(paper: Paper, lang: str) -> tuple[list[tuple[str, dict[str, object]]], list[str]]:
    """Return the charts by the ids of their places, and why others were left out."""
    try:
        sheet.plotly_file()
    except NotFound as error:
        why = translate(lang, f"{error.message} {error.hint}")
        return [], [say(lang, "report.no_charts", why=why)] if paper.charts else []
    drawn, left_out = [], []
    for number, kind in enumerate(paper.charts):
        try:
            wide, narrow = (
                charts.draw(kind, paper.points, lang, narrow=small, names=paper.names)
                for small in (False, True)
            )
            shown = plain(wide, narrow) | {"file": f"{paper.name}-{kind}"}
        except Exception as error:  # one chart is no reason to lose the report
            _log.warning("chart %s of %s left out: %r", kind, paper.name, error)
            left_out.append(say(lang, "report.no_chart", kind=kind, why=str(error)))
            continue
        if wide.figure is not None:
            drawn.append((f"chart-{number}", shown))
    return drawn, left_out


def _head(paper: Paper) -> str:
    facts = "".join(f"<span>{w.esc(k)} <b>{w.esc(v)}</b></span>" for k, v in paper.facts)
    about = f"<p>{w.esc(paper.about)}</p>" if paper.about else ""
    return (
        f"<header><h1>{w.esc(paper.title)}</h1>{about}"
        f'<div class="l-report-facts">{facts}</div></header>'
    )


def _section(title: str, body: str) -> str:
    return f"<section><h2>{w.esc(title)}</h2>{body}</section>" if body else ""


def _outcomes(lang: str, outcomes: Sequence[Outcome]) -> str:
    cards = "".join(_outcome(lang, one) for one in outcomes)
    return f'<div class="l-outcomes">{cards}</div>' if cards else ""


def _outcome(lang: str, one: Outcome) -> str:
    tone = TONES.get(one.state, "")
    value = f'<p class="l-value">{w.esc(one.value)}</p>' if one.value else ""
    wanted = w.esc(say(lang, "study.verdict.wanted", goal=one.goal))
    more = "".join(
        f'<p class="l-why">{w.esc(text)}</p>' for text in (one.why, one.possible) if text
    )
    kind = f" l-tone-{tone}" if tone else ""
    return (
        f'<div class="l-outcome{kind}"><b>{w.esc(one.word)}</b><p>{w.esc(one.question)}</p>'
        f'{value}<p class="l-why">{wanted}</p>{more}</div>'
    )


def _sentences(lang: str, paper: Paper) -> str:
    blocks = []
    for heading, sentences in paper.said:
        title = f"<h3>{w.esc(heading)}</h3>" if heading else ""
        blocks.append(f"{title}{_list(sentences)}")
    if paper.compared:
        title = f"<h3>{w.esc(say(lang, 'report.compared'))}</h3>" if paper.said else ""
        blocks.append(f"{title}{_list(paper.compared)}")
    return "".join(blocks)


def _list(items: Sequence[str]) -> str:
    lines = "".join(f"<li>{w.esc(item)}</li>" for item in items)
    return f'<ul class="l-report-said">{lines}</ul>' if lines else ""


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    return w.rows(head, body, numeric=range(1, len(head))) if body else ""


def _small(text: str) -> str:
    return f'<p class="l-report-small">{w.esc(text)}</p>' if text else ""


def _commands(paper: Paper) -> str:
    return "".join(
        f'<div class="l-report-code"><p>{w.esc(label)}</p><pre>{w.esc(line)}</pre></div>'
        for label, line in paper.commands
    )


def _everything(lang: str, paper: Paper) -> str:
    """Return every point and the frozen settings, folded away."""
    head, body = points_table(lang, paper.points)
    every = w.rows(head, body, numeric=range(1, len(head)))
    parts = [_folded(say(lang, "report.points", n=len(paper.points)), every)] if body else []
    if paper.settings:
        told = json.dumps(paper.settings, ensure_ascii=False, indent=2)
        parts.append(_folded(say(lang, "report.settings"), f"<pre>{w.esc(told)}</pre>"))
    return "".join(parts)


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{w.esc(title)}</summary>{body}</details>"


def _foot(lang: str) -> str:
    told = say(lang, "report.made", version=__version__, at=moment(time.time()))
    return f"<footer>{w.esc(told)}</footer>"


@cache
def _style() -> str:
    return (ROOT / "assets" / "report" / "report.css").read_text("utf-8")
