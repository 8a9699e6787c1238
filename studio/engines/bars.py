"""The progress bar (tqdm) at the end of a log, as figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from studio.jobs.logs import read_from

TAIL_BYTES = 16 * 1024
_BAR = re.compile(
    r"(?:(?P<what>[^\r\n|%]*?):)?\s*\d+%\|[^|\r\n]*\|\s*"
    r"(?P<done>\d+)/(?P<total>\d+)\s*\[[\d:]+<(?P<left>[\d:]+|\?)"
)


class Bar(NamedTuple):
    """What a bar says."""

    what: str
    done: int
    total: int
    remaining_s: float | None


def last_bar(log: Path, wanted: str = "") -> Bar | None:
    """Return the last bar of a log whose words match the pattern `wanted`; None without one."""
    found = None
    for bar in _BAR.finditer(read_from(log, -TAIL_BYTES).text):
        if re.search(wanted, bar["what"] or "") and int(bar["total"]):
            found = bar
    if found is None:
        return None
    what = (found["what"] or "").strip()
    return Bar(what, int(found["done"]), int(found["total"]), _seconds(found["left"]))


def _seconds(clock: str) -> float | None:
    """Turn tqdm's `1:02:03` or `02:03` into seconds."""
    if clock == "?":
        return None
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return float(total)
