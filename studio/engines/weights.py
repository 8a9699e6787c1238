"""What the safetensors files of a folder hold, from their headers; no weight is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

from studio.core.errors import RecipeInvalid

LARGEST_HEADER = 100_000_000
"""Bytes beyond which safetensors itself refuses a header."""


class Stored(NamedTuple):
    """One tensor as it lies on the disk."""

    shape: tuple[int, ...]
    bytes: int

    @property
    def numel(self) -> int:
        """Numbers in it."""
        return prod(self.shape)


def stored(folder: Path, pattern: str = "*.safetensors") -> dict[str, Stored]:
    """Return every tensor of a folder's files by name; empty when there are none.

    Raises RecipeInvalid for a file that is not a whole safetensors file.
    """
    return {name: row for path in sorted(folder.glob(pattern)) for name, row in _header(path)}


def weights_bytes(folder: Path) -> int:
    """Return the bytes of a folder's weight files; 0 when there are none."""
    files = [*folder.glob("*.safetensors")] or [*folder.glob("*.bin")]
    return sum(path.stat().st_size for path in files)


def _header(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > LARGEST_HEADER:
                raise ValueError
            table = json.loads(file.read(length))
        for name, row in table.items():
            if name != "__metadata__":
                start, end = row["data_offsets"]
                yield name, Stored(tuple(row["shape"]), end - start)
    except (struct.error, ValueError, KeyError, TypeError, AttributeError):
        raise RecipeInvalid(
            f"{path} is not a whole safetensors file.",
            hint="The download may be incomplete: repeat it, it resumes.",
        ) from None
