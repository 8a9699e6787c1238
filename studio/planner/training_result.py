"""What a training plan says: frozen, so that it goes to plan.json as it is and comes back."""

from __future__ import annotations

from studio.core.spec import Frozen
from studio.planner.result import Advice, CardPlan, Kind, Plan, Said

TRAINED: tuple[Kind, ...] = (
    "weights", "gradients", "master", "optimizer", "buffers", "activations", "logits", "runtime",
)  # fmt: skip
"""What a training puts on a card, in the order it is drawn."""


class Estimate(Frozen):
    """A published formula's figures for the same training, beside the plan's own."""

    source: str
    """`paper` (ZeRO, model states alone) or `deepspeed` (its own estimator)."""
    card_bytes: int
    host_bytes: int = 0


class Disk(Frozen):
    """What a training writes."""

    checkpoint_bytes: int = 0
    """One checkpoint: the model, and what is needed to go on from there."""
    num_checkpoints: int = 0
    """Checkpoints that lie there at once at the most; one more than is kept while one is made."""
    result_bytes: int = 0
    """What is saved at the end."""
    download_bytes: int = 0

    @property
    def most_bytes(self) -> int:
        """All of it together."""
        kept = self.num_checkpoints * self.checkpoint_bytes
        return kept + self.result_bytes + self.download_bytes


class TrainingPlan(Plan):
    """What a training will need and whether it fits. Sizes in bytes."""

    model: str = ""
    finetuning_type: str = "lora"
    strategy: str = "ddp"
    offload: str = "none"
    num_processes: int = 1
    cards: tuple[CardPlan, ...] = ()
    params: int = 0
    trainable: int = 0
    """Parameters that are trained."""
    peak_bytes: int = 0
    """On the fullest card, as the vendor's tool shows it: without what the driver keeps."""
    states_bytes: int = 0
    """Of these, weights, gradients and optimizer states."""
    logits_bytes: int = 0
    """What the loss needs while it is worked out; it may share its memory with the gradients."""
    estimates: tuple[Estimate, ...] = ()
    effective_batch: int = 1
    """Samples of one update: batch x accumulation x processes."""
    steps: int | None = None
    """Updates until the end; None when the samples are not counted or are packed."""
    num_samples: int | None = None
    tokens_per_step: int = 0
    """Tokens of one update at the most, every sample filling the length limit."""
    host_bytes: int = 0
    """Host memory of all processes, with what is offloaded."""
    offload_bytes: int = 0
    """Of these, what waits there for the cards; on a disk with NVMe offload."""
    disk: Disk = Disk()
    advice: tuple[Advice, ...] = ()
    notes: tuple[Said, ...] = ()
    """Keys below `trainplan.note` with their values."""

    @property
    def tokens(self) -> int | None:
        """Tokens of the whole training at the most; None when its steps are not known."""
        return None if self.steps is None else self.steps * self.tokens_per_step
