"""Pictures as they are sent: what is taken and how it comes out, what is refused and why."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from engines.image_edit.hostile import encoded, half, plain, png_of
from PIL import Image, ImageDraw

from studio.engines.workers.image_edit import intake
from studio.engines.workers.image_edit.intake import (
    GUEST,
    Limits,
    PictureRefused,
    mask,
    output_size,
    picture,
    png,
)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_five_kinds_are_told_by_content(kind: str) -> None:
    image = picture(encoded(half(), kind))
    assert (image.mode, image.size) == ("RGB", (60, 40))
    red, blue = image.getpixel((5, 5)), image.getpixel((5, 35))
    assert red[0] > 200 and blue[2] > 200


def test_a_bomb_is_refused_before_a_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "_pixels", lambda *_: pytest.fail("it was decoded"))
    for side in (60_000, 20_000, 8_000):
        with pytest.raises(PictureRefused, match="more than 50 megapixels") as caught:
            picture(png_of(side, side))
        assert caught.value.hint == "Scale it down first."
    with pytest.raises(PictureRefused, match="more than 24 megapixels"):
        picture(png_of(6_000, 6_000), GUEST)


def test_guests_may_send_less() -> None:
    with pytest.raises(PictureRefused, match=r"The file has 9 MB; at most 8 are taken\."):
        picture(bytes(9 * 2**20), GUEST)
    assert picture(encoded(plain(size=(3000, 2000)), "PNG"), GUEST).size == (1773, 1182)


def test_large_pictures_are_kept_smaller_and_small_ones_as_they_are() -> None:
    drawn = half((600, 400))
    kept = picture(encoded(drawn, "JPEG", quality=95), Limits(kept_pixels=60_000))
    assert kept.size == (300, 200)
    assert kept.getpixel((150, 10))[0] > 240 and kept.getpixel((150, 190))[2] > 240
    assert picture(encoded(drawn, "PNG")).tobytes() == drawn.tobytes()
    again = picture(png(kept))
    assert again.tobytes() == kept.tobytes()


def test_nothing_but_pixels_is_kept() -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    image = picture(encoded(plain(), "JPEG", exif=exif, comment=b"where I live"))
    kept = Image.open(io.BytesIO(png(image)))
    assert kept.info == {} and not kept.getexif()


def test_a_picture_stands_upright_and_is_cut_down_afterwards() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = half((400, 800)).transpose(Image.Transpose.ROTATE_90)
    image = picture(encoded(lying, "JPEG", exif=exif), Limits(kept_pixels=20_000))
    assert image.size == (100, 200)
    assert image.getpixel((50, 20))[0] > 200 and image.getpixel((50, 180))[2] > 200


# masks ------------------------------------------------------------------------------------------


def marked(mode: str, ground: object, mark: object) -> bytes:
    """Return a mask file with a marked square."""
    image = Image.new(mode, (60, 40), ground)
    ImageDraw.Draw(image).rectangle((10, 10, 29, 29), fill=mark)
    return encoded(image, "PNG")


@pytest.mark.parametrize(
    "data",
    [
        marked("L", 0, 255),
        marked("RGB", "black", "white"),
        marked("1", 0, 1),
        marked("RGBA", (0, 0, 0, 255), (255, 255, 255, 255)),
        marked("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        marked("RGBA", (255, 255, 255, 255), (255, 0, 0, 0)),
        marked("LA", (90, 255), (90, 0)),
    ],
)
def test_white_is_edited_or_what_is_transparent(data: bytes) -> None:
    made = mask(data, (60, 40))
    assert made.mode == "L" and made.size == (60, 40)
    assert made.getpixel((20, 20)) == 255 and made.getpixel((50, 5)) == 0


def test_a_mask_takes_the_size_of_its_picture_not_another_shape() -> None:
    made = mask(marked("L", 0, 255), (600, 402))
    assert made.size == (600, 402) and made.getpixel((200, 200)) == 255
    with pytest.raises(PictureRefused, match="60 x 40 and its picture 40 x 60: the shapes differ"):
        mask(marked("L", 0, 255), (40, 60))


def test_a_mask_that_marks_nothing_is_refused() -> None:
    with pytest.raises(PictureRefused, match="marks nothing"):
        mask(encoded(plain("L", 0), "PNG"), (60, 40))
    with pytest.raises(PictureRefused, match="damaged"):
        mask(encoded(plain("L", 255), "PNG")[:60], (60, 40))


# sizes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ((1024, 1024), (1024, 1024)),
        ((640, 480), (1184, 896)),
        ((480, 640), (896, 1184)),
        ((1920, 1080), (1376, 768)),
        ((4000, 200), (4576, 224)),
    ],
)
def test_a_result_has_the_shape_of_its_first_picture(
    given: tuple[int, int], made: tuple[int, int]
) -> None:
    """The same as diffusers' `calculate_dimensions(1024 * 1024, width / height)`."""
    assert output_size(*given) == made


def test_the_front_knows_no_torch() -> None:
    """What runs beside the page, and the whole front, import nothing heavy."""
    heavy = "torch diffusers transformers numpy"
    code = (
        "import sys; import studio.engines.workers.image_edit.serve; "
        f"assert not [name for name in '{heavy}'.split() if name in sys.modules]; "
        "import os; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100 * 1024  # KiB
