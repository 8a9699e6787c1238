"""A worker that a test turns by hand, and a desk in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from images.stand_in import StandIn

from studio.chat.desk import Person
from studio.images.desk import ImageDesk

ANN = Person("ann")
GUEST = Person("guest demo 0123456789abcdef", guest=True)
OTHER_GUEST = Person("guest demo fedcba9876543210", guest=True)


class Runs:
    """Folders of runs and whether they live, as `Studio` tells the desk."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[Path, bool]] = {}

    def __call__(self, run_id: str) -> tuple[Path, bool] | None:
        return self.known.get(run_id)


@pytest.fixture
def worker() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server


@pytest.fixture
def runs(tmp_path: Path, worker: StandIn) -> Runs:
    """The run that the worker is; its folder outlives it."""
    found = Runs()
    folder = tmp_path / "runs" / "run-1"
    (folder / "artifacts").mkdir(parents=True)
    worker.artifacts = folder / "artifacts"
    found.known["run-1"] = (folder, True)
    return found


@pytest.fixture
def new_desk(tmp_path: Path, worker: StandIn, runs: Runs) -> Callable[[], ImageDesk]:
    """Return what makes a desk over one home: another one is another process."""
    listed = [worker.endpoint]

    def make() -> ImageDesk:
        alive = runs.known.get("run-1", (None, False))[1]
        return ImageDesk(tmp_path / "images", lambda: listed if alive else [], runs)

    return make


@pytest.fixture
def desk(new_desk: Callable[[], ImageDesk]) -> ImageDesk:
    return new_desk()
