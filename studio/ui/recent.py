"""Answers kept for a moment, so that twenty viewers cost as much as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any

MOST_KEYS = 500


class Recent:
    """Makes a value at most once per `max_age_s` and key; makers of one key wait for each other."""

    def __init__(self, max_age_s: float = 1.0) -> None:
        self._max_age_s = max_age_s
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the kept value, or make it; what `make` raises is raised and nothing kept."""
        found = self._fresh(key)
        if found is not None:
            return found[1]
        with self._lock:
            if len(self._kept) > MOST_KEYS:
                self._kept.clear()
                self._making.clear()
            turn = self._making.setdefault(key, threading.Lock())
        with turn:
            found = self._fresh(key)
            if found is None:
                found = (time.monotonic(), make())
                with self._lock:
                    self._kept[key] = found
        return found[1]

    def _fresh(self, key: Hashable) -> tuple[float, Any] | None:
        with self._lock:
            found = self._kept.get(key)
        if found is None or time.monotonic() - found[0] > self._max_age_s:
            return None
        return found
