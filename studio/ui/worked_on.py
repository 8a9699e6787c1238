"""Results and the run that works on them, as they are at one moment.

Such a pair is found by the name of its folder, or by the id of its run, which is all that is known
before there is a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from studio.bench.saved import Results
from studio.core.spec import State
from studio.engines.engine import Progress

if TYPE_CHECKING:
    from studio.jobs.jobs import Run

FRESH_S = 0.8
"""How long a look may be shared between viewers."""
MOST_RUNS = 60


@dataclass(frozen=True, kw_only=True)
class WorkedOn:
    """A folder of results, its run, or both."""

    name: str
    """Name of the folder; empty while its run has not made it."""
    run: Run | None
    """The run that works on it, or did last; None when it was deleted."""
    results: Results | None = None
    progress: Progress | None = None

    @property
    def alive(self) -> bool:
        """True while its run is at work on it."""
        return self.run is not None and self.run.state.alive

    @property
    def state(self) -> State:
        """What its run is doing, or what became of it."""
        return self.run.state if self.run is not None else State.DONE

    @property
    def begun_at(self) -> float:
        """Unix seconds."""
        if self.results is not None:
            return self.results.created_at
        return self.run.spec.created_at if self.run is not None else 0.0

    @property
    def key(self) -> str:
        """What it is asked for by: the folder, else the run."""
        return self.name or (self.run.id if self.run is not None else "")

    def is_called(self, name: str) -> bool:
        """Tell whether a folder's name or a run's id means it."""
        return name in (self.name, self.run.id if self.run is not None else "")
