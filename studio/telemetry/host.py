"""The machine besides its cards: processor, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, kw_only=True)
class Host:
    """Processor, memory and the disk of the home at one moment. Loads run from 0 to 1."""

    cpu: float
    num_cpus: int
    ram_total_bytes: int
    ram_used_bytes: int
    disk_total_bytes: int
    disk_free_bytes: int

    @property
    def ram(self) -> float:
        """Share of the memory in use."""
        return self.ram_used_bytes / self.ram_total_bytes if self.ram_total_bytes else 0.0


def read_host(home: Path) -> Host:
    """Return the machine's load since the last call of this process; the first call tells 0."""
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(home))
    return Host(
        cpu=psutil.cpu_percent(interval=None) / 100,
        num_cpus=psutil.cpu_count() or 1,
        ram_total_bytes=memory.total,
        ram_used_bytes=memory.total - memory.available,
        disk_total_bytes=disk.total,
        disk_free_bytes=disk.free,
    )
