"""A transformer's blocks over several cards, without a wait between two forwards.

A copy between cards runs on the sending card's stream and waits for what the receiving one still
has to do. A copy for every block would therefore make the first card wait for the second; so what
all blocks share (time embedding, rotary tables, modulation index) crosses once a forward, at the
border, and the prediction stays on the last card. The first card is then free for the
unconditional forward of true CFG while the second still computes the conditional one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class Border:
    """What one forward has already carried to one card."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._carried: list[tuple[torch.Tensor, torch.Tensor]] = []

    def clear(self) -> None:
        """Forget the last forward's tensors."""
        self._carried = []

    def carry(self, value: Any) -> Any:
        """Return `value` with every tensor in it on this border's card."""
        if isinstance(value, torch.Tensor):
            return value if value.device == self.device else self._carry_tensor(value)
        if isinstance(value, tuple | list):
            return type(value)(self.carry(part) for part in value)
        if isinstance(value, dict):
            return {key: self.carry(part) for key, part in value.items()}
        return value

    def _carry_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        for source, moved in self._carried:
            if (
                source.data_ptr() == tensor.data_ptr()
                and source.shape[1:] == tensor.shape[1:]
                and source.dtype == tensor.dtype
                and source.device == tensor.device
                and source.shape[0] >= tensor.shape[0]
            ):
                return moved[: tensor.shape[0]]
        moved = tensor.to(self.device, non_blocking=True)
        self._carried.append((tensor, moved))
        return moved


def cross(module: nn.Module, border: Border, *, first: bool = False) -> None:
    """Let `module` take its inputs from wherever they are; `first` begins a forward."""
    inner: Callable[..., Any] = module.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        if first:
            border.clear()
        return inner(*border.carry(args), **border.carry(kwargs))

    module.forward = forward
