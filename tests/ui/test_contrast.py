"""Text meets WCAG AA on every surface it is used on, in light and dark."""

from __future__ import annotations

import re

import pytest

from studio.ui.assets import FOLDER

AA = 4.5
SURFACES = ("page", "surface", "raised", "sunken")
ON_SURFACES = ("ink", "ink-2", "muted", "faint", "accent-text")
TONES = ("ok", "warn", "bad", "run", "lost", "slate", "grey")


def tokens(dark: bool) -> dict[str, str]:
    """Return the colours of a theme by name."""
    sheet = (FOLDER / "css" / "tokens.css").read_text()
    light, _, night = sheet.partition(":root.dark {")
    found = dict(re.findall(r"--l-([\w-]+): (#[0-9a-f]{6});", light))
    return found | dict(re.findall(r"--l-([\w-]+): (#[0-9a-f]{6});", night)) if dark else found


def luminance(colour: str) -> float:
    """Return WCAG's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    """Return WCAG's contrast ratio."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_can_be_read(dark: bool):
    colours = tokens(dark)
    pairs = [(text, on) for text in ON_SURFACES for on in SURFACES]
    pairs += [(f"{tone}-text", f"{tone}-soft") for tone in (*TONES, "accent")]
    pairs += [(f"{tone}-text", on) for tone in TONES for on in ("surface", "page")]
    pairs += [("on-accent", "accent-fill"), ("on-accent", "accent-fill-2")]
    poor = {
        f"{text} on {on}": round(contrast(colours[text], colours[on]), 2)
        for text, on in pairs
        if contrast(colours[text], colours[on]) < AA
    }
    assert not poor


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_signs_and_edges_can_be_seen(dark: bool):
    colours = tokens(dark)
    for sign in ("accent", "ok", "bad", "run", "lost", "slate"):
        assert contrast(colours[sign], colours["surface"]) >= 3, sign
