"""Pictures to try an edit on, drawn here when they are first asked for: nobody's photographs.

Flat drawings with something to change in each: a sign to read, a person to dress, another one to
put beside her, a table with room on it, a landscape whose weather may turn.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from functools import cache

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from studio.core.errors import NotFound

SCALE = 2
"""Drawn so many times larger and scaled down, for smooth edges."""
SMALL = 192
"""Longest side of what the row of samples shows."""


@cache
def sample(name: str, *, small: bool = False) -> bytes:
    """Return a sample picture as PNG; raise NotFound for a name that is none of `SAMPLES`."""
    if name not in SAMPLES:
        raise NotFound(f"There is no sample picture {name}.")
    if small:
        picture = Image.open(io.BytesIO(sample(name)))
        picture.thumbnail((SMALL, SMALL), Image.Resampling.LANCZOS)
    else:
        picture = SAMPLES[name]().reduce(SCALE)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


# drawings ---------------------------------------------------------------------------------------


class _Sheet:
    """A canvas in the sample's own units; everything is scaled on its way to Pillow."""

    def __init__(self, width: int, height: int, top: str, bottom: str) -> None:
        self.width, self.height = width, height
        size = (width * SCALE, height * SCALE)
        down = Image.linear_gradient("L").resize(size)
        self.image = Image.composite(
            Image.new("RGB", size, bottom), Image.new("RGB", size, top), down
        )
        self._draw = ImageDraw.Draw(self.image)

    def box(self, x: float, y: float, w: float, h: float, fill: str, *, r: float = 0) -> None:
        """Draw a rectangle with its corners rounded by `r`."""
        at = [n * SCALE for n in (x, y, x + w, y + h)]
        self._draw.rounded_rectangle(at, r * SCALE, fill=fill)

    def oval(self, x: float, y: float, w: float, h: float, fill: str) -> None:
        """Draw an ellipse into a rectangle."""
        self._draw.ellipse([n * SCALE for n in (x, y, x + w, y + h)], fill=fill)

    def shape(self, points: list[tuple[float, float]], fill: str) -> None:
        """Draw a polygon."""
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=fill)

    def arc(self, x: float, y: float, w: float, h: float, turn: tuple[int, int], ink: str) -> None:
        """Draw a part of an ellipse as a line; `turn` is from and to in degrees."""
        at = [n * SCALE for n in (x, y, x + w, y + h)]
        self._draw.arc(at, *turn, fill=ink, width=5 * SCALE)

    def text(self, x: float, y: float, words: str, size: int, fill: str) -> None:
        """Write words around a point."""
        font = ImageFont.load_default(size * SCALE)
        self._draw.text((x * SCALE, y * SCALE), words, fill=fill, font=font, anchor="mm")

    def glow(self, x: float, y: float, r: float, fill: str, strength: int) -> None:
        """Lay a soft round light over what is drawn so far; `strength` is 0 to 255."""
        mask = Image.new("L", self.image.size, 0)
        at = [n * SCALE for n in (x - r, y - r, x + r, y + r)]
        ImageDraw.Draw(mask).ellipse(at, fill=strength)
        mask = mask.filter(ImageFilter.GaussianBlur(r * SCALE / 3))
        self.image.paste(Image.new("RGB", self.image.size, fill), (0, 0), mask)


