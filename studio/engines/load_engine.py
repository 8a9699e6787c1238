"""What every engine that measures a server has in common; its own file says which tool it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TypeVar

from studio.core.spec import Command, Placement, Resources, StopStep
from studio.engines.bench_fields import LoadConfig
from studio.engines.bench_run import curves, figures, progress, sweep_command
from studio.engines.engine import Engine, Figure, Point, Progress
from studio.jobs.rundir import RunDir

Load = TypeVar("Load", bound=LoadConfig)


class LoadEngine(Engine[Load]):
    """`workers/bench_sweep.py` in a tool's environment: the tool is run for every point."""

    def command(self, config: Load, place: Placement) -> Command:
        """Return `python bench_sweep.py sweep.json`; the settings lie beside the run."""
        return sweep_command(self.id, config, place)

    def resources(self, config: Load, has_gpu: bool) -> Resources:
        """No card: it only asks."""
        return Resources()

    @abstractmethod
    def stop(self, config: Load) -> tuple[StopStep, ...]:
        """Drop the point under way; those that are done stay. Whom to tell differs by tool."""

    def progress(self, run: RunDir) -> Progress | None:
        """Return the points done, and the seconds left."""
        return progress(run)

    def points(self, run: RunDir) -> Iterable[Point]:
        """Yield throughput and latency against the load, for each pair of lengths."""
        return curves(run)

    def results(self, run: RunDir) -> dict[str, Figure]:
        """Return the figures of every condition, over its repeats."""
        return figures(run)
