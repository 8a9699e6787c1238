"""Figures as people read them: three significant digits, units, relative times. Plain text."""

from __future__ import annotations

import math
import time

from studio.ui.i18n import say

_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float | None, unit: str = "") -> str:
    """Return three significant digits, thousands separated: `13,000 tok/s`, `0.0123`, `4.60 ms`.

    Integers below a million keep all their digits. None and NaN become a dash.
    """
    if value is None or math.isnan(value) or math.isinf(value):
        return "–"
    if isinstance(value, int) and abs(value) < 1_000_000:
        text = f"{value:,}"
    elif value == 0:
        text = "0"
    else:
        places = 2 - math.floor(math.log10(abs(value)))
        rounded = round(value, places)
        places = 2 - math.floor(math.log10(abs(rounded)))
        tiny = abs(rounded) < 1e-4
        text = f"{rounded:.2e}" if tiny else f"{rounded:,.{max(0, places)}f}"
    return f"{text} {unit}".strip()


def size(num_bytes: float | None) -> str:
    """Return bytes in the binary unit that suits: `21.8 GiB`."""
    if num_bytes is None:
        return "–"
    step = 0
    value = float(num_bytes)
    while abs(value) >= 1000 and step < len(_BYTES) - 1:
        value /= 1024
        step += 1
    return f"{num_bytes:.0f} B" if step == 0 else number(value, _BYTES[step])


def gib(num_bytes: float | None) -> str:
    """Return bytes in GiB, whatever their number, for columns that are compared."""
    return number(None if num_bytes is None else num_bytes / 2**30, "GiB")


def percent(fraction: float | None) -> str:
    """Return a fraction (0 to 1) as whole percent."""
    return "–" if fraction is None else f"{fraction * 100:.0f} %"


def duration(lang: str, seconds: float | None) -> str:
    """Return a span in its two largest units: `1 h 20 min`."""
    if seconds is None or math.isnan(seconds) or math.isinf(seconds):
        return "–"
    whole = max(0, int(seconds + 0.5))
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, length in units:
        count, whole = divmod(whole, length)
        parts.append((name, count))
    first = next((i for i, (_, count) in enumerate(parts) if count), len(parts) - 1)
    shown = [p for i, p in enumerate(parts[first : first + 2]) if i == 0 or p[1]]
    return " ".join(say(lang, f"unit.{name}", n=count) for name, count in shown)


def ago(lang: str, at: float | None, now: float | None = None) -> str:
    """Return a moment (seconds since the epoch) as a distance: `3 min ago`."""
    if at is None:
        return "–"
    span = (time.time() if now is None else now) - at
    if abs(span) < 5:
        return say(lang, "time.now")
    return say(lang, "time.ago" if span > 0 else "time.in", span=_one_unit(lang, abs(span)))


def exact(at: float | None) -> str:
    """Return a moment as local date and time to the second."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _one_unit(lang: str, seconds: float) -> str:
    for name, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return say(lang, f"unit.{name}", n=int(seconds // length))
    return say(lang, "unit.s", n=int(seconds))
