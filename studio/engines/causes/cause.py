"""What a cause is, and what a server was doing when it ran out of memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.core.recipes import Bilingual
from studio.engines.causes.fix import Fixer, nothing

OUT_OF_MEMORY = (
    r"CUDA out of memory|OutOfMemoryError|HIP out of memory|CUDA error: out of memory|"
    r"CUBLAS_STATUS_ALLOC_FAILED|Failed to load model - not enough GPU memory"
)
STAGES = (
    ("weights", r"Starting to load model|Load weight begin|in load_model\b|in create_weights\b"),
    ("profiling", r"in determine_available_memory\b|in profile_run\b"),
    ("cache", r"in initialize_kv_cache\b|in _?allocate_kv_cache\w*|GPU KV cache size"),
    (
        "graphs",
        r"in capture_model\b|Captur(ing CUDA|e cuda) graph|in compile_or_warm_up_model\b|"
        r"in _warmup_and_capture\b",
    ),
    ("serving", r"Application startup complete|in run_busy_loop\b"),
)
"""Where a server was, told by what it said or by the function of a traceback."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """A known way to fail: what the log says, what it means, what helps."""

    key: str
    pattern: str
    says: Bilingual
    advice: Bilingual
    fixes: Fixer = nothing
    stage: str = ""
    """Only when this is what the server was doing (`stage_of`); empty: whatever it did."""
    symptom: bool = False
    """It says that something happened and not why, so whatever was raised is shown beside it."""


def stage_of(log: str) -> str:
    """Return what a server was doing at the end of `log`; empty when it does not say."""
    last, name = -1, ""
    for stage, pattern in STAGES:
        for found in re.finditer(pattern, log):
            if found.start() > last:
                last, name = found.start(), stage
    return name


def cause(
    key: str,
    pattern: str,
    says: tuple[str, str],
    advice: tuple[str, str],
    fixes: Fixer = nothing,
    *,
    stage: str = "",
    symptom: bool = False,
) -> Cause:
    """Return a cause; `says` and `advice` are pairs of English and Chinese."""
    return Cause(
        key=key,
        pattern=pattern,
        says=Bilingual(en=says[0], zh=says[1]),
        advice=Bilingual(en=advice[0], zh=advice[1]),
        fixes=fixes,
        stage=stage,
        symptom=symptom,
    )
