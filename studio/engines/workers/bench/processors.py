"""How busy the programs around the cards are: the server's API process and the load generator.

Each handles tokens in one thread, its event loop, so one processor core is all it can use. Where
that core is busy all the time the cards wait for it, and no figure of theirs tells so. Linux tells
of every thread how long it ran and how long it waited for a core (/proc/PID/schedstat, in ns:
Documentation/scheduler/sched-stats.rst); elsewhere, and of servers on other machines, nothing is
told.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

PROC = Path("/proc")
ESTABLISHED = "01"
LOOKS = 3
"""How many looks search for the server's processes: not all have a connection at the first."""
LEAST_S = 0.5
"""A shorter time than this between the first and the last look tells nothing."""


class EventLoops:
    """The busiest API process of some servers, and the load generator, looked at now and then."""

    def __init__(self, urls: Iterable[str], generator: int | None = None) -> None:
        self._ports = {port for url in urls if (port := _own_port(url))}
        self._generator = generator
        self._searches = LOOKS
        self._serving: set[int] = set()
        self._looks: list[tuple[float, dict[int, float]]] = []

    def look(self) -> None:
        """Note how long each of them was busy until now."""
        if self._searches and self._ports:
            self._searches -= 1
            self._serving |= serving(self._ports) - {os.getpid()}
        pids = {*self._serving, *([self._generator] if self._generator else [])}
        if pids:
            self._looks.append((time.time(), busy_s(pids)))

    def figures(self, began: float, ended: float) -> dict[str, float]:
        """Return the shares of the time (unix seconds) that the event loops were busy, 0 to 1."""
        looks = [look for look in self._looks if began <= look[0] <= ended]
        serving = [share for pid in self._serving if (share := _share(pid, looks)) is not None]
        generator = _share(self._generator, looks) if self._generator else None
        return {
            **({"api_server_busy": max(serving)} if serving else {}),
            **({"generator_busy": generator} if generator is not None else {}),
        }


def serving(ports: set[int]) -> set[int]:
    """Return the processes that hold an open connection to one of these ports of this machine.

    Not those that listen: children that were forked hold that socket too, and serve nobody.
    """
    sockets = {f"socket:[{inode}]" for inode in _accepted(ports)}
    return {pid for pid in _pids() if sockets and not sockets.isdisjoint(_open(pid))}


def busy_s(pids: Iterable[int]) -> dict[int, float]:
    """Return how long the main thread of each process ran or waited for a core, in seconds."""
    found: dict[int, float] = {}
    for pid in pids:
        with contextlib.suppress(OSError, ValueError):
            ran, waited, *_ = (PROC / str(pid) / "schedstat").read_text().split()
            found[pid] = (int(ran) + int(waited)) / 1e9
    return found


def _share(pid: int, looks: list[tuple[float, dict[int, float]]]) -> float | None:
    seen = [(at, busy[pid]) for at, busy in looks if pid in busy]
    if len(seen) < 2 or (took := seen[-1][0] - seen[0][0]) < LEAST_S:
        return None
    return min(1.0, (seen[-1][1] - seen[0][1]) / took)


def _own_port(url: str) -> int | None:
    """Return the port of an address on this machine; None for any other."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with contextlib.suppress(ValueError):
        if host == "localhost" or ip_address(host).is_loopback or ip_address(host).is_unspecified:
            return parts.port
    return None


def _accepted(ports: set[int]) -> Iterator[str]:
    """Yield the inodes of the servers' ends of open connections."""
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (PROC / "net" / name).read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == ESTABLISHED and int(words[1].rpartition(":")[2], 16) in ports:
                    yield words[9]


def _pids() -> Iterator[int]:
    with contextlib.suppress(OSError):
        yield from (int(entry) for entry in os.listdir(PROC) if entry.isdecimal())


def _open(pid: int) -> Iterator[str]:
    """Yield what a process has open; nothing of a process that is not ours."""
    with contextlib.suppress(OSError), os.scandir(PROC / str(pid) / "fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                yield os.readlink(entry.path)
