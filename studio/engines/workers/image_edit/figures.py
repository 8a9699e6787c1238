"""The worker's figures for Prometheus: jobs, seconds, falls, memory, what the caches saved."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

STEP_BUCKETS = (0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 8, 15, 30, 60, 120, 300)
JOB_BUCKETS = (1, 2, 5, 10, 20, 30, 45, 60, 90, 120, 300, 600, 1200, 3600, 7200)


class Figures:
    """A registry of its own, so that two workers in one process (tests) do not meet."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self.jobs = Counter("image_jobs", "Jobs that are over.", ["outcome"], registry=own)
        self.queue = Gauge("image_queue_length", "Jobs that wait.", registry=own)
        self.steps = Histogram(
            "image_step_seconds", "Seconds of a step.", buckets=STEP_BUCKETS, registry=own
        )
        self.seconds = Histogram(
            "image_job_seconds",
            "Seconds from start to pictures.",
            buckets=JOB_BUCKETS,
            registry=own,
        )
        self.encode = Histogram(
            "image_encode_seconds",
            "Seconds until the first step.",
            buckets=STEP_BUCKETS,
            registry=own,
        )
        self.decode = Histogram(
            "image_decode_seconds", "Seconds of the VAE.", buckets=STEP_BUCKETS, registry=own
        )
        self.falls = Counter(
            "image_falls", "Rungs given up for memory.", ["from", "to"], registry=own
        )
        self.crashes = Counter(
            "image_crashes", "Ends of the pipeline nobody asked for.", registry=own
        )
        self._rung = Gauge("image_rung_info", "1 for the rung that runs.", ["rung"], registry=own)
        self._card = Gauge(
            "image_card_peak_bytes", "Most memory of a card in use.", ["card"], registry=own
        )
        self._host = Gauge("image_host_peak_bytes", "Most host memory in use.", registry=own)
        self._hits = Counter("image_cache_hits", "Work a cache saved.", ["kind"], registry=own)
        for outcome in ("done", "failed", "cancelled"):
            self.jobs.labels(outcome)
        for kind in ("prompt", "references"):
            self._hits.labels(kind)

    def page(self, queued: int) -> bytes:
        """Return the page of `/metrics`."""
        self.queue.set(queued)
        return generate_latest(self._registry)

    def on_rung(self, rung: str) -> None:
        """Say which rung runs."""
        self._rung.clear()
        self._rung.labels(rung).set(1)

    def fell(self, from_rung: str, to_rung: str) -> None:
        """Count a fall."""
        self.falls.labels(**{"from": from_rung, "to": to_rung}).inc()

    def peaks(self, peaks: dict[str, Any]) -> None:
        """Take over the peaks that the pipe measured, in bytes."""
        for index, peak in enumerate(peaks.get("cards") or ()):
            self._card.labels(str(index)).set(peak)
        if peaks.get("host"):
            self._host.set(peaks["host"])

    def made(self, seconds: float, timings: dict[str, Any], cached: dict[str, Any]) -> None:
        """Take over what a finished job measured."""
        self.seconds.observe(seconds)
        if timings.get("encode_s") is not None:
            self.encode.observe(timings["encode_s"])
        if timings.get("decode_s") is not None:
            self.decode.observe(timings["decode_s"])
        if cached.get("prompt"):
            self._hits.labels("prompt").inc()
        self._hits.labels("references").inc(int(cached.get("references") or 0))
