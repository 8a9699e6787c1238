"""What is said about one way to hold the pipeline: what it needs, where things lie, how long.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, Literal

from .ordinary import Ordinary
from .seconds import Seconds, Work
from .worked import Worked

RUNGS = (
    "whole", "resident", "split", "fp8", "int8", "nf4", "groups", "leaf", "cpu", "cpu-fp8",
)  # fmt: skip
"""Every rung, best first as a rule."""
ROUNDED = frozenset({"fp8", "int8", "nf4", "cpu-fp8"})
"""Rungs that store the transformer in fewer bits than its file has."""
ON_CPU = frozenset({"cpu", "cpu-fp8"})

Where = Literal["card", "streamed", "apart", "host"]


@dataclass(frozen=True)
class Ask:
    """What a person asked for and what is known already."""

    rung: str = "auto"
    device: str = "auto"
    """auto, cuda or cpu."""
    dtype: str = "bfloat16"
    allow_quantized: bool = True
    work: Work = field(default_factory=Work)
    vae_tiling: str = "auto"
    fp8_compute: bool | None = None
    """None: where the card can."""
    compiled: bool = False
    dummy: bool = False
    """True when random weights are made instead of read."""
    bitsandbytes: bool = True
    """False when the environment has no bitsandbytes, which nf4 needs."""
    skip: Mapping[str, str] = field(default_factory=dict)
    """Rungs that failed in this run, with their reasons."""
    worked: Worked = field(default_factory=Worked)
    """What happened on this machine before."""

    @classmethod
    def of(
        cls,
        settings: Mapping[str, Any],
        *,
        skip: Mapping[str, str] | None = None,
        worked: Worked | None = None,
        width: int = 0,
        height: int = 0,
        references: int = 1,
    ) -> Ask:
        """Return what an image.json asks for, for an ordinary edit, in this environment.

        Without `width` and `height` the result has the size that the settings give it.
        """
        ordinary = Ordinary.of(settings)
        lightning = bool(settings.get("lightning"))
        steps = settings.get("lightning_steps" if lightning else "num_inference_steps")
        product = settings.get("fp8_compute")
        return cls(
            rung=str(settings.get("rung") or "auto"),
            device=str(settings.get("device") or "auto"),
            dtype=str(settings.get("dtype") or "bfloat16"),
            allow_quantized=bool(settings.get("allow_quantized", True)),
            work=Work(
                width=width or ordinary.side,
                height=height or ordinary.side,
                references=references,
                reference_pixels=ordinary.reference_pixels,
                condition_pixels=int(settings.get("condition_pixels") or 384 * 384),
                steps=int(steps or 40),
                cfg=ordinary.guided,
                cfg_mode=str(settings.get("cfg_mode") or "auto"),
            ),
            vae_tiling=str(settings.get("vae_tiling") or "auto"),
            fp8_compute=None if product is None else bool(product),
            compiled=bool(settings.get("compile")),
            dummy=settings.get("load_format") == "dummy",
            bitsandbytes=find_spec("bitsandbytes") is not None,
            skip=dict(skip or {}),
            worked=worked or Worked(),
        )


@dataclass(frozen=True)
class CardNeed:
    """What a rung puts on one card, in bytes; `card` is -1 for host memory."""

    card: int
    transformer: int = 0
    """Blocks that stay there, and the slots of those that visit."""
    text_encoder: int = 0
    vae: int = 0
    activations: int = 0
    """The fullest moment besides weights: encoding, a step, or the VAE."""
    blocks: int = 0
    """Blocks of the transformer that are this card's."""
    resident: int = 0
    """Those of them that stay there; the others visit."""

    @property
    def bytes(self) -> int:
        """All of it."""
        return self.transformer + self.text_encoder + self.vae + self.activations


@dataclass(frozen=True)
class Rung:
    """One way to hold the pipeline."""

    name: str
    fits: bool
    """True when it may be taken: enough of everything, and nothing speaks against it."""
    why: str
    """A sentence: what it takes of what is there, or why it cannot be taken."""
    possible: bool = True
    """False when even a person who insists cannot have it: no such card, or the kernel kills."""
    cards: tuple[CardNeed, ...] = ()
    """The card of the VAE first; a card that has the text encoder alone last."""
    host: CardNeed = field(default_factory=lambda: CardNeed(-1))
    """What of host memory is weights, and the work of a CPU; the processes come on top."""
    host_bytes: int = 0
    """Host memory while it works."""
    host_load_bytes: int = 0
    """Host memory at the fullest moment of loading."""
    seconds: Seconds = field(default_factory=Seconds)
    text_encoder: Where = "host"
    """card: stays there; streamed: comes layer by layer from host memory for every prompt; apart:
    read from the disk for a prompt and put away; host: computes on the CPU."""
    text_encoder_card: int | None = None
    card: int | None = None
    """Card the VAE is on and latents live; None on a CPU."""
    tiling: bool = False
    """Whether the VAE works in tiles."""
    cfg_mode: str = "sequential"
    fp8_compute: bool = False

    @property
    def streamed_blocks(self) -> int:
        """Blocks of the transformer that wait in host memory."""
        return sum(need.blocks - need.resident for need in self.cards)

    @property
    def host_peak_bytes(self) -> int:
        """The fullest moment of the host."""
        return max(self.host_bytes, self.host_load_bytes)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for events and pages."""
        told = asdict(self)
        told["rung"] = told.pop("name")
        told["card_bytes"] = [need.bytes for need in self.cards]
        told["streamed_blocks"] = self.streamed_blocks
        told.update(told.pop("seconds"))
        return told
