"""What a machine can still give: host memory within every limit, processor cores, cards.

Standard library only. Cards are read by whoever can (torch in the pipe, the vendor's tool in the
studio) and handed over as `Card`s; what is here is the host.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

GIB = 2**30
ROOT = Path("/")
CARDS_VARIABLE = "LADDER_IMAGE_CARDS"
"""Pretends that a CPU is cards of so many GiB: `24,24` are two of 24 GiB. For tests."""


@dataclass(frozen=True)
class Card:
    """One card as a process sees it that already has its CUDA context there."""

    index: int
    name: str
    total_bytes: int
    free_bytes: int
    """What that process can still allocate."""
    capability: float | None = None
    """CUDA compute capability (8.9); None when nobody knows."""


@dataclass(frozen=True)
class Machine:
    """Cards and host at one moment."""

    cards: tuple[Card, ...] = ()
    host_available_bytes: int = 0
    host_total_bytes: int = 0
    cores: int = 1
    cpu_flags: frozenset[str] = frozenset()
    """What the processor can do, as Linux says it (`avx512f`, `amx_bf16`, ...)."""
    pretended: bool = False
    """True when the cards are this CPU in disguise (`LADDER_IMAGE_CARDS`)."""
    imagined: bool = False
    """True for cards a person only thinks of: nothing else is held there."""

    def limited(self, card_gib: float | None) -> Machine:
        """Return the machine with no card giving more than `card_gib` in all."""
        if card_gib is None:
            return self
        most = int(card_gib * GIB)
        cards = (replace(card, free_bytes=min(card.free_bytes, most)) for card in self.cards)
        return replace(self, cards=tuple(cards))


def this_machine(
    cards: tuple[Card, ...] = (),
    *,
    max_card_memory_gib: float | None = None,
    max_host_memory_gib: float | None = None,
) -> Machine:
    """Return this machine with the cards it was told, within what a person allows."""
    told = cards or pretended_cards(os.environ)
    return Machine(
        cards=told,
        host_available_bytes=host_available(max_host_memory_gib),
        host_total_bytes=host_total(),
        cores=cores(),
        cpu_flags=cpu_flags(),
        pretended=bool(told) and not cards,
    ).limited(max_card_memory_gib)


def pretended_cards(env: Mapping[str, str]) -> tuple[Card, ...]:
    """Return the cards a test imagines; none without `LADDER_IMAGE_CARDS`."""
    sizes = [float(part) for part in env.get(CARDS_VARIABLE, "").split(",") if part.strip()]
    return tuple(
        Card(index, "CPU in disguise", int(gib * GIB), int(gib * GIB), None)
        for index, gib in enumerate(sizes)
    )


def host_available(max_gib: float | None = None, root: Path = ROOT) -> int:
    """Return the bytes a new process can get: of the machine, its control groups, a person's limit.

    A container's limit counts at every level above this process; its file pages count as free,
    since the kernel gives them back.
    """
    left = [_meminfo(root).get("MemAvailable", 0), *_cgroup_left(root)]
    if max_gib is not None:
        left.append(int(max_gib * GIB))
    return max(0, min(left))


def host_total(root: Path = ROOT) -> int:
    """Return the bytes of the machine's memory, or of the smallest limit around this process."""
    return min(_meminfo(root).get("MemTotal", 0), *(most for most, _, _ in _cgroups(root)), 2**63)


def cores() -> int:
    """Return the processor cores this process may use, a container's share of time counted."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = (ROOT / "sys/fs/cgroup/cpu.max").read_text().split()
        share = round(int(quota) / int(period)) if quota != "max" else usable
    except (OSError, ValueError):
        share = usable
    return max(1, min(usable or 1, share or 1))


def cpu_flags(root: Path = ROOT) -> frozenset[str]:
    """Return the processor's abilities; empty where Linux does not list them."""
    try:
        text = (root / "proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    line = next((row for row in text.splitlines() if row.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())


def _meminfo(root: Path) -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    try:
        rows = (root / "proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    told = (row.split() for row in rows if row.endswith(" kB"))
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in told}


def _cgroup_left(root: Path) -> Iterator[int]:
    for limit, used, pages in _cgroups(root):
        yield limit - used + pages


def _cgroups(root: Path) -> Iterator[tuple[int, int, int]]:
    """Yield limit, use and file pages of every control group with a limit around this process."""
    base = root / "sys/fs/cgroup"
    second, first = _group_paths(root)
    for folder in _upwards(base, second):
        row = _read_group(folder, "memory.max", "memory.current", ("inactive_file", "active_file"))
        if row is not None:
            yield row
    names = ("total_inactive_file", "total_active_file")
    for folder in _upwards(base / "memory", first):
        row = _read_group(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", names)
        if row is not None and row[0] < 2**60:
            yield row


def _group_paths(root: Path) -> tuple[str, str]:
    """Return this process's control group in version 2 and in version 1's memory tree."""
    second = first = ""
    try:
        rows = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return "", ""
    for row in rows:
        number, kinds, path = row.split(":", 2)
        if number == "0" and not kinds:
            second = path
        elif "memory" in kinds.split(","):
            first = path
    return second, first


def _upwards(base: Path, path: str) -> Iterator[Path]:
    """Yield the group's folder and those above it; a container often sees its own as the root."""
    parts = [part for part in path.split("/") if part and part != ".."]
    for depth in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:depth])


def _read_group(
    folder: Path, most: str, used: str, pages: tuple[str, ...]
) -> tuple[int, int, int] | None:
    try:
        limit = (folder / most).read_text().strip()
        if limit == "max":
            return None
        rows = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
        stat = {words[0]: int(words[1]) for words in rows if len(words) == 2}
        return int(limit), int((folder / used).read_text()), sum(stat.get(n, 0) for n in pages)
    except (OSError, ValueError):
        return None
