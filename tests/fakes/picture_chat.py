"""A stand-in for a vision-language server: it sees nothing, it reports which pictures it got.

`python tests/fakes/picture_chat.py PORT [--blind] [--silent]`. With `--blind` it refuses pictures
as vLLM does for a model that reads text alone; with `--silent` it never ends an answer.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from chat.sse_server import FakeChat, Script

answers = itertools.count(1)


def pictures(message: dict) -> list[str]:
    """Return kind and size of each picture in a message."""
    parts = message["content"] if isinstance(message["content"], list) else []
    found = []
    for part in parts:
        if part["type"] == "image_url":
            uri = part["image_url"]["url"]
            assert uri.startswith("data:image/"), uri[:80]
            image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
            found.append(f"{image.format} {image.width} x {image.height}")
    return found


def report(body: dict) -> list[str]:
    """Say what came and the how manieth answer this is, a word at a time."""
    asked = [message for message in body["messages"] if message["role"] == "user"]
    lines = [f"Stand-in: {len(asked)} question(s)."]
    lines += [
        f"Question {n} brought {', '.join(pictures(message)) or 'no picture'}."
        for n, message in enumerate(asked, 1)
    ]
    lines.append(f"Answer {next(answers)}.")
    return [f"{word} " for word in " ".join(lines).split()]


if __name__ == "__main__":
    refusal = {"error": {"message": "At most 0 image(s) may be provided in one prompt."}}
    blind = Script(status=400, body=refusal) if "--blind" in sys.argv else None
    silent = Script(hang_after=1) if "--silent" in sys.argv else None
    model = blind or silent or Script(pieces=report, rate=100)
    asyncio.run(FakeChat({"stand-in": model}, port=int(sys.argv[1])).serve())
