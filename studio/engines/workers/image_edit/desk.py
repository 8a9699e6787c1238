"""The desk: takes jobs, lets users take turns, runs one at a time, remembers what is over."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from .estimates import Estimates
from .job import Job, replace_json
from .log import say
from .refused import Refused

MOST_QUEUED = 64
REMEMBERED = 500
"""Jobs that are over and can still be asked for."""
REMEMBERED_S = 24 * 3600.0


class Desk:
    """Jobs by id, a line for each user, and whose turn it is.

    A user who has a job running and another one queued lets everybody who waits by then go first;
    after that it is their turn again, so that nobody waits for ever.
    """

    def __init__(self, folder: Path, estimates: Estimates, *, max_queue: int = MOST_QUEUED) -> None:
        self.folder = folder
        self.estimates = estimates
        self.max_queue = max_queue
        self.running: Job | None = None
        self.closed = ""
        """Why nothing is taken any more; empty while the desk is open."""
        self.rung = ""
        """The rung that the next job will run on, for estimates."""
        self.stands_at: float | None = None
        """When that rung is expected to be loaded, by the monotonic clock; None: it stands."""
        self._jobs: dict[str, Job] = {}
        self._lines: dict[str, deque[Job]] = {}
        self._turns: deque[str] = deque()
        self._waiting = asyncio.Event()

    # taking -------------------------------------------------------------------------------------

    def check_room(self) -> None:
        """Raise Refused when no further job is taken."""
        if self.closed:
            raise Refused(503, self.closed)
        if self.queued >= self.max_queue:
            raise Refused(
                429,
                f"{self.queued} pictures wait already, as many as this server queues.",
                hint="Try again when some are done.",
            )

    def submit(self, job: Job) -> None:
        """Queue a job whose files are written; raise Refused when there is no room."""
        self.check_room()
        self._forget()
        self._jobs[job.id] = job
        user = job.asked.user
        line = self._lines.setdefault(user, deque())
        line.append(job)
        running = self.running.asked.user if self.running else None
        if len(line) == 1 and user != running:
            self._turns.append(user)
        self._waiting.set()

    async def next(self) -> Job:
        """Wait for a job whose turn it is, and make it the running one."""
        while not self._turns:
            self._waiting.clear()
            await self._waiting.wait()
        user = self._turns.popleft()
        line = self._lines[user]
        self.running = line.popleft()
        if not line:
            del self._lines[user]
        self._wake_queue()
        return self.running

    def leave(self, job: Job) -> None:
        """Let the next user have a turn: the running job is over."""
        self.running = None
        if job.asked.user in self._lines:
            self._turns.append(job.asked.user)
            self._waiting.set()

    def drop(self, job: Job) -> bool:
        """Take a job out of the queue; False when it does not wait there."""
        user = job.asked.user
        line = self._lines.get(user, deque())
        if job not in line:
            return False
        line.remove(job)
        if not line:
            del self._lines[user]
            if user in self._turns:
                self._turns.remove(user)
        self._wake_queue()
        return True

    def close(self, reason: str) -> list[Job]:
        """Take nothing more; return the jobs that waited, for their end."""
        self.closed = reason
        waiting = list(self.order())
        self._lines.clear()
        self._turns.clear()
        return waiting

    # looking ------------------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """Return how many jobs wait."""
        return sum(map(len, self._lines.values()))

    def get(self, job_id: str) -> Job:
        """Return a job; raise Refused when it is unknown or forgotten."""
        try:
            return self._jobs[job_id]
        except KeyError:
            raise Refused(
                404,
                "There is no such job here.",
                hint=f"The last {REMEMBERED} jobs of a day are remembered.",
            ) from None

    def order(self) -> Iterator[Job]:
        """Yield the jobs that wait in the order in which they will run, as it stands now."""
        lines = {user: iter(line) for user, line in self._lines.items()}
        turns = deque(self._turns)
        if self.running and self.running.asked.user in lines:
            turns.append(self.running.asked.user)
        while turns:
            user = turns.popleft()
            job = next(lines[user], None)
            if job is not None:
                yield job
                turns.append(user)

    def position(self, job: Job) -> int:
        """Return the place in the queue, 1 being next; 0 for a job that does not wait."""
        return next((n for n, other in enumerate(self.order(), 1) if other is job), 0)

    def status(self, job: Job) -> dict:
        """Return what a client sees of a job."""
        if job.over:
            return job.status(0, 0.0)
        position = self.position(job)
        return job.status(position, self.eta_s(job, position))

    def eta_s(self, job: Job, position: int) -> float | None:
        """Return the seconds until a job's pictures are there; None when nobody knows yet."""
        if position == 0:
            return self._left(job)
        parts = [self.estimates.seconds(one, self.rung) for one in islice(self.order(), position)]
        if self.running:
            parts.append(self._left(self.running))
        elif self.stands_at is not None:
            parts.append(self._loading())
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _left(self, job: Job) -> float | None:
        """Return the seconds that the running job still takes, with the loading before it."""
        if job.state not in ("queued", "loading"):
            return self.estimates.left(job)
        seconds = self.estimates.seconds(job, self.rung)
        return None if seconds is None else seconds + self._loading()

    def _loading(self) -> float:
        return max(0.0, (self.stands_at or 0.0) - time.monotonic())

    # the end of a job ---------------------------------------------------------------------------

    def record(self, job: Job) -> None:
        """Write a finished job's `done.json`; a full disk loses the file, never the worker."""
        try:
            replace_json(job.folder / "done.json", job.status(0, 0.0))
        except OSError as error:
            say(f"{job.name}: its last status could not be written: {error}")

    def _forget(self) -> None:
        """Delete the oldest jobs that are over, files too, beyond a number and an age."""
        over = [job for job in self._jobs.values() if job.over]
        old = time.time() - REMEMBERED_S
        spare = max(0, len(over) - REMEMBERED)
        for index, job in enumerate(over):
            if index < spare or (job.ended_at or 0.0) < old:
                del self._jobs[job.id]
                shutil.rmtree(job.folder, ignore_errors=True)

    def _wake_queue(self) -> None:
        for job in self.order():
            job.touch()
