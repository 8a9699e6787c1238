"""Out-of-memory errors: recognised however they arrive, and raised on purpose by tests.

`LADDER_IMAGE_FAULT="whole:load,resident:encode,fp8:step:3,groups:decode"` raises a real
`torch.OutOfMemoryError` at those places, each once in a process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

VARIABLE = "LADDER_IMAGE_FAULT"
WORDS = (
    "out of memory",
    "can't allocate memory",
    "defaultcpuallocator",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "cuda_error_out_of_memory",
)


class Faults:
    """The places where this process shall run out of memory, for the rung it runs."""

    def __init__(self, rung: str, told: str | None = None) -> None:
        words = (told if told is not None else os.environ.get(VARIABLE, "")).split(",")
        mine = (word.strip().split(":", 1) for word in words if ":" in word)
        self._places = {place for name, place in mine if name == rung}

    def strike(self, stage: str, step: int | None = None) -> None:
        """Raise torch.OutOfMemoryError when a test asked for it at this stage (and step)."""
        place = stage if step is None else f"{stage}:{step}"
        if place in self._places:
            self._places.discard(place)
            raise torch.OutOfMemoryError(f"out of memory, as {VARIABLE} asked at {place}")


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether `error`, or what led to it, says that memory ran out."""
    return any(_says_so(one) for one in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(word in text for word in WORDS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
