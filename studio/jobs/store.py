"""The SQLite file: an index of runs, the queue, leases, ports, environments, endpoints.

It never holds a run's state: that is reconciled from the run folder at every look.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core.errors import HomeUnusable

Migration = Callable[[sqlite3.Connection], None]
MIGRATIONS: list[Migration] = []


def migration(step: Migration) -> Migration:
    """Register a step; steps run once each, in the order they are written here."""
    MIGRATIONS.append(step)
    return step


@migration
def m001_runs_and_queue(db: sqlite3.Connection) -> None:
    """Index of runs, the FIFO queue, leases of cards, reserved ports."""
    db.execute(
        "CREATE TABLE runs(id TEXT PRIMARY KEY, name TEXT NOT NULL, engine TEXT NOT NULL,"
        " recipe TEXT, serves INTEGER NOT NULL, created_at REAL NOT NULL)"
    )
    db.execute(
        "CREATE TABLE waiting(seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT UNIQUE NOT NULL,"
        " num_gpus INTEGER NOT NULL, pinned TEXT, created_at REAL NOT NULL,"
        " shim_pid INTEGER, shim_start INTEGER, boot TEXT)"
    )
    db.execute(
        "CREATE TABLE leases(card INTEGER PRIMARY KEY, run_id TEXT NOT NULL,"
        " shim_pid INTEGER NOT NULL, shim_start INTEGER NOT NULL, boot TEXT NOT NULL)"
    )
    db.execute("CREATE TABLE ports(port INTEGER PRIMARY KEY, run_id TEXT NOT NULL, at REAL)")


@migration
def m002_environments_and_endpoints(db: sqlite3.Connection) -> None:
    """Adopted interpreters and external endpoints; built environments describe themselves."""
    db.execute(
        "CREATE TABLE adopted(name TEXT PRIMARY KEY, python TEXT NOT NULL,"
        " pythonpath TEXT NOT NULL, versions TEXT NOT NULL, verified_at REAL NOT NULL)"
    )
    db.execute(
        "CREATE TABLE endpoints(id TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL,"
        " base_url TEXT NOT NULL, api_key TEXT NOT NULL, created_at REAL NOT NULL)"
    )


class Store:
    """Short-lived connections to one database file; safe from any thread and process."""

    def __init__(self, database: Path) -> None:
        self._database = database
        with self.transaction() as db:
            done = db.execute("PRAGMA user_version").fetchone()[0]
            if done > len(MIGRATIONS):
                raise HomeUnusable(
                    f"{database} was written by a newer Ladder Studio (schema {done}).",
                    hint="Update the studio, or choose another home with --home.",
                )
            for number, step in enumerate(MIGRATIONS[done:], done + 1):
                step(db)
                db.execute(f"PRAGMA user_version = {number}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside BEGIN IMMEDIATE; commit at the end, roll back on an error."""
        try:
            db = sqlite3.connect(self._database, timeout=30.0, isolation_level=None)
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        db.row_factory = sqlite3.Row
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        finally:
            db.close()

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """Run a query that only reads."""
        try:
            db = sqlite3.connect(self._database, timeout=30.0, isolation_level=None)
            db.row_factory = sqlite3.Row
            try:
                return db.execute(query, values).fetchall()
            finally:
                db.close()
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: sqlite3.Error) -> HomeUnusable:
        return HomeUnusable(
            f"The studio's database {self._database} cannot be used: {error}.",
            hint="Check the disk and the file's owner. Runs are safe in their folders; moving "
            "the file away makes the studio start a new index.",
        )
