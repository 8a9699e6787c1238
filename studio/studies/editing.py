"""The measure `images`: edits of few and of many steps, whose difference is the pace of a step.

Whatever an edit costs once (encoding, decoding, sending) falls out of the difference.
"""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image, ImageDraw

from studio.core.errors import EndpointDown, RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Endpoint
from studio.engines.engine import resolve_path
from studio.engines.study_config import ImageOptions
from studio.images import client
from studio.images.client import Job
from studio.images.request import EditRequest, EditSettings
from studio.studies.asking import Measured
from studio.studies.cells import Cell
from studio.studies.desk import Desk

ENGINE = "image-edit"
POLL_S = 0.02
GIB = 2**30


def warm_up(desk: Desk, cell: Cell, endpoint: Endpoint) -> None:
    """Edit once, uncounted: loading, compiling and choosing are over then."""
    _edit(desk, cell, endpoint, cell.images.few)


def measure(desk: Desk, cell: Cell, endpoint: Endpoint, repeat: int) -> Measured:
    """Edit with few and with many steps; raise EndpointDown when one fails."""
    options = cell.images
    few_s, _ = _edit(desk, cell, endpoint, options.few)
    many_s, job = _edit(desk, cell, endpoint, options.many)
    figures = {
        "step_s": (many_s - few_s) / (options.many - options.few),
        "picture_s": many_s,
        "seconds": few_s + many_s,
    }
    if job.peaks.get("cards"):
        figures["peak_card_gib"] = max(job.peaks["cards"]) / GIB
    if job.peaks.get("host"):
        figures["peak_host_gib"] = job.peaks["host"] / GIB
    condition = {
        "rung": job.rung,
        "steps": options.many,
        "width": options.width,
        "height": options.height,
        "true_cfg_scale": options.true_cfg_scale,
    }
    return Measured(figures, condition, {"few_s": few_s, "many": job.model_dump(mode="json")})


def _edit(desk: Desk, cell: Cell, endpoint: Endpoint, steps: int) -> tuple[float, Job]:
    """Edit once; return the seconds by our own clock, and the job as the worker told it."""
    options = cell.images
    settings = EditSettings(
        prompt=options.prompt,
        negative_prompt=" ",
        num_inference_steps=steps,
        true_cfg_scale=options.true_cfg_scale,
        seed=options.seed,
        size=f"{options.width}x{options.height}",
    )
    request = EditRequest(pictures=(_picture(options),), settings=settings)
    begun, until = time.monotonic(), time.monotonic() + desk.config.case_timeout_s
    accepted = client.submit(endpoint, request)
    while True:
        job = client.status(endpoint, accepted.job)
        if job.ended:
            break
        if desk.hands.halt.is_set() or time.monotonic() > until:
            client.cancel(endpoint, accepted.job)
            desk.hands.check()
            raise EndpointDown(f"An edit took longer than {desk.config.case_timeout_s:.0f} s.")
        time.sleep(POLL_S)
    seconds = time.monotonic() - begun
    if job.state != "done":
        why = job.error.message if job.error else job.state
        raise EndpointDown(f"The edit failed: {why}")
    return seconds, job


def _picture(options: ImageOptions) -> bytes:
    if options.picture:
        path = Path(resolve_path(options.picture, str(ROOT)))
        try:
            return path.read_bytes()
        except OSError as error:
            raise RecipeInvalid(f"There is no picture {path}.") from error
    width, height = options.width, options.height
    image = Image.new("RGB", (width, height), (120, 170, 220))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, height * 5 // 8, width, height), fill=(70, 120, 60))
    draw.ellipse((width * 3 // 8, height * 3 // 8, width * 5 // 8, height * 5 // 8), fill="tomato")
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
