"""Is an endpoint well? One short question, whose answer is kept for a while.

A page with many viewers may ask at every look: at most one question per endpoint and quarter of
a minute goes out, and nobody waits longer than a few seconds.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from studio.chat.client import list_models
from studio.chat.errors import EndpointFailed
from studio.chat.wire import Timeouts
from studio.core.spec import Endpoint

KEEP_S = 15.0
"""How long an answer is kept."""
PATIENCE = Timeouts(connect_s=2.0, first_s=3.0, gap_s=3.0)


@dataclass(frozen=True, kw_only=True)
class Health:
    """What an endpoint answered when it was asked for its models."""

    ok: bool
    latency_ms: float | None
    """From just before connecting to the whole list; None when it did not come."""
    models: tuple[str, ...] = ()
    error: EndpointFailed | None = None
    """Why it did not; a page finds its own words by the code."""


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    health: Health | None = None
    until: float = 0.0


class HealthChecks:
    """Answers by endpoint, shared by everybody who asks."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str], _Slot] = {}

    def health(self, endpoint: Endpoint) -> Health:
        """Return how an endpoint is, asking it unless somebody did just now."""
        with self._lock:
            slot = self._slots.setdefault((endpoint.base_url, endpoint.api_key), _Slot())
        with slot.lock:  # whoever comes meanwhile waits for the same answer
            if slot.health is None or time.monotonic() >= slot.until:
                slot.health = ask(endpoint)
                slot.until = time.monotonic() + self._keep_s
            return slot.health

    def known(self, endpoint: Endpoint) -> Health | None:
        """Return the last answer, however old, without asking; None when nobody has asked."""
        slot = self._slots.get((endpoint.base_url, endpoint.api_key))
        return slot.health if slot else None


def ask(endpoint: Endpoint) -> Health:
    """Ask an endpoint for its models, now."""
    began = time.perf_counter()
    try:
        models = list_models(endpoint, PATIENCE)
    except EndpointFailed as error:
        return Health(ok=False, latency_ms=None, error=error)
    return Health(ok=True, latency_ms=(time.perf_counter() - began) * 1000, models=models)
