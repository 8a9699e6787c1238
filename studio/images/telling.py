"""How far a job is and what a worker's ladder looks like, as lines for a terminal."""

from __future__ import annotations

from typing import Any

from studio.images.client import Job


def progress_line(job: Job) -> str:
    """Return how far a job is, as one line."""
    parts = [job.state]
    if job.state == "queued" and job.position:
        parts.append(f"place {job.position}")
    if job.state == "running" and job.steps:
        parts.append(f"step {job.step}/{job.steps}")
        if job.variants > 1:
            parts.append(f"variant {job.variant + 1}/{job.variants}")
    if job.rung:
        parts.append(f"on {job.rung}")
    if job.eta_s:
        parts.append(f"about {job.eta_s:.0f} s to go")
    return ", ".join(parts)


def ladder_lines(told: dict[str, Any]) -> list[str]:
    """Return the rungs, best first, the one that runs marked, and the falls so far."""
    running = told.get("rung") or ""
    why = f": {told['why']}" if told.get("why") else ""
    lines = [f"{told.get('status', '')} on {running or 'no rung'}{why}"]
    for row in told.get("ladder") or []:
        mark = ">" if row.get("rung") == running else " "
        fits = "fits" if row.get("fits") else "no"
        seconds = row.get("measured_step_s") or row.get("step_s")
        speed = f"{seconds:.2f} s/step" if seconds else ""
        measured = "measured" if row.get("measured_step_s") else ""
        head = f"{mark} {row.get('rung', ''):<9} {fits:<5} {speed:<13} {measured:<9}"
        lines.append(f"{head} {row.get('why', '')}".rstrip())
    lines += [f"fell from {f['from']} to {f['to']}: {f['reason']}" for f in told.get("falls") or []]
    return lines
