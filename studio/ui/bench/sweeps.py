"""Load tests at work and lately: the list above the run pane, and one sweep as it goes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.core.spec import State
from studio.engines.bench_run import results_folder
from studio.engines.workers.bench.grid import Load, loads
from studio.loadtest import TOOLS
from studio.ui import charts, measures, units
from studio.ui import widgets as w
from studio.ui.bench import words
from studio.ui.bench.one import progress_of, unfinished
from studio.ui.bench.plan import conditions_of, grid
from studio.ui.bench.verdict import said_of, sentences
from studio.ui.i18n import lang_of, say
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs import view as runview
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.bench.point import Point
    from studio.bench.saved import Results
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENDED_SHOWN = 6
LOOKED_AT = 120
"""Runs of each tool among which the list is made."""
NEWEST, RECENT_S = 40, 3 * 86400.0
"""Folders among which interrupted sweeps are looked for, and how old they may be."""
MOST_INTERRUPTED = 3
LAST = 12
"""Points of a sweep that are listed as they come."""
LIVE_FIGURES = ("output_throughput", "ttft_p90_ms", "tpot_p90_ms", "e2el_p90_ms", "goodput_share")


class Sweeps:
    """Answers about load tests; viewers of the same one share the work."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(0.9)

    def routes(self) -> list[Route]:
        """Return what the browser asks for."""
        return [
            Route("bench/list", self.rows),
            Route("bench/none", self.none),
            Route("bench/run/{id}", self.one),
        ]

    def rows(self, request: Request) -> dict[str, Any]:
        """Return the load tests: those at work, interrupted ones, and the few that ended last."""
        lang = lang_of(request)
        return fragment(request, self._recent.get(("rows", lang), lambda: self._rows(lang)))

    def none(self, request: Request) -> dict[str, Any]:
        """Return what the pane says while no load test is chosen."""
        if not load_runs(self._studio):
            return fragment(request, "")
        return fragment(request, w.empty(lang_of(request), "bench.pick", icon_name="bench"))

    def one(self, request: Request) -> dict[str, Any]:
        """Return a sweep as it goes: its grid filling up, the newest points, the curve."""
        lang, run_id = lang_of(request), request.path_params["id"]
        html, alive = self._recent.get(("one", lang, run_id), lambda: self._one(lang, run_id))
        return fragment(request, html, final=not alive)

    # the list -----------------------------------------------------------------------------------

    def _rows(self, lang: str) -> str:
        runs = load_runs(self._studio)
        titles = {recipe.name: recipe.title[lang] for recipe in self._studio.recipes.list()}
        rows = [
            runview.row(lang, run, self._far(run), titles.get(run.spec.recipe or "", ""))
            for run in runs
        ]
        paused = "".join(self._paused(lang, results) for results in self._interrupted(runs))
        if not rows:
            return paused + w.empty(lang, "bench.empty", icon_name="bench")
        return f'{paused}<div class="l-servers">{"".join(rows)}</div>'

    def _interrupted(self, runs: Sequence[Run]) -> list[Results]:
        """Return sweeps that have points to go and nobody at work on them, newest first."""
        alive = {
            folder.name for run in runs if run.state.alive and (folder := results_folder(run.dir))
        }
        alive |= {str(run.spec.config.get("results")) for run in runs if run.state.alive}
        found = []
        for results in self._studio.saved.folders()[:NEWEST]:
            done, total = progress_of(results)
            recent = time.time() - results.ended_at < RECENT_S
            mine = results.name not in alive and not results.about.study
            if recent and mine and 0 < done < total and self._is_here(results):
                found.append(results)
        return found[:MOST_INTERRUPTED]

    def _is_here(self, results: Results) -> bool:
        """Tell whether this home knows the sweep's run; that of a copied folder it does not."""
        try:
            return not results.about.run or bool(self._studio.jobs.get(results.about.run))
        except NotFound:
            return False

    def _paused(self, lang: str, results: Results) -> str:
        done, total = progress_of(results)
        resume = w.action(
            say(lang, "bench.resume", n=total - done),
            "resume",
            results.name,
            icon_name="play",
            kind="small",
        )
        told = unfinished(lang, results)
        link = w.link(results.title(lang), "bench", view="results", name=results.name)
        return (
            f'<div class="l-b-paused">{w.icon("pause")}<span>{link} · {w.esc(told)}</span>'
            f"{resume}</div>"
        )

    def _far(self, run: Run) -> Any:
        return self._studio.progress(run.id) if run.state.alive else None

    # one sweep ----------------------------------------------------------------------------------

    def _one(self, lang: str, run_id: str) -> tuple[str, bool]:
        run = self._studio.jobs.get(run_id)
        results = self._results(run)
        alive = run.state.alive
        if results is None:
            key = "bench.live_soon" if alive else "bench.live_never"
            return w.note(say(lang, key), icon_name="clock"), alive
        parts = [self._links(lang, run, results), self._grid(lang, run, results)]
        said = said_of(results, results.points) if not alive else []
        if said:
            parts.append(w.card(say(lang, "bench.verdict.title"), sentences(lang, said)))
        if any(point.done for point in results.points):
            parts.append(charts.place("throughput-latency", results=[results.name], live=alive))
        parts.append(newest(lang, results.points))
        return f'<div class="l-live">{"".join(parts)}</div>', alive

    def _results(self, run: Run) -> Results | None:
        folder = results_folder(run.dir)
        try:
            if folder is not None:
                return self._studio.saved.get(folder.name)
        except NotFound:
            return None  # deleted since
        found = self._studio.saved.folders()
        return next((item for item in found if item.about.run == run.id), None)

    def _links(self, lang: str, run: Run, results: Results) -> str:
        done, total = progress_of(results)
        links = [
            w.link(say(lang, "bench.open_results"), "bench", view="results", name=results.name)
        ]
        if not run.state.alive and done < total:
            links.append(
                w.action(
                    say(lang, "bench.resume", n=total - done),
                    "resume",
                    results.name,
                    icon_name="play",
                    kind="primary",
                )
            )
        failed = results.num_failed
        told = say(lang, "bench.so_far", done=done, total=total)
        bad = w.tag(say(lang, "bench.n_failed", n=failed), tone="bad") if failed else ""
        return (
            f'<div class="l-b-live-head"><b>{w.esc(told)}</b>{bad}<span class="l-b-gap"></span>'
            f"{''.join(links)}</div>"
        )

    def _grid(self, lang: str, run: Run, results: Results) -> str:
        try:
            todo = loads({"dataset": "random", **results.about.settings})
        except (KeyError, TypeError, ValueError):
            return ""
        found = conditions_of(results.points)
        best = max(
            (p.figures.get("output_throughput", 0) for p in results.points if p.done), default=0
        )
        now = self._now(run, todo, results.points)
        repeats = len({load.repeat for load in todo})
        cells = {
            load.condition_id: grid_cell(
                found.get(load.condition_id, ()), repeats, best, now=load.condition_id == now
            )
            for load in todo
        }
        return grid(lang, todo, cells)

    def _now(self, run: Run, todo: Sequence[Load], points: Sequence[Point]) -> str:
        """Return the condition that is measured now: the first one to go, while it runs."""
        if run.state is not State.RUNNING:
            return ""
        tried = {point.id for point in points}
        return next((load.condition_id for load in todo if load.id not in tried), "")


