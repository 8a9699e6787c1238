"""How long an edit will take: by the ladder's expectation at first, then by what was measured.

Everything is kept as the seconds of an ordinary edit, which is what the ladder states: one picture
in, one of a megapixel out, CFG as the settings have it.
"""

from __future__ import annotations

from typing import Any

from .job import Job

REFERENCE = 1024 * 1024
"""Area of an ordinary result."""
FRESH = 0.3
"""Weight of a new measurement in the running mean."""
KINDS = ("encode", "step", "decode")


class Estimates:
    """Seconds of an encoding, of a step and of a decoding, on each rung."""

    def __init__(self, reference_pixels: int = REFERENCE, *, guided: bool = True) -> None:
        self._reference_pixels = reference_pixels
        self._ordinary = (2 if guided else 1) * (REFERENCE + reference_pixels)
        self._expected: dict[tuple[str, str], float] = {}
        self._means: dict[tuple[str, str], float] = {}

    def expect(self, ladder: list[dict[str, Any]]) -> None:
        """Take over what the ladder expects of each rung."""
        for row in ladder:
            for kind in KINDS:
                if row.get(f"{kind}_s"):
                    self._expected[row["rung"], kind] = float(row[f"{kind}_s"])

    def measured(self, job: Job, kind: str, seconds: float) -> None:
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

    def weight(self, job: Job, kind: str) -> float:
        """Return the work of a job's step, encoding or decoding, in those of an ordinary edit.

        For a step the tokens are counted, of the result and of each reference, and the forwards;
        attention's square is left out, so that a large picture takes longer than this says until
        one was measured.
        """
        area = job.size[0] * job.size[1]
        if kind == "decode":
            return area / REFERENCE
        if kind == "encode":
            return 1.0
        tokens = area + job.num_pictures * self._reference_pixels
        return (2 if job.asked.guided else 1) * tokens / self._ordinary

    def _of(self, job: Job, rung: str, kind: str) -> float | None:
        ordinary = self._means.get((rung, kind), self._expected.get((rung, kind)))
        return None if ordinary is None else ordinary * self.weight(job, kind)
