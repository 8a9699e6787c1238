"""A sentence before it is said: the key of its words and the values they ask for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Said:
    """`studio.ui.measures.sentence(lang, said)` says it.

    Values are plain numbers and texts. `load` and `last` are a load as `{"users": 32}` or
    `{"rate": 8}`, `limits` a mapping of limits in ms, `metric` the name of a figure.
    """

    key: str
    values: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and for the page."""
        return {"key": self.key, "values": self.values}


def sentence(key: str, /, **values: Any) -> Said:
    """Return a sentence of a verdict: a key below `measures.verdict`, and its values."""
    return Said(f"measures.verdict.{key}", values)
