"""Is there room for a run: on the disk of its folder, and in the machine's memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from studio.core.errors import DiskFull, NotEnoughMemory
from studio.engines.engine import Room

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup")


def check_room(need: Room | None, home: Path) -> None:
    """Raise DiskFull or NotEnoughMemory, with both sizes, when a run would not fit now."""
    if need is None:
        return
    free = shutil.disk_usage(home).free
    if free < need.disk_bytes:
        raise DiskFull(
            f"The result takes about {need.disk_bytes / GIB:.1f} GiB and the disk of {home} has "
            f"{free / GIB:.1f} GiB left.",
            hint="Delete runs or checkpoints you no longer need, or move the home with --home.",
        )
    available = free_memory()
    if available < need.memory_bytes:
        raise NotEnoughMemory(
            f"This takes about {need.memory_bytes / GIB:.1f} GiB of memory and "
            f"{available / GIB:.1f} GiB are free: the kernel would kill it.",
            hint="Stop runs that hold memory, choose a smaller dtype, or use a card.",
        )


def free_memory(cgroup: Path = CGROUP) -> int:
    """Return the bytes a new process can get: of the machine, and of a container's limit.

    Pages of the container that are only file cache count as free (`inactive_file`).
    """
    machine = psutil.virtual_memory().available
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        if limit == "max":
            return machine
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        return min(machine, int(limit) - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return machine
