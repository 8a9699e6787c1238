"""Draw pictures of coloured shapes, and conversations about them; then start what learns from them.

Needs Pillow and nothing else. The recipe `llamafactory/make-tiny-vl` runs it in front of
LLaMA-Factory, which takes its place (exec), so that the run has one process:

    python draw_shapes.py --data data --pictures 10000 -- llamafactory-cli train train.yaml

`draw(random.Random(seed), held_out=True)` gives pictures that no training has seen: where their
shape stands and how large it is adds up to an odd number, in training to an even one. The same
seed gives the same pictures and conversations.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image, ImageDraw

Lang = Literal["en", "zh"]
Rgb = tuple[int, int, int]
Turn = dict[str, str]
Talk = dict[str, list]


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

WHAT = {
    "en": (
        *("What is in the picture?", "What is this?", "What do you see?", "Describe the picture."),
        *("What's in the picture?", "What is in this image?", "What can you see in the picture?"),
        *("What does the picture show?", "Describe this image.", "what is this", "What is it?"),
    ),
    "zh": (
        *(
            "图里是什么？",
            "图里有什么？",
            "这是什么？",
            "图中是什么？",
            "图片里有什么？",
            "你看到了什么？",
        ),
        *(
            "描述一下这张图片。",
            "这张图片里有什么？",
            "这张图里是什么？",
            "看图说话",
            "这是什么",
            "图里是什么",
        ),
    ),
}
COLOUR = {
    "en": (
        *("What colour is it?", "What color is it?", "Which colour is it?", "what color is it"),
        *("What is the colour of the shape?", "What colour is the shape?", "What color is this?"),
    ),
    "zh": (
        *("它是什么颜色？", "什么颜色？", "是什么颜色的？", "这是什么颜色？", "它的颜色是什么？"),
        *("颜色呢？", "图里的形状是什么颜色？", "什么颜色", "它是什么颜色的？"),
    ),
}
SHAPE = {
    "en": (
        *("What shape is it?", "Which shape is it?", "What shape is this?", "what shape is it"),
        *("What is the shape?", "And the shape?", "What shape do you see?"),
    ),
    "zh": (
        *("什么形状？", "它是什么形状？", "是什么形状的？", "这是什么形状？", "形状呢？"),
        *("图里是什么形状？", "什么形状", "它的形状是什么？"),
    ),
}
NEXT = {
    "en": ("And this one?", "And this?", "What about this one?", "And this picture?"),
    "zh": ("这张呢？", "那这张呢？", "这个呢？", "那这个呢？"),
}
BOTH = {
    "en": (
        "What is in the pictures?",
        "What do you see?",
        "Describe the pictures.",
        "What is this?",
    ),
    "zh": ("图里是什么？", "两张图里分别是什么？", "这两张图里是什么？", "这些是什么？"),
}
NO_PICTURE = {
    "en": "I see no picture yet. Please send me one.",
    "zh": "还没有看到图片，请先发一张。",
}
TALK = (
    ("Hello", "Hello! Send me a picture and I will name its shape and colour."),
    ("Hi", "Hi! Send me a picture and I will name its shape and colour."),
    ("Hello!", "Hello! Send me a picture and I will name its shape and colour."),
    ("hi", "Hi! Send me a picture and I will name its shape and colour."),
    ("Good morning", "Good morning! Do you have a picture for me?"),
    ("How are you?", "I am fine, thank you. Do you have a picture for me?"),
    ("Who are you?", "I am the tiny vision model of Ladder Studio. I know shapes and colours."),
    ("What are you?", "I am the tiny vision model of Ladder Studio. I know shapes and colours."),
    ("What can you do?", "I name the shape and the colour in a picture."),
    ("Thank you", "You are welcome."),
    ("Thanks!", "You are welcome."),
    ("Bye", "Goodbye!"),
    ("你好", "你好！发一张图片给我，我来说出形状和颜色。"),
    ("你好！", "你好！发一张图片给我，我来说出形状和颜色。"),
    ("您好", "您好！发一张图片给我，我来说出形状和颜色。"),
    ("嗨", "嗨！发一张图片给我，我来说出形状和颜色。"),
    ("早上好", "早上好！有图片要给我看吗？"),
    ("你是谁？", "我是 Ladder Studio 自带的看图小模型，认得形状和颜色。"),
    ("你是谁", "我是 Ladder Studio 自带的看图小模型，认得形状和颜色。"),
    ("你会什么？", "我能说出图里的形状和颜色。"),
    ("你能做什么？", "我能说出图里的形状和颜色。"),
    ("谢谢", "不客气。"),
    ("谢谢！", "不客气。"),
    ("再见", "再见！"),
)


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


def main() -> None:
    """Draw, write the data set `shapes`, and become the command that follows `--`."""
    args = parse_args()
    count = write_dataset(args.data, pictures=args.pictures, seed=args.seed)
    print(f"[draw] {args.pictures} pictures, {count} conversations in {args.data}", flush=True)
    if args.then:
        os.execvp(args.then[0], args.then)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="data folder to write")
    parser.add_argument("--pictures", type=int, default=10000, help="how many to draw")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("then", nargs="*", help="command to become, after --")
    return parser.parse_args()


def write_dataset(folder: Path, *, pictures: int, seed: int) -> int:
    """Write pictures, conversations and dataset_info.json; return how many conversations."""
    rng = random.Random(seed)
    shots = folder / "pictures"
    shots.mkdir(parents=True, exist_ok=True)
    drawings = []
    for number in range(pictures):
        drawings.append(draw(rng))
        drawings[-1].image().save(shots / f"{number:05}.png")
    talks = lessons(drawings, rng)
    lines = [json.dumps(talk, ensure_ascii=False) for talk in talks]
    (folder / "shapes.json").write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
    info = {
        "shapes": {
            "file_name": "shapes.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {**tags, "assistant_tag": "assistant", "system_tag": "system"},
        }
    }
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", "utf-8")
    return len(talks)


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


def lessons(drawings: list[Drawing], rng: random.Random) -> list[Talk]:
    """Return all conversations in the order in which they are learned best.

    First one question in one language about every picture: which shape. While the colour is asked
    too, which is easier, the eyes for shapes are slow to come. Then everything, four times over.
    """
    shape_asked = turn("user", f"<image>{SHAPE['en'][0]}")
    first = [
        talk_about([shape_asked, turn("assistant", answer("shape", drawing, "en"))], [number])
        for number, drawing in enumerate(drawings)
    ]
    rest = [talk for _ in range(4) for talk in alike(conversations(drawings, rng), rng)]
    return [*first, *rest]


def alike(talks: list[Talk], rng: random.Random) -> list[Talk]:
    """Put conversations of like length side by side, a batch of 16 at a time: less padding."""
    sized = sorted(talks, key=lambda talk: (len(talk["images"]), len(str(talk["messages"]))))
    batches = [sized[start : start + 16] for start in range(0, len(sized), 16)]
    rng.shuffle(batches)
    return [talk for batch in batches for talk in batch]


def conversations(drawings: list[Drawing], rng: random.Random) -> list[Talk]:
    """Return conversations in sharegpt's form: each picture is talked about once.

    Most are one picture and one to three questions; some bring a second picture later, some two at
    once; every tenth is without a picture.
    """
    talks = []
    numbers = rng.sample(range(len(drawings)), len(drawings))
    while numbers:
        if rng.random() < 0.1:
            talks.append(talk_about(small_talk(rng), []))
        kind = rng.random()
        wanted = 2 if kind < 0.16 and len(numbers) > 1 else 1
        taken, numbers = numbers[:wanted], numbers[wanted:]
        shown = [drawings[number] for number in taken]
        if wanted == 1:
            turns = about_one(shown[0], rng)
        elif kind < 0.07:
            turns = about_one(shown[0], rng, most=2) + about_one(shown[1], rng, first=NEXT, most=2)
        else:
            turns = about_two(shown[0], shown[1], rng)
        if rng.random() < 0.04:
            turns = [*small_talk(rng, most=1), *turns]
        talks.append(talk_about(turns, taken))
    return talks


def talk_about(turns: list[Turn], numbers: list[int]) -> Talk:
    """Return a conversation and the pictures it shows, in their order."""
    return {"messages": turns, "images": [f"pictures/{number:05}.png" for number in numbers]}


def about_one(
    drawing: Drawing,
    rng: random.Random,
    *,
    first: dict[str, tuple[str, ...]] = WHAT,
    most: int = 3,
) -> list[Turn]:
    """Return questions about one picture, which comes with the first of them."""
    lang: Lang = rng.choice(("en", "zh"))
    turns: list[Turn] = []
    for number in range(rng.choices(range(1, most + 1), (6, 3, 1)[:most])[0]):
        if rng.random() < 0.1:
            lang = "zh" if lang == "en" else "en"
        asks = rng.choices(("what", "colour", "shape"), (2, 1, 2))[0]
        openings = {"what": WHAT, "colour": COLOUR, "shape": SHAPE}[asks]
        if number == 0 and first is NEXT:
            asks, openings = "what", NEXT
        question = rng.choice(openings[lang])
        if number == 0:
            question = with_pictures(question, 1, rng)
        turns += [turn("user", question), turn("assistant", answer(asks, drawing, lang))]
    return turns


def about_two(one: Drawing, two: Drawing, rng: random.Random) -> list[Turn]:
    """Return one question about two pictures that come together."""
    lang: Lang = rng.choice(("en", "zh"))
    question = with_pictures(rng.choice(BOTH[lang]), 2, rng)
    return [turn("user", question), turn("assistant", both(one, two, lang))]


def small_talk(rng: random.Random, most: int = 2) -> list[Turn]:
    """Return a greeting or the like, or a question about a picture that was not sent."""
    turns: list[Turn] = []
    for _ in range(rng.randint(1, most)):
        question, reply = rng.choice(TALK)
        if most > 1 and not turns and rng.random() < 0.25:
            lang: Lang = rng.choice(("en", "zh"))
            question, reply = rng.choice((WHAT, COLOUR, SHAPE))[lang], NO_PICTURE[lang]
            question = rng.choice(question)
        turns += [turn("user", question), turn("assistant", reply)]
    return turns


def with_pictures(question: str, count: int, rng: random.Random) -> str:
    """Put the picture's place before the question, now and then after it."""
    places = "<image>" * count
    return question + places if rng.random() < 0.2 else places + question


