"""What each rung of the ladder means for the pipeline's three parts.

Which rung to take is `ladder.py`'s business; here a rung becomes an arrangement of devices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch

from .rung import Rung

CPU = torch.device("cpu")


class Storage(StrEnum):
    """How the transformer's blocks rest."""

    PLAIN = "plain"
    FP8 = "fp8"
    INT8 = "int8"
    NF4 = "nf4"


class Placing(StrEnum):
    """Where a part's weights are while they are not computing, and how they come to the card."""

    CARD = "card"
    """Resting on the card, but for the blocks that are said to visit."""
    VISIT = "visit"
    """All blocks visit the card, each fetched while the one before computes."""
    LEAF = "leaf"
    """Only the layer at work is on the card."""
    HOST = "host"
    """The CPU computes."""


@dataclass(frozen=True)
class Share:
    """One card's part of the transformer."""

    device: torch.device
    blocks: int
    resident: int
    """Those that rest there; the others visit."""


@dataclass(frozen=True)
class Layout:
    """One rung on one machine."""

    rung: str
    shares: tuple[Share, ...]
    """The transformer over its cards, the one with latents and the VAE first; or the CPU."""
    transformer: Placing
    text: Placing
    text_device: torch.device
    storage: Storage = Storage.PLAIN
    fp8_product: bool = False

    @property
    def device(self) -> torch.device:
        """Where latents live."""
        return self.shares[0].device

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Where the transformer computes."""
        return tuple(share.device for share in self.shares)


_STORED = {
    "fp8": Storage.FP8,
    "cpu-fp8": Storage.FP8,
    "int8": Storage.INT8,
    "nf4": Storage.NF4,
}


def layout(rung: Rung, device_of: Callable[[int], torch.device]) -> Layout:
    """Return the arrangement that the ladder worked out; `device_of` gives a card's device."""
    storage = _STORED.get(rung.name, Storage.PLAIN)
    if rung.card is None:
        share = Share(CPU, 0, 0)
        return Layout(rung.name, (share,), Placing.HOST, Placing.HOST, CPU, storage)
    shares = tuple(
        Share(device_of(need.card), need.blocks, need.resident)
        for need in rung.cards
        if need.blocks
    )
    text_device = shares[0].device
    text = Placing.VISIT
    if rung.text_encoder == "card" and rung.text_encoder_card is not None:
        text, text_device = Placing.CARD, device_of(rung.text_encoder_card)
    leaf = rung.name == "leaf"
    if leaf:
        text = Placing.LEAF
    return Layout(
        rung.name,
        shares,
        Placing.LEAF if leaf else Placing.CARD,
        text,
        text_device,
        storage,
        rung.fp8_compute,
    )
