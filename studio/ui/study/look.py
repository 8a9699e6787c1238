"""What is known about a study's results at one moment, gathered from its folder and its runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.bench.point import Point
from studio.bench.saved import Results
from studio.core.errors import NotFound, StudioError
from studio.core.spec import State
from studio.engines.engine import Progress
from studio.studies import studies
from studio.studies.expect import Verdict, read_summary
from studio.studies.record import STUDY, Phase, Record, StudyLook
from studio.studies.studies import ENGINE
from studio.ui.recent import Recent
from studio.ui.worked_on import FRESH_S, MOST_RUNS, WorkedOn

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

ENDED = {Phase.DONE: State.DONE, Phase.FAILED: State.FAILED, Phase.STOPPED: State.STOPPED}
"""What a study came to when its run is no longer there to tell."""


@dataclass(frozen=True, kw_only=True)
class Seen(WorkedOn):
    """A study's results, whatever their state."""

    recipe: str
    look: StudyLook | None = None
    points: tuple[Point, ...] = ()
    """Its own points and those of its load tests."""
    load_folders: tuple[str, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    cell_runs: Mapping[str, Run] | None = None
    """The run of each cell that is at work, by the cell's name."""
    cell_progress: Mapping[str, Progress] | None = None

    @property
    def state(self) -> State:
        """What the run is doing, or what became of it."""
        if self.run is not None:
            return self.run.state
        if self.elsewhere:
            return State.DONE
        return ENDED.get(self.look.phase, State.LOST) if self.look is not None else State.DONE

    @property
    def elsewhere(self) -> bool:
        """True when only a run that is not in this home could tell how it ended."""
        return self.look is not None and self.look.phase is Phase.ELSEWHERE

    @property
    def broken_off(self) -> bool:
        """True when it was stopped or its runner disappeared, so that rows are missing."""
        phase = self.look.phase if self.look is not None else None
        return phase in (Phase.STOPPED, Phase.INTERRUPTED) or self.state is State.STOPPED


class StudyLooks:
    """Looks at studies, shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)

    def all(self, recipe: str = "") -> list[Seen]:
        """Return the results of one study, or of all, newest first; cells are not looked at."""
        found = self._recent.get("all", self._all)
        return [seen for seen in found if not recipe or seen.recipe == recipe]

    def newest(self, recipe: str) -> Seen | None:
        """Return the newest results of a study; None when it was never asked."""
        return next(iter(self.all(recipe)), None)

    def find(self, name: str, recipe: str = "") -> Seen | None:
        """Return results by folder or run with everything in it; without a name the newest.

        None when nothing was asked yet. Raise NotFound for a name that is not there.
        """
        if not name:
            newest = self.newest(recipe)
            if newest is None:
                return None
            name = newest.key
        return self._recent.get(("one", name), lambda: self._one(name))

    # inside -------------------------------------------------------------------------------------

    def _all(self) -> list[Seen]:
        runs = {run.id: run for run in self._studio.jobs.list(engine=ENGINE, limit=MOST_RUNS)}
        found, worked_on = [], set()
        for results in self._studio.saved.folders():
            if results.about.kind != ENGINE or not (results.folder / STUDY).is_file():
                continue
            run = self._run_of(results, runs)
            worked_on |= {run.id} if run else set()
            found.append(
                Seen(
                    name=results.name,
                    recipe=_recipe_of(results),
                    run=run,
                    results=results,
                    verdicts=tuple(read_summary(results.verdict)),
                )
            )
        found += [
            Seen(name="", recipe=run.spec.recipe or "", run=run)
            for run in runs.values()
            if run.id not in worked_on and not studies.folder_of(self._studio, run)
        ]
        return sorted(found, key=lambda seen: seen.begun_at, reverse=True)

    def _run_of(self, results: Results, runs: Mapping[str, Run]) -> Run | None:
        """Return the newest run of a folder: the last that its record names, else who began it."""
        ident = Record(results.folder).last_run() or results.about.run
        if ident in runs:
            return runs[ident]
        try:
            return self._studio.jobs.get(ident) if ident else None
        except NotFound:
            return None

    def _one(self, name: str) -> Seen:
        listed = _named(self.all(), name) or _named(self._all(), name) or self._by_run(name)
        if listed.results is None:
            return listed
        name = listed.name
        look = studies.look(self._studio, name)
        at_work = self._at_work(look) if listed.alive else {}
        told = {cell: self._studio.progress(run.id) for cell, run in at_work.items()}
        points = studies.points(self._studio, name)
        return Seen(
            name=name,
            recipe=look.recipe or listed.recipe,
            run=listed.run,
            look=look,
            results=listed.results,
            points=tuple(sorted(points, key=lambda point: point.at)),
            load_folders=tuple(dict.fromkeys(cell.results for cell in look.cells if cell.results)),
            verdicts=self._verdicts(listed, look),
            progress=self._studio.progress(listed.run.id) if listed.run and listed.alive else None,
            cell_runs=at_work,
            cell_progress={cell: progress for cell, progress in told.items() if progress},
        )

    def _verdicts(self, listed: Seen, look: StudyLook) -> tuple[Verdict, ...]:
        """Return the verdicts there are; those of a study that ended, anew where they are lost."""
        there = listed.results is not None and listed.results.verdict is not None
        if there or listed.alive or look.phase not in (Phase.DONE, Phase.FAILED):
            return listed.verdicts
        try:
            return tuple(studies.judged(self._studio, look))
        except StudioError:  # settings of another time
            return ()

    def _by_run(self, ident: str) -> Seen:
        """Return the results that an older run worked on; raise NotFound."""
        try:
            run = self._studio.jobs.get(ident)
        except NotFound:
            raise NotFound(
                f"There are no results called {ident}.", hint="`study ls` lists the studies."
            ) from None
        folder = studies.folder_of(self._studio, run)
        listed = _named(self._all(), folder) if folder else None
        return listed or Seen(name="", recipe=run.spec.recipe or "", run=run)

    def _at_work(self, look: StudyLook) -> dict[str, Run]:
        found = {}
        for cell in look.cells:
            if cell.phase.over or not cell.runs:
                continue
            try:
                found[cell.name] = self._studio.jobs.get(cell.runs[-1])
            except NotFound:
                continue
        return found


def _named(found: Iterable[Seen], name: str) -> Seen | None:
    """Return the results that a folder's name or a run's id means."""
    return next((seen for seen in found if seen.is_called(name)), None)


def _recipe_of(results: Results) -> str:
    try:
        return str(Record(results.folder).study().get("recipe") or "")
    except NotFound:
        return str(results.about.settings.get("recipe") or "")
