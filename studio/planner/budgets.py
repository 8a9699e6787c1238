"""What each rank of a server may take of its card, and what it puts there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Self

from studio.core.spec import Serving
from studio.planner import activations
from studio.planner import calibration as cal
from studio.planner.lora import lora_bytes
from studio.planner.models import Model
from studio.planner.result import CardMemory
from studio.planner.shapes import DTYPE_BYTES, ModelShape
from studio.planner.weights import stages


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """How a launch is spread: sizes of the three parallel directions, and one card per rank."""

    backend: str
    tp: int
    pp: int
    dp: int
    cards: tuple[CardMemory, ...]
    """By replica, then stage, then tensor rank. A card that is not there has index -1."""
    on_host: bool

    @classmethod
    def of(cls, need: Serving, cards: Sequence[CardMemory], host: CardMemory) -> Self:
        """Choose the emptiest cards; the transformers backend takes a single one."""
        tp, pp, dp = need.tensor_parallel_size, need.pipeline_parallel_size, need.data_parallel_size
        if need.backend == "hf":
            tp = pp = dp = 1
        wanted = tp * pp * dp
        if not cards:
            ranks = (host,) * wanted
        else:
            busy = sorted(cards, key=lambda c: (c.used_bytes > cal.GIB, c.index))[:wanted]
            chosen = sorted(busy, key=lambda c: c.index)
            absent = replace(chosen[0], index=-1)
            ranks = (*chosen, *[absent] * (wanted - len(chosen)))
        return cls(backend=need.backend, tp=tp, pp=pp, dp=dp, cards=ranks, on_host=not cards)

    @property
    def block(self) -> int:
        """Tokens of one block of the KV cache."""
        if self.backend != "vllm":
            return 1
        return cal.BLOCK_TOKENS_CPU if self.on_host else cal.BLOCK_TOKENS

    @property
    def shares(self) -> bool:
        """True when the engine takes a share of a card, whatever it needs."""
        return self.backend != "hf" and not self.on_host

    @property
    def bfloat16(self) -> bool:
        """True when every card whose name is known can compute in bfloat16."""
        known = [cal.compute_capability(card.name) for card in self.cards]
        return all(power is None or power >= cal.BFLOAT16_FROM for power in known)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """One rank's memory, in bytes."""

    card: CardMemory
    other: int
    """Held by other processes."""
    free: int
    """What a process could get of the card now."""
    limit: int
    """What the engine lets weights, reserve and cache take together."""
    taken: int
    """What has to be free when it starts."""
    weights: int
    draft: int
    lora: int
    activations: int
    graphs: int
    runtime: int
    """Context, driver and libraries; those outside the limit too."""
    fixed: int
    """Everything inside the limit but the cache."""
    reserve_over: int
    """SGLang: by how much activations and graphs exceed what its share leaves free."""
    left: int
    """Bytes for the cache; below 0 when even the rest does not fit."""
    cache: int
    """Bytes the cache takes, in whole blocks."""
    per_token: int
    tokens: int
    seqs: int
    batch_tokens: int


def budgets_of(
    need: Serving, model: Model, draft: Model | None, ranks: Ranks, length: int
) -> list[Budget]:
    """Return the budget of every rank, in the order of `ranks.cards`."""
    dtype = served_dtype(need, model.shape, ranks)
    asked = {"dtype": dtype, "tp": ranks.tp, "on_card": not ranks.on_host}
    weights = model.card_weights(quantization=need.quantization, pp=ranks.pp, **asked)
    extra = draft.card_weights(quantization=None, pp=1, **asked)[0] if draft else 0
    result = []
    for number, card in enumerate(ranks.cards):
        stage = number // ranks.tp % ranks.pp
        last = stage == ranks.pp - 1
        one = _Rank(need, model, draft if last else None, ranks, card, stage, dtype, length)
        result.append(one.budget(weights[stage], extra if last else 0))
    return result


def served_dtype(need: Serving, shape: ModelShape, ranks: Ranks) -> str:
    """Return what a server computes in; `auto` follows the config, but never takes float32.

    vLLM halves a float32 checkpoint, and falls back to float16 on cards without bfloat16
    (config/model.py, _resolve_auto_dtype); transformers takes it as it is.
    """
    if need.dtype in DTYPE_BYTES:
        return need.dtype
    if need.backend == "hf":
        return shape.dtype
    if shape.dtype == "float16":
        return "float16"
    return "bfloat16" if ranks.bfloat16 else "float16"


def kv_bytes_each(need: Serving, dtype: str) -> int:
    """Return the bytes of one number in the KV cache."""
    if need.kv_cache_dtype in ("auto", ""):
        return DTYPE_BYTES[dtype]
    return DTYPE_BYTES.get(need.kv_cache_dtype, 1)


