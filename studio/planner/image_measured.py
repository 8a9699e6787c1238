"""What an image editor really took, by what its jobs leave behind.

Pairs of planned and measured; `measured.compare` puts them together. Only jobs on the planned rung
are compared: after a fall the peaks are another rung's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from studio.jobs.rundir import RunDir
from studio.planner.image_result import ImagePlan
from studio.planner.result import CardPlan, Kind

OWN: tuple[Kind, ...] = ("transformer", "text_encoder", "vae", "activations")
_LOOKED_AT = 50
"""Jobs that are read, the newest first."""


def image_pairs(plan: ImagePlan, run_dir: RunDir) -> Iterator[tuple[str, float, float]]:
    """Yield what, planned and measured, as far as the run has told."""
    first = plan.first
    job = _last_done(run_dir, plan)
    if first is None or job is None:
        return
    peaks, timings = job.get("peaks") or {}, job.get("timings") or {}
    on_cards = [card for card in first.cards if card.card is not None]
    if on_cards and (peak := max(peaks.get("cards") or (0,))):
        yield "peak_bytes", max(map(_own, on_cards)), peak
    if host := peaks.get("host"):
        yield "host_bytes", first.host_load_bytes, host
    if step := timings.get("steady_step_s") or timings.get("step_s"):
        yield "image_step_s", first.step_s, step
    settings = job.get("settings") or {}
    alike = settings.get("num_inference_steps") == plan.steps and settings.get("n", 1) == 1
    if alike and (total := timings.get("total_s")):
        yield "image_picture_s", first.picture_s, total


def _own(card: CardPlan) -> int:
    return sum(card.of(kind) for kind in OWN)


def _last_done(run_dir: RunDir, plan: ImagePlan) -> dict[str, Any] | None:
    """Return the last status of a job of the planned size on the planned rung."""
    sizes = (None, "", "auto", f"{plan.width}x{plan.height}")
    for path in sorted(run_dir.artifacts.glob("jobs/*/done.json"), reverse=True)[:_LOOKED_AT]:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        planned = told.get("state") == "done" and told.get("rung") == plan.chosen
        if planned and (told.get("settings") or {}).get("size") in sizes:
            return told
    return None
