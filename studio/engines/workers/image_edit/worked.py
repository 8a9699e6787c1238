"""What worked on this machine before: the rung, those that failed with the reason, the seconds.

One JSON file, `worked.json` in the editor's state folder; an entry per machine, model, dtype and
limits. The pipe writes it, and the front only while there is no pipe. Standard library only.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .machine import GIB, Machine

FILE = "worked.json"
AGAIN_SHARE = 1.05
"""A rung that failed is tried again once a card has this much more free than it had then."""


@dataclass(frozen=True)
class Worked:
    """One entry."""

    rung: str = ""
    """The rung that made the last picture."""
    failed: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By rung: `reason`, `free` (bytes of each card then), `host`, `tokens`, `at`."""
    seconds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By rung: `load_s`, `encode_s`, `step_s`, `decode_s`, and `work` they were measured with."""

    def still_failed(self, machine: Machine, tokens: int = 0) -> dict[str, str]:
        """Return the rungs that failed with no less free than now, and the reasons.

        A rung that failed with more `tokens` than are asked for now has not failed for this.
        """
        now = sum(card.free_bytes for card in machine.cards)
        told = {}
        for rung, row in self.failed.items():
            then = sum(row.get("free") or [])
            grown = now > then * AGAIN_SHARE if machine.cards else _host_grown(row, machine)
            larger = tokens and int(row.get("tokens") or 0) > tokens
            if not grown and not larger:
                told[rung] = str(row.get("reason", ""))
        return told


def key_of(
    machine: Machine, model: str, dtype: str, gguf: str = "", limits: tuple[Any, ...] = ()
) -> str:
    """Return the name of an entry: the cards' names, the host, model, dtype, limits.

    The cards' sizes are left out, since tools differ in what they count.
    """
    cards = ",".join(card.name for card in machine.cards) or "cpu"
    host = f"host:{round(machine.host_total_bytes / GIB)}"
    kept = ":".join(str(limit) for limit in limits)
    return "|".join((cards, host, model, gguf, dtype, kept))


def read(state_dir: str | Path, key: str) -> Worked:
    """Return an entry; an empty one when there is none, or the file cannot be read."""
    row = _all(Path(state_dir)).get(key)
    if not isinstance(row, dict):
        return Worked()
    return Worked(
        rung=str(row.get("rung", "")),
        failed=dict(row.get("failed") or {}),
        seconds=dict(row.get("seconds") or {}),
    )


def note_worked(state_dir: str | Path, key: str, rung: str, seconds: Mapping[str, Any]) -> None:
    """Keep the rung that made a picture, and what it took; it has not failed any more."""
    table = _all(Path(state_dir))
    row = table.setdefault(key, {})
    row["rung"] = rung
    row.setdefault("failed", {}).pop(rung, None)
    before = row.setdefault("seconds", {}).get(rung, {})
    row["seconds"][rung] = {**before, **seconds}
    _write(Path(state_dir), table)


def note_failed(
    state_dir: str | Path,
    key: str,
    rung: str,
    reason: str,
    machine: Machine | None = None,
    *,
    tokens: int = 0,
) -> None:
    """Keep that a rung ran out of memory, with what was free when it was chosen.

    `tokens` are those of the picture it failed with (`Work.tokens`); 0 while loading.
    """
    table = _all(Path(state_dir))
    row = table.setdefault(key, {})
    row.setdefault("failed", {})[rung] = {
        "reason": reason,
        "free": [card.free_bytes for card in machine.cards] if machine else [],
        "host": machine.host_available_bytes if machine else 0,
        "tokens": tokens,
        "at": time.time(),
    }
    if row.get("rung") == rung:
        row["rung"] = ""
    _write(Path(state_dir), table)


def forget_failed(state_dir: str | Path, since: float) -> None:
    """Drop the failures noted after a moment: one impossible request is no fact of the machine."""
    table = _all(Path(state_dir))
    for row in table.values():
        failed = row.get("failed") or {}
        row["failed"] = {rung: told for rung, told in failed.items() if told.get("at", 0) < since}
    if table:
        _write(Path(state_dir), table)


def _host_grown(row: Mapping[str, Any], machine: Machine) -> bool:
    return machine.host_available_bytes > float(row.get("host") or 0) * AGAIN_SHARE


def _all(folder: Path) -> dict[str, Any]:
    try:
        table = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}


def _write(folder: Path, table: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f".{FILE}.{os.getpid()}"
    new.write_text(json.dumps(table, indent=1, ensure_ascii=False), encoding="utf-8")
    os.replace(new, folder / FILE)
