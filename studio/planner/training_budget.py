"""One training process's memory on its card: what lies there all the time, and the fullest moment.

What follows another within a step takes its place where the allocator can do that.
"""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner.result import CardMemory, Kind
from studio.planner.training_activations import Needs
from studio.planner.training_states import ZERO, States


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One process's memory, in bytes."""

    card: CardMemory
    """The card, or the host; index -1 for a card that is not there."""
    states: States
    sizes: dict[Kind, int]
    """The parts at the fullest moment, in the order of TRAINED."""
    driver: int
    """What the driver keeps of the card; inside `sizes` as runtime."""

    @property
    def taken(self) -> int:
        """All of it, with what the driver keeps."""
        return sum(self.sizes.values())

    @property
    def usable(self) -> int:
        """What there is to have, the driver's share too, were the card empty."""
        return self.card.total_bytes

    @property
    def free(self) -> int:
        """What there is to have now."""
        return self.card.total_bytes - self.card.used_bytes


def budget_of(
    need: Training, states: States, needs: Needs, card: CardMemory, on_host: bool
) -> Budget:
    """Return one process's memory on a card, or on the host."""
    together = _at_once(need, states, needs)
    gradients = states.gradients
    left = max(0, together - gradients)
    buffers = states.buffers
    if states.second_buffer > needs.one_copy:
        buffers += states.second_buffer
    activations = min(left, needs.kept + needs.forward)
    logits = min(left - activations, needs.logits)
    sizes: dict[Kind, int] = {
        "weights": states.weights,
        "gradients": gradients,
        "master": states.master,
        "optimizer": states.optimizer,
        "buffers": buffers + states.step + left - activations - logits,
        "activations": activations,
        "logits": logits,
    }
    driver = 0 if on_host else cal.driver_bytes(card.name)
    sizes["runtime"] = driver + _runtime(need, sum(sizes.values()), on_host)
    return Budget(card=card, states=states, sizes=sizes, driver=driver)


def _at_once(need: Training, states: States, needs: Needs) -> int:
    """Return the most that gradients, activations, casts and logits take together.

    Three moments count: the loss, the first layer of the backward pass, and its end, when all
    gradients are there (those of an embedding that is the head as well twice). On one card nothing
    is gained from their following each other: in the first step Adam's moments settle where the
    logits were, and the next step's logits need new blocks (tests/planner/replay.py shows it). With
    DDP the gradients' first buckets, made anew after the first step, leave room enough. Under
    DeepSpeed the gradients keep their buffers: in stages 1 and 2 one copy of the logits finds room
    in the block where the step holds them in float32; in stage 3, which works in smaller pieces,
    that block takes turns with all of it.
    """
    loss = needs.kept + needs.forward + needs.logits
    back = needs.kept + needs.backward
    if need.strategy in ZERO:
        if states.step >= needs.one_copy:
            loss -= needs.one_copy
        return states.gradients + max(loss, back, states.turn)
    if need.strategy == "ddp" and need.num_processes > 1:
        end = states.gradients + max(needs.second_gradient, needs.backward)
        return max(needs.casts + loss, back, end)
    return states.gradients + max(loss, back, needs.head)


def _runtime(need: Training, allocated: int, on_host: bool) -> int:
    """Return libraries, context, NCCL, and what the allocator cannot use."""
    if on_host:
        return cal.HOST_TRAINER_BYTES
    links = cal.TRAIN_NCCL_BYTES if need.num_processes > 1 else 0
    if links and need.strategy in ("zero1", "zero2") and need.offload != "none":
        links += cal.STRAY_BYTES
    return cal.CONTEXT_BYTES + links + int(allocated * cal.TRAIN_SLACK)
