"""Conversations about pictures of shapes, in English and Chinese, for a small model to learn from.

`lessons` puts them in the order in which they are learned best. The same random numbers give the
same conversations.
"""

from __future__ import annotations

import random
from typing import Literal

from shape_pictures import COLOURS, SHAPES, Drawing

Lang = Literal["en", "zh"]
Turn = dict[str, str]
Talk = dict[str, list]

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
