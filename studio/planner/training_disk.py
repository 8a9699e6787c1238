"""What a training writes: checkpoints and the result, with all that lies there at once.

LLaMA-Factory saves through the Trainer of transformers 5.6: a checkpoint first, then the oldest
one beyond `save_total_limit` goes, so one more than the limit lies there for a while.
"""

from __future__ import annotations

from math import ceil

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner.training_result import Disk
from studio.planner.training_states import ZERO, Counts


def steps_of(need: Training) -> int | None:
    """Return the number of updates; None when the samples are not counted, or are packed.

    As the Trainer counts: batches of one process in an epoch, divided by the accumulation and
    rounded up, times the epochs; `max_steps` wins.
    """
    if need.max_steps > 0:
        return need.max_steps
    if need.num_samples is None or need.packing:
        return None
    ranks = max(1, need.num_processes)
    batches = ceil(need.num_samples / (need.per_device_train_batch_size * ranks))
    each_epoch = max(1, ceil(batches / need.gradient_accumulation_steps))
    return max(1, ceil(need.num_train_epochs * each_epoch))


def disk_of(need: Training, counts: Counts, steps: int | None, download_bytes: int) -> Disk:
    """Return the bytes a training writes, and how many checkpoints lie there at once.

    Without a known number of steps one checkpoint is counted, and one more for each that is kept.
    """
    result = _model_bytes(need, counts)
    one = result + (0 if need.save_only_model else _resume_bytes(need, counts))
    if need.save_steps is None:
        return Disk(result_bytes=result, download_bytes=download_bytes)
    made = 1 if steps is None else ceil(steps / need.save_steps)
    if need.save_total_limit is not None:
        most = need.save_total_limit + 1
        made = most if steps is None else min(made, most)
    return Disk(
        checkpoint_bytes=one,
        num_checkpoints=made,
        result_bytes=result,
        download_bytes=download_bytes,
    )


def _model_bytes(need: Training, counts: Counts) -> int:
    """Return the saved model, or the adapter alone: in the dtype that it was trained in."""
    half = need.strategy in ZERO or need.precision == "pure_bf16"
    each = 2 if half and need.precision != "fp32" else 4
    if need.finetuning_type == "lora":
        return each * counts.trainable
    return each * counts.trainable + counts.frozen_bytes


def _resume_bytes(need: Training, counts: Counts) -> int:
    """Return what a checkpoint holds beside the model: the optimizer's states.

    DeepSpeed writes its own float32 master copy too, and in stages 1 and 2 the half-precision
    weights once more (for an adapter the adapter's).
    """
    moments = cal.optimizer_bytes(need.optimizer)
    if need.strategy not in ZERO:
        half = need.precision == "pure_bf16"
        return int((moments / 2 if half else moments) * counts.trainable)
    again = _model_bytes(need, counts) if need.strategy != "zero3" else 0
    return int((4 + moments) * counts.trainable) + again
