"""The runner's hands: launch a run or take over one that lives, wait with a deadline, stop it.

Every run of a study carries the folder's name as its group and a name of its own in it, so that a
runner which comes after a crash finds what its predecessor had launched: what lives is taken over,
and a run that ended well meanwhile counts.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from studio.core.errors import EngineExited, NotFound, StudioError
from studio.core.spec import State
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.jobs.shim.inner import ADOPTED
from studio.launch import Launch
from studio.replicas import ROUTER, launch_replicas
from studio.studio import Studio

POLL_S = 0.2
STOP_S = 900.0
"""Every ladder ends in a kill and a look at the cards; this is only a guard."""
TAKEN_PORT = "was taken by another program"
"""In the reason of a run whose port somebody took between its launch and its start."""

Told = Callable[[Run], None]


class Halted(Exception):
    """Somebody asked the study to stop."""


class Hands:
    """Launches, finds, awaits and stops the runs of one study."""

    def __init__(self, studio: Studio, run_folder: Path, group: str) -> None:
        self.studio = studio
        self.group = group
        self._adopted = run_folder / ADOPTED
        self._begun = time.time()
        self.halt = threading.Event()
        """Set when the study is asked to stop; every wait ends with Halted then."""
        self._cuts: set[Callable[[], None]] = set()

    def stop_asked(self) -> None:
        """Take note that the study is to stop, and cut what waits on a connection."""
        self.halt.set()
        for cut in list(self._cuts):
            cut()

    @contextmanager
    def cutting(self, cut: Callable[[], None]) -> Iterator[None]:
        """Have `cut` called when the study is asked to stop meanwhile; raise Halted if it was."""
        self._cuts.add(cut)
        try:
            self.check()
            yield
        finally:
            self._cuts.discard(cut)
        self.check()

    # launching ----------------------------------------------------------------------------------

    def take(self, ask: Launch, name: str) -> Run:
        """Take over the run of this name that lives, else launch it."""
        self.check()
        found = self.alive(name)
        if found is not None:
            return self._adopt(found)
        return self.studio.launch(replace(ask, name=name, group=self.group))

    def take_copies(self, ask: Launch, name: str, copies: int, policy: str) -> list[Run]:
        """Take over copies of a server and their router, else launch them; the router first."""
        self.check()
        found = self._copies(name)
        if found and found[0].spec.engine == ROUTER and len(found) == copies + 1:
            return [self._adopt(run) for run in found]
        for run in found:
            self.stop(run)
        stem = replace(ask, name=self._stem(name))
        made = launch_replicas(self.studio, stem, copies, policy=policy)
        return [made.router, *made.copies]

    def alive(self, name: str) -> Run | None:
        """Return the live run of this study that has this name."""
        return next((run for run in self._named(name) if run.state.alive), None)

    def ended_well(self, name: str) -> Run | None:
        """Return the newest run of this study and name that is done, with all its processes."""
        done = (run for run in self._named(name) if run.state is State.DONE)
        return next((run for run in done if run.ranks_seen >= run.spec.ranks), None)

    def living(self) -> list[Run]:
        """Return every run of this study that lives, whoever launched it."""
        runs = self.studio.jobs.list(limit=10_000, states=[s for s in State if s.alive])
        return [run for run in runs if self._ours(run)]

    # waiting ------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Halted when the study was asked to stop."""
        if self.halt.is_set():
            raise Halted

    def started(self, run: Run, timeout_s: float, told: Told = lambda run: None) -> Run:
        """Wait until a run has left the queue; a build it needs first is not counted.

        Raises EngineExited when it ends before, StudioError when the cards never come.
        """
        until: float | None = None
        while True:
            self.check()
            run = self.studio.jobs.get(run.id)
            if run.state is not State.QUEUED:
                return self._not_failed(run)
            if until is None and not self._builds(run):
                until = time.monotonic() + timeout_s
            told(run)
            if until is not None and time.monotonic() > until:
                raise StudioError(
                    f"Run {run.id} was still waiting after {timeout_s:.0f} s: {run.reason}.",
                    hint="Free the cards, or name others, and resume the study.",
                )
            self.halt.wait(POLL_S)

    def ready(self, run: Run, timeout_s: float, told: Told = lambda run: None) -> Run:
        """Wait until a server is ready; raise EngineExited, or StudioError past the deadline."""
        found = self._until(run, lambda run: run.state is State.READY, timeout_s, told)
        if found is None:
            raise StudioError(f"Run {run.id} was not ready within {timeout_s:.0f} s.")
        return found

    def ended(
        self,
        run: Run,
        timeout_s: float,
        told: Told = lambda run: None,
        others: list[Run] | None = None,
    ) -> Run:
        """Wait for the end of a run; raise EngineExited unless it is done.

        `others` are servers it needs: when one ends meanwhile, so does the wait.
        """

        def over(run: Run) -> bool:
            for other in others or ():
                self._not_failed(self.studio.jobs.get(other.id))
            return run.state is State.DONE

        found = self._until(run, over, timeout_s, told)
        if found is None:
            raise StudioError(f"Run {run.id} was not done within {timeout_s:.0f} s.")
        return found

    # stopping -----------------------------------------------------------------------------------

    def stop(self, run: Run, timeout_s: float = STOP_S) -> Run:
        """Stop a run by its ladder and wait until it is gone; ended ones are left alone."""
        run = self.studio.jobs.stop(run.id)
        until = time.monotonic() + timeout_s
        while run.state.alive and time.monotonic() < until:
            time.sleep(0.1)
            run = self.studio.jobs.get(run.id)
        return run

    def stop_all(self, runs: list[Run]) -> None:
        """Ask several runs to stop at once, then wait for each."""
        for run in runs:
            self.studio.jobs.stop(run.id)
        for run in runs:
            self.stop(run)

    # inside -------------------------------------------------------------------------------------

    def _until(
        self,
        run: Run,
        condition: Callable[[Run], bool],
        timeout_s: float,
        told: Told,
    ) -> Run | None:
        """Return the run once the condition holds; None when it did not in time."""
        until = time.monotonic() + timeout_s
        while True:
            self.check()
            run = self.studio.jobs.get(run.id)
            if condition(run):
                return run
            self._not_failed(run)
            if not run.state.alive:
                raise EngineExited(f"Run {run.id} is {run.state}.")
            told(run)
            if time.monotonic() > until:
                return None
            self.halt.wait(POLL_S)

    def _not_failed(self, run: Run) -> Run:
        """Return a run unless it failed, was lost or was stopped by somebody."""
        if run.state in (State.FAILED, State.LOST, State.STOPPED):
            raise _gone(run)
        return run

    def _builds(self, run: Run) -> list[Run]:
        """Return the runs it comes after that still live; raise EngineExited when one failed."""
        found = [self._not_failed(self.studio.jobs.get(one)) for one in run.spec.after]
        return [one for one in found if one.state.alive]

    def _named(self, name: str) -> list[Run]:
        runs = self.studio.jobs.list(limit=10_000, text=name)
        return [run for run in runs if run.spec.group == self.group and run.spec.name == name]

    def _copies(self, name: str) -> list[Run]:
        """Return the live runs of a group of copies, the router first."""
        stem = re.escape(self._stem(name))
        groups = [run for run in self.living() if re.fullmatch(rf"{stem}(-\d+)?", run.spec.group)]
        return sorted(groups, key=lambda run: (run.spec.engine != ROUTER, run.id))

    def _stem(self, name: str) -> str:
        return re.sub(r"[^\w.-]+", "-", f"{self.group}.{name}.copies")

    def _ours(self, run: Run) -> bool:
        return run.spec.group == self.group or run.spec.group.startswith(f"{self.group}.")

    def _adopt(self, run: Run) -> Run:
        """Put a run that an earlier runner launched on record, so that a stop reaches it too."""
        if run.spec.created_at < self._begun:
            with open(self._adopted, "a") as file:
                file.write(json.dumps({"run": run.id}) + "\n")
        return run


def is_alive(studio: Studio, run_id: str) -> bool:
    """Tell whether a run is there and at work."""
    try:
        return bool(run_id) and studio.jobs.get(run_id).state.alive
    except NotFound:
        return False


def is_here(studio: Studio, run_id: str) -> bool:
    """Tell whether a run is in this home; one of a copied folder is not, nor one deleted."""
    try:
        return bool(studio.jobs.get(run_id))
    except NotFound:
        return False


def _gone(run: Run) -> EngineExited:
    """Return why a run failed, with its cause when the log tells one."""
    found = explain(run)
    cause = found.says.en if found is not None and found.key else ""
    reason = run.reason or "somebody stopped it"
    return EngineExited(f"Run {run.id} ({run.spec.name}) {run.state}: {reason}.", hint=cause)
