"""How many bytes each rung puts on every card and into host memory.

Blocks of the transformer rest on a card as far as there is room; the others wait in host memory and
visit one of two slots. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from . import calibration as cal
from .machine import Card, Machine
from .rung import ROUNDED, Ask, CardNeed, Rung, Where
from .seconds import Pace, expected
from .sizes import DTYPE_BYTES, Sizes

STORED_BITS = {"fp8": 8.0, "cpu-fp8": 8.0, "int8": 8.02, "nf4": 4.51}
"""Bits a stored number takes: int8 with a scale per row, NF4 with one per 64 numbers, itself
rounded (double quantization)."""
STREAMING = frozenset({"split", "fp8", "int8", "groups"})
"""Rungs whose blocks may visit."""
TINY = 2**28
"""Numbers below which a model is one for tests, whose layers are narrow as well."""


class Stored(NamedTuple):
    """The transformer's bytes as a rung stores them."""

    block: int
    count: int
    rest: int

    @property
    def whole(self) -> int:
        """All of it."""
        return self.block * self.count + self.rest


def stored(name: str, sizes: Sizes, item: int) -> Stored:
    """Return the bytes of the transformer on a rung; `item` are those of one plain number."""
    part = sizes.transformer
    outside = part.params - part.blocks * part.block_params
    if sizes.gguf_bytes:
        rest = min(outside * item, sizes.gguf_bytes)
        return Stored((sizes.gguf_bytes - rest) // part.blocks, part.blocks, rest)
    bits = STORED_BITS.get(name)
    if bits is None:
        return Stored(part.block_params * item, part.blocks, outside * item)
    kept = part.kept_params
    block = int((part.block_params - kept) * bits / 8) + kept * item
    return Stored(block, part.blocks, outside * item)


def on_cards(name: str, sizes: Sizes, machine: Machine, ask: Ask, *, tiling: bool) -> Rung:
    """Work out a rung on cards, the emptiest card first, in the faster way to do true CFG."""
    if ask.work.cfg_mode != "auto":
        return _on_cards(name, sizes, machine, ask, tiling=tiling)
    ways = []
    for mode in ("sequential", "batched"):
        work = replace(ask.work, cfg_mode=mode)
        ways.append(_on_cards(name, sizes, machine, replace(ask, work=work), tiling=tiling))
        if not ask.work.cfg:
            break
    fitting = [way for way in ways if way.fits] or ways[:1]
    return min(fitting, key=lambda way: (way.seconds.step_s, way.cfg_mode == "batched"))


class _Placed(NamedTuple):
    """Where the parts lie on the cards."""

    needs: list[CardNeed]
    text_encoder: Where
    text_card: int | None
    streamed: int
    """Bytes of the transformer that wait in host memory."""
    busiest: int
    """Those of them that go to one card."""


def _on_cards(name: str, sizes: Sizes, machine: Machine, ask: Ask, *, tiling: bool) -> Rung:
    cards = sorted(machine.cards, key=lambda card: -card.free_bytes)
    product = _multiplies_in_fp8(name, cards[0], ask)
    placed = _placed(name, sizes, cards, ask, tiling=tiling, product=product)
    item = DTYPE_BYTES[ask.dtype]
    text = sizes.text_encoder.used_params * item if placed.text_encoder == "streamed" else 0
    compiles = ask.compiled and not placed.streamed and not sizes.gguf_bytes
    base = cal.FRONT_BYTES + (cal.COMPILE_BYTES if compiles else 0)
    base += cal.PIPE_BYTES if machine.pretended else cal.PIPE_CUDA_BYTES
    if machine.pretended:
        base += sum(need.bytes for need in placed.needs)
    in_host = CardNeed(-1, placed.streamed, text, blocks=sizes.transformer.blocks)
    weights = stored(name, sizes, item).whole
    rounded = name in ROUNDED or sizes.gguf_bytes
    pace = Pace(
        card=cards[0],
        cards=len(cards) if name == "split" else 1,
        streamed=placed.busiest,
        streamed_share=placed.streamed / weights,
        leaf=name == "leaf",
        widened=weights if rounded else 0,
        storage=("gguf" if sizes.gguf_bytes else name) if rounded else "",
        product=product,
        compiled=compiles,
        tiling=tiling,
        text_streamed=text,
        read=_read_bytes(sizes, ask),
        dummy=ask.dummy,
        pinned=0 if name == "leaf" or machine.pretended else in_host.bytes,
    )
    return weighed(
        Rung(
            name,
            fits=True,
            why="",
            cards=tuple(placed.needs),
            host=in_host,
            host_bytes=base + in_host.bytes,
            host_load_bytes=base + cal.LOAD_BYTES + max(in_host.bytes, sizes.gguf_bytes),
            seconds=expected(sizes, machine, ask.work, pace, ask.dtype),
            text_encoder=placed.text_encoder,
            text_encoder_card=placed.text_card,
            card=cards[0].index,
            tiling=tiling,
            cfg_mode="batched" if ask.work.batched else "sequential",
            fp8_compute=product,
        ),
        machine,
    )


def _placed(
    name: str, sizes: Sizes, cards: Sequence[Card], ask: Ask, *, tiling: bool, product: bool
) -> _Placed:
    """Deal out the transformer, then put the text encoder where there is room for it."""
    item = DTYPE_BYTES[ask.dtype]
    text, vae = sizes.text_encoder.used_params * item, sizes.vae.params * item
    weights, largest = stored(name, sizes, item), sizes.transformer.leaf_params * item
    first = working_bytes(sizes, ask, tiling=tiling, product=product)
    other = working_bytes(sizes, ask, tiling=True, product=product)
    visit = _visiting_bytes(sizes, item)
    used = cards if name == "split" else cards[:1]
    needs = _dealt(name, weights, used, vae, (max(first, visit), other), largest)
    where, text_card = _text_place(name, needs, cards, text, first, visit)
    if where == "card":
        alone = _dealt(name, weights, used, vae, (first, other), largest)
        needs = _with_text(alone, text_card, text)
    if name == "leaf":
        return _Placed(needs, where, text_card, weights.whole, weights.whole)
    visiting = [(need.blocks - need.resident) * weights.block for need in needs]
    return _Placed(needs, where, text_card, sum(visiting), max(visiting))


def _read_bytes(sizes: Sizes, ask: Ask) -> int:
    """Return what is read while loading, or made at random."""
    if ask.dummy:
        return (sizes.transformer.params + sizes.text_encoder.used_params) * 2
    return sizes.disk_bytes


def on_cpu(name: str, sizes: Sizes, machine: Machine, ask: Ask, *, tiling: bool) -> Rung:
    """Work out a rung on the CPU, where everything is host memory."""
    item, apart = DTYPE_BYTES[ask.dtype], name == "cpu-fp8"
    work = replace(ask.work, cfg_mode="sequential") if ask.work.cfg_mode == "auto" else ask.work
    ask = replace(ask, work=work)
    weights = stored(name, sizes, item).whole
    text, vae = sizes.text_encoder.used_params * item, sizes.vae.params * item
    step = working_bytes(sizes, ask, tiling=tiling)
    encode = text + int(_small(cal.ENCODE_BYTES, sizes) * item / 2)
    in_host = CardNeed(-1, weights, 0 if apart else text, vae, step, sizes.transformer.blocks)
    if apart and encode > weights + step:
        in_host = CardNeed(-1, 0, text, vae, encode - text, sizes.transformer.blocks)
    base = cal.PIPE_BYTES + cal.FRONT_BYTES
    loading = vae + (max(text, weights) if apart else text + weights)
    pace = Pace(
        card=None,
        widened=weights if apart else 0,
        storage="fp8" if apart else "",
        tiling=tiling,
        reloaded=sizes.disk_bytes if apart and not ask.dummy else 0,
        read=_read_bytes(sizes, ask),
        dummy=ask.dummy,
    )
    return weighed(
        Rung(
            name,
            fits=True,
            why="",
            host=in_host,
            host_bytes=base + in_host.bytes,
            host_load_bytes=base + loading,
            seconds=expected(sizes, machine, ask.work, pace, ask.dtype),
            text_encoder="apart" if apart else "host",
            tiling=tiling,
            cfg_mode="batched" if ask.work.batched else "sequential",
        ),
        machine,
    )


def working_bytes(sizes: Sizes, ask: Ask, *, tiling: bool, product: bool = False) -> int:
    """Return what a step or the VAE holds besides weights, whichever is more."""
    work, item = ask.work, DTYPE_BYTES[ask.dtype]
    step = work.tokens(sizes) * cal.STEP_BYTES_PER_TOKEN * sizes.hidden / 3072
    if product:
        step *= cal.PRODUCT_SHARE[ask.compiled]
    elif ask.compiled:
        step *= cal.COMPILED_SHARE
    if work.batched:
        step *= 2
    each = cal.VAE_TILED_BYTES_PER_PIXEL if tiling else cal.VAE_BYTES_PER_PIXEL
    vae = work.largest_pixels * _small(each, sizes)
    return int(max(step, vae) * item / 2) + int(_small(cal.RESERVE_BYTES, sizes))


def weighed(rung: Rung, machine: Machine) -> Rung:
    """Say whether the machine has what a rung needs."""
    free = {card.index: card.free_bytes for card in machine.cards}
    host_left = max(0, machine.host_available_bytes - cal.HOST_RESERVE_BYTES)
    if rung.host_peak_bytes > host_left:
        need, have = _gib(rung.host_peak_bytes), _gib(host_left)
        why = f"It needs {need} GiB of host memory and {have} GiB are free."
        return replace(rung, fits=False, possible=False, why=why)
    for need in rung.cards:
        if need.bytes > free[need.card]:
            want, have = _gib(need.bytes), _gib(free[need.card])
            why = f"It needs {want} GiB on card {need.card} and {have} GiB are free."
            return replace(rung, fits=False, why=why)
    if not rung.cards:
        want, have = _gib(rung.host_peak_bytes), _gib(host_left)
        return replace(rung, why=f"It fits: {want} of {have} GiB of host memory.")
    most = max(rung.cards, key=lambda need: need.bytes / max(1, free[need.card]))
    want, have = _gib(most.bytes), _gib(free[most.card])
    why = f"It fits: {want} of {have} GiB on card {most.card}."
    if rung.streamed_blocks:
        count = sum(need.blocks for need in rung.cards)
        why = (
            f"It fits: {want} of {have} GiB on card {most.card}. "
            f"{rung.streamed_blocks} of {count} blocks are streamed from host memory."
        )
    return replace(rung, why=why)


def _dealt(
    name: str,
    weights: Stored,
    cards: Sequence[Card],
    vae: int,
    beside: tuple[int, int],
    largest: int,
) -> list[CardNeed]:
    """Deal the blocks out; `beside` is what the first and the other cards hold besides weights.

    `largest` is the largest single layer, which `leaf` has there alone.
    """
    first, other = beside
    if name == "leaf":
        return [CardNeed(cards[0].index, largest, 0, vae, first, weights.count, 0)]
    own = [vae + weights.rest + first, *[other for _ in cards[1:]]]
    room = [max(0, card.free_bytes - size) for card, size in zip(cards, own, strict=True)]
    counts = _shares(weights, room)
    needs = []
    for number, (card, count) in enumerate(zip(cards, counts, strict=True)):
        resident, slots = count, 0
        if name in STREAMING and count * weights.block > room[number]:
            slots = min(cal.SLOTS, count)
            resident = max(0, min(count, room[number] // weights.block - slots))
        size = (resident + slots) * weights.block + (0 if number else weights.rest)
        needs.append(
            CardNeed(
                card.index,
                size,
                0,
                0 if number else vae,
                other if number else first,
                count,
                resident,
            )
        )
    return needs


def _shares(weights: Stored, room: Sequence[int]) -> list[int]:
    """Return how many blocks each card takes: alike, no more than there is room, the rest alike."""
    fits = [size // max(1, weights.block) for size in room]
    taken = [0 for _ in room]
    for _ in range(weights.count):
        free = [n for n in range(len(room)) if taken[n] < fits[n]] or range(len(room))
        taken[min(free, key=taken.__getitem__)] += 1
    return taken


def _text_place(
    name: str, needs: Sequence[CardNeed], cards: Sequence[Card], text: int, work: int, visit: int
) -> tuple[Where, int | None]:
    """Say where the text encoder goes: on a card with room for it beside the rest, or streamed."""
    if name == "whole":
        return "card", cards[0].index
    if name == "leaf":
        return "streamed", None
    used = {need.card: need for need in needs}
    for card in (
        *(c for c in cards if c.index not in used),
        *(c for c in cards if c.index in used),
    ):
        here = used.get(card.index)
        held = here.bytes - (max(0, visit - work) if here.vae else 0) if here else 0
        beside = 0 if here else cal.ENCODE_BYTES + cal.RESERVE_BYTES
        if held + text + beside <= card.free_bytes:
            return "card", card.index
    return "streamed", None


def _with_text(needs: list[CardNeed], card: int | None, text: int) -> list[CardNeed]:
    if any(need.card == card for need in needs):
        return [replace(n, text_encoder=text) if n.card == card else n for n in needs]
    assert card is not None
    beside = cal.ENCODE_BYTES + cal.RESERVE_BYTES
    return [*needs, CardNeed(card, text_encoder=text, activations=beside)]


def _visiting_bytes(sizes: Sizes, item: int) -> int:
    """Return what a card holds while the text encoder's layers visit it; its words stay at home."""
    layers = cal.SLOTS * sizes.text_encoder.block_params * item
    return layers + int(_small(cal.ENCODE_BYTES + cal.RESERVE_BYTES, sizes) * item / 2)


def _multiplies_in_fp8(name: str, card: Card, ask: Ask) -> bool:
    can = (card.capability or 0) >= cal.PRODUCT_FROM and ask.dtype == "bfloat16"
    return name == "fp8" and can and ask.fp8_compute is not False


def _small(size: float, sizes: Sizes) -> float:
    """Return a share of what a network of the true width holds, for a tiny one of the tests."""
    return size / 16 if sizes.params < TINY else size


def _gib(size: int) -> str:
    return f"{size / cal.GIB:.1f}"
