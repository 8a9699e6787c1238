"""The run folder as supervisors write it: append-only events and metrics, one result."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from studio.jobs.shim import procs

RESERVE_BYTES = 8192


class RunFiles:
    """Writer of `pid.json`, `events.jsonl`, the two `.jsonl` of figures and `result.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._reserve = folder / ".result.tmp"

    def read_spec(self) -> dict:
        """Return the frozen spec."""
        return json.loads((self.folder / "spec.json").read_text())

    def announce(self, pid: int, start: int, boot: str) -> None:
        """Put the supervisor on record and set room for the result aside, should the disk fill."""
        replace_json(self.folder / "pid.json", {"pid": pid, "start": start, "boot": boot})
        self._reserve.write_text(" " * RESERVE_BYTES)

    def event(self, phase: str, **facts: object) -> None:
        """Append one event: a phase, the time and what belongs to it."""
        self._append("events.jsonl", {"at": time.time(), "phase": phase, **facts})

    def sample(self, facts: dict) -> None:
        """Append one sample of memory and load."""
        self._append("metrics.jsonl", facts)

    def served(self, row: dict) -> None:
        """Append one reading of a server's own figures."""
        self._write("served.jsonl", json.dumps(row, separators=(",", ":")) + "\n")

    def note(self, text: str) -> None:
        """Append a line of the studio's own to the log."""
        self._write("log.txt", f"[studio] {text}\n")

    def finish(self, result: dict) -> None:
        """Write the result, once; works on a full disk because its room was set aside."""
        target = self.folder / "result.json"
        if target.exists():
            return
        text = json.dumps(result, ensure_ascii=False)
        with open(self._reserve, "r+" if self._reserve.exists() else "w") as file:
            file.write(text.ljust(RESERVE_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._reserve, target)

    def stop_requests(self) -> list[dict]:
        """Return the stop requests made so far."""
        try:
            lines = (self.folder / "stop.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def _append(self, name: str, row: dict) -> None:
        self._write(name, json.dumps(row, ensure_ascii=False) + "\n")

    def _write(self, name: str, text: str) -> None:
        """Append; a full disk loses the line, never the run."""
        try:
            fd = os.open(self.folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        except OSError as error:
            os.write(2, f"[studio] {name}: {error}\n".encode())


def supervisor_of(folder: Path) -> procs.Identity | None:
    """Return who announced itself as a run's supervisor; None while nobody has."""
    try:
        row = json.loads((folder / "pid.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return procs.Identity(row["pid"], row["start"], row["boot"])


def replace_json(path: Path, value: object) -> None:
    """Write a JSON file whole: readers see the old one or the new one, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w") as file:
        json.dump(value, file, ensure_ascii=False)
    os.replace(temporary, path)
