"""Sortable ids: a millisecond time stamp and 40 random bits in Crockford's base 32."""

from __future__ import annotations

import re
import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PATTERN = re.compile(r"[0-9a-hjkmnp-tv-z]{18}")


def new_id(now_s: float | None = None) -> str:
    """Return an 18-character id that sorts by the time it was made."""
    millis = int((time.time() if now_s is None else now_s) * 1000)
    number = (millis & (1 << 50) - 1) << 40 | secrets.randbits(40)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(85, -1, -5))


def is_id(text: str) -> bool:
    """Tell whether `text` has the shape of an id, so that it can name a folder safely."""
    return _PATTERN.fullmatch(text) is not None