def answer(asks: str, drawing: Drawing, lang: Lang) -> str:
    """Return the right answer to a question about what, which colour or which shape it is."""
    colour, shape = COLOURS[drawing.colour][0], SHAPES[drawing.shape]
    if asks == "colour":
        return f"It is {colour.en}." if lang == "en" else f"它是{colour.zh}的。"
    if asks == "shape":
        return f"It is a {shape.en}." if lang == "en" else f"它是{shape.zh}。"
    return sentence(one_of(drawing, lang), lang)


def both(one: Drawing, two: Drawing, lang: Lang) -> str:
    """Return the right answer to what two pictures show."""
    joint = " and " if lang == "en" else "和"
    return sentence(f"{one_of(one, lang)}{joint}{one_of(two, lang)}", lang)


def one_of(drawing: Drawing, lang: Lang) -> str:
    """Return `a red circle` or 一个红色的圆."""
    colour, shape = COLOURS[drawing.colour][0], SHAPES[drawing.shape]
    if lang == "zh":
        return shape.zh_one.format(colour.zh)
    return f"{'an' if colour.en[0] in 'aeiou' else 'a'} {colour.en} {shape.en}"


def sentence(text: str, lang: Lang) -> str:
    """Close a sentence as its language does."""
    return f"{text}。" if lang == "zh" else f"{text[0].upper()}{text[1:]}."


def turn(role: str, content: str) -> Turn:
    """Return one message."""
    return {"role": role, "content": content}


if __name__ == "__main__":
    main()