def _shop() -> Image.Image:
    """A shop front with a sign to read."""
    sheet = _Sheet(896, 672, "#cfe3ee", "#f3e9dc")
    sheet.box(0, 560, 896, 112, "#b9b2a8")
    sheet.box(0, 560, 896, 10, "#a39b90")
    sheet.box(120, 110, 656, 456, "#c9694f")
    for row in range(15):
        for column in range(12):
            shade = "#c26349" if (row * 7 + column * 3) % 5 else "#d07a60"
            x = 124 + column * 54 + row % 2 * 22
            sheet.box(x, 116 + row * 30, min(48, 772 - x), 24, shade, r=2)
    sheet.box(100, 96, 696, 34, "#7d3f33", r=4)
    sheet.box(230, 156, 436, 92, "#20303a", r=10)
    sheet.box(238, 164, 420, 76, "#f7efe0", r=6)
    sheet.text(448, 202, "OPEN", 58, "#20303a")
    for column in range(12):
        fill = "#f4f1ea" if column % 2 else "#2f7f78"
        x = 164 + column * 47.5
        sheet.shape([(x + 8, 268), (x + 50, 268), (x + 47.5, 326), (x, 326)], fill)
        sheet.oval(x, 314, 47.5, 24, fill)
    sheet.box(176, 340, 270, 180, "#20303a", r=4)
    sheet.box(186, 350, 250, 160, "#f6d58b", r=2)
    sheet.glow(310, 400, 90, "#fff3c9", 190)
    for number, colour in enumerate(("#b0503d", "#2f7f78", "#e0a13c", "#5b6fa8")):
        x = 204 + number * 58
        sheet.box(x, 452, 40, 58, colour, r=8)
        sheet.oval(x + 6, 434, 28, 28, "#6b4a36")
        sheet.oval(x + 2, 418, 36, 34, "#4f8a4b")
    sheet.box(506, 340, 168, 226, "#20303a", r=4)
    sheet.box(518, 352, 144, 214, "#2f7f78", r=2)
    sheet.box(534, 370, 112, 92, "#d8ecec", r=4)
    sheet.oval(640, 476, 14, 14, "#f1d48a")
    sheet.box(490, 566, 200, 14, "#8f877d", r=2)
    sheet.oval(700, 486, 66, 60, "#4f8a4b")
    sheet.oval(724, 462, 50, 60, "#5f9d56")
    sheet.box(706, 530, 62, 44, "#8a5a44", r=8)
    return sheet.image


def _person(
    coat: str, hair: str, skin: str, back: tuple[str, str], *, long_hair: bool
) -> Image.Image:
    """A person from the waist up in front of a plain wall."""
    sheet = _Sheet(640, 800, *back)
    sheet.glow(320, 330, 260, "#ffffff", 90)
    if long_hair:
        sheet.box(196, 190, 248, 350, hair, r=120)
    sheet.box(280, 430, 80, 120, skin, r=36)
    sheet.box(108, 520, 424, 420, coat, r=130)
    sheet.shape([(262, 522), (378, 522), (320, 640)], "#f5f1ea")
    sheet.shape([(262, 520), (320, 640), (246, 610)], coat)
    sheet.shape([(378, 520), (320, 640), (394, 610)], coat)
    sheet.box(280, 470, 80, 76, skin, r=36)
    sheet.oval(214, 214, 212, 262, skin)
    sheet.oval(198, 320, 34, 56, skin)
    sheet.oval(408, 320, 34, 56, skin)
    sheet.shape(
        [
            (206, 330),
            (206, 250),
            (260, 190),
            (380, 190),
            (434, 250),
            (434, 330),
            (404, 270),
            (330, 262),
            (250, 276),
        ],
        hair,
    )
    sheet.oval(204, 160, 232, 140, hair)
    sheet.oval(232, 246, 176, 60, skin if long_hair else hair)
    if not long_hair:
        sheet.oval(240, 276, 160, 60, skin)
    for x in (262, 350):
        sheet.oval(x, 322, 28, 22, "#ffffff")
        sheet.oval(x + 7, 324, 16, 18, "#2b2a33")
        sheet.arc(x - 6, 300, 40, 24, (200, 340), hair)
    sheet.arc(308, 340, 26, 48, (20, 150), "#a9654f")
    sheet.arc(276, 372, 88, 52, (20, 160), "#a8433f")
    sheet.glow(252, 386, 20, "#e58d7d", 90)
    sheet.glow(388, 386, 20, "#e58d7d", 90)
    for y in (680, 740):
        sheet.oval(312, y, 16, 16, "#f5f1ea")
    return sheet.image


def _anna() -> Image.Image:
    return _person("#c0392b", "#4a2c22", "#f0c3a2", ("#dfe7ee", "#c3d2de"), long_hair=True)


def _ben() -> Image.Image:
    return _person("#2d5f8b", "#22252e", "#d9a57f", ("#efe7d8", "#dccdb2"), long_hair=False)


