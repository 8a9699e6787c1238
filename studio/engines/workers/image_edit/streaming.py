"""Blocks that live in host memory and visit the card when they are needed.

A `Chain` packs each block into one pinned piece of host memory (the only copy there is) and copies
the next block over a stream of its own while the card computes the present one, into one of two
slots that are allocated once. Nothing in a step waits on the host. diffusers' group offload does
the same with a second pinned copy of everything, or, with `low_cpu_mem_usage`, pins anew at each
visit, which is several times slower.

`Leaves` is the way with the least memory on the card: every layer is fetched alone and let go.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

LOG = logging.getLogger("image_edit")
ALIGN = 256


@dataclass
class _Packed:
    """One block in host memory and what shows where in it."""

    flat: torch.Tensor
    parts: list[tuple[nn.Parameter, torch.Tensor, int]] = field(default_factory=list)

    def point(self, room: torch.Tensor | None) -> None:
        """Let the block's parameters look into `room` on the card, or home again."""
        for parameter, home, offset in self.parts:
            if room is None:
                parameter.data = home
            else:
                piece = room[offset : offset + home.nbytes]
                parameter.data = piece.view(home.dtype).view(home.shape)


class _Slot:
    """Room on the card for one visiting block."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.room = torch.empty(size, dtype=torch.uint8, device=device)
        self.holds: int | None = None
        self.ready = torch.cuda.Event() if device.type == "cuda" else None
        self.free = torch.cuda.Event() if device.type == "cuda" else None


class Chain:
    """Blocks that run one after another, those not resident fetched ahead of their turn."""

    def __init__(self, device: torch.device, *, slots: int = 2) -> None:
        self.device = device
        self._slot_count = slots
        self._packed: list[_Packed] = []
        self._slots: list[_Slot] = []
        self._turn = 0
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __len__(self) -> int:
        return len(self._packed)

    @property
    def slot_bytes(self) -> int:
        """Bytes of the largest block here."""
        return max((one.flat.numel() for one in self._packed), default=0)

    def add(self, block: nn.Module) -> None:
        """Pack `block` (with its weights, wherever they are) and fetch it from now on."""
        index = len(self._packed)
        self._packed.append(pack(list(block.parameters()), pin=self.device.type == "cuda"))
        for module in block.modules():
            for name, buffer in module.named_buffers(recurse=False):
                module.register_buffer(name, buffer.to(self.device), persistent=False)
        inner = block.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            self._fetch(index)
            try:
                return inner(*args, **kwargs)
            finally:
                self._release(index)

        block.forward = forward

    def empty(self) -> None:
        """Give the slots' memory back to the card; the next visit takes it anew."""
        if self._slots and self._copies is not None:
            torch.cuda.synchronize(self.device)
        self._slots = []

    def _fetch(self, index: int) -> None:
        if not self._slots:
            count = min(self._slot_count, len(self._packed))
            self._slots = [_Slot(self.slot_bytes, self.device) for _ in range(count)]
        slot = self._load(index, keep=index)
        if len(self._slots) > 1:
            self._load((index + 1) % len(self._packed), keep=index)
        if slot.ready is not None:
            torch.cuda.current_stream(self.device).wait_event(slot.ready)
        self._packed[index].point(slot.room)

    def _load(self, index: int, *, keep: int) -> _Slot:
        for slot in self._slots:
            if slot.holds == index:
                return slot
        others = [slot for slot in self._slots if slot.holds != keep]
        slot = others[self._turn % len(others)]
        self._turn += 1
        packed = self._packed[index]
        target = slot.room[: packed.flat.numel()]
        if self._copies is None or slot.ready is None or slot.free is None:
            target.copy_(packed.flat)
        else:
            if slot.holds is None:
                # Memory that another tensor had before: its last use is in the present stream.
                slot.free.record(torch.cuda.current_stream(self.device))
            self._copies.wait_event(slot.free)
            with torch.cuda.stream(self._copies):
                target.copy_(packed.flat, non_blocking=True)
                slot.ready.record(self._copies)
        slot.holds = index
        return slot

    def _release(self, index: int) -> None:
        for slot in self._slots:
            if slot.holds == index and slot.free is not None:
                slot.free.record(torch.cuda.current_stream(self.device))
        self._packed[index].point(None)


class Leaves:
    """Layers fetched one by one, without slots, streams or pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.count = 0

    def add(self, module: nn.Module) -> None:
        """Fetch every part of `module` that has weights of its own when it is called."""
        for leaf in list(module.modules()):
            own = list(leaf.parameters(recurse=False))
            for name, buffer in leaf.named_buffers(recurse=False):
                leaf.register_buffer(name, buffer.to(self.device), persistent=False)
            if own:
                leaf.forward = self._visiting(leaf.forward, own)
                self.count += 1

    def _visiting(
        self, inner: Callable[..., Any], parameters: Sequence[nn.Parameter]
    ) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            homes = [parameter.data for parameter in parameters]
            for parameter, home in zip(parameters, homes, strict=True):
                parameter.data = home.to(self.device)
            try:
                return inner(*args, **kwargs)
            finally:
                for parameter, home in zip(parameters, homes, strict=True):
                    parameter.data = home

        return forward


def pack(parameters: Iterable[nn.Parameter], *, pin: bool) -> _Packed:
    """Move the parameters into one piece of host memory, pinned for fast copies where it can be."""
    unique = list(dict.fromkeys(parameters))
    offsets, size = [], 0
    for parameter in unique:
        offsets.append(size)
        size += -(-parameter.nbytes // ALIGN) * ALIGN
    flat = host_memory(size, pin=pin)
    packed = _Packed(flat)
    for parameter, offset in zip(unique, offsets, strict=True):
        piece = flat[offset : offset + parameter.nbytes]
        home = piece.view(parameter.dtype).view(parameter.shape)
        home.copy_(parameter.data)
        parameter.data = home
        packed.parts.append((parameter, home, offset))
    return packed


def host_memory(size: int, *, pin: bool) -> torch.Tensor:
    """Return `size` bytes of host memory that begin at a page.

    torch's own pinned memory is rounded up to a power of two (a 680 MB block takes 1 GiB), so
    plain pages are registered instead; huge ones, since what takes time is their number. Where the
    driver refuses, copies are slower and it is said.
    """
    pages = mmap.mmap(-1, max(size, 1))
    if pin and hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    flat = torch.frombuffer(pages, dtype=torch.uint8)[:size]
    if pin:
        code = torch.cuda.cudart().cudaHostRegister(flat.data_ptr(), size, 0)
        if int(code) != 0:
            LOG.warning("Cannot pin %.0f MiB of host memory (CUDA error %s).", size / 2**20, code)
    return flat


def spread(count: int, streamed: int) -> set[int]:
    """Return which of `count` blocks to stream, evenly among the resident ones.

    >>> sorted(spread(6, 2))
    [2, 5]
    """
    return {i for i in range(count) if (i + 1) * streamed // count > i * streamed // count}
