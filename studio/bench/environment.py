"""The machine as results keep it: what somebody needs to know who reads the figures later."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import psutil

from studio import __version__
from studio.telemetry import snapshot


def environment(versions: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the `environment` of `about.json`; `versions` are those of the engines that measured.

    Keys: python, os, cpu, cores, host_memory_bytes, cards (names, one for each card), card_memory
    (bytes, one for each card), driver, versions.
    """
    cards = snapshot.cards().get()
    return {
        "python": platform.python_version(),
        "os": _system(),
        "cpu": _processor(),
        "cores": psutil.cpu_count() or 1,
        "host_memory_bytes": psutil.virtual_memory().total,
        "cards": [card.name for card in cards],
        "card_memory": [card.total_bytes for card in cards],
        "driver": snapshot.driver().get().version,
        "versions": {"ladder-studio": __version__, **(versions or {})},
    }


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = platform.system()
    return f"{name} ({platform.system()} {platform.release()})"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    told = (line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line)
    return next(told, platform.processor() or platform.machine())