def load_runs(studio: Studio) -> list[Run]:
    """Return the load tests: those alive first, then the few that ended last, newest first."""
    runs = [run for tool in TOOLS for run in studio.jobs.list(engine=tool, limit=LOOKED_AT)]
    runs.sort(key=lambda run: run.id, reverse=True)
    alive = [run for run in runs if run.state.alive]
    return [*alive, *[run for run in runs if not run.state.alive][:ENDED_SHOWN]]


def grid_cell(points: Sequence[Point], repeats: int, best: float, *, now: bool) -> w.Html:
    """Return a condition's cell: the median throughput by its shade, a dot for every repeat."""
    done = [point for point in points if point.done]
    failed = len(points) - len(done)
    values = [p.figures["output_throughput"] for p in done if "output_throughput" in p.figures]
    text = units.number(statistics.median(values)) if values else ("…" if now else "")
    share = statistics.median(values) / best if values and best else 0.0
    dots = "".join(
        f'<i class="{"l-on" if n < len(done) else "l-bad" if n < len(done) + failed else ""}"></i>'
        for n in range(max(repeats, len(points)))
    )
    kind = " l-now" if now else ""
    return w.Html(
        f'<td class="l-num l-b-cell{kind}" style="--share:{share:.3f}"><b>{w.esc(text)}</b>'
        f'<span class="l-b-dots">{dots}</span></td>'
    )


def newest(lang: str, points: Sequence[Point]) -> str:
    """Return the points that came last, newest first; failed ones say why."""
    if not points:
        return w.note(say(lang, "bench.live_first"), icon_name="clock")
    there = {name for point in points for name in point.figures}
    names = [name for name in LIVE_FIGURES if name in there]
    head = [say(lang, "bench.col.condition"), say(lang, "bench.col.repeat")]
    head += [measures.axis(lang, name) for name in names]
    rows = []
    for point in sorted(points, key=lambda p: p.at, reverse=True)[:LAST]:
        told: object = words.condition(lang, point)
        if not point.done:
            why = translate(lang, point.error) or say(lang, "bench.status.failed")
            bad = f'<small class="l-b-error">{w.icon("alert")}{w.esc(why)}</small>'
            told = w.Html(f"{w.esc(told)}{bad}")
        shown = [measures.shown(n, point.figures.get(n), with_unit=False) for n in names]
        rows.append([told, point.repeat + 1, *shown])
    table = w.rows(head, rows, numeric=range(1, len(head)))
    return w.card(say(lang, "bench.newest"), table)
