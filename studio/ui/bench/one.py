"""One folder of results: what it says in words, its charts, its conditions, where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from studio.bench.point import Point
from studio.bench.saved import Results
from studio.core.errors import NotFound
from studio.engines.workers.bench.grid import loads
from studio.ui import charts, units
from studio.ui import widgets as w
from studio.ui.bench import words
from studio.ui.bench.conditions import conditions
from studio.ui.bench.verdict import verdict_card
from studio.ui.charts.sources import titles
from studio.ui.i18n import lang_of, say
from studio.ui.papers import journal, report
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

MOST_OTHERS = 60
OF_CASES = ("scaling", "compare", "memory", "history")
"""Charts that set cases apart, which one server under several loads has not."""
REPORT_POLICY = "sandbox allow-scripts allow-downloads; default-src 'unsafe-inline' data: blob:"
"""A report holds its own script and pictures; it reaches nothing of the page and no network."""


class OneResult:
    """Answers about one folder; viewers of the same one share the work."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(0.9)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [
            Route("bench/one", self.one),
            Route("bench/report/{name}", self.report),
            Route("bench/journal/{name}", self.journal),
        ]

    def one(self, request: Request) -> dict[str, Any]:
        """Return the page of a folder; it keeps itself current while its run is at work."""
        lang, asked = lang_of(request), request.query_params
        name, each, every = asked.get("name", ""), asked.get("each", ""), asked.get("all", "")
        html, alive = self._recent.get(
            (lang, name, each, every),
            lambda: self._page(lang, name, each=bool(each), every=bool(every)),
        )
        return fragment(request, html, final=not alive)

    def report(self, request: Request) -> Response:
        """Send the self-contained report of a folder."""
        name = self._studio.saved.get(request.path_params["name"]).name
        text = report.report(self._studio.saved, name, lang_of(request))
        return HTMLResponse(text, headers={"content-security-policy": REPORT_POLICY})

    def journal(self, request: Request) -> Response:
        """Send the journal entry of a folder as Markdown."""
        name = self._studio.saved.get(request.path_params["name"]).name
        text = journal.journal(self._studio.saved, name, lang_of(request))
        headers = {"content-disposition": f"attachment; filename*=utf-8''{name}.md"}
        return Response(text, media_type="text/markdown; charset=utf-8", headers=headers)

    # the page -----------------------------------------------------------------------------------

    def _page(self, lang: str, name: str, *, each: bool, every: bool) -> tuple[str, bool]:
        try:
            results = self._studio.saved.get(name)
        except NotFound:
            gone = w.empty(lang, "bench.gone", icon_name="question", name=name)
            return f"{_back(lang)}{gone}", False
        family = self._studio.saved.family(results.name)
        points = [point for item in family for point in item.points]
        run = self._run(results)
        alive = run is not None and run.state.alive
        names = titles(family, lang)
        parts = [
            self._head(lang, results, points, run),
            verdict_card(lang, results, points, names),
            charts_of([results.name], points, kind=results.about.kind, live=alive),
            conditions(lang, points, names, each=each, every=every),
            self._cases(lang, family[1:], names),
            origin(lang, results),
        ]
        return "".join(parts), alive

    def _run(self, results: Results) -> Run | None:
        try:
            return self._studio.jobs.get(results.about.run) if results.about.run else None
        except NotFound:
            return None

    def _head(self, lang: str, results: Results, points: Sequence[Point], run: Run | None) -> str:
        about, alive = results.about, run is not None and run.state.alive
        servers = dict.fromkeys(words.server(point) for point in points)
        tags = [w.tag(say(lang, f"bench.kind.{about.kind}"), tone="accent")]
        tags += [w.tag(words.short(model)) for model in results.models[:3]]
        tags += [w.tag(name) for name in list(servers)[:3] if name]
        tags += [w.tag(name, icon_name="gpu") for name in _cards(points)]
        if about.study:
            tags.append(w.link(about.study, "bench", view="results", name=about.study))
        failed = sum(not point.done for point in points)
        count = say(lang, "bench.n_points", n=units.number(len(points)))
        line = [f"<span>{w.esc(count)}</span>", w.when(lang, results.created_at)]
        if failed:
            line.insert(1, w.tag(say(lang, "bench.n_failed", n=failed), tone="bad"))
        return (
            f'{_back(lang)}<div class="l-b-head"><div class="l-run-title">'
            f"<h2>{w.esc(results.title(lang))}</h2>"
            f"{w.badge(lang, run.state) if run is not None and alive else ''}{''.join(tags)}</div>"
            f'<div class="l-run-line">{"".join(line)}<code>{w.esc(results.name)}</code></div>'
            f"{self._unfinished(lang, results, run)}{self._actions(lang, results, alive=alive)}"
            "</div>"
        )

    def _unfinished(self, lang: str, results: Results, run: Run | None) -> str:
        """Return how far a sweep is, or that it was interrupted, with the way to go on."""
        done, total = progress_of(results)
        if total <= done:
            return ""
        if run is not None and run.state.alive:
            told = say(lang, "bench.so_far", done=done, total=total)
            return w.bar(done / total, label=told) + w.link(
                say(lang, "bench.watch"), "bench", view="load", run=run.id
            )
        told = unfinished(lang, results, here=run is not None)
        resume = w.action(
            say(lang, "bench.resume", n=total - done),
            "resume",
            results.name,
            icon_name="play",
            kind="primary",
        )
        note = w.note(told, tone="warn", icon_name="pause")
        return f'<div class="l-b-unfinished">{note}{resume}</div>'

    def _actions(self, lang: str, results: Results, *, alive: bool) -> str:
        name = w.esc(results.name)
        links = [
            f'<a class="l-button" target="_blank" rel="noopener" href="ladder/bench/report/{name}">'
            f"{w.icon('file')}<span>{w.esc(say(lang, 'bench.report'))}</span></a>",
            f'<a class="l-button" download href="ladder/bench/journal/{name}">'
            f"{w.icon('book')}<span>{w.esc(say(lang, 'bench.journal'))}</span></a>",
            f'<a class="l-button" download href="ladder/bench/csv?by=points&amp;results={name}">'
            f"{w.icon('download')}<span>CSV</span></a>",
        ]
        delete = w.action(
            say(lang, "bench.delete"),
            "delete",
            results.name,
            icon_name="trash",
            kind="quiet",
            confirm=say(lang, "bench.delete_one", name=results.name),
        )
        return (
            f'<div class="l-actions">{"".join(links)}{self._others(lang, results)}'
            f'<span class="l-b-gap"></span>{"" if alive else delete}</div>'
        )

    def _others(self, lang: str, results: Results) -> str:
        """Return a choice of other folders of the same kind to compare with."""
        found = [
            item
            for item in self._studio.saved.folders()
            if item.name != results.name and item.about.kind == results.about.kind and item.points
        ][:MOST_OTHERS]
        if not found:
            return ""
        options = "".join(
            f'<option value="{w.esc(item.name)}">{w.esc(_told(lang, item))}</option>'
            for item in found
        )
        label = w.esc(say(lang, "bench.compare_with"))
        return (
            f'<select class="l-b-with" data-bench-with="{w.esc(results.name)}" '
            f'aria-label="{label}"><option value="">{label}</option>{options}</select>'
        )

    def _cases(self, lang: str, cases: Sequence[Results], names: Mapping[str, str]) -> str:
        """Return the folders that a study's cases wrote."""
        if not cases:
            return ""
        head = [say(lang, f"bench.col.{name}") for name in ("case", "name", "points", "at")]
        body = [
            (
                names.get(item.about.case) or item.about.case,
                w.link(item.name, "bench", view="results", name=item.name),
                units.number(item.num_points),
                w.when(lang, item.created_at),
            )
            for item in cases
        ]
        return w.card(say(lang, "bench.cases"), w.rows(head, body, numeric=(2,)))


