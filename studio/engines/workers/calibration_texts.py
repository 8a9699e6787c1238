"""Calibration texts from a data set in Alpaca, ShareGPT or OpenAI format, or of plain texts.

Needs nothing but Python; `quantize.py` beside it hands its tokenizer in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}
"""ShareGPT's names of the roles a chat template knows."""

Messages = list[dict[str, str]]


def read_rows(dataset: str, folder: str) -> tuple[list[dict], dict[str, str], dict[str, str]]:
    """Return the rows of a JSON or JSONL file, and its columns and tags of dataset_info.json.

    With a folder, `dataset` is a name from that folder's dataset_info.json, else a path.
    """
    path, entry = Path(dataset), {}
    if folder:
        info = json.loads(Path(folder, "dataset_info.json").read_text(encoding="utf-8"))
        entry = info[dataset]
        path = Path(folder, entry["file_name"])
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        rows = json.loads(text)
    return list(rows), entry.get("columns", {}), entry.get("tags", {})


def render(row: dict, columns: dict[str, str], tags: dict[str, str], tokenizer: Any) -> str:
    """Return a row as the model would see it: through its chat template, or as plain text."""
    messages = conversation(row, columns, tags)
    if messages and getattr(tokenizer, "chat_template", None):
        return tokenizer.apply_chat_template(messages, tokenize=False)
    if messages:
        return "\n".join(message["content"] for message in messages)
    text = row.get(columns.get("prompt", "text")) or row.get("text")
    return text if isinstance(text, str) else ""


def conversation(row: dict, columns: dict[str, str], tags: dict[str, str]) -> Messages:
    """Return a row of Alpaca, ShareGPT or OpenAI format as messages; empty for plain text."""
    keys = (columns.get("messages"), "messages", "conversations")
    turns = next((row[key] for key in keys if key and isinstance(row.get(key), list)), None)
    messages: Messages = []
    if turns is not None:
        for turn in turns:
            role = turn.get(tags.get("role_tag", "from")) or turn.get("role") or turn.get("from")
            said = turn.get(tags.get("content_tag", "value"))
            said = said or turn.get("content") or turn.get("value")
            if role and isinstance(said, str):
                messages.append({"role": ROLES.get(role, role), "content": said})
        return messages
    question = row.get(columns.get("prompt", "instruction"))
    answer = row.get(columns.get("response", "output"))
    if not isinstance(question, str) or not isinstance(answer, str):
        return []
    more = row.get(columns.get("query", "input")) or ""
    asked = f"{question}\n{more}" if more else question
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
