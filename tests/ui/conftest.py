"""Fixtures of the page: a studio without an engine, and the page served for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from conftest import free_port

from studio.core.settings import Settings
from studio.studio import Studio
from studio.telemetry import gpus, snapshot
from studio.ui.page.launch import launch_page
from studio.ui.tab import Tab

if TYPE_CHECKING:
    from studio.ui.page.shell import Served


@pytest.fixture(autouse=True)
def no_real_cards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Read cards through the tools on PATH only, and afresh in every test."""
    monkeypatch.setattr(gpus, "_start_nvml", lambda: None)
    for reading in (snapshot.gpus, snapshot.cards, snapshot.host, snapshot.driver):
        reading.cache_clear()
    yield
    for reading in (snapshot.gpus, snapshot.cards, snapshot.host, snapshot.driver):
        reading.cache_clear()


@pytest.fixture
def studio(settings: Settings) -> Studio:
    """A studio over an empty home."""
    return Studio(settings.model_copy(update={"port": free_port(17860)}))


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio over an empty home, the same for every test of a file."""
    return Studio(Settings(home=tmp_path_factory.mktemp("home"), port=free_port(17860)))


@pytest.fixture(scope="module")
def opened(lasting: Studio) -> Iterator[Served]:
    """The small page of that studio without accounts, served once for a file."""
    from ui.pages import small_tabs  # imports Gradio, which `launch_page` has to set up first

    served = launch_page(lasting, small_tabs())
    yield served
    served.close()


@pytest.fixture
def serve(studio: Studio) -> Iterator[Callable[..., Served]]:
    """Serve tabs for real; everything is closed in the end."""
    served: list[Served] = []

    from ui.pages import small_tabs  # imports Gradio, which `launch_page` has to set up first

    def open_page(tabs: list[Tab] | None = None, **how: Any) -> Served:
        served.append(launch_page(studio, small_tabs() if tabs is None else tabs, **how))
        return served[-1]

    yield open_page
    for page in served:
        page.close()