# pieces that other views show as well -----------------------------------------------------------


def charts_of(names: Sequence[str], points: Sequence[Point], *, kind: str, live: bool) -> str:
    """Return the charts that show something for these points; a load test has no cases to draw."""
    kinds = [one for one in charts.fitting(points) if kind != "load" or one not in OF_CASES]
    places = "".join(charts.place(kind, results=names, live=live) for kind in kinds)
    return f'<div class="l-b-charts">{places}</div>' if places else ""


def origin(lang: str, results: Results) -> str:
    """Return where the results come from: machine, versions, server, settings, the command."""
    about, known = results.about, results.about.environment
    facts: list[tuple[str, object]] = []
    for key in ("os", "cpu", "cores", "python", "driver"):
        if known.get(key):
            facts.append((say(lang, f"bench.origin.{key}"), known[key]))
    if known.get("host_memory_bytes"):
        size = units.size(known["host_memory_bytes"])
        facts.append((say(lang, "bench.origin.memory"), size))
    cards = known.get("cards")
    if isinstance(cards, list) and cards:
        named = ", ".join(f"{cards.count(name)} x {name}" for name in dict.fromkeys(cards))
        facts.append((say(lang, "bench.origin.cards"), named))
    versions = known.get("versions")
    if isinstance(versions, dict) and versions:
        told = ", ".join(f"{name} {version}" for name, version in versions.items())
        facts.append((say(lang, "bench.origin.versions"), told))
    body = w.table(facts) if facts else ""
    if about.command:
        body = w.code(about.command) + body
    for key, table in (("server", about.server or {}), ("settings", about.settings)):
        flat = [(name, _plain(value)) for name, value in table.items() if value not in ("", None)]
        if flat:
            title = w.esc(say(lang, f"bench.origin.{key}"))
            body += f"<details><summary>{title}</summary>{w.table(flat)}</details>"
    return w.card(say(lang, "bench.origin.title"), body) if body else ""


