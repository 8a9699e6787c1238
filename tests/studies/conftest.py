"""A studio whose engines are fakes, and studies that run in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from studies.fakery import ENGINES, Sitting

from studio.core.settings import Settings
from studio.jobs.jobs import Jobs
from studio.studies import hands, runner
from studio.studio import Studio
from studio.telemetry import gpus, snapshot


@pytest.fixture
def faked(jobs: Jobs, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio with fake engines over an empty home; its runs are looked at by `jobs`."""
    monkeypatch.setattr(gpus, "_start_nvml", lambda: None)
    for reading in (snapshot.gpus, snapshot.cards, snapshot.host, snapshot.driver):
        reading.cache_clear()
    monkeypatch.setattr(hands, "POLL_S", 0.03)
    monkeypatch.setattr(runner, "PROGRESS_S", 0.1)
    made = Studio(settings)
    made.__dict__["engines"] = {cls.id: cls() for cls in ENGINES}
    return made


@pytest.fixture
def sit(faked: Studio, tmp_path: Path) -> Iterator[Callable[..., Sitting]]:
    """Begin a study: `sit(cases={...}, repeats=1).ended()`."""
    begun: list[Sitting] = []

    def begin(**settings: Any) -> Sitting:
        begun.append(Sitting(faked, tmp_path / "sittings", settings).start())
        return begun[-1]

    yield begin
    for sitting in begun:
        sitting.runner.halt()
        sitting.ended()
