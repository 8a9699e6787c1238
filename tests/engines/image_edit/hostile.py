"""Files that nobody should send, made here byte by byte: name, content, and what has to happen.

What is refused is named by words of its sentence; what is taken by the size and a colour that the
picture must have afterwards.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image, ImageDraw, PngImagePlugin

RED, WHITE, GREY = (255, 0, 0), (255, 255, 255), (128, 128, 128)
NO_PICTURE, DAMAGED, TOO_LARGE = "not a picture", "damaged", "megapixels"
ANIMATED, THIN = "animated", "long and thin"


class Hostile(NamedTuple):
    """One file."""

    name: str
    data: bytes
    refused: str = ""
    """Words of the sentence; empty when the file is taken."""
    size: tuple[int, int] = (0, 0)
    corner: tuple[int, int, int] = RED
    """Colour at the upper left, within the losses of a format."""


def files() -> Iterator[Hostile]:
    """Yield every file."""
    yield from _no_pictures()
    yield from _bombs()
    yield from _torn()
    yield from _animated()
    yield from _odd_but_good()


def encoded(image: Image.Image, kind: str, **how: object) -> bytes:
    """Return an image in a format."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def plain(
    mode: str = "RGB", color: object = "red", size: tuple[int, int] = (60, 40)
) -> Image.Image:
    """Return an image of one colour."""
    return Image.new(mode, size, color)


