"""What real versions of the engines know, from the help texts in `recorded/`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from studio.envs.flags import parse_help

RECORDED = Path(__file__).parent / "recorded"
VLLM = ("0.26.0", "0.32.0", "0.33.0")


@cache
def flags_of(engine: str, version: str) -> frozenset[str]:
    """Return the flags in the recorded help of a version."""
    return parse_help((RECORDED / f"{engine}-{version}-help.txt").read_text(encoding="utf-8"))
