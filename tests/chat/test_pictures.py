"""Pictures: what is taken, what is refused, how they are scaled, what they cost, where they lie."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from studio.chat import album, pictures
from studio.chat.conversations import Conversations
from studio.chat.export import as_jsonl, as_markdown
from studio.chat.pictures import GUEST, Limits, PictureRefused, fit, prepare, seen, tokens
from studio.chat.transcript import text_of
from studio.core.errors import NotFound
from studio.core.spec import Pictures

QWEN2 = Pictures()
QWEN3 = Pictures(patch=16, min_pixels=65536, max_pixels=16777216)


def drawn(width: int, height: int, kind: str = "PNG", mode: str = "RGB", **how) -> bytes:
    """Return a picture file: red above, blue below."""
    image = Image.new(mode, (width, height), how.pop("color", (255, 0, 0)))
    if mode == "RGB":
        ImageDraw.Draw(image).rectangle((0, height // 2, width, height), fill=(0, 0, 255))
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.frombytes("RGB", (width, height), os.urandom(width * height * 3))


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# what is taken ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_five_kinds_are_told_by_content(kind: str) -> None:
    made = prepare(drawn(320, 240, kind))
    assert (made.width, made.height, made.source) == (320, 240, (320, 240))
    image = opened(made.data)
    assert image.mode == "RGB" and made.name.endswith(f".{made.suffix}")
    red, _, blue = image.getpixel((10, 10))
    assert red > 200 and blue < 60


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "PDF"])
def test_everything_else_is_refused(kind: str) -> None:
    with pytest.raises(PictureRefused, match="not a picture that the studio reads"):
        prepare(drawn(64, 64, kind))


@pytest.mark.parametrize(
    "data", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a", b"\x89PNG\r\n\x1a\n"]
)
def test_what_only_looks_like_a_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PictureRefused):
        prepare(data)


def test_a_torn_file_is_refused() -> None:
    file = io.BytesIO()
    noise(300, 300).save(file, "JPEG")
    with pytest.raises(PictureRefused, match="damaged"):
        prepare(file.getvalue()[: len(file.getvalue()) // 2])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of 120 bytes that says it is 60,000 x 60,000: refused before a pixel is decoded."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    def bomb(side: int) -> bytes:
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        pixels = zlib.compress(b"\0" * 1000)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels)

    decoded = []
    monkeypatch.setattr(pictures, "_pixels", lambda *_: decoded.append(1))
    for side in (60_000, 12_000):
        with pytest.raises(PictureRefused, match="megapixels"):
            prepare(bomb(side))
    with pytest.raises(PictureRefused, match="24 megapixels"):
        prepare(bomb(5_000), GUEST)
    assert decoded == []


def test_too_many_bytes_and_too_thin_are_refused() -> None:
    with pytest.raises(PictureRefused, match="at most 0 are taken"):
        prepare(drawn(64, 64), Limits(max_bytes=100))
    with pytest.raises(PictureRefused, match="long and thin"):
        prepare(drawn(2010, 10))


def test_a_picture_stands_upright_and_tells_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side: turn it right
    exif[0x010F] = "a camera"
    made = prepare(drawn(400, 200, "JPEG", exif=exif, comment=b"where I live"))
    assert (made.width, made.height) == (200, 400)
    image = opened(made.data)
    assert image.getpixel((150, 200))[0] > 200 and image.getpixel((50, 200))[2] > 200
    assert dict(image.getexif()) == {} and not {"comment", "exif", "dpi"} & image.info.keys()
    assert b"camera" not in made.data and b"where I live" not in made.data


def test_what_shows_through_is_white() -> None:
    for mode, color in (("RGBA", (0, 0, 0, 0)), ("LA", (0, 0))):
        assert opened(prepare(drawn(40, 40, mode=mode, color=color)).data).getpixel((5, 5)) == (
            255,
            255,
            255,
        )
    file = io.BytesIO()
    Image.new("P", (30, 30)).save(file, "GIF", transparency=0)
    assert opened(prepare(file.getvalue()).data).getpixel((5, 5)) == (255, 255, 255)


def test_sixteen_bit_greys_keep_their_light() -> None:
    file = io.BytesIO()
    Image.new("I;16", (30, 30), 32768).save(file, "PNG")
    assert opened(prepare(file.getvalue()).data).getpixel((5, 5)) == (128, 128, 128)


def test_an_animation_is_its_first_frame() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (50, 50), colour) for colour in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    assert opened(prepare(file.getvalue()).data).getpixel((5, 5))[0] > 200


def test_drawings_stay_sharp_and_photographs_small() -> None:
    assert prepare(drawn(1600, 1200)).suffix == "png"
    for photograph in (noise(600, 400), noise(600, 400).convert("L")):
        file = io.BytesIO()
        photograph.save(file, "PNG")
        made = prepare(file.getvalue())
        assert made.suffix == "jpg" and len(made.data) < len(file.getvalue())
    file = io.BytesIO()
    noise(112, 112).save(file, "PNG")
    small = prepare(file.getvalue())
    assert list(opened(small.data).getdata()) == list(opened(file.getvalue()).getdata())


# scaling and cost -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "spec", "wanted", "cost"),
    [
        # Qwen2-VL: one token is 28 x 28 pixels.
        ((28, 28), QWEN2, (56, 56), 4),
        ((1, 1), QWEN2, (56, 56), 4),
        ((224, 224), QWEN2, (224, 224), 64),
        ((504, 504), QWEN2, (504, 504), 324),
        ((640, 480), QWEN2, (644, 476), 23 * 17),
        ((42, 70), QWEN2, (56, 56), 4),  # 1.5 and 2.5 both round to the even 2
        ((1920, 1080), QWEN2, (1932, 1092), 69 * 39),
        ((4032, 3024), QWEN2, (4032, 3024), 144 * 108),
        ((8000, 6000), QWEN2, (4116, 3080), 147 * 110),
        ((4032, 3024), Pictures(max_pixels=2408448), (1792, 1344), 64 * 48),
        ((3024, 4032), Pictures(max_pixels=1280 * 784), (840, 1148), 30 * 41),
        ((5000, 30), Pictures(max_pixels=50176), (2884, 28), 103),
        ((112, 112), Pictures(min_pixels=12544, max_pixels=12544), (112, 112), 16),
        # Qwen3-VL: 32 x 32.
        ((640, 480), QWEN3, (640, 480), 300),
        ((100, 100), QWEN3, (256, 256), 64),
    ],
)
def test_tokens_are_those_of_the_models_own_processor(size, spec, wanted, cost) -> None:
    assert seen(*size, spec) == wanted
    assert tokens(*size, spec) == cost + 2


def test_a_large_picture_is_scaled_to_what_the_model_sees() -> None:
    spec = Pictures(max_pixels=2408448)
    assert fit(4032, 3024, spec) == (1792, 1344) and fit(640, 480, spec) == (640, 480)
    made = prepare(drawn(4032, 3024, "JPEG"), spec=spec)
    assert (made.width, made.height, made.source) == (2352, 1764, (4032, 3024))
    sent = pictures.rescaled(made.data, spec)
    assert opened(sent).size == fit(made.width, made.height, spec) == (1792, 1344)
    assert seen(*opened(sent).size, spec) == opened(sent).size, "the engine leaves it as it is"
    assert pictures.rescaled(sent, spec) is sent
    assert prepare(drawn(4032, 3024, "JPEG"), GUEST).width == 1148


def test_a_model_of_one_size_does_its_own_scaling() -> None:
    """Sent in the size it has to be, such a model would scale it up again and read more tokens."""
    only = Pictures(min_pixels=12544, max_pixels=12544)
    assert seen(1600, 1200, only) == (112, 84) and seen(112, 84, only) == (140, 112)
    assert fit(1600, 1200, only) == (1600, 1200)
    assert tokens(*fit(1600, 1200, only), only) == 12 + 2


# where they lie ---------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Conversations:
    return Conversations(tmp_path / "chats", "ann")


def asked(store: Conversations, text: str, *sizes: tuple[int, int]) -> tuple[str, list[str]]:
    names = [store.album.put(prepare(drawn(*size))) for size in sizes]
    ident = store.create()
    store.append(ident, {"role": "user", "content": album.question(text, names)})
    store.append(ident, {"role": "assistant", "content": "Red.", "studio": {"tokens": 1}})
    return ident, names


def test_a_message_refers_to_its_pictures(store: Conversations) -> None:
    ident, [name] = asked(store, "Which colour?", (64, 64))
    message = store.load(ident).messages[0]
    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": f"picture:{name}"}},
        {"type": "text", "text": "Which colour?"},
    ]
    assert album.names_in(message) == [name] and text_of(message) == "Which colour?"
    assert store.list()[0].title == "Which colour?"
    assert album.question("no picture") == "no picture"
    [sent] = album.filled([message], store.album)
    uri = sent["content"][0]["image_url"]["url"]
    assert uri.startswith("data:image/png;base64,")
    assert base64.b64decode(uri.partition(",")[2]) == store.album.read(name)
    assert message["content"][0]["image_url"]["url"].startswith("picture:"), "a copy was filled"
    assert store.search("picture") == [], "a reference is no text"


def test_the_same_picture_is_kept_once(store: Conversations) -> None:
    asked(store, "one", (64, 64))
    asked(store, "two", (64, 64), (80, 60))
    assert len(store.album.names()) == 2


def test_a_deleted_conversation_takes_only_its_own_pictures(store: Conversations) -> None:
    first, [both] = asked(store, "one", (64, 64))
    second, [_, own] = asked(store, "two", (64, 64), (80, 60))
    pending = store.album.put(prepare(drawn(96, 96)))
    store.delete(second)
    assert set(store.album.names()) == {both, pending} and not store.album.has(own)
    store.delete(first)
    assert store.album.names() == [pending], "what was attached a moment ago stays"
    path = store.album._folder / pending
    os.utime(path, (time.time() - 90_000,) * 2)
    store.tidy()
    assert store.album.names() == []


def test_a_picture_taken_out_of_the_box_is_gone_unless_it_is_shown(store: Conversations) -> None:
    _, [shown] = asked(store, "one", (64, 64))
    pending = store.album.put(prepare(drawn(96, 96)))
    for name in (shown, pending, "../../x", "."):
        store.let_go(name)
    assert store.album.names() == [shown]


def test_nobody_names_what_is_not_his(store: Conversations, tmp_path: Path) -> None:
    _, [name] = asked(store, "one", (64, 64))
    other = Conversations(tmp_path / "chats", "bob").album
    assert not other.has(name)
    for path in (name, f"../../ann/pictures/{name}", "", "x.png", f"{'0' * 64}.svg"):
        with pytest.raises(NotFound):
            other.read(path)


def test_old_conversations_still_read(store: Conversations) -> None:
    ident = store.create()
    store.append(ident, {"role": "user", "content": "plain"})
    store.append(ident, {"role": "user", "content": [{"type": "text", "text": "parts"}, "odd"]})
    messages = store.load(ident).messages
    assert [text_of(m) for m in messages] == ["plain", "parts"]
    assert album.count_in(messages) == 0 and album.filled(messages, store.album) == messages


def test_what_is_taken_away_has_the_pictures_inside(store: Conversations) -> None:
    ident, [name] = asked(store, "Which colour?", (64, 64))
    conversation = store.load(ident)
    rows = [json.loads(line) for line in as_jsonl(conversation, store.album).splitlines()]
    assert rows[0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert f"![{name[:8]}](data:image/png;base64," in as_markdown(conversation, album=store.album)
    store.album.remove([name])
    gone = json.loads(as_jsonl(conversation, store.album).splitlines()[0])
    assert gone["content"][0]["image_url"]["url"] == f"picture:{name}"
    assert "Which colour?" in as_markdown(conversation, album=store.album)
