"""The host's memory, as if it were a card: what is planned for where there is none."""

from __future__ import annotations

import psutil

from studio.planner.result import CardMemory


def host_memory(free: int | None, total: int | None) -> CardMemory:
    """Return the host's memory in bytes; this machine's own where a figure is not given."""
    memory = psutil.virtual_memory()
    free = memory.available if free is None else free
    total = total or max(memory.total, free)
    return CardMemory(-1, "", total, total - free)
