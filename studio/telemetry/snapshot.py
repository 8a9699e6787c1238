"""One reading of the machine for everybody who looks: twenty viewers cost as much as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from studio.telemetry.gpus import Driver, Gpu, Gpus
from studio.telemetry.host import Host, read_host

T = TypeVar("T")

FRESH_S = 1.0


@dataclass(frozen=True)
class _Held(Generic[T]):
    value: T
    at: float


@cache
def gpus() -> Gpus:
    """Return this process's one reader of the cards."""
    return Gpus()


@cache
def cards() -> Shared[list[Gpu]]:
    """Return the shared reading of the cards."""
    return Shared(gpus().read)


@cache
def driver() -> Shared[Driver]:
    """Return the shared reading of the driver, which changes only with a reboot."""
    return Shared(gpus().driver, fresh_s=3600.0)


@cache
def host(home: Path) -> Shared[Host]:
    """Return the shared reading of the machine and of the disk that `home` is on."""
    return Shared(lambda: read_host(home))


class Shared(Generic[T]):
    """Remembers a reading for a second.

    While one caller renews an old reading, the others get the old one at once, so a slow tool
    holds nobody up; only the very first reading is waited for.
    """

    def __init__(self, read: Callable[[], T], *, fresh_s: float = FRESH_S) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._held: _Held[T] | None = None

    def get(self) -> T:
        """Return the reading, renewed when it is old."""
        held = self._held
        if held is not None and time.monotonic() - held.at < self._fresh_s:
            return held.value
        if not self._lock.acquire(blocking=held is None):
            assert held is not None  # only a first reading is waited for
            return held.value
        try:
            held = self._held
            if held is None or time.monotonic() - held.at >= self._fresh_s:
                held = _Held(self._read(), time.monotonic())
                self._held = held
            return held.value
        finally:
            self._lock.release()
