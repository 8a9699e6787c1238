"""How long an edit will take: by the ladder's expectation at first, then by what was measured.

Everything is kept as the seconds of an ordinary edit (`ordinary.Ordinary`), which is what the
ladder states.
"""

from __future__ import annotations

from typing import Any

from .job import Job
from .ordinary import Kind, Ordinary

FRESH = 0.3
"""Weight of a new measurement in the running mean."""
KINDS: tuple[Kind, ...] = ("encode", "step", "decode")


class Estimates:
    """Seconds of an encoding, of a step and of a decoding, on each rung."""

    def __init__(self, ordinary: Ordinary | None = None) -> None:
        self._ordinary = ordinary or Ordinary()
        self._expected: dict[tuple[str, str], float] = {}
        self._means: dict[tuple[str, str], float] = {}

    def expect(self, ladder: list[dict[str, Any]]) -> None:
        """Take over what the ladder expects of each rung."""
        for row in ladder:
            for kind in KINDS:
                if row.get(f"{kind}_s"):
                    self._expected[row["rung"], kind] = float(row[f"{kind}_s"])

    def measured(self, job: Job, kind: Kind, seconds: float) -> None:
        """Add the seconds of a `step`, an `encode` or a `decode` of this job."""
        share = seconds / self.weight(job, kind)
        mean = self._means.get((job.rung, kind))
        self._means[job.rung, kind] = share if mean is None else mean + FRESH * (share - mean)

    def mean(self, rung: str, kind: str) -> float | None:
        """Return the seconds measured so far, of an ordinary edit; None before the first."""
        return self._means.get((rung, kind))

    def seconds(self, job: Job, rung: str) -> float | None:
        """Return how long a job will take from its start; None when nobody knows."""
        step = self._of(job, rung, "step")
        if step is None:
            return None
        each = job.asked.steps * step + (self._of(job, rung, "decode") or 0.0)
        return (self._of(job, rung, "encode") or 0.0) + len(job.asked.seeds) * each

    def left(self, job: Job) -> float | None:
        """Return how long a job that has begun will still take."""
        step = job.step_s or self._of(job, job.rung, "step")
        if step is None:
            return None
        variants = len(job.asked.seeds) - job.variant
        steps = job.asked.steps * variants - job.step
        decode = (self._of(job, job.rung, "decode") or 0.0) * variants
        encode = self._of(job, job.rung, "encode") if job.state == "encoding" else None
        return (encode or 0.0) + steps * step + decode

    def weight(self, job: Job, kind: Kind) -> float:
        """Return the work of a job's step, encoding or decoding, in those of an ordinary edit."""
        return self._ordinary.weight(
            kind,
            pixels=job.size[0] * job.size[1],
            pictures=job.num_pictures,
            guided=job.asked.guided,
        )

    def _of(self, job: Job, rung: str, kind: Kind) -> float | None:
        ordinary = self._means.get((rung, kind), self._expected.get((rung, kind)))
        return None if ordinary is None else ordinary * self.weight(job, kind)
