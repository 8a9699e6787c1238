"""The machine the load comes from, for `about.json`: what somebody needs to compare results."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .cards import Cards


def environment(packages: Iterable[str]) -> dict[str, Any]:
    """Return python, os, cpu, cores, memory, cards, driver and the versions of packages."""
    cards = Cards()
    return {
        "python": platform.python_version(),
        "os": f"{platform.system()} {platform.release()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "host_memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cards": cards.names(),
        "driver": cards.driver(),
        "versions": {name: told for name in packages if (told := package(name))},
    }


def package(name: str) -> str:
    """Return the version of a package; empty when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
