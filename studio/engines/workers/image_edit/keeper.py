"""Keeps the pipe alive: starts it, gives it one job at a time, and knows what its end means.

What an end means, by exit code:

- 77: it ran out of memory on this rung. The rung is skipped from now on, the next one is started
  fresh and gets the same job again.
- 78: no rung is left. A job that wore the ladder out fails, and the rungs that served before are
  taken again; when nothing ever served, the front ends too.
- SIGKILL while the kernel's count of out-of-memory kills went up: host memory, like 77.
- anything else: a crash. The job in work fails with what is known, the same rung starts again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .child import Child
from .desk import Desk
from .figures import Figures
from .job import Job
from .log import ending, kill_reason, memory_reason, say
from .ordinary import Kind
from .worked import forget_failed

OUT_OF_MEMORY, NO_RUNG = 77, 78
CRASHED = 1
"""Exit code of the front when the pipe cannot be started."""
MOST_CRASHES = 3
"""In a row without a job in work; then something is wrong with the installation."""
AGAIN_S = 1.0
"""Pause before a crashed pipe is started again, times the crashes in a row."""
ENDS: tuple[Kind, ...] = ("encode", "decode")
"""What of an edit is measured besides its steps."""
VMSTAT = Path("/proc/vmstat")


def kernel_kills() -> int | None:
    """Return how many processes the kernel has killed for memory since boot; None if untold."""
    try:
        rows = (line.split() for line in VMSTAT.read_text().splitlines())
        return next((int(words[1]) for words in rows if words[0] == "oom_kill"), None)
    except OSError:
        return None


class Keeper:
    """The pipe, as the server sees it: which rung runs, why, and what fell before."""

    def __init__(
        self,
        argv: Sequence[str],
        desk: Desk,
        figures: Figures,
        *,
        model: str = "",
        state_dir: str = "",
        env: Mapping[str, str] | None = None,
        kills: Callable[[], int | None] = kernel_kills,
    ) -> None:
        self._argv = list(argv)
        self._desk = desk
        self._figures = figures
        self._model = model
        self._state_dir = state_dir
        self._env = env
        self._kills = kills
        self.status = "loading"
        """loading, ready, reloading (a rung was loaded before) or failed."""
        self.rung = ""
        self.why = ""
        self.loaded: dict[str, Any] = {}
        """Seconds and peaks of the last loading, and what of the settings it could not follow."""
        self.skipped: dict[str, str] = {}
        """Rungs that failed here, with the reason."""
        self.falls: list[dict[str, Any]] = []
        self._ladder: list[dict[str, Any]] = []
        self._child: Child | None = None
        self._job: Job | None = None
        self._served = False
        """Whether any rung ever stood."""
        self._before: tuple[dict[str, str], float] | None = None
        """What was skipped when the job in work was first given to the pipe, and when that was."""
        self._memory: dict[str, Any] | None = None
        """The out-of-memory that the pipe told before it left."""
        self._no_rung = ""
        self._crashes = 0
        self._closing = False

    # for the server -----------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Return the pipe's process id."""
        return self._child.pid if self._child else None

    def ladder(self) -> list[dict[str, Any]]:
        """Return the rungs, best first; those that failed here say how, and what was measured."""
        return [self._row(row) for row in self._ladder]

    async def live(self) -> int:
        """Keep a pipe until `close`; return the exit code that the front ends with."""
        while not self._closing:
            kills = self._kills()
            try:
                self._child = await Child.start(self._command(), self._env)
            except OSError as error:
                self._fail(f"The image pipeline cannot be started: {error}")
                return CRASHED
            if self._closing:  # it began to end while this one began to live
                await self._child.end()
            code = await self._child.follow(self._see)
            if self._closing:
                break
            ending = self._after(code, killed_by_kernel=self._counted(kills))
            if ending is not None:
                return ending
            if self._crashes:
                await asyncio.sleep(AGAIN_S * self._crashes)
        return 0

    async def edit(self, job: Job) -> None:
        """Have a job done, on whatever rung it takes; return when it is over."""
        self._job, self._before = job, None
        if self.status == "ready":
            self._give(job)
        elif self.status == "failed":
            self._end(job, "failed", message=self.why)
        else:
            job.enter("loading")
        await job.ended()
        self._job = None

    def cancel(self, job: Job) -> None:
        """Stop the job in work: at once while the pipe loads, else after its step."""
        job.cancelling = True
        if self.status != "ready" or self._child is None:
            self._end(job, "cancelled")
        else:
            self._child.send({"do": "cancel", "job": job.id})
            job.touch()

    async def close(self, reason: str) -> None:
        """End the pipe within a second; the job in work ends as cancelled, with the reason."""
        self._closing = True
        if self._job is not None and not self._job.over:
            self._end(self._job, "cancelled", message=reason, hint="Send it again later.")
        if self._child is not None:
            await self._child.end()

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        told, rung = dict(row), str(row.get("rung", ""))
        if rung in self.skipped:
            told |= {"fits": False, "why": self.skipped[rung]}
        for kind in ("encode", "step", "decode"):
            seconds = self._desk.estimates.mean(rung, kind)
            if seconds is not None:
                told[f"measured_{kind}_s"] = round(seconds, 4)
        return told

    # what the pipe says -------------------------------------------------------------------------

    def _see(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "rung":
            self._chose(event)
        elif kind == "loaded":
            self._stands(event)
        elif kind == "oom":
            self._memory = event
        elif kind == "no-rung":
            self._no_rung = str(event.get("message") or "No rung fits this machine.")
            self._ladder = event.get("ladder") or self._ladder
            for row in self._ladder:
                say(f"rung {row.get('rung')}: {row.get('why')}")
        elif self._job is not None and event.get("job") == self._job.id and not self._job.over:
            self._about(self._job, event)

    def _chose(self, event: dict[str, Any]) -> None:
        self._ladder = event.get("ladder") or self._ladder
        self._desk.estimates.expect(self._ladder)
        before, self.rung, self.why = self.rung, event["rung"], str(event.get("why", ""))
        self._desk.rung = self.rung
        if before and before != self.rung and before in self.skipped:
            self._fell(before, self.rung)
        load_s = next((row.get("load_s") for row in self._ladder if row["rung"] == self.rung), 0)
        self._desk.stands_at = time.monotonic() + (load_s or 0)
        self._figures.on_rung(self.rung)
        say(f"rung {self.rung}: {self.why}")

    def _fell(self, before: str, after: str) -> None:
        reason = self.skipped[before]
        self.falls.append(
            {"from": before, "to": after, "reason": reason, "at": round(time.time(), 3)}
        )
        self._figures.fell(before, after)
        say(f"fell from {before} to {after}: {reason}")
        if self._job is not None and not self._job.over:
            self._job.enter("loading", f"Fell from {before} to {after}: {reason}.")

    def _stands(self, event: dict[str, Any]) -> None:
        self.loaded = {
            "seconds": event.get("seconds"),
            "peaks": event.get("peaks") or {},
            "notes": event.get("notes") or [],
        }
        self._desk.stands_at = None
        self._figures.peaks(self.loaded["peaks"])
        self.status, self._served = "ready", True
        say(f"rung {self.rung} stands after {event.get('seconds') or 0:.1f} s")
        if self._job is not None and not self._job.over:
            self._give(self._job)

    def _about(self, job: Job, event: dict[str, Any]) -> None:
        """Take in what the pipe says about the job in work."""
        kind = event["event"]
        if kind in ("stage", "step", "preview"):
            job.see(event)
            if kind == "step" and event.get("step_s") and event.get("step") != 1:
                self._desk.estimates.measured(job, "step", event["step_s"])
                self._figures.steps.observe(event["step_s"])
        elif kind == "done":
            self._done(job, event)
        elif kind == "cancelled":
            self._end(job, "cancelled")
        elif kind == "error":
            message = str(event.get("message") or "The pipeline refused the request.")
            job.bad = bool(event.get("bad"))
            self._end(job, "failed", message=message, hint=str(event.get("hint") or ""))

    def _done(self, job: Job, event: dict[str, Any]) -> None:
        self._crashes = 0
        try:
            job.deliver(event, self._model)
        except (OSError, ValueError) as error:
            self._end(job, "failed", message=f"The finished picture could not be kept: {error}.")
            return
        for kind in ENDS:
            known = kind == "encode" and job.cached.get("prompt")  # says nothing of a new one
            if job.timings.get(f"{kind}_s") is not None and not known:
                self._desk.estimates.measured(job, kind, job.timings[f"{kind}_s"])
        self._figures.peaks(job.peaks)
        self._end(job, "done")
        seconds = (job.ended_at or 0.0) - (job.started_at or 0.0)
        self._figures.made(seconds, job.timings, job.cached)

    def _give(self, job: Job) -> None:
        assert self._child is not None
        if job.cancelling:
            self._end(job, "cancelled")
            return
        if self._before is None:
            self._before = dict(self.skipped), time.time()
        job.begin(self.rung)
        self._child.forget()
        self._child.send(job.command())

    # what its end means -------------------------------------------------------------------------

    def _command(self) -> list[str]:
        skip = ["--skip", ",".join(self.skipped)] if self.skipped else []
        return [*self._argv, *skip]

    def _counted(self, before: int | None) -> bool:
        """Tell whether the kernel may have killed for memory since `before`."""
        now = self._kills()
        return before is None or now is None or now > before

    def _after(self, code: int, *, killed_by_kernel: bool) -> int | None:
        """Judge an exit code; return the front's own when there is no going on."""
        memory, self._memory = self._memory, None
        was_ready = self.status == "ready"
        self.status = "reloading" if self._served else "loading"
        if self.rung and (code == OUT_OF_MEMORY or (code == -9 and killed_by_kernel)):
            told = memory_reason(memory) if code == OUT_OF_MEMORY else kill_reason(self._job)
            self.skipped[self.rung] = told
            self._crashes = 0
            if self._job is not None and not self._job.over:
                self._job.enter("loading")
            return None
        if code == NO_RUNG:
            return self._worn_out()
        return self._crashed(code, was_ready=was_ready)

    def _worn_out(self) -> int | None:
        """Go back to what served before when a single job used the ladder up; end otherwise."""
        message, job = self._no_rung or "No rung fits this machine.", self._job
        if self._before is None or job is None or job.over:
            self._fail(message)
            return NO_RUNG
        self._end(
            job,
            "failed",
            message="No rung of the ladder has the memory that this picture needs.",
            hint="Ask for a smaller size, or send fewer pictures.",
        )
        say("the ladder is used up; going back to the rung that served before")
        self.skipped, since = self._before
        forget_failed(self._state_dir, since)
        return None

    def _crashed(self, code: int, *, was_ready: bool) -> int | None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        tail = self._child.tail() if self._child else []
        self._figures.crashes.inc()
        say(f"the image pipeline ended unexpectedly ({how})")
        job = self._job
        if was_ready and job is not None and not job.over:
            self._crashes = 0
            self._end(
                job,
                "failed",
                message=f"The image pipeline crashed while it made this picture ({how}).",
                hint="It is started again; the log says more. Send the picture once more.",
                log=tail,
            )
            return None
        self._crashes += 1
        if self._crashes < MOST_CRASHES:
            return None
        last = f" It said last: {tail[-1]}" if tail else ""
        self._fail(f"The image pipeline cannot be started: it ended {how} three times.{last}")
        return CRASHED

    def _fail(self, message: str) -> None:
        self.status, self.why = "failed", message
        say(message)
        if self._job is not None and not self._job.over:
            self._end(self._job, "failed", message=message)

    def _end(self, job: Job, state: str, **why: Any) -> None:
        job.end(state, **why)
        self._desk.record(job)
        self._figures.jobs.labels(state).inc()
        say(ending(job))
