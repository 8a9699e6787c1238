"""Which parameters are trained, and the bytes that weights, gradients and optimizer take for it.

What LLaMA-Factory 0.9.5 really holds, by its source: without DeepSpeed, what is trained is cast
to float32 (model/adapter.py) and autocast computes in bf16 or fp16; under DeepSpeed all weights
are in half precision, and the float32 master copy and Adam's two moments lie beside them, dealt
out over the processes. The published formulas stand at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from studio.core.spec import Training
from studio.planner import calibration as cal
from studio.planner.models import Model
from studio.planner.shapes import Quantization
from studio.planner.tensors import Tensor, pack, tensors_of
from studio.planner.training_result import Estimate

ZERO = {"zero1": 1, "zero2": 2, "zero3": 3}
_TOWER = ("visual.patch_embed", "visual.blocks")
_PROJECTOR = "visual.merger"
_EXPERTS = ".experts."


@dataclass(frozen=True)
class Counts:
    """Parameters of a training, in numbers, and what the frozen ones weigh."""

    total: int
    """Of the model itself, without added matrices."""
    trainable: int
    added: int
    """Of the trainable ones, those that LoRA adds, and the head of a reward model."""
    frozen_bytes: int
    """As they lie on a card, packed when asked."""
    cast: int
    """Trainable numbers that autocast copies to half precision in every forward pass."""
    embedding: int
    """Numbers of the embedding."""
    tied: bool
    """True when embedding and head are one tensor."""
    second_embedding_gradient: bool
    """True when that one is trained: its gradient comes from both sides."""
    largest: int
    """Numbers of the largest linear weight."""
    block: int
    """Numbers of the largest layer."""
    trained_layers: int

    @property
    def frozen(self) -> int:
        """Parameters that stay as they are."""
        return self.total + self.added - self.trainable


@dataclass(frozen=True, kw_only=True)
class States:
    """Bytes that one card holds from step to step, and what waits in host memory for all."""

    weights: int
    gradients: int
    master: int = 0
    optimizer: int
    buffers: int = 0
    second_buffer: int = 0
    """Another reduce buffer, for which there may be room where the logits were."""
    step: int = 0
    """Held only while the optimizer works, after gradients and logits of the step have gone."""
    turn: int = 0
    """The same where it takes turns with activations and logits."""
    host: int = 0

    @cached_property
    def on_card(self) -> int:
        """Weights, gradients and optimizer states."""
        return self.weights + self.gradients + self.master + self.optimizer


def count(model: Model, need: Training) -> Counts:
    """Return the parameters of a training of this model."""
    shape = model.shape
    plain = tensors_of(shape, packed=False)
    trained = [tensor for tensor in plain if _is_trained(tensor.name, need, shape.layers)]
    added = sum(_added(tensor, need) for tensor in plain) if need.finetuning_type == "lora" else 0
    if need.stage == "rm":  # the head that gives the reward
        added += shape.hidden + 1
    whole = sum(tensor.numel for tensor in trained)
    names = {tensor.name for tensor in trained}
    embedding = shape.vocab * shape.hidden
    tied = shape.tied and "model.embed_tokens.weight" in names
    layers: dict[str, int] = {}
    for tensor in plain:
        if ".layers." in tensor.name:
            number = tensor.name.split(".layers.")[1].split(".")[0]
            layers[number] = layers.get(number, 0) + tensor.numel
    matrices = [
        tensor for tensor in plain if len(tensor.shape) == 2 and _EXPERTS not in tensor.name
    ]
    return Counts(
        total=sum(tensor.numel for tensor in plain),
        trainable=whole + added,
        added=added,
        frozen_bytes=_frozen_bytes(model, plain, names, need),
        cast=added + sum(t.numel for t in trained if _is_cast(t, tied)),
        embedding=embedding,
        tied=shape.tied,
        second_embedding_gradient=tied,
        largest=max(t.numel for t in matrices if "embed_tokens" not in t.name),
        block=max(layers.values()),
        trained_layers=_trained_layers(need, shape.layers),
    )


def _is_trained(name: str, need: Training, layers: int) -> bool:
    """Tell whether a tensor of the model itself is trained."""
    if name.startswith(_TOWER) and need.freeze_vision_tower:
        return False
    if name.startswith(_PROJECTOR) and need.freeze_multi_modal_projector:
        return False
    if need.finetuning_type == "full":
        return True
    if need.finetuning_type == "freeze":
        if name.startswith(_PROJECTOR):
            return True
        count = need.freeze_trainable_layers
        chosen = range(max(0, layers - count), layers) if count > 0 else range(min(-count, layers))
        return any(f".layers.{number}." in name for number in chosen)
    extra = [part.strip() for part in need.additional_target.split(",") if part.strip()]
    return any(part in name.split(".") for part in extra)


def _trained_layers(need: Training, layers: int) -> int:
    if need.finetuning_type == "freeze":
        return min(abs(need.freeze_trainable_layers), layers)
    return layers


def _added(tensor: Tensor, need: Training) -> int:
    """Return what LoRA adds beside one tensor `[out, in]`: rank x (in + out), DoRA out more.

    `all` takes every linear layer but the head; the tower's only when it is not kept.
    """
    name = tensor.name
    if len(tensor.shape) != 2 or not name.endswith(".weight") or _EXPERTS in name:
        return 0
    if name.startswith("visual."):
        kept = need.freeze_vision_tower if name.startswith(_TOWER) else True
        if kept or "patch_embed" in name:
            return 0
    leaf = name.split(".")[-2]
    if need.lora_target.strip() in ("", "all"):
        wanted = leaf not in ("embed_tokens", "lm_head", "gate")
    else:
        wanted = leaf in {part.strip() for part in need.lora_target.split(",")}
    if not wanted:
        return 0
    out, into = tensor.shape
    return need.lora_rank * (out + into) + (out if need.use_dora else 0)


def _is_cast(tensor: Tensor, tied: bool) -> bool:
    """Tell the weights of linear layers; the embedding is one when it is the head as well."""
    if "embed_tokens" in tensor.name:
        return tied
    return len(tensor.shape) > 1


def _frozen_bytes(model: Model, plain: list[Tensor], trained: set[str], need: Training) -> int:
    """Return the bytes of what is not trained: as in the files, or packed by bitsandbytes."""
    if need.quantization_bit is None:
        kept = sum(t.bytes for t in model.tensors if t.name not in trained)
        if model.shape.quantization is not None or not _one_dtype(need):
            return kept
        return sum(t.numel for t in plain if t.name not in trained) * _each(need)
    how = Quantization(method="bitsandbytes", bits=need.quantization_bit, group=64)
    size = 0
    for tensor in pack([t for t in plain if t.name not in trained], how, tower=True):
        if tensor.name.endswith(".absmax") and need.double_quantization:
            size += tensor.numel + tensor.numel // 256 * 4
        else:
            size += tensor.bytes
    return size


def _one_dtype(need: Training) -> bool:
    """Tell whether everything is cast to one dtype, as DeepSpeed does."""
    return need.strategy in ZERO


def _each(need: Training) -> int:
    return 4 if need.precision == "fp32" else 2


def states(need: Training, counts: Counts, hidden: int) -> States:
    """Return what one card of `need.num_processes` holds of weights, gradients and optimizer."""
    moments = cal.optimizer_bytes(need.optimizer)
    if need.strategy in ZERO:
        return _zero(need, counts, moments, hidden)
    frozen = counts.frozen_bytes + _reference(need, counts)
    each = 2 if need.precision == "pure_bf16" else 4
    if each == 2:
        moments /= 2
    size, ranks = counts.trainable, need.num_processes
    if need.strategy == "fsdp2" and ranks > 1:
        roots = (1 if counts.tied else 2) * counts.embedding
        held = (frozen + each * size, each * size, int(moments * size))
        waits = need.offload != "none"
        return States(
            weights=0 if waits else held[0] // ranks,
            gradients=0 if waits else held[1] // ranks,
            optimizer=0 if waits else held[2] // ranks,
            buffers=_each(need) * (2 * counts.block + roots),
            host=sum(held) if waits else 0,
        )
    return States(
        weights=frozen + each * size,
        gradients=each * size,
        optimizer=int(moments * size),
        buffers=each * size if ranks > 1 else 0,
    )


def _reference(need: Training, counts: Counts) -> int:
    """Return the bytes of the second, frozen model that DPO and KTO of full parameters hold."""
    return _each(need) * counts.total if need.needs_reference else 0


def _zero(need: Training, counts: Counts, moments: float, hidden: int) -> States:
    """Return the states under DeepSpeed 0.19, by runtime/zero/stage_1_and_2.py and stage3.py.

    The step makes a float32 copy of the card's own gradients. Stage 1 without overlapped
    communication keeps all gradients until the end, and makes a flat copy of its own when the
    reduce buffer has gone; with it, gradients leave as they come, as in stage 2. Stage 3 keeps up
    to `cal.LIVE_PARAMS` gathered numbers, and once more while they are put together.
    """
    stage, ranks, each = ZERO[need.strategy], need.num_processes, _each(need)
    size = counts.trainable
    own = -(-size // ranks)
    weights = counts.frozen_bytes + each * size + _reference(need, counts)
    bucket = need.reduce_bucket_size or cal.REDUCE_BUCKET[stage] or hidden * hidden
    if need.on_cpu:  # of a buffer in host memory only what is written takes room
        bucket = min(bucket, size)
    late = stage == 1 and not need.overlap_comm
    gradients = each * (size if late else own)
    buffer = each * bucket
    if stage == 3:
        buffer += 2 * each * min(counts.total + counts.added, cal.LIVE_PARAMS)
        weights = 0 if need.offload == "all" else weights // ranks
    elif late:
        buffer = max(buffer, each * own)
    second = each * bucket if need.overlap_comm and stage < 3 else 0
    if need.offload != "none":
        whole = each * max(counts.embedding, counts.largest)
        return States(
            weights=weights,
            gradients=gradients if late else 0,
            optimizer=0,
            buffers=buffer + (whole if stage < 3 else 0),
            second_buffer=second,
            host=_offloaded(need, counts, moments, own),
        )
    return States(
        weights=weights,
        gradients=gradients,
        master=4 * own,
        optimizer=int(moments * own),
        buffers=buffer,
        second_buffer=second,
        step=4 * own if stage < 3 else 0,
        turn=4 * min(own, cal.SUB_GROUP) if stage == 3 else 0,
    )


def _offloaded(need: Training, counts: Counts, moments: float, own: int) -> int:
    """Return the host memory of what is offloaded, of all processes together.

    The moments, and in locked memory the float32 master weights and gradients, the gradients as
    they come, and with `all` the weights. torch rounds each locked block up to a power of two.
    """
    each, ranks = _each(need), need.num_processes
    group = cal.SUB_GROUP if need.strategy == "zero3" else own
    locked = 2 * _locked(4, own, group) + _locked(each, own, own)
    if need.offload == "all":
        locked += _locked(each, own, own)
        locked += counts.frozen_bytes // ranks
    return ranks * (int(moments * own) + locked)


def _locked(each: int, count: int, group: int) -> int:
    """Return the locked bytes of `count` numbers that are held in blocks of `group`."""
    whole, rest = divmod(count, group)
    return sum(2 ** (each * n - 1).bit_length() for n in [group] * whole + [rest] if n)


# published formulas ------------------------------------------------------------------------------


def paper(need: Training, counts: Counts) -> Estimate:
    """Return the model states of the ZeRO paper (Rajbhandari et al., 2020, section 3 and 5).

    Bytes per parameter with mixed-precision Adam on N cards: 16 without ZeRO, 4 + 12/N, 2 + 14/N
    and 16/N with stages 1, 2 and 3. Frozen parameters count 2, divided by N in stage 3.
    """
    ranks = max(1, need.num_processes)
    per_trained, per_frozen = zero_paper(ZERO.get(need.strategy, 0), ranks)
    size = per_trained * counts.trainable + per_frozen * counts.frozen
    return Estimate(source="paper", card_bytes=round(size))


def zero_paper(stage: int, ranks: int) -> tuple[float, float]:
    """Return bytes per trained and per frozen parameter on one of `ranks` cards."""
    match stage:
        case 1:
            return 4 + 12 / ranks, 2
        case 2:
            return 2 + 14 / ranks, 2
        case 3:
            return 16 / ranks, 2 / ranks
        case _:
            return 16, 2


def deepspeed(need: Training, counts: Counts) -> Estimate | None:
    """Return DeepSpeed's own estimate (runtime/zero/*: estimate_zero*_model_states_mem_needs).

    It counts every parameter as trained and takes a factor of 1.5 on host memory, on one node; so
    None without ZeRO, for stage 1 (it has none) and when not all parameters are trained.
    """
    if need.strategy not in ("zero2", "zero3") or need.finetuning_type != "full":
        return None
    size, ranks = counts.total, max(1, need.num_processes)
    largest = max(counts.embedding, counts.largest)
    if need.strategy == "zero2":
        if need.offload == "none":
            card, host = 2 * size + 18 * size // ranks, size * 4 * ranks
        else:
            card, host = 2 * size, size * max(4 * ranks, 16)
    elif need.offload == "none":
        card, host = 4 * largest + 18 * size // ranks, largest * 4 * ranks
    elif need.offload == "optimizer":
        card, host = 4 * largest + 2 * size // ranks, 16 * size
    else:
        card, host = 4 * largest, 18 * size
    return Estimate(source="deepspeed", card_bytes=card, host_bytes=round(host * 1.5))