def _table() -> Image.Image:
    """A table by a window, with room on it."""
    sheet = _Sheet(896, 672, "#e9dfd2", "#dccfbe")
    sheet.box(96, 60, 340, 330, "#fbf8f2", r=6)
    sheet.box(112, 76, 308, 298, "#a9d4ea")
    sheet.glow(330, 150, 60, "#fff7d6", 220)
    sheet.shape(
        [(112, 374), (112, 300), (210, 236), (300, 310), (360, 270), (420, 320), (420, 374)],
        "#7fae84",
    )
    sheet.box(260, 76, 12, 298, "#fbf8f2")
    sheet.box(112, 216, 308, 12, "#fbf8f2")
    sheet.box(84, 386, 364, 16, "#efe8dc", r=4)
    sheet.box(560, 110, 190, 150, "#6e5646", r=4)
    sheet.box(574, 124, 162, 122, "#f4ead6")
    sheet.oval(610, 146, 60, 60, "#e0a13c")
    sheet.shape([(574, 246), (630, 186), (668, 222), (700, 196), (736, 246)], "#4f7c8a")
    sheet.shape([(0, 672), (0, 500), (896, 470), (896, 672)], "#9a6a45")
    sheet.shape([(0, 500), (896, 470), (896, 486), (0, 518)], "#b98457")
    sheet.oval(214, 556, 220, 56, "#85583a")
    sheet.box(240, 450, 150, 130, "#f3efe8", r=26)
    sheet.arc(366, 474, 76, 76, (270, 90), "#e3dcd0")
    sheet.oval(240, 436, 150, 40, "#ffffff")
    sheet.oval(252, 442, 126, 28, "#5a3a28")
    for number in range(3):
        x = 272 + number * 36
        sheet.arc(x, 350, 26, 44, (90, 270), "#f7f2ea")
        sheet.arc(x, 388, 26, 44, (270, 90), "#f7f2ea")
    return sheet.image


def _lake() -> Image.Image:
    """A lake between mountains on a summer's day."""
    sheet = _Sheet(1024, 640, "#8ec5ea", "#e7f2f4")
    sheet.glow(800, 120, 90, "#fff6cf", 255)
    sheet.oval(756, 78, 84, 84, "#fff3b8")
    for x, y, w in ((120, 90, 150), (200, 70, 120), (470, 130, 170), (540, 110, 110)):
        sheet.oval(x, y, w, 44, "#ffffff")
    ridge = [
        (x, 300 - 70 * abs(math.sin(x / 150 + 0.6)) - 40 * math.sin(x / 61))
        for x in range(0, 1040, 16)
    ]
    sheet.shape([(0, 420), *ridge, (1024, 420)], "#8aa5bf")
    near = [
        (x, 350 - 66 * abs(math.sin(x / 190 + 2.2)) - 18 * math.sin(x / 47))
        for x in range(0, 1040, 16)
    ]
    sheet.shape([(0, 440), *near, (1024, 440)], "#5f8f78")
    sheet.box(0, 404, 1024, 240, "#6fb3cf")
    for number in range(26):
        x, y = number * 173 % 1000, 418 + number * 61 % 170
        sheet.box(x, y, 60 + number * 37 % 90, 3, "#a9d7e6", r=1)
    for x, h in ((40, 190), (110, 230), (880, 250), (960, 200)):
        sheet.box(x + 24, 440, 14, 90, "#6b4a36")
        for step in range(4):
            top, half = 500 - h + step * h / 5, 22 + step * 11
            sheet.shape(
                [(x + 31, top - 20), (x + 31 - half, top + h / 3), (x + 31 + half, top + h / 3)],
                "#2f6b4f",
            )
    sheet.shape(
        [
            (0, 640),
            (0, 540),
            (180, 500),
            (330, 590),
            (560, 600),
            (760, 540),
            (1024, 500),
            (1024, 640),
        ],
        "#86b361",
    )
    sheet.shape([(430, 520), (600, 520), (570, 552), (460, 552)], "#8a4b34")
    sheet.box(508, 430, 6, 92, "#5b3a2a")
    sheet.shape([(516, 432), (516, 510), (580, 510)], "#f7f2ea")
    sheet.shape([(506, 444), (506, 510), (456, 510)], "#e9dfd2")
    return sheet.image


SAMPLES: dict[str, Callable[[], Image.Image]] = {
    "shop": _shop,
    "anna": _anna,
    "ben": _ben,
    "table": _table,
    "lake": _lake,
}
"""What there is, in the order in which it is offered."""
