"""What is known about a comparison at one moment: its run, its figures, how far a voter is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.core.errors import NotFound
from studio.quality.summary import Overview
from studio.quality.votes import Standing
from studio.ui.quality.form import QUALITY
from studio.ui.recent import Recent
from studio.ui.worked_on import FRESH_S, MOST_RUNS, WorkedOn

if TYPE_CHECKING:
    from studio.studio import Studio


@dataclass(frozen=True, kw_only=True)
class Seen(WorkedOn):
    """A comparison, whatever its state."""

    overview: Overview | None = None
    standing: Standing | None = None

    @property
    def blind(self) -> bool:
        """True while the voter has pairs left, so that names would spoil votes."""
        return self.standing is not None and self.standing.voted < self.standing.of


class QualityLooks:
    """Looks at comparisons, shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)

    def all(self) -> list[Seen]:
        """Return every comparison, newest first, without figures."""
        return self._recent.get("all", self._all)

    def find(self, name: str, by: str) -> Seen | None:
        """Return one by folder or run with everything in it; the newest without a name.

        None when there is none at all. Raise NotFound for a name that is not there.
        """
        found = self.all()
        if not name:
            return self._whole(found[0], by) if found else None
        for seen in (*found, *self._all()):  # what was begun this moment is in the second
            if seen.is_called(name):
                return self._whole(seen, by)
        raise NotFound(f"There are no results called {name}.", hint="`quality ls` lists them.")

    # inside -------------------------------------------------------------------------------------

    def _all(self) -> list[Seen]:
        runs = self._studio.jobs.list(engine=QUALITY, limit=MOST_RUNS)
        found, worked_on = [], set()
        for results in self._studio.quality.list():
            mine = [
                run
                for run in runs
                if run.id == results.about.run or run.spec.config.get("results") == results.name
            ]
            worked_on |= {run.id for run in mine}
            newest = max(mine, key=lambda run: run.id, default=None)
            found.append(Seen(name=results.name, run=newest, results=results))
        found += [Seen(name="", run=run) for run in runs if run.id not in worked_on]
        return sorted(found, key=lambda seen: seen.begun_at, reverse=True)

    def _whole(self, seen: Seen, by: str) -> Seen:
        return self._recent.get(("one", seen.key, by), lambda: self._look(seen, by))

    def _look(self, seen: Seen, by: str) -> Seen:
        desk, name = self._studio.quality, seen.name
        return Seen(
            name=name,
            run=seen.run,
            results=seen.results,
            overview=desk.overview(name) if name else None,
            standing=desk.standing(name, by) if name else None,
            progress=self._studio.progress(seen.run.id) if seen.run and seen.alive else None,
        )
