"""A conversation as a file to take away: plain OpenAI messages, or Markdown to read.

Both are whole in themselves: pictures are inside, as data URIs. One that is gone is left out.
"""

from __future__ import annotations

import json
from datetime import datetime

from studio.chat.album import Album, filled, names_in
from studio.chat.conversations import Conversation, text_of
from studio.chat.transcript import Message

_SPEAKER = {"user": "## 🧑 ", "assistant": "## 🤖 ", "system": "## ⚙️ "}


def as_jsonl(conversation: Conversation, album: Album | None = None) -> str:
    """Return one OpenAI message per line, without the studio's own keys."""
    lines = []
    for message in conversation.messages:
        plain = {key: value for key, value in message.items() if key != "studio"}
        if album is not None and all(album.has(name) for name in names_in(message)):
            [plain] = filled([plain], album)
        lines.append(json.dumps(plain, ensure_ascii=False))
    return "\n".join([*lines, ""])


def as_markdown(
    conversation: Conversation, names: dict[str, str] | None = None, album: Album | None = None
) -> str:
    """Return the conversation to read; `names` are the words for user, assistant and system."""
    names = {"user": "User", "assistant": "Assistant", "system": "System", **(names or {})}
    head = conversation.head
    when = datetime.fromtimestamp(head.created_at).astimezone().isoformat(" ", "minutes")
    parts = [f"# {head.title or head.id}", f"*{when}*"]
    for message in conversation.messages:
        role, extra = message["role"], message.get("studio") or {}
        who = names.get(role, role)
        if extra.get("model"):
            who = f"{who} · {extra['model']}"
        parts.append(f"{_SPEAKER.get(role, '## ')}{who}")
        if extra.get("reasoning"):
            quoted = "\n".join(f"> {line}" for line in extra["reasoning"].splitlines())
            parts.append(quoted)
        parts += _pictures(message, album)
        parts.append(text_of(message))
    return "\n\n".join(parts) + "\n"


def _pictures(message: Message, album: Album | None) -> list[str]:
    kept = [name for name in names_in(message) if album is not None and album.has(name)]
    return [f"![{name[:8]}]({album.data_uri(name)})" for name in kept if album is not None]


def file_name(conversation: Conversation, suffix: str) -> str:
    """Return a name that every file system takes."""
    words = "".join(c if c.isalnum() else "-" for c in conversation.head.title)
    slug = "-".join(part for part in words.split("-") if part)[:40]
    return f"{slug or conversation.head.id}.{suffix}"
