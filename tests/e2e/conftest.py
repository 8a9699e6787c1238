"""A studio with real engines. Environments are built once, into LADDER_TEST_HOME when it is set."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from studio.chat.client import Delta, Done, Sampling, stream
from studio.core.settings import ROOT, Settings
from studio.core.spec import Endpoint, State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.studio import Studio

BUILD_S = 1800
START_S = 600
LAUNCH_S = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test here without a mark: the fast subset does not read this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            marks = {mark.name for mark in item.iter_markers()}
            assert marks & {"engine", "browser"}, f"{item.nodeid} needs the mark engine or browser"


@pytest.fixture(scope="session")
def test_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home for real environments; they take minutes to build, so it may be kept."""
    kept = os.environ.get("LADDER_TEST_HOME")
    return Path(kept) if kept else tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def real_studio(test_home: Path) -> Iterator[Studio]:
    """A studio over that home; nothing may be left running at the end."""
    studio = Studio(Settings(home=test_home))
    yield studio
    for run in studio.jobs.list():
        if run.state.alive:
            studio.jobs.stop(run.id, now=True)
            studio.jobs.wait(run.id, timeout_s=60)
        assert procs.marked(run.id) == []


@pytest.fixture(scope="session")
def samples() -> list[dict[str, str]]:
    """The questions and answers the tiny model was trained on."""
    return json.loads((ROOT / "assets/data/smoke_zh_en.json").read_text(encoding="utf-8"))


def launched(
    studio: Studio, before: Collection[str], right: Callable[[Run], bool] = lambda run: True
) -> Run:
    """Return the run that a click has launched, once it is there; the page may show an old one."""
    until = time.monotonic() + LAUNCH_S
    while time.monotonic() < until:
        for run in studio.jobs.list():
            if run.id not in before and right(run):
                return run
        time.sleep(0.1)
    raise AssertionError("the launch made no run")


def ready(studio: Studio, run: Run) -> Run:
    """Wait until a server is ready, its environment's build included."""
    for build in run.spec.after:
        built = studio.jobs.wait(build, timeout_s=BUILD_S)
        assert built.state is State.DONE, built.dir.log.read_text()[-3000:]
    return studio.jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=START_S)


def endpoint_of(studio: Studio, run: Run, kind: str = "chat") -> Endpoint:
    """Return the endpoint a ready run offers."""
    return next(found for found in studio.endpoints(kind) if found.run_id == run.id)


def answer(endpoint: Endpoint, *turns: str, max_tokens: int | None = None) -> tuple[str, int, Done]:
    """Ask, with the turns so far; return the text, in how many pieces it came, and the figures."""
    roles = ("user", "assistant")
    messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate(turns)]
    pieces, done = [], None
    sampling = Sampling(temperature=0, max_tokens=max_tokens)
    with stream(endpoint, messages, sampling=sampling) as events:
        for event in events:
            if isinstance(event, Delta):
                pieces.append(event.text)
            elif isinstance(event, Done):
                done = event
    assert done is not None
    return "".join(pieces), len(pieces), done


def stopped(studio: Studio, run: Run) -> Run:
    """Stop a run and check that nothing of it is left."""
    studio.jobs.stop(run.id)
    run = studio.jobs.wait(run.id, timeout_s=120)
    assert run.state is State.STOPPED
    assert run.result["survivors"] == []
    assert procs.marked(run.id) == []
    return run
