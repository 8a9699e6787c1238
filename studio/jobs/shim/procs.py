"""Facts about processes, read from /proc. Identity is (pid, start time, boot), never a name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MARK = "STUDIO_RUN_ID"
"""Environment variable that every process of a run inherits."""

SUPERVISOR = "/supervisor"
"""What follows the run's id in the mark of its supervisor, which is no process of the run."""


class Stat(NamedTuple):
    """The few fields of /proc/PID/stat that matter here."""

    pid: int
    ppid: int
    pgrp: int
    state: str
    start: int
    """Start time in clock ticks since boot."""


class Identity(NamedTuple):
    """Names one process for ever, also when its pid is used again."""

    pid: int
    start: int
    boot: str

    @property
    def alive(self) -> bool:
        """True while this very process exists and is not a zombie."""
        found = stat(self.pid)
        return (
            found is not None
            and found.start == self.start
            and found.state not in "ZX"
            and self.boot == boot_id()
        )


def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def stat(pid: int) -> Stat | None:
    """Read one process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, ValueError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(pid, int(fields[1]), int(fields[2]), fields[0], int(fields[19]))


def identify(pid: int) -> Identity | None:
    """Return the identity of a live pid."""
    found = stat(pid)
    return Identity(pid, found.start, boot_id()) if found else None


def pids() -> list[int]:
    """List every process id."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def descendants(root: int, run_id: str = "") -> list[Stat]:
    """Return the live processes below `root`, parents first; zombies are left out.

    With `run_id` also those are left out, with all below them, that carry another run's mark:
    a run may launch runs, and their supervisors are its descendants without belonging to it.
    """
    tree: list[Stat] = []
    children = _children()
    level = children.get(root, [])
    while level:
        if run_id:
            level = [one for one in level if environ(one.pid).get(MARK, run_id) == run_id]
        tree += level
        level = [child for parent in level for child in children.get(parent.pid, [])]
    return [found for found in tree if found.state not in "ZX"]


def supervisors(root: int) -> dict[str, Stat]:
    """Return the live supervisors of other runs below `root`, by the ids of their runs."""
    found = {}
    for entry in descendants(root):
        run_id, sign, rest = environ(entry.pid).get(MARK, "").partition(SUPERVISOR)
        if sign and not rest:
            found[run_id] = entry
    return found


def environ(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty when it cannot be read."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, _, value in pairs}


def _children() -> dict[int, list[Stat]]:
    children: dict[int, list[Stat]] = {}
    for pid in pids():
        found = stat(pid)
        if found is not None:
            children.setdefault(found.ppid, []).append(found)
    return children


def ranks(tree: Iterable[Stat]) -> list[tuple[Stat, int]]:
    """Return the topmost processes to which a torch launcher gave a LOCAL_RANK.

    Each with the WORLD_SIZE it was told, 0 when it was told none.
    """
    found: dict[int, tuple[Stat, int]] = {}
    for entry in tree:
        told = environ(entry.pid)
        if "LOCAL_RANK" in told:
            world = told.get("WORLD_SIZE", "")
            found[entry.pid] = (entry, int(world) if world.isdigit() else 0)
    return [pair for pair in found.values() if pair[0].ppid not in found]


def marked(run_id: str) -> list[Stat]:
    """Return the live processes whose environment carries this run's mark."""
    needle = f"{MARK}={run_id}".encode()
    found = []
    for pid in pids():
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if needle in raw.split(b"\0"):
            entry = stat(pid)
            if entry is not None and entry.state not in "ZX" and pid != os.getpid():
                found.append(entry)
    return found


def send(targets: Iterable[Stat], number: int) -> None:
    """Signal each process that is still the one we saw; never a pid below 2, never ourselves."""
    for target in targets:
        if target.pid < 2 or target.pid == os.getpid():
            continue
        now = stat(target.pid)
        if now is None or now.start != target.start:
            continue
        try:
            os.kill(target.pid, number)
        except ProcessLookupError:
            continue


def sweep(run_id: str, *, deadline_s: float = 5.0) -> list[int]:
    """Kill what still carries a run's mark and return the pids that would not go."""
    until = time.monotonic() + deadline_s
    while True:
        left = [entry for entry in marked(run_id)]
        if not left or time.monotonic() > until:
            return [entry.pid for entry in left]
        send(left, signal.SIGKILL)
        time.sleep(0.05)


WALKED_BYTES = 2**28
"""Largest process whose pages are walked for its proportional share: 40 ms for each GiB, in which
it cannot map memory. A training of 44 GiB would stand still for two seconds."""


def memory_bytes(tree: Iterable[int]) -> int:
    """Return the memory of some processes in bytes, what they share counted once.

    Small processes by their proportional set size. Of large ones the private memory is added up,
    and of what they map from files or share the largest part is taken, since workers of one engine
    map the same. Both are exact for one process; neither stops a large one.
    """
    total = shared = 0
    for pid in tree:
        own, mapped = _resident(pid)
        if own + mapped <= WALKED_BYTES:
            total += _pss_bytes(pid)
        else:
            total += own
            shared = max(shared, mapped)
    return total + shared


def listens(tree: Iterable[int], port: int) -> bool:
    """Tell whether one of the processes holds a listening TCP socket on `port`."""
    inodes = _listening_inodes(port)
    if not inodes:
        return False
    for pid in tree:
        try:
            for entry in os.scandir(f"/proc/{pid}/fd"):
                try:
                    if os.readlink(entry.path) in inodes:
                        return True
                except OSError:
                    continue
        except OSError:
            continue
    return False


def _resident(pid: int) -> tuple[int, int]:
    """Return a process's private resident bytes, and those mapped from files or shared."""
    try:
        rows = dict(
            line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        kib = {key: int(rows[key].split()[0]) for key in ("RssAnon", "RssFile", "RssShmem")}
    except (OSError, ValueError, KeyError):
        return 0, 0
    return kib["RssAnon"] * 1024, (kib["RssFile"] + kib["RssShmem"]) * 1024


def _pss_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found
