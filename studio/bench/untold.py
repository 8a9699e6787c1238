"""Figures that a server's stream does not tell, left out before anybody compares them.

LLaMA-Factory's API opens each answer with an empty message, sent before the model has computed
anything, and never tells how many tokens it made. A load generator takes the first for a first
token, and counts the words of the answer instead of the second. The tool's own JSON stays as it is.
"""

from __future__ import annotations

from studio.bench.point import Point

SERVERS = ("llamafactory-api",)
"""Engines whose stream tells neither the first token nor the tokens' number."""
_PACE = ("ttft_", "tpot_", "itl_", "tokens_per_s_user", "goodput")
_COUNTED = ("e2el_", "output_", "total_throughput", "energy_per_token_j")
"""Figures that rest on the text of the answers; without text the last chunk's time is lost too."""


def is_untold(point: Point) -> bool:
    """Tell whether a point's server keeps the pace of its tokens to itself."""
    return point.server.partition(" ")[0] in SERVERS


def told(point: Point) -> Point:
    """Return a point without the figures that its server cannot have told.

    Times and paces of tokens go; what rests on the text goes too where the answers came to fewer
    than two tokens each. Requests per second, memory and energy stay.
    """
    if not is_untold(point):
        return point
    figures = point.figures
    silent = figures.get("output_tokens", 0) < 2 * figures.get("completed", 0)
    gone = (*_PACE, *_COUNTED) if silent else _PACE
    kept = {name: value for name, value in figures.items() if not name.startswith(gone)}
    return point.model_copy(update={"figures": kept})
