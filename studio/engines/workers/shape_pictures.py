"""Pictures of one coloured shape on a plain ground, drawn at random. Needs Pillow and nothing else.

`draw(random.Random(seed), held_out=True)` gives pictures that no training has seen: where their
shape stands and how large it is adds up to an odd number, in training to an even one. The same
seed gives the same pictures.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image, ImageDraw

Rgb = tuple[int, int, int]


class Words(NamedTuple):
    """The name of a colour or shape; `zh_one` is the shape with its article and measure word."""

    en: str
    zh: str
    zh_one: str = ""


COLOURS: dict[str, tuple[Words, Rgb]] = {
    "red": (Words("red", "红色"), (218, 36, 42)),
    "orange": (Words("orange", "橙色"), (245, 135, 25)),
    "yellow": (Words("yellow", "黄色"), (248, 218, 40)),
    "green": (Words("green", "绿色"), (38, 160, 66)),
    "blue": (Words("blue", "蓝色"), (36, 88, 214)),
    "purple": (Words("purple", "紫色"), (138, 48, 186)),
    "black": (Words("black", "黑色"), (20, 20, 22)),
    "white": (Words("white", "白色"), (248, 248, 246)),
}
SHAPES: dict[str, Words] = {
    "circle": Words("circle", "圆形", "一个{}的圆"),
    "square": Words("square", "正方形", "一个{}的正方形"),
    "triangle": Words("triangle", "三角形", "一个{}的三角形"),
    "star": Words("star", "五角星", "一颗{}的五角星"),
    "heart": Words("heart", "心形", "一颗{}的心"),
    "cross": Words("cross", "十字形", "一个{}的十字"),
}

SIZES = ((112, 112),) * 8 + ((128, 96), (96, 128), (160, 160), (200, 150))
"""Widths and heights; the model itself scales every picture to about 112 x 112 pixels."""


@dataclass(frozen=True)
class Drawing:
    """One shape on a background, before it becomes pixels; lengths in pixels, turn in degrees."""

    shape: str
    colour: str
    fill: Rgb
    x: int
    y: int
    radius: int
    turn: float
    size: tuple[int, int]
    back: tuple[Rgb, Rgb]
    """Colour of the background at the top and at the bottom."""

    def image(self) -> Image.Image:
        """Return the picture, RGB, smooth at the edges."""
        fine = 3
        (width, height), (top, bottom) = self.size, self.back
        if top == bottom:
            image = Image.new("RGB", (width * fine, height * fine), top)
        else:
            fade = Image.new("RGB", (1, 2))
            fade.putpixel((0, 0), top)
            fade.putpixel((0, 1), bottom)
            image = fade.resize((width * fine, height * fine), Image.Resampling.BILINEAR)
        points = [
            ((self.x + dx * self.radius) * fine, (self.y + dy * self.radius) * fine)
            for dx, dy in outline(self.shape, self.turn)
        ]
        ImageDraw.Draw(image).polygon(points, fill=self.fill)
        return image.resize(self.size, Image.Resampling.BOX)


def draw(rng: random.Random, *, held_out: bool = False) -> Drawing:
    """Return a random drawing, from the training half or from the half kept for tests."""
    shape, colour = rng.choice(sorted(SHAPES)), rng.choice(sorted(COLOURS))
    fill = shade(rng, COLOURS[colour][1])
    top = background(rng, fill)
    bottom = background(rng, fill) if rng.random() < 0.12 else top
    width, height = size = rng.choice(SIZES)
    radius = rng.randint(round(0.3 * min(size)), round(0.45 * min(size)))
    x = width // 2 + astray(rng, width // 2 - radius)
    y = height // 2 + astray(rng, height // 2 - radius)
    if (x + y + radius) % 2 != held_out:
        radius -= 1
    turn = rng.uniform(-10, 10)
    return Drawing(shape, colour, fill, x, y, radius, turn, size, (top, bottom))


def astray(rng: random.Random, room: int) -> int:
    """Return a step off the middle, at most 0.35 of the room that is left on that side."""
    most = round(0.35 * room)
    return rng.randint(-most, most)


def shade(rng: random.Random, colour: Rgb) -> Rgb:
    """Return the colour a little lighter or darker, a little off its hue."""
    light = rng.randint(-18, 18)
    red, green, blue = (min(255, max(0, c + light + rng.randint(-9, 9))) for c in colour)
    return red, green, blue


def background(rng: random.Random, fill: Rgb) -> Rgb:
    """Return a plain light or dark colour that the shape stands out from."""
    while True:
        kind = rng.random()
        if kind < 0.25:
            level = rng.choice((255, 255, 0))
            colour = (level, level, level)
        else:
            base = rng.randint(170, 245) if kind < 0.7 else rng.randint(15, 105)
            tint = [min(255, max(0, base + rng.randint(-20, 20))) for _ in range(3)]
            colour = (tint[0], tint[1], tint[2])
        if math.dist(colour, fill) > 110:
            return colour


def outline(shape: str, turn: float) -> list[tuple[float, float]]:
    """Return the corners of a shape in a circle of radius 1, turned by degrees."""
    if shape == "circle":
        points = [polar(1, angle) for angle in range(0, 360, 6)]
    elif shape == "square":
        points = [polar(1.1, angle) for angle in (45, 135, 225, 315)]
    elif shape == "triangle":
        points = [polar(1.1, angle) for angle in (-90, 30, 150)]
    elif shape == "star":
        points = [polar((1.1, 0.44)[i % 2], -90 + 36 * i) for i in range(10)]
    elif shape == "cross":
        a, b = 1.0, 0.34
        quarter = [(b, -a), (b, -b), (a, -b)]
        points = [spin(p, 90 * i) for i in range(4) for p in quarter]
    elif shape == "heart":
        points = [heart(math.radians(angle)) for angle in range(0, 360, 6)]
    else:
        raise ValueError(f"no such shape: {shape}")
    return [spin(point, turn) for point in points]


def polar(radius: float, degrees: float) -> tuple[float, float]:
    """Return the point at a distance and an angle; y points down."""
    angle = math.radians(degrees)
    return radius * math.cos(angle), radius * math.sin(angle)


def spin(point: tuple[float, float], degrees: float) -> tuple[float, float]:
    """Turn a point around the origin."""
    (x, y), angle = point, math.radians(degrees)
    return x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)


def heart(t: float) -> tuple[float, float]:
    """Return a point of the heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - ..., scaled."""
    x = 16 * math.sin(t) ** 3
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return x / 16.5, -(y + 2.5) / 16.5