def half(size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return an image that is red above and blue below."""
    image = plain(size=size)
    ImageDraw.Draw(image).rectangle((0, size[1] // 2, *size), fill="blue")
    return image


def _no_pictures() -> Iterator[Hostile]:
    svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    external = b"<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>"
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(2**20))
    for name, data in {
        "nothing": b"",
        "one byte": b"\0",
        "svg with a script": svg,
        "svg with an entity": external,
        "svgz": gzip.compress(svg),
        "html": b"<!doctype html><img src=x onerror=alert(1)>",
        "php in a gif's name": b"<?php system($_GET['c']); ?>",
        "zip bomb": zipped.getvalue(),
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF",
        "shell script": b"#!/bin/sh\nrm -rf /\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(64),
        "noise": os.urandom(4096),
        "tiff": encoded(plain(), "TIFF"),
        "ico": encoded(plain(size=(32, 32)), "ICO"),
        "ppm": encoded(plain(), "PPM"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (r) file\n",
        "pickle": b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94",
        "png signature alone": PngImagePlugin._MAGIC,
    }.items():
        yield Hostile(f"{name}.png", data, NO_PICTURE)


def _bombs() -> Iterator[Hostile]:
    yield Hostile("60,000 squared.png", png_of(60_000, 60_000), TOO_LARGE)
    yield Hostile("20,000 squared.png", png_of(20_000, 20_000), TOO_LARGE)
    yield Hostile("8,000 squared.png", png_of(8_000, 8_000), TOO_LARGE)
    yield Hostile("20,000 squared.bmp", bmp_of(20_000, 20_000), TOO_LARGE)
    yield Hostile("16,383 squared.webp", webp_of(16_383, 16_383), TOO_LARGE)
    screen = bytearray(encoded(plain(), "GIF"))
    screen[6:10] = struct.pack("<HH", 65_535, 65_535)
    yield Hostile("65,535 squared.gif", bytes(screen), TOO_LARGE)
    jpeg = bytearray(encoded(plain(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    yield Hostile("65,500 squared.jpg", bytes(jpeg), TOO_LARGE)
    yield Hostile("one line.png", encoded(plain("L", 0, (30_000, 1)), "PNG"), THIN)
    text = zlib.compress(bytes(64 * 2**20))
    stuffed = _with_chunk(encoded(plain(), "PNG"), b"zTXt", b"Comment\0\0" + text)
    yield Hostile("64 MB of comment.png", stuffed, DAMAGED)
    profile = _with_chunk(encoded(plain(), "PNG"), b"iCCP", b"p\0\0" + text)
    yield Hostile("64 MB of profile.png", profile, DAMAGED)
    yield Hostile("41 MB.png", encoded(plain(), "PNG") + bytes(41 * 2**20), "at most 40 are taken")


def _torn() -> Iterator[Hostile]:
    noise = Image.frombytes("RGB", (120, 120), os.urandom(120 * 120 * 3))
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "GIF"):
        data = encoded(noise, kind)
        yield Hostile(f"half a {kind}", data[: len(data) // 2], DAMAGED)
    png = bytearray(encoded(noise, "PNG"))
    png[len(png) // 2] ^= 0xFF
    yield Hostile("one bit turned.png", bytes(png), DAMAGED)
    yield Hostile("no pixels.png", png_of(64, 64), DAMAGED)
    yield Hostile("zero wide.png", png_of(0, 64), NO_PICTURE)


def _animated() -> Iterator[Hostile]:
    frames = [plain(color=color) for color in ("red", "green", "blue")]
    for kind, name in (("GIF", "gif"), ("PNG", "apng"), ("WEBP", "webp")):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        yield Hostile(f"animated.{name}", data, ANIMATED)


def _odd_but_good() -> Iterator[Hostile]:
    yield Hostile("a jpeg called png.png", encoded(plain(), "JPEG"), size=(60, 40))
    yield Hostile("a webp called jpg.jpg", encoded(plain(), "WEBP"), size=(60, 40))
    yield Hostile("../../../etc/passwd", encoded(plain(), "PNG"), size=(60, 40))
    yield Hostile("still.gif", encoded(plain(), "GIF"), size=(60, 40))
    yield Hostile("bmp.bmp", encoded(plain(), "BMP"), size=(60, 40))
    yield Hostile("cmyk.jpg", encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG"), size=(60, 40))
    deep = Image.frombytes("I;16", (60, 40), struct.pack("<H", 32_896) * 2400)
    yield Hostile("16 bit grey.png", encoded(deep, "PNG"), size=(60, 40), corner=GREY)
    yield Hostile("palette.png", encoded(plain().quantize(4), "PNG"), size=(60, 40))
    yield Hostile("one bit.png", encoded(plain("1", 1), "PNG"), size=(60, 40), corner=WHITE)
    clear = encoded(plain("RGBA", (0, 0, 255, 0)), "PNG")
    yield Hostile("transparent.png", clear, size=(60, 40), corner=WHITE)
    yield Hostile(
        "half clear.png", encoded(plain("LA", (0, 127)), "PNG"), size=(60, 40), corner=GREY
    )
    keyed = encoded(plain(), "PNG", transparency=RED)
    yield Hostile("one colour clear.png", keyed, size=(60, 40), corner=WHITE)
    for orientation, lay in _UNDO.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(half().transpose(lay), "JPEG", exif=exif, quality=95)
        yield Hostile(f"lying {orientation}.jpg", data, size=(60, 40))
    exif = Image.Exif()
    exif[0x0112] = 77
    yield Hostile("turned to 77.jpg", encoded(plain(), "JPEG", exif=exif), size=(60, 40))
    photograph = encoded(plain(), "MPO", save_all=True, append_images=[plain(color="blue")])
    yield Hostile("a telephone's.jpg", photograph, size=(60, 40))
    yield Hostile("a pixel.png", encoded(plain(size=(1, 1)), "PNG"), size=(1, 1))
    tail = encoded(plain(), "PNG") + b"PK\x03\x04<script>alert(1)</script>"
    yield Hostile("something behind it.png", tail, size=(60, 40))
    comment = PngImagePlugin.PngInfo()
    comment.add_text("parameters", '{"prompt": "steal"}')
    yield Hostile("settings of others.png", encoded(plain(), "PNG", pnginfo=comment), size=(60, 40))
    large = encoded(plain(size=(4000, 3000)), "JPEG")
    yield Hostile("12 megapixels.jpg", large, size=(2364, 1773))


_UNDO = {
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that lay on its side stored an upright picture, by its EXIF orientation."""


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int) -> bytes:
    """Return a PNG that says it is so large, with a thousand bytes of pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return PngImagePlugin._MAGIC + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def bmp_of(width: int, height: int) -> bytes:
    """Return a BMP that says it is so large, without pixels."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info


def webp_of(width: int, height: int) -> bytes:
    """Return a lossless WebP that says it is so large, made of a small one."""
    data = bytearray(encoded(plain(), "WEBP", lossless=True))
    place = data.index(b"VP8L") + 9
    bits = (width - 1) | (height - 1) << 14
    data[place : place + 4] = struct.pack("<I", bits | data[place + 3] >> 4 << 28)
    return bytes(data)


def _with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """Put a chunk behind the header of a PNG."""
    return png[:33] + chunk(kind, body) + png[33:]
