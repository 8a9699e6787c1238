"""Which ways there are to hold the pipeline on a machine, what each needs, which one is taken.

Pure arithmetic over `Sizes`, `Machine` and `Ask`; no clock, no disk, no torch. A *rung* is one way;
they are tried from the best downwards: exact weights before rounded ones unless those are much
faster, on the card before streamed, streamed before the CPU. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .machine import Machine
from .needs import on_cards, on_cpu
from .rung import ON_CPU, ROUNDED, RUNGS, Ask, CardNeed, Rung
from .seconds import Work, remembered
from .sizes import Sizes

__all__ = ["RUNGS", "Ask", "CardNeed", "NoRung", "Rung", "Work", "choose", "rungs"]

WORTH_ROUNDING = 1.25
"""Rounded weights go before exact ones that are streamed when a step is so many times faster."""
WORTH_TILING = 1.1
"""Tiles, which alter pixels slightly, are taken when a picture is so many times faster for it."""


class NoRung(Exception):
    """Nothing on the ladder can be taken; `ladder` says why for each."""

    def __init__(self, message: str, ladder: Sequence[Rung]) -> None:
        super().__init__(message)
        self.ladder = tuple(ladder)


def rungs(sizes: Sizes, machine: Machine, ask: Ask) -> list[Rung]:
    """Return every rung, best first, with what it needs and whether it may be taken."""
    before = ask.worked.still_failed(machine, ask.work.tokens(sizes))
    ladder = []
    for name in RUNGS:
        rung = _with_memory(_considered(name, sizes, machine, ask), sizes, machine, ask)
        if rung.fits and name in ask.skip:
            rung = replace(rung, fits=False, why=f"It failed: {ask.skip[name]}")
        elif rung.fits and name in before and ask.rung != name:
            rung = replace(rung, fits=False, why=f"It failed here before: {before[name]}")
        ladder.append(rung)
    return _ordered(ladder)


def choose(ladder: Sequence[Rung], ask: Ask) -> Rung:
    """Return the rung to start on: the forced one, else the best that fits.

    A forced rung is tried even if the cards look too small for it. Raises NoRung.
    """
    if ask.rung != "auto":
        forced = next((rung for rung in ladder if rung.name == ask.rung), None)
        if forced is None:
            raise NoRung(f"There is no rung {ask.rung}. There are: {', '.join(RUNGS)}.", ladder)
        if not forced.possible or forced.name in ask.skip:
            raise NoRung(f"Rung {forced.name} cannot be taken. {forced.why}", ladder)
        return forced
    for rung in ladder:
        if rung.fits and not _needless(rung, ladder):
            return rung
    raise NoRung("No rung of the ladder fits this machine.", ladder)


def _ordered(ladder: list[Rung]) -> list[Rung]:
    """Move `groups` up where exact weights cost little, and slow streaming of 8 bits down."""
    by_name = {rung.name: rung for rung in ladder}
    order = [rung.name for rung in ladder]
    for name in ("fp8", "int8", "nf4"):
        if _hardly_slower(by_name["groups"], by_name[name]):
            order.remove(name)
            order.insert(order.index("leaf"), name)
    for name in ("fp8", "int8"):
        rung, nf4 = by_name[name], by_name["nf4"]
        if rung.streamed_blocks and nf4.fits and not _hardly_slower(rung, nf4):
            order.remove(name)
            order.insert(order.index("nf4") + 1, name)
    return [by_name[name] for name in order]


def _hardly_slower(better: Rung, other: Rung) -> bool:
    """Tell whether `other` is not worth what its weights lose."""
    both = better.fits and other.fits
    return both and better.seconds.step_s <= WORTH_ROUNDING * other.seconds.step_s


def _needless(rung: Rung, ladder: Sequence[Rung]) -> bool:
    """Tell whether int8 would only repeat a failure: it needs as much as fp8."""
    if rung.name != "int8":
        return False
    fp8 = next(other for other in ladder if other.name == "fp8")
    return not fp8.fits and fp8.possible


def _considered(name: str, sizes: Sizes, machine: Machine, ask: Ask) -> Rung:
    """Work out a rung, with the VAE in tiles only where it has to be."""
    against = next(_against(name, sizes, machine, ask), "")
    if against:
        return Rung(name, fits=False, why=against, possible=False)
    work_out = on_cpu if name in ON_CPU else on_cards
    if ask.vae_tiling != "auto":
        return work_out(name, sizes, machine, ask, tiling=ask.vae_tiling == "always")
    plain = work_out(name, sizes, machine, ask, tiling=False)
    if plain.fits and not plain.streamed_blocks:
        return plain
    tiled = work_out(name, sizes, machine, ask, tiling=True)
    if plain.fits and plain.seconds.picture_s <= WORTH_TILING * tiled.seconds.picture_s:
        return plain
    return tiled


def _against(name: str, sizes: Sizes, machine: Machine, ask: Ask) -> Iterator[str]:
    """Yield what speaks against a rung whatever the memory."""
    if name in ON_CPU:
        if ask.device == "cuda":
            yield "The CPU is left out: device is cuda."
    elif ask.device == "cpu":
        yield "The cards are left out: device is cpu."
    elif not machine.cards:
        yield "It needs a card, and there is none."
    if name == "split" and len(machine.cards) < 2:
        yield "It needs two cards, and there is one."
    if sizes.gguf_bytes and name in ROUNDED:
        yield "The transformer comes from a GGUF file as it is."
    if name in ROUNDED and not ask.allow_quantized and ask.rung != name:
        yield "Rounded weights are not wanted (allow_quantized is off)."
    if name == "nf4" and machine.pretended:
        yield "bitsandbytes needs a CUDA card."
    if name == "nf4" and not ask.bitsandbytes:
        yield "bitsandbytes is not installed in the environment."
    if name in ("int8", "nf4") and ask.dtype == "float32":
        yield "It computes in half precision, and dtype is float32."


def _with_memory(rung: Rung, sizes: Sizes, machine: Machine, ask: Ask) -> Rung:
    """Replace expected seconds by those measured here."""
    told = ask.worked.seconds.get(rung.name)
    if not told or not rung.seconds.step_s:
        return rung
    work = Work(**{key: value for key, value in (told.get("work") or {}).items() if key in _WORK})
    then = _considered(rung.name, sizes, machine, replace(ask, work=work)).seconds
    on_cpu = rung.card is None or machine.pretended
    seconds = remembered(rung.seconds, told, then, ask.work.steps, on_cpu=on_cpu)
    return replace(rung, seconds=seconds)


_WORK = frozenset(Work.__dataclass_fields__)
