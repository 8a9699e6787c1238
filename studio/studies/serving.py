"""A server for the measures that need one: brought up, handed over when ready, taken down."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from studio.core.errors import EngineExited, StudioError
from studio.core.spec import Endpoint
from studio.jobs.jobs import Run
from studio.replicas import ROUTER
from studio.studies.cells import Cell
from studio.studies.desk import Desk
from studio.studies.hands import POLL_S, TAKEN_PORT
from studio.studies.record import Phase

ROUTER_S = 120.0
"""How long a router may take to see all of its copies once they are ready."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers."""

    runs: tuple[Run, ...]
    """The server; with copies the router first."""
    endpoint: Endpoint
    startup_s: float
    """From the start of its process to ready; with copies, of the slowest."""
    adopted: bool
    """True when an earlier runner had launched it."""


@contextmanager
def serving(desk: Desk, cell: Cell) -> Iterator[Server]:
    """Bring a cell's server up, hand it over once it answers, and stop it whatever happens.

    Raises EngineExited when it fails as often as the study allows, StudioError past a deadline.
    """
    runs: list[Run] = []
    try:
        yield _up(desk, cell, runs)
    finally:
        if runs:
            desk.say(cell, Phase.STOPPING)
            desk.hands.stop_all(runs)


def ended(desk: Desk, server: Server) -> list[Run]:
    """Return the server's runs with their results, after it was stopped; the router left out."""
    runs = [desk.studio.jobs.get(run.id) for run in server.runs]
    return [run for run in runs if run.spec.engine != ROUTER] or runs


def _up(desk: Desk, cell: Cell, runs: list[Run]) -> Server:
    """Launch until one attempt is ready; `runs` always holds what is to be stopped."""
    attempt = 1
    while True:
        try:
            return _attempt(desk, cell, runs)
        except EngineExited as error:
            again = attempt < desk.config.attempts
            if TAKEN_PORT in error.message:
                again = attempt < max(2, desk.config.attempts)
            if not again:
                raise
            desk.say(cell, Phase.STARTING, f"tried again: {error.message}")
            desk.hands.stop_all(runs)
            runs.clear()
            attempt += 1


def _attempt(desk: Desk, cell: Cell, runs: list[Run]) -> Server:
    begun, name, config = time.time(), f"{cell.slug}.server", desk.config
    if cell.copies > 1:
        taken = desk.hands.take_copies(cell.launch, name, cell.copies, cell.policy)
    else:
        taken = [desk.hands.take(cell.launch, name)]
    runs.extend(taken)
    desk.say(cell, Phase.WAITING, run=taken[0].id)
    for run in taken:
        if run.spec.engine == ROUTER and cell.copies > 1:
            continue
        desk.hands.started(
            run, config.queue_timeout_s, lambda run: desk.say(cell, Phase.WAITING, run.reason)
        )
        desk.say(cell, Phase.STARTING)
    for run in [*taken[1:], taken[0]]:
        desk.hands.ready(run, config.ready_timeout_s)
    if cell.copies > 1:
        _all_seen(desk, taken[0], cell.copies)
    return Server(
        runs=tuple(taken),
        endpoint=_endpoint(desk, taken[0]),
        startup_s=max(_startup_s(run) for run in taken[1:] or taken),
        adopted=any(run.spec.created_at < begun - 1 for run in taken),
    )


def _endpoint(desk: Desk, run: Run) -> Endpoint:
    offer = run.spec.endpoint
    for endpoint in desk.studio.endpoints(offer.kind if offer else "chat"):
        if endpoint.run_id == run.id:
            return endpoint
    raise StudioError(f"Run {run.id} is ready and offers nothing that can be asked.")


def _all_seen(desk: Desk, router: Run, copies: int) -> None:
    """Wait until the router hands requests to every copy; raise StudioError if it never does."""
    until = time.monotonic() + ROUTER_S
    while True:
        desk.hands.check()
        told: dict[str, float] = {}
        for reading in router.dir.served():
            told |= reading["values"]
        if told.get("vllm_router_worker_health", 0) >= copies:
            return
        if time.monotonic() > until:
            raise StudioError(f"The router did not take in {copies} copies in {ROUTER_S:.0f} s.")
        desk.hands.halt.wait(POLL_S)


def _startup_s(run: Run) -> float:
    at = {row["phase"]: row["at"] for row in run.dir.events()}
    return at.get("ready", time.time()) - at.get("running", run.spec.created_at)
