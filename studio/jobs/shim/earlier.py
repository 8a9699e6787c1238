"""The runs that one comes after, as their folders tell: done, failed, or still going."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

from studio.jobs.shim import leases
from studio.jobs.shim.files import supervisor_of


def standing(runs: Path, after: Iterable[str]) -> tuple[str, str]:
    """Return `done`, `failed` or `waiting`, with a sentence for what is not done."""
    for other in after:
        folder = runs / other
        try:
            result = json.loads((folder / "result.json").read_text())
        except FileNotFoundError:
            if _supervised(folder):
                return "waiting", f"waiting for run {other}"
            return "failed", f"run {other}, which this one needs, was lost"
        if result["outcome"] != "done":
            return "failed", f"run {other}, which this one needs, {result['outcome']}"
    return "done", ""


def _supervised(folder: Path) -> bool:
    who = supervisor_of(folder)
    if who is None:
        return folder.exists() and time.time() - folder.stat().st_mtime < leases.STARTING_S
    return who.alive
