"""A judge with a fixed rule, for tests: it stands in for a strong model, and is none.

It speaks OpenAI's protocol through `chat.sse_server`, reads the prompt as a model would, and gives
the reply that holds the reference answer 9 and any other 2. Of two replies the one that holds the
reference is better; when both or neither do, it takes the first, which is the bias that showing
both orders is there for.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from typing import Any

from chat.sse_server import FakeChat, Script

NAME = "stand-in-judge"


def judge(body: dict[str, Any]) -> list[str]:
    """Return the verdict on a request, in pieces."""
    prompt = body["messages"][-1]["content"]
    wanted = _between(prompt, "reference").strip()
    if "<assistant_a>" in prompt:
        right = [wanted in _last(_between(prompt, f"assistant_{side}")) for side in "ab"]
        letter = "B" if right == [False, True] else "A"
        return ["By the fixed rule ", f"of this stand-in: [[{letter}]]"]
    rating = 9 if wanted in _last(_between(prompt, "conversation")) else 2
    return ["By the fixed rule ", f"of this stand-in: [[{rating}]]"]


def _between(prompt: str, tag: str) -> str:
    found = re.search(rf"<{tag}>\n(.*)\n</{tag}>", prompt, re.DOTALL)
    return found[1] if found else "\0"


def _last(conversation: str) -> str:
    return re.split(r"(?:Assistant|助手): ", conversation)[-1]


def main() -> None:
    """Serve the judge until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    server = FakeChat({NAME: Script(pieces=judge)}, port=parser.parse_args().port)
    asyncio.run(server.serve(lambda: print(server.url, flush=True)))


if __name__ == "__main__":
    main()
