"""The cards as torch sees them: their free memory, their limits, their peaks."""

from __future__ import annotations

import gc
import os
import resource

import torch

from .machine import CARDS_VARIABLE, GIB, Card

_limits: dict[int, int] = {}
_disguised: dict[torch.device, int] = {}


def open_cards(max_card_memory_gib: float | None) -> tuple[Card, ...]:
    """Return the cards of this process, each limited to so many GiB; none without CUDA.

    The limit is the allocator's own: what goes beyond it is an out-of-memory, as on a smaller card.
    """
    if not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        torch.cuda.init()
        free, total = torch.cuda.mem_get_info(index)
        if max_card_memory_gib is not None:
            limit = min(int(max_card_memory_gib * GIB), total)
            torch.cuda.set_per_process_memory_fraction(limit / total, index)
            _limits[index] = limit
            free = min(free, limit)
        major, minor = torch.cuda.get_device_capability(index)
        name = torch.cuda.get_device_name(index)
        found.append(Card(index, name, total, free, major + minor / 10))
    return tuple(found)


def device_of(card: Card) -> torch.device:
    """Return the torch device of a card; a CPU in disguise is the CPU."""
    if os.environ.get(CARDS_VARIABLE) and not torch.cuda.is_available():
        device = torch.device("cpu")
        _disguised[device] = max(_disguised.get(device, 0), card.free_bytes)
        return device
    return torch.device("cuda", card.index)


def room(device: torch.device) -> int:
    """Return the bytes that this process can still take on a device."""
    if device.type != "cuda":
        return _disguised.get(device, 2**62)
    index = device.index or 0
    free, _ = torch.cuda.mem_get_info(index)
    held, used = torch.cuda.memory_reserved(index), torch.cuda.memory_allocated(index)
    left = free + held - used
    if index in _limits:
        left = min(left, _limits[index] - used)
    return left


def give_back(*, collect: bool = False) -> None:
    """Return cached memory to the cards; `collect` looks for unreachable tensors first (0.2 s)."""
    if collect:
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize(devices: tuple[torch.device, ...]) -> None:
    """Wait until the cards have done all they were told."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)


def peaks() -> dict[str, object]:
    """Return the most bytes held so far: allocated on each card, resident in host memory."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {
        "cards": [torch.cuda.max_memory_allocated(i) for i in range(count)],
        "reserved": [torch.cuda.max_memory_reserved(i) for i in range(count)],
        "host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def reset_peaks() -> None:
    """Begin to count the cards' peaks anew."""
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)
