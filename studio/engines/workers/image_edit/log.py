"""The front's lines in the run's log: one when a job begins, one when it ends, one for each fall.

What was asked for stays private: no line has a prompt or a user.
"""

from __future__ import annotations

import time
from typing import Any

from .job import Job


def say(text: str) -> None:
    """Print one line with the time before it; people read it while the worker runs."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def started(job: Job) -> str:
    """Return the line of the log for a job that begins."""
    asked = job.asked
    parts = [
        f"{job.size[0]} x {job.size[1]}",
        f"{asked.steps} steps" + (" with CFG" if asked.guided else ""),
        f"{job.num_pictures} in, {len(asked.seeds)} out",
    ]
    if job.masked:
        parts.append("masked")
    return f"{job.name}: {', '.join(parts)}"


def ending(job: Job) -> str:
    """Return the line of the log for a job that is over."""
    took = (job.ended_at or 0.0) - (job.started_at or job.created_at)
    on = f" on {job.rung}" if job.rung else ""
    if job.error:
        return f"{job.name} {job.state} after {took:.1f} s{on}: {job.error['message']}"
    times = job.timings
    named = (("encode", "encode_s"), ("step", "step_s"), ("decode", "decode_s"))
    parts = [f"{word} {times[key]:.2f} s" for word, key in named if times.get(key) is not None]
    return f"{job.name} {job.state} after {took:.1f} s{on}" + (
        f" ({', '.join(parts)})" if parts else ""
    )


def memory_reason(event: dict[str, Any] | None) -> str:
    """Return why a rung was given up, by what the pipe told of its out-of-memory."""
    if event is None:
        return "out of memory"
    stage = event.get("stage")
    where = {
        "load": " while loading",
        "encode": " while encoding the prompt",
        "step": f" at step {event.get('step')}",
        "decode": " while decoding",
    }
    return f"out of memory{where.get(str(stage), '')}"


def kill_reason(job: Job | None) -> str:
    """Return why a rung was given up that the kernel killed, in this job or without one."""
    reason = "the kernel killed it for host memory"
    if job is None or job.over or not job.rung:
        return reason
    if job.state == "running":
        return f"the kernel killed it for host memory at step {job.step}"
    return "the kernel killed it for host memory in a job"
