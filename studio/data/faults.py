"""The fault of a row while it is being checked."""

from __future__ import annotations

from typing import Any


class RowFault(Exception):
    """A row that cannot be trained on: a code of `data.fault.*` and the values of its sentence."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code)
        self.code = code
        self.values = values


def shown(text: str) -> str:
    """Return the beginning of a text, for a sentence."""
    line = " ".join(text[:200].split()).encode("utf-8", "replace").decode()
    return line if len(line) <= 60 else f"{line[:60]}…"
