"""Cards are leased in SQLite, oldest request first, so that the queue needs no daemon.

Every waiting supervisor calls `claim` in turn. A request is granted when, after everything older
has been given what it can have, enough idle cards are left; cards that an older request is still
waiting for are set aside, so nobody starves and disjoint requests run side by side.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from studio.jobs.shim import cards as gpu
from studio.jobs.shim import procs

STARTING_S = 30.0
"""How long a queued row may lack a supervisor before it counts as dead."""


def connect(database: Path) -> sqlite3.Connection:
    """Open the database with a patient lock and explicit transactions."""
    db = sqlite3.connect(database, timeout=30.0, isolation_level=None)
    db.row_factory = sqlite3.Row
    return db


def enlist(db: sqlite3.Connection, run_id: str, me: procs.Identity) -> None:
    """Put this supervisor's identity on its place in the queue."""
    db.execute(
        "UPDATE waiting SET shim_pid = ?, shim_start = ?, boot = ? WHERE run_id = ?",
        (me.pid, me.start, me.boot, run_id),
    )


def claim(
    db: sqlite3.Connection,
    run_id: str,
    me: procs.Identity,
    now: float,
    read: Callable[[], list[gpu.Card]] = gpu.read_cards,
) -> tuple[list[gpu.Card], str]:
    """Try to lease this run's cards; return them, or an empty list and what it waits for."""
    _drop_dead(db, now)
    seen = read()
    db.execute("BEGIN IMMEDIATE")
    try:
        leased = {row["card"] for row in db.execute("SELECT card FROM leases")}
        strangers = [c.index for c in seen if c.index not in leased and gpu.filled_by_stranger(c)]
        free = [c.index for c in seen if c.index not in leased and c.index not in strangers]
        granted, reason = _serve(db, run_id, free, [c.index for c in seen])
        if granted:
            db.executemany(
                "INSERT INTO leases(card, run_id, shim_pid, shim_start, boot) VALUES(?,?,?,?,?)",
                [(card, run_id, me.pid, me.start, me.boot) for card in granted],
            )
            db.execute("DELETE FROM waiting WHERE run_id = ?", (run_id,))
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    if not granted and strangers:
        reason += f"; card {_join(strangers)} is used by somebody else"
    return [card for card in seen if card.index in granted], reason


def release(db: sqlite3.Connection, run_id: str) -> None:
    """Give a run's cards and its place in the queue back."""
    db.execute("DELETE FROM leases WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM waiting WHERE run_id = ?", (run_id,))


def _serve(
    db: sqlite3.Connection, run_id: str, free: list[int], all_cards: list[int]
) -> tuple[list[int], str]:
    """Walk the queue, oldest first, until it is this run's turn."""
    left = list(free)
    ahead = 0
    for row in db.execute("SELECT * FROM waiting ORDER BY seq"):
        pinned = json.loads(row["pinned"]) if row["pinned"] else None
        wanted = pinned if pinned is not None else left[: row["num_gpus"]]
        fits = all(card in left for card in wanted) and len(wanted) == row["num_gpus"]
        if row["run_id"] == run_id:
            if fits:
                return list(wanted), ""
            return [], _reason(row["num_gpus"], pinned, len(free), len(all_cards), ahead)
        ahead += 1  # noqa: SIM113 - counts those that went before, not all
        aside = wanted if fits or pinned is not None else left
        left = [card for card in left if card not in aside]
    return [], "its place in the queue is gone"


def _reason(count: int, pinned: list[int] | None, free: int, total: int, ahead: int) -> str:
    what = f"card {_join(pinned)}" if pinned is not None else f"{count} idle card(s)"
    tail = f", {ahead} run(s) ahead" if ahead else ""
    return f"waiting for {what}: {free} of {total} idle{tail}"


def _drop_dead(db: sqlite3.Connection, now: float) -> None:
    """Forget queue places and leases whose supervisor is gone, after sweeping what it left."""
    for row in db.execute("SELECT * FROM waiting").fetchall():
        alive = _identity(row).alive if row["shim_pid"] else now - row["created_at"] < STARTING_S
        if not alive:
            db.execute("DELETE FROM waiting WHERE run_id = ?", (row["run_id"],))
    for row in db.execute("SELECT * FROM leases").fetchall():
        if not _identity(row).alive and not procs.sweep(row["run_id"]):
            db.execute("DELETE FROM leases WHERE run_id = ?", (row["run_id"],))


def _identity(row: sqlite3.Row) -> procs.Identity:
    return procs.Identity(row["shim_pid"], row["shim_start"], row["boot"])


def _join(numbers: list[int]) -> str:
    return ", ".join(str(number) for number in numbers)