@dataclass(frozen=True)
class _Rank:
    need: Serving
    model: Model
    draft: Model | None
    ranks: Ranks
    card: CardMemory
    stage: int
    dtype: str
    length: int

    def budget(self, weights: int, draft: int) -> Budget:
        """Return this rank's budget, given the weights of its stage."""
        need, ranks = self.need, self.ranks
        usable, other = _usable(self.card, ranks), self.card.used_bytes
        seqs, batch = self._batch(usable)
        lora = self._lora()
        activations_ = self._activations(seqs, batch)
        graphs = self._graphs(seqs, batch)
        inside, outside = self._runtime()
        fixed = weights + draft + lora + inside
        free = usable - other
        over = 0
        if ranks.backend == "sglang" and not ranks.on_host:
            spare = free - outside
            limit = int(spare * need.gpu_memory_utilization)
            over = max(0, activations_ + graphs - (spare - limit))
        else:
            fixed += activations_ + graphs
            limit = self._limit(usable, free, outside)
        taken = limit + outside
        per_token = self._per_token()
        left = limit - fixed
        if need.kv_cache_memory_bytes and ranks.backend == "vllm":
            left = need.kv_cache_memory_bytes
            taken = fixed + left + outside
            limit = fixed + left
        if ranks.on_host:
            taken = self._on_host(fixed, taken)
        block = max(1, per_token * ranks.block)
        tokens = max(0, left) // block * ranks.block
        if ranks.backend == "hf":  # one request at a time
            tokens = min(tokens, self.length)
        cache = tokens * per_token
        slack = int(limit * cal.SLACK) if ranks.shares else 0
        drivers = self.card.total_bytes - usable
        return Budget(
            card=self.card,
            other=other,
            free=free,
            limit=limit,
            taken=taken,
            weights=weights,
            draft=draft,
            lora=lora,
            activations=activations_,
            graphs=graphs,
            runtime=inside + outside + slack + drivers,
            fixed=fixed,
            reserve_over=over,
            left=left,
            cache=cache,
            per_token=per_token,
            tokens=tokens,
            seqs=seqs,
            batch_tokens=batch,
        )

    def _limit(self, usable: int, free: int, outside: int) -> int:
        """Return what weights, reserve and cache may take: a share, or all that is free."""
        if self.ranks.backend == "hf":
            return free - outside
        if self.ranks.on_host:
            return ceil(usable * cal.UTILIZATION_CPU)
        return ceil(usable * self.need.gpu_memory_utilization)

    def _on_host(self, fixed: int, taken: int) -> int:
        """Return what has to be free: every rank's memory comes out of the same place."""
        if self.ranks.backend == "hf":
            return fixed
        return taken * (len(self.ranks.cards) if self.need.kv_cache_memory_bytes else 1)

    def _batch(self, usable: int) -> tuple[int, int]:
        """Return max_num_seqs and max_num_batched_tokens, the engine's defaults filled in."""
        need, ranks = self.need, self.ranks
        if ranks.backend == "hf":
            return 1, self.length
        if ranks.on_host:
            size = ranks.tp * ranks.pp
            tokens, seqs = (n * size for n in cal.BATCH_DEFAULTS_CPU)
        else:
            tokens, seqs = cal.batch_defaults(self.card.name, usable)
            if ranks.backend == "sglang":
                tokens = cal.sglang_prefill(usable)
        seqs = need.max_num_seqs or seqs
        tokens = need.max_num_batched_tokens or min(tokens, seqs * self.length)
        return (need.max_num_seqs or min(seqs, tokens)), tokens

    def _activations(self, seqs: int, batch: int) -> int:
        shape = self.model.shape
        return activations.peak(
            shape,
            tokens=batch,
            seqs=seqs,
            each=DTYPE_BYTES[self.dtype],
            tp=self.ranks.tp,
            last=self.stage == self.ranks.pp - 1,
            picture=activations.picture_tokens(shape, self.model.max_pixels)
            if self.stage == 0
            else 0,
        )

    def _graphs(self, seqs: int, batch: int) -> int:
        if self.need.enforce_eager or not self.ranks.shares:
            return 0
        graphs = cal.captured_sizes(seqs, batch) * cal.GRAPHS_PER_SIZE
        return graphs * self._depth() * cal.GRAPH_BYTES_PER_LAYER

    def _runtime(self) -> tuple[int, int]:
        """Return the engine's own needs inside and outside of its budget."""
        if self.ranks.on_host:
            first = self.stage == 0
            share = cal.HOST_SERVER_BYTES // self.ranks.tp if first else 0
            return share + cal.HOST_WORKER_BYTES, 0
        several = self.ranks.tp * self.ranks.pp > 1
        return cal.RUNTIME_BYTES, cal.CONTEXT_BYTES + (cal.NCCL_BYTES if several else 0)

    def _lora(self) -> int:
        if not self.need.max_loras:
            return 0
        return lora_bytes(
            self.model.shape,
            slots=self.need.max_loras,
            rank=self.need.max_lora_rank,
            each=DTYPE_BYTES[self.dtype],
            tp=self.ranks.tp,
            layers=self._depth(),
        )

    def _depth(self) -> int:
        return len(stages(self.model.shape.layers, self.ranks.pp)[self.stage])

    def _per_token(self) -> int:
        each = kv_bytes_each(self.need, self.dtype)
        main = self.model.shape.kv_bytes_per_token(each, tp=self.ranks.tp, layers=self._depth())
        if self.draft is None:
            return main
        return main + self.draft.shape.kv_bytes_per_token(each, tp=self.ranks.tp)


def _usable(card: CardMemory, ranks: Ranks) -> int:
    """Return what CUDA offers of a card, or the host its processes, when nobody else is there."""
    return card.total_bytes if ranks.on_host else card.total_bytes - cal.driver_bytes(card.name)
