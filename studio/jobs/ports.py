"""Ports are reserved per run, so that two launches never race for one."""

from __future__ import annotations

import socket
import time

from studio.core.errors import PortTaken
from studio.jobs.shim import porthold
from studio.jobs.store import Store

FIRST_PORT = 8000
LAST_PORT = 8999
FRESH_S = 60.0
"""How long a reservation holds before its run must exist."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a server could listen on the port now, and no studio's run has claimed it."""
    if porthold.claimed(port):
        return False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def first_free(start: int, host: str = "127.0.0.1", tries: int = 100) -> int:
    """Return the first port from `start` on that nobody listens on; raise PortTaken if none."""
    for port in range(start, min(start + tries, 65536)):
        if is_free(port, host):
            return port
    raise PortTaken(
        f"No free port between {start} and {start + tries - 1}.", hint="Choose one with --port."
    )


def reserve(store: Store, run_id: str, alive: set[str], wanted: int | None, host: str) -> int:
    """Reserve `wanted`, or the next free port, for a run; drop reservations of ended runs."""
    now = time.time()
    with store.transaction() as db:
        for row in db.execute("SELECT * FROM ports").fetchall():
            if row["run_id"] not in alive and now - row["at"] > FRESH_S:
                db.execute("DELETE FROM ports WHERE port = ?", (row["port"],))
        taken = {row["port"]: row["run_id"] for row in db.execute("SELECT * FROM ports")}
        if wanted is not None and wanted in taken:
            raise PortTaken(
                f"Port {wanted} is reserved for run {taken[wanted]}.",
                hint="Stop that run, choose another port, or leave the port empty.",
            )
        if wanted is not None and not is_free(wanted, host):
            raise PortTaken(
                f"Port {wanted} is in use by another program.",
                hint="Choose another port, or leave the port empty to take the next free one.",
            )
        port = wanted
        if port is None:
            free = (p for p in range(FIRST_PORT, LAST_PORT) if p not in taken and is_free(p, host))
            port = next(free, None)
        if port is None:
            raise PortTaken(f"No free port between {FIRST_PORT} and {LAST_PORT}.")
        db.execute("INSERT INTO ports(port, run_id, at) VALUES(?,?,?)", (port, run_id, now))
    return port


def peek(store: Store, host: str = "127.0.0.1") -> int:
    """Return the port that the next reservation would get, for a preview."""
    taken = {row["port"] for row in store.rows("SELECT port FROM ports")}
    for port in range(FIRST_PORT, LAST_PORT):
        if port not in taken and is_free(port, host):
            return port
    return FIRST_PORT


def release(store: Store, run_id: str) -> None:
    """Give a run's port back."""
    with store.transaction() as db:
        db.execute("DELETE FROM ports WHERE run_id = ?", (run_id,))
