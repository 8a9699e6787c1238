"""Read a server's Prometheus page every few seconds into rows that stay small for months.

A row of `served.jsonl` holds what changed since the row before, under the names of `figures`:

    {"at":1781.5,"values":{"running":3,"generation_tokens":81234,"ttft":{"0.06":41}}}

`"full": true` marks a row that holds everything, so that a reader may begin there: the first, one
every five minutes, and whenever a figure appears or a counter starts over. Histograms are counts
per bucket, not cumulative, by their upper bound. Empty values say that nothing changes: once when
it gets quiet, then once a minute.
"""

from __future__ import annotations

import socket
import threading
import time

from studio.jobs.shim.figures import Value, only_grows, read
from studio.jobs.shim.files import RunFiles
from studio.jobs.shim.probe import reachable

OFTEN_S, RARELY_S = 2.0, 12.0
"""Seconds between two readings, in the first hour and later."""
FIRST_S = 3600.0
HEARTBEAT_S = 60.0
FULL_S = 300.0
ANSWER_S = 8.0
"""Longest wait for one answer; a busy server is slow, and nobody else waits for it."""
MOST_BYTES = 8 * 2**20


class Scraper:
    """Reads in a thread of its own, so that a server which takes its time delays no stop."""

    def __init__(
        self, files: RunFiles, host: str, port: int, path: str, prefixes: tuple[str, ...]
    ) -> None:
        self._files = files
        self._where = (reachable(host), port, path)
        self._prefixes = prefixes
        self._over = threading.Event()

    def start(self) -> Scraper:
        """Begin to read."""
        threading.Thread(target=self._work, name="scrape", daemon=True).start()
        return self

    def stop(self) -> None:
        """Read no more; an answer that is still on its way is dropped."""
        self._over.set()

    def _work(self) -> None:
        rows, began = Rows(), time.monotonic()
        while not self._over.is_set():
            try:
                page = fetch(*self._where)
            except OSError:
                page = ""  # busy or gone: the supervisor's other eyes tell which
            row = rows.next(read(page, self._prefixes), time.time())
            if row is not None and not self._over.is_set():
                self._files.served(row)
            self._over.wait(OFTEN_S if time.monotonic() - began < FIRST_S else RARELY_S)


class Rows:
    """Turns readings into rows: what changed, now and then everything, nothing twice."""

    def __init__(self) -> None:
        self._last: dict[str, Value] = {}
        self._quiet = False
        self._told_at = self._full_at = 0.0

    def next(self, values: dict[str, Value], now: float) -> dict | None:
        """Return the row to write for a reading; None when there is nothing to say."""
        if not values:
            return None
        row: dict = {"at": round(now, 1)}
        if now - self._full_at >= FULL_S or _starts_over(self._last, values):
            row |= {"full": True, "values": values}
            self._full_at, quiet = now, False
        else:
            row["values"] = changed = _changed(self._last, values)
            quiet = not changed
            if quiet and self._quiet and now - self._told_at < HEARTBEAT_S:
                return None
        self._last, self._quiet, self._told_at = values, quiet, now
        return row


def fetch(host: str, port: int, path: str) -> str:
    """Return the page behind a path; raise OSError when it does not come in time."""
    until = time.monotonic() + ANSWER_S
    with socket.create_connection((host, port), timeout=ANSWER_S) as connection:
        request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = bytearray()
        while len(answer) < MOST_BYTES:
            connection.settimeout(max(0.01, until - time.monotonic()))
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise OSError(f"{path} did not answer 200")
    if b"transfer-encoding: chunked" in head.lower():
        body = _unchunked(body)
    return body.decode(errors="replace")


def _unchunked(body: bytes) -> bytes:
    """Join the chunks of an HTTP/1.1 body; one that was cut off ends where it ends."""
    whole = bytearray()
    while True:
        size, _, body = body.partition(b"\r\n")
        try:
            length = int(size.partition(b";")[0], 16)
        except ValueError:
            return bytes(whole)
        if length == 0:
            return bytes(whole)
        whole += body[:length]
        body = body[length + 2 :]


def _changed(old: dict[str, Value], new: dict[str, Value]) -> dict[str, Value]:
    changed: dict[str, Value] = {}
    for key, value in new.items():
        before = old[key]
        if value == before:
            continue
        if isinstance(value, dict) and isinstance(before, dict):
            value = {bound: n for bound, n in value.items() if n != before[bound]}
        changed[key] = value
    return changed


def _starts_over(old: dict[str, Value], new: dict[str, Value]) -> bool:
    """Tell whether figures came or went, or a counter fell because its engine began anew."""
    return old.keys() != new.keys() or any(_fell(key, old[key], new[key]) for key in new)


def _fell(key: str, before: Value, value: Value) -> bool:
    if isinstance(value, dict) and isinstance(before, dict):
        return value.keys() != before.keys() or any(value[b] < before[b] for b in value)
    if isinstance(value, dict) or isinstance(before, dict):
        return True
    return only_grows(key) and value < before