def progress_of(results: Results) -> tuple[int, int]:
    """Return how many points of a sweep are done, of how many; (0, 0) for what is no sweep."""
    settings = results.about.settings
    if results.about.kind != "load" or "repeats" not in settings:
        return 0, 0
    try:
        wanted = {load.id for load in loads({"dataset": "random", **settings})}
    except (KeyError, TypeError, ValueError):
        return 0, 0  # settings of another tool, or of a version that is gone
    done = {point.id for point in results.points if point.done}
    return len(done & wanted), len(wanted)


def unfinished(lang: str, results: Results, *, here: bool = True) -> str:
    """Return why a sweep has points to go: it was interrupted, or some of them failed.

    Where its run is not in this home (`here`), nobody knows that it was interrupted.
    """
    done, total = progress_of(results)
    if results.num_points >= total:
        return say(lang, "bench.some_failed", n=total - done, total=total)
    key = "bench.interrupted" if here or not results.about.run else "bench.elsewhere"
    return say(lang, key, done=done, total=total)


def _cards(points: Sequence[Point]) -> list[str]:
    found = dict.fromkeys((p.cards, p.card_name) for p in points if p.cards and p.card_name)
    return [f"{num} x {name}" if num > 1 else name for num, name in list(found)[:3]]


def _told(lang: str, item: Results) -> str:
    parts = [item.title(lang), item.about.case, units.exact(item.created_at)[:16]]
    return " · ".join(part for part in parts if part)


def _back(lang: str) -> str:
    return (
        f'<a class="l-link l-b-back" href="?tab=bench&amp;view=results" data-ladder-open="bench" '
        f'data-view="results">{w.icon("left")}{w.esc(say(lang, "bench.all"))}</a>'
    )


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    return str(value)
