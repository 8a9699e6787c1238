"""Fixtures everyone uses: a home of one's own, fake engines, fake cards, and no survivors."""

from __future__ import annotations

import functools
import gc
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import certifi
import pytest
from typer import main as typer_main
from typer import testing

from studio.core.ids import new_id
from studio.core.settings import Settings
from studio.core.spec import Command, RunSpec
from studio.jobs import ports
from studio.jobs.jobs import Jobs, Run
from studio.jobs.shim import procs
from studio.ui.door import accounts

FAKES = Path(__file__).parent / "fakes"
SLOW = Path(__file__).parent / "e2e"
"""Real engines and real browsers; every test in it carries a mark that says so."""
BROWSER = "_browser.py"
"""How the names of files end in which every test is marked `browser`."""

FAST_WORKERS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run the fast subset in parallel: it mostly waits. Real engines go one after the other."""
    _keep_bytecode()
    _do_once_what_is_dear()
    if hasattr(config, "workerinput"):
        return
    option = config.option
    if _fast(config):
        _trust_nobody()
    if _fast(config) and getattr(option, "numprocesses", 0) is None and not option.usepdb:
        option.numprocesses = FAST_WORKERS
        option.dist = "loadfile"  # a page that a file serves is served once


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read the slow folder, or what drives a browser, for the fast subset.

    The folder's conftest sees to its marks, `pytest_collection_modifyitems` to the others.
    """
    slow = collection_path == SLOW or collection_path.name.endswith(BROWSER)
    return True if slow and _fast(config) else None


def _keep_bytecode() -> None:
    """Compile a file once; else each of hundreds of processes compiles the whole studio anew."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def _do_once_what_is_dear() -> None:
    """Build the same command line once for each process, and hash passwords in no time."""
    accounts.SCRYPT_COST = 2**4  # what is shipped: tests/ui/test_accounts.py
    typer_main.get_command = functools.cache(typer_main.get_command)
    testing._get_command = typer_main.get_command


def _trust_nobody() -> None:
    """Name one certificate as all there are: reading the usual 140 costs every client 20 ms.

    No test of the fast subset reaches the network, and what it starts speaks HTTP.
    """
    bundle = Path(certifi.where()).read_text(encoding="utf-8")
    mark = "-----END CERTIFICATE-----"
    one = Path(tempfile.gettempdir()) / f"ladder-one-certificate-{os.getuid()}.pem"
    half = one.with_suffix(f".{os.getpid()}")
    half.write_text(f"{bundle.partition(mark)[0]}{mark}\n", encoding="utf-8")
    half.replace(one)
    os.environ["SSL_CERT_FILE"] = str(one)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import without the garbage collector: nothing is garbage there, then or later.

    Later it looks more rarely: with all that is frozen it would take every look for a cheap one.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(100_000, 20, 100)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Let pytest look through all objects once for what nobody released, not twice."""
    gc.freeze()


def _fast(config: pytest.Config) -> bool:
    chosen = config.option.markexpr or ""
    return "not engine" in chosen and "not browser" in chosen


def free_port(start: int) -> int:
    """Return a free port; workers begin apart, since two that look at once would find the same."""
    return ports.first_free(start + 2000 * _worker())


def _worker() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave tests that need a card out unless `-m gpu` asks for them."""
    for item in items:
        if item.path.name.endswith(BROWSER):
            assert item.get_closest_marker("browser"), f"{item.nodeid} needs the mark browser"
    if "gpu" in (config.option.markexpr or ""):
        return
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing:
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


PATIENCE_MS = 60_000
"""How long a page is waited for: as long as a busy machine takes; a quick one does not notice."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Be patient in tests that drive a browser; Playwright's own 5 s are for a free machine."""
    if any(item.get_closest_marker("browser") for item in session.items):
        from playwright.sync_api import expect

        expect.set_options(timeout=PATIENCE_MS)


_homes = itertools.count()


@pytest.fixture(autouse=True)
def no_outside_help(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep tests away from the real home, real cards, the network and each other's ports."""
    if worker := _worker():
        monkeypatch.setattr(ports, "FIRST_PORT", 8000 + 200 * worker)
    for name in list(os.environ):
        if name.startswith("LADDER_") and not name.startswith("LADDER_TEST_"):
            monkeypatch.delenv(name)
    nobody = tmp_path_factory.getbasetemp() / f"nobody{next(_homes)}"  # made by whoever needs it
    monkeypatch.setenv("HOME", str(nobody))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose home is empty and temporary."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def jobs(settings: Settings) -> Iterator[Jobs]:
    """A door to runs; whatever still lives at the end is a failure of the test."""
    door = Jobs(settings)
    yield door
    left = {}
    for run in door.list():
        if run.state.alive:
            door.stop(run.id, now=True)
            door.wait(run.id, timeout_s=60)
        survivors = procs.marked(run.id)
        if survivors:
            left[run.spec.name] = survivors
    assert not left, f"processes outlived their runs: {left}"


@pytest.fixture
def fake_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give the machine cards through a fake nvidia-smi: `fake_cards({"used": 4}, ...)`."""
    table = tmp_path / "cards.json"
    monkeypatch.setenv("FAKE_CARDS", str(table))
    monkeypatch.setenv("PATH", f"{FAKES / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def put(*cards: dict[str, Any]) -> None:
        fresh = table.with_suffix(".new")
        fresh.write_text(json.dumps(list(cards)))
        fresh.replace(table)

    return put


WITH_PACKAGES = {"launch", "picture_chat"}
"""Fakes that import more than the standard library; looking for packages costs 15 ms a start."""


def fake(name: str, *arguments: object) -> tuple[str, ...]:
    """Return the argv of a fake engine."""
    alone = () if name in WITH_PACKAGES else ("-S",)
    return (sys.executable, *alone, str(FAKES / f"{name}.py"), *map(str, arguments))


def spec(name: str, *arguments: object, **fields: Any) -> RunSpec:
    """Return a spec that runs a fake engine."""
    return RunSpec(
        id=new_id(),
        name=name,
        engine="fake",
        command=Command(argv=fake(name, *arguments), env=fields.pop("env", {})),
        created_at=time.time(),
        **fields,
    )


def wait_log(run: Run, text: str, timeout_s: float = 60.0) -> None:
    """Wait until a run's log says `text`."""
    until = time.monotonic() + timeout_s
    while text not in run.dir.log.read_text(errors="replace"):
        assert time.monotonic() < until, f"{text!r} never came: {run.dir.log.read_text()[-500:]}"
        time.sleep(0.02)
