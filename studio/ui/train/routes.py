"""What browsers ask about trainings again and again: figures, curves. Operators only; only looks.

`run/{id}/training` and `run/{id}/machine` answer figures as HTML, `run/{id}/series` the curves as
plain values, thinned to fewer than 800 points each, for `assets/js/train.js` to draw; `also` names
runs whose curves are laid over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.engines.trained import Trained
from studio.jobs.logs import last_lines
from studio.telemetry import snapshot
from studio.telemetry.thinning import Thin
from studio.ui.i18n import lang_of
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.runs.curvefeed import CurveFeed, SavedFeed
from studio.ui.train.view import CardTime, TrainLook, figures, machine

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

FRESH_S = 0.9
SAMPLES = 120
"""How many samples of memory the small curves show."""
MOST_OVERLAID = 5
DIGITS = 6


def routes(studio: Studio) -> Sequence[Route]:
    """Return the live view of trainings."""
    views = Live(studio)
    return [
        Route("run/{id}/training", views.figures),
        Route("run/{id}/machine", views.machine),
        Route("run/{id}/series", views.series),
    ]


class Live:
    """The live view of every training, shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._feed = CurveFeed(studio)
        self._recent = Recent(FRESH_S)
        self._saved = SavedFeed()

    def figures(self, request: Request) -> dict[str, Any]:
        """Return a training's figures; final once it has ended."""
        lang = lang_of(request)
        run, look = self._look(request.path_params["id"])
        return fragment(request, figures(lang, run, look), final=self._feed.settled(run))

    def machine(self, request: Request) -> dict[str, Any]:
        """Return what a training takes of the machine; final once it has ended."""
        run, look = self._look(request.path_params["id"])
        return fragment(request, machine(lang_of(request), look), final=not run.state.alive)

    def series(self, request: Request) -> dict[str, Any]:
        """Return the curves of a run and of those laid over it; nothing new, only the version."""
        run_id = request.path_params["id"]
        also = [part for part in request.query_params.get("also", "").split(",") if part]
        ids = list(dict.fromkeys([run_id, *also]))[: MOST_OVERLAID + 1]
        found = [drawn for ident in ids if (drawn := self._drawn(ident, first=ident == run_id))]
        version = " ".join(f"{drawn['id']}={drawn['version']}" for drawn in found)
        final = all(drawn["settled"] for drawn in found)
        if request.query_params.get("have") == version:
            return {"version": version, "final": final}
        return {"version": version, "final": final, "runs": found}

    def look(self, run: Run) -> TrainLook:
        """Gather what is known about a training."""
        rows = _spread(run.dir.metrics(), SAMPLES)
        return TrainLook(
            lines=self._feed.curves(run).lines,
            progress=self._studio.progress(run.id),
            ranks=run.ranks_seen if run.spec.ranks else None,
            cards=_cards(run, rows),
            host_at=[row["at"] for row in rows],
            host_bytes=[row["host_bytes"] for row in rows],
            host_total_bytes=snapshot.host(self._studio.settings.home).get().ram_total_bytes,
            best=_best(self._saved.saved(run)),
            last_line=next(iter(last_lines(run.dir.log, 1)), ""),
        )

    def _look(self, run_id: str) -> tuple[Run, TrainLook]:
        def gather() -> tuple[Run, TrainLook]:
            run = self._studio.jobs.get(run_id)
            return run, self.look(run)

        return self._recent.get(("look", run_id), gather)

    def _drawn(self, run_id: str, *, first: bool) -> dict[str, Any] | None:
        """Return one run's curves; a run laid over that is gone is left out."""
        try:
            return self._recent.get(("series", run_id), lambda: self._series(run_id))
        except NotFound:
            if first:
                raise
            return None

    def _series(self, run_id: str) -> dict[str, Any]:
        run = self._studio.jobs.get(run_id)
        curves = self._feed.curves(run)
        return {
            "id": run.id,
            "name": run.spec.name,
            "settled": self._feed.settled(run),
            "version": curves.version,
            "curves": {name: _plain(line) for name, line in curves.lines.items()},
        }


def _plain(line: Thin) -> dict[str, Any]:
    """Return a curve as the browser draws it; `mx`, `my` are what is smoothed when thinned."""
    x, y = line.points()
    found: dict[str, Any] = {"x": x, "y": _short(y), "n": line.count}
    if not line.whole:
        steps, values = line.means()
        found |= {"mx": _short(steps), "my": _short(values)}
    if line.bad_since is not None:
        found["bad"] = line.bad_since
    return found


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]


def _best(found: Sequence[Trained]) -> Trained | None:
    """Return the best checkpoint, or the newest where nobody can tell."""
    return next((item for item in found if item.best), found[-1] if found else None)


def _cards(run: Run, rows: Sequence[dict[str, Any]]) -> list[CardTime]:
    told = [row for row in rows if row.get("gpu_bytes")]
    if not told:
        return []
    known = {card.index: card.total_bytes for card in snapshot.cards().get()}
    at = [row["at"] for row in told]
    return [
        CardTime(
            index=index,
            at=at,
            used_bytes=[float(row["gpu_bytes"].get(str(index), 0)) for row in told],
            loads=[(row.get("gpu_load") or {}).get(str(index), 0) / 100 for row in told],
            total_bytes=known.get(index),
        )
        for index in run.cards
    ]


def _spread(rows: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Return at most so many samples, evenly spread, and always the last."""
    if len(rows) <= most:
        return rows
    step = len(rows) / most
    return [rows[int(number * step)] for number in range(most - 1)] + [rows[-1]]
