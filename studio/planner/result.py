"""What a serving plan says: frozen, so that it goes to plan.json as it is and comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from studio.core.spec import Frozen

Kind = Literal[
    "weights", "draft", "lora", "cache", "activations", "graphs", "runtime", "other", "free",
    "gradients", "optimizer", "master", "buffers", "logits",
    "transformer", "text_encoder", "vae",
]  # fmt: skip
OWN: tuple[Kind, ...] = (
    "weights", "draft", "lora", "cache", "activations", "graphs", "runtime",
)  # fmt: skip
"""What the engine itself puts on a card, in the order it is drawn."""
Said = tuple[str, dict[str, Any]]
"""A key below `plan.` in the locales, and the values of its sentence."""


@dataclass(frozen=True)
class CardMemory:
    """One card as its vendor's tool sees it."""

    index: int
    name: str
    total_bytes: int
    """With what the driver keeps for itself."""
    used_bytes: int
    """Held by processes; without the driver's own share, as nvidia-smi shows it."""


class Part(Frozen):
    """One piece of a card's memory. `other` is held by somebody else, `free` by nobody."""

    kind: Kind
    bytes: int


class CardPlan(Frozen):
    """What one card will hold, or the host (`card` is None) when there are no cards."""

    card: int | None
    name: str
    total_bytes: int
    parts: tuple[Part, ...]
    over_bytes: int = 0
    """How much more is needed than the engine may take; 0 when it fits."""

    def of(self, kind: Kind) -> int:
        """Return the bytes of one kind."""
        return sum(part.bytes for part in self.parts if part.kind == kind)


class Advice(Frozen):
    """A change of settings with which the launch does fit; it was planned to make sure."""

    key: str
    values: dict[str, Any] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)


class Plan(Frozen):
    """How every plan begins: whether the launch fits, and what is said about it."""

    fits: bool
    reason: str
    """Key below `plan.reason`; a training's is below `trainplan.reason`."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Of the sentence."""


class ServingPlan(Plan):
    """What a server will need, whether it fits and how many users it carries. Sizes in bytes."""

    backend: str = "vllm"
    model: str = ""
    cards: tuple[CardPlan, ...] = ()
    params: int = 0
    weights_bytes: int = 0
    """On the fullest card, with adapters and draft model: what vLLM says model loading took."""
    kv_bytes_per_token: int = 0
    """On the fullest card."""
    kv_tokens_replica: int = 0
    """Tokens one data-parallel replica keeps at once."""
    kv_tokens: int = 0
    """Tokens of all replicas together."""
    max_model_len: int = 0
    users: float = 0.0
    """Users at once whose conversation fills max_model_len."""
    users_at: dict[int, float] = Field(default_factory=dict)
    """The same at shorter conversations, by their tokens."""
    max_num_seqs: int = 0
    """Requests one replica works on at once; more wait."""
    max_num_batched_tokens: int = 0
    host_bytes: int = 0
    download_bytes: int = 0
    advice: tuple[Advice, ...] = ()
    notes: tuple[Said, ...] = ()
    """Keys below `plan.note` with their values."""
