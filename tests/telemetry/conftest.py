"""Telemetry is read through fake tools here, never from this machine's cards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from studio.telemetry import gpus, snapshot


@pytest.fixture(autouse=True)
def no_real_cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read cards through the tools on PATH only, and afresh in every test."""
    monkeypatch.setattr(gpus, "_start_nvml", lambda: None)
    readings = (snapshot.gpus, snapshot.cards, snapshot.host, snapshot.driver)
    for reading in readings:
        reading.cache_clear()
    yield
    for reading in readings:
        reading.cache_clear()
