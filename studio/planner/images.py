"""Which rung of the ladder an image editor starts on, what every rung needs, how long it takes.

The arithmetic is the worker's own (`studio/engines/workers/image_edit`), so that plan and launch
cannot differ; here it is told the machine as the studio sees it, and the answer becomes a plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from studio.core.errors import RecipeInvalid
from studio.core.spec import Imaging
from studio.engines.engine import is_local, resolve_path
from studio.engines.workers.image_edit import calibration as image_cal
from studio.engines.workers.image_edit import worked
from studio.engines.workers.image_edit.ladder import Ask, NoRung, Rung, choose, rungs
from studio.engines.workers.image_edit.machine import Card, Machine, this_machine
from studio.engines.workers.image_edit.rung import CardNeed
from studio.engines.workers.image_edit.sizes import Sizes, published, read_sizes
from studio.planner import calibration as cal
from studio.planner.image_advice import advise, asking, notes_of
from studio.planner.image_result import ImagePlan, RungPlan
from studio.planner.models import hub_cache
from studio.planner.result import CardMemory, CardPlan, Part
from studio.planner.shapes import CannotPlan

__all__ = ["ImagePlan", "plan_images"]

PUBLISHED = ("Qwen/Qwen-Image-Edit", "Qwen/Qwen-Image-Edit-2509", "Qwen/Qwen-Image-Edit-2511")
"""Hub ids whose sizes are known here; they are all alike."""
GGUF_BYTES = {"Q8_0": 21.8e9, "Q6_K": 16.9e9, "Q5_K": 15.0e9, "Q4_K": 13.2e9, "Q3_K": 9.9e9}
"""Bytes of a published GGUF transformer by its packing, for files that are still on the hub."""


@dataclass(frozen=True)
class Found:
    """A model as far as it is known here."""

    sizes: Sizes
    folder: Path | None
    """None for a hub id that is not on this machine."""
    download_bytes: int = 0


def plan_images(
    need: Imaging,
    *,
    cards: Sequence[CardMemory],
    root: Path,
    spare: int = 0,
    imagined: bool = False,
    host_bytes: int | None = None,
    disk_free_bytes: int | None = None,
    state_dir: Path | None = None,
    hub: Path | None = None,
) -> ImagePlan:
    """Return the ladder of an image editor on these cards (on the host, when there are none).

    `spare` counts idle cards that were not given. `imagined` cards are of a machine a person only
    thinks of, where nothing is measured and nobody else holds memory; `host_bytes` is then its
    memory. Raises CannotPlan for a model whose sizes are not known here.
    """
    found = find(need, root, hub or hub_cache())
    machine = _machine(need, cards, host_bytes, imagined=imagined)
    ask = asking(need)
    if state_dir is not None and not imagined:
        ask = replace(ask, worked=worked.read(state_dir, _key(need, machine, root)))
    ladder = rungs(found.sizes, machine, ask)
    plan = _plan(need, found, ladder, ask, cards, machine)
    if disk_free_bytes is not None and found.download_bytes > disk_free_bytes:
        values = {"need_bytes": found.download_bytes, "have_bytes": disk_free_bytes}
        plan = plan.model_copy(update={"fits": False, "reason": "disk", "values": values})
    advice = () if plan.fits else tuple(advise(need, found.sizes, machine))
    notes = tuple(notes_of(plan, cards, here=found.folder is not None, spare=spare))
    return plan.model_copy(update={"advice": advice, "notes": notes})


def find(need: Imaging, root: Path, hub: Path) -> Found:
    """Return the sizes of a model folder, of a snapshot in the hub's cache, or as published."""
    gguf = _gguf(need.gguf, root, hub)
    path = Path(resolve_path(need.model, str(root)))
    local = is_local(need.model) or path.is_absolute()
    folder = path if local else _snapshot(need.model, hub)
    if folder is None:
        if need.model not in PUBLISHED:
            raise CannotPlan(
                f"{need.model} is not on this machine, and its sizes are not known here.",
                hint="Download it first, or give a model folder.",
            )
        sizes = published(gguf_bytes=gguf)
        return Found(sizes, None, 0 if need.dummy_weights else sizes.disk_bytes)
    try:
        sizes = replace(read_sizes(folder), gguf_bytes=gguf)
    except (OSError, ValueError, KeyError, TypeError):
        raise RecipeInvalid(
            f"{folder} is not a whole Qwen-Image-Edit folder: its configs cannot be read.",
            hint="Point to the folder with model_index.json, transformer, text_encoder and vae.",
        ) from None
    missing = 0 if need.dummy_weights or local else _missing(sizes, folder)
    return Found(sizes, folder, missing)


def _gguf(name: str, root: Path, hub: Path) -> int:
    """Return the bytes of a GGUF file: of the file, or of its packing as published."""
    if not name:
        return 0
    path = Path(resolve_path(name, str(root)))
    if path.is_absolute():
        return path.stat().st_size if path.is_file() else 0
    owner, repository, file = [*name.split("/", 2), "", ""][:3]
    found = sorted((hub / f"models--{owner}--{repository}").glob(f"snapshots/*/{file}"))
    if found and file:
        return found[-1].stat().st_size
    known = (int(size) for packing, size in GGUF_BYTES.items() if packing in name.upper())
    return next(known, int(GGUF_BYTES["Q8_0"]))


def _snapshot(name: str, hub: Path) -> Path | None:
    folder = hub / f"models--{name.replace('/', '--')}" / "snapshots"
    found = [path.parent for path in folder.glob("*/model_index.json")]
    whole = [path for path in found if all((path / part).is_dir() for part in _PARTS)]
    return max(whole, key=lambda path: path.stat().st_mtime, default=None)


_PARTS = ("transformer", "text_encoder", "vae")


def _missing(sizes: Sizes, folder: Path) -> int:
    have = sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))
    want = 2 * sizes.params - (2 * sizes.transformer.params if sizes.gguf_bytes else 0)
    return max(0, want - have) if have < 0.99 * want else 0


def _machine(
    need: Imaging, cards: Sequence[CardMemory], host_bytes: int | None, *, imagined: bool
) -> Machine:
    told = tuple(_card(card, imagined) for card in cards)
    machine = this_machine(told, max_host_memory_gib=need.max_host_memory_gib)
    if not told:
        machine = replace(machine, cards=(), pretended=False)
    if host_bytes is not None:
        machine = replace(machine, host_available_bytes=host_bytes, host_total_bytes=host_bytes)
    return machine.limited(need.max_card_memory_gib)


def _card(card: CardMemory, imagined: bool) -> Card:
    """Return a card as the worker will see it, with its own context there."""
    used = 0 if imagined else card.used_bytes
    free = card.total_bytes - cal.driver_bytes(card.name) - used - cal.CONTEXT_BYTES
    power = cal.compute_capability(card.name)
    return Card(card.index, card.name, card.total_bytes, max(0, free), power)


def _key(need: Imaging, machine: Machine, root: Path) -> str:
    model = resolve_path(need.model, str(root))
    gguf = resolve_path(need.gguf, str(root)) if need.gguf else ""
    limits = (need.max_card_memory_gib, need.max_host_memory_gib)
    return worked.key_of(machine, model, need.dtype, gguf, limits)


def _plan(
    need: Imaging,
    found: Found,
    ladder: list[Rung],
    ask: Ask,
    cards: Sequence[CardMemory],
    machine: Machine,
) -> ImagePlan:
    by_index = {card.index: card for card in cards}
    reason: str
    values: dict[str, Any]
    try:
        chosen = choose(ladder, ask)
        fits, name = chosen.fits, chosen.name
        reason, values = "image_fits" if fits else "image_forced", {"rung": name}
    except NoRung:
        fits, name, values = False, "", {}
        reason = "image_none" if machine.cards else "image_no_card"
        if need.rung != "auto":
            why = next((rung.why for rung in ladder if rung.name == need.rung), "")
            reason, values = "image_refused", {"rung": need.rung, "why": why}
    return ImagePlan(
        fits=fits,
        reason=reason,
        values=values,
        model=need.model,
        chosen=name,
        rungs=tuple(_rung(rung, by_index, machine) for rung in ladder),
        params=found.sizes.params,
        disk_bytes=0 if need.dummy_weights else found.sizes.disk_bytes,
        download_bytes=found.download_bytes,
        steps=need.num_inference_steps,
        width=need.width,
        height=need.height,
        references=need.references,
        cfg=need.cfg,
    )


def _rung(rung: Rung, cards: dict[int, CardMemory], machine: Machine) -> RungPlan:
    host = _host(rung, machine) if rung.host_bytes else None
    drawn = tuple(_drawn(part, cards[part.card], machine) for part in rung.cards)
    return RungPlan(
        name=rung.name,
        fits=rung.fits,
        possible=rung.possible,
        why=rung.why,
        cards=drawn or ((host,) if host else ()),
        host=host,
        host_bytes=rung.host_bytes,
        host_load_bytes=rung.host_load_bytes,
        load_s=rung.seconds.load_s,
        encode_s=rung.seconds.encode_s,
        step_s=rung.seconds.step_s,
        decode_s=rung.seconds.decode_s,
        picture_s=rung.seconds.picture_s,
        measured=rung.seconds.measured,
        text_encoder=rung.text_encoder if rung.host_bytes else "",
        blocks=sum(part.blocks for part in rung.cards) or rung.host.blocks,
        streamed_blocks=rung.streamed_blocks,
        tiling=rung.tiling,
        cfg_mode=rung.cfg_mode,
        fp8_compute=rung.fp8_compute,
    )


def _drawn(need: CardNeed, card: CardMemory, machine: Machine) -> CardPlan:
    """Return what lies on a card: the editor's parts, the driver and context, others, the rest."""
    free = next(one.free_bytes for one in machine.cards if one.index == need.card)
    runtime = cal.driver_bytes(card.name) + cal.CONTEXT_BYTES
    rest = card.total_bytes - need.bytes - runtime - card.used_bytes
    parts = (
        *_parts(need),
        Part(kind="runtime", bytes=runtime),
        Part(kind="other", bytes=card.used_bytes),
        Part(kind="free", bytes=max(0, rest)),
    )
    return CardPlan(
        card=need.card,
        name=card.name,
        total_bytes=card.total_bytes,
        parts=tuple(part for part in parts if part.bytes),
        over_bytes=max(0, need.bytes - free),
    )


def _host(rung: Rung, machine: Machine) -> CardPlan:
    taken = machine.host_total_bytes - machine.host_available_bytes
    runtime = rung.host_bytes - rung.host.bytes
    parts = (
        *_parts(rung.host),
        Part(kind="runtime", bytes=runtime),
        Part(kind="other", bytes=max(0, taken)),
        Part(kind="free", bytes=max(0, machine.host_available_bytes - rung.host_bytes)),
    )
    left = machine.host_available_bytes - image_cal.HOST_RESERVE_BYTES
    return CardPlan(
        card=None,
        name="",
        total_bytes=machine.host_total_bytes,
        parts=tuple(part for part in parts if part.bytes),
        over_bytes=max(0, rung.host_peak_bytes - max(0, left)),
    )


def _parts(need: CardNeed) -> Iterator[Part]:
    yield Part(kind="transformer", bytes=need.transformer)
    yield Part(kind="text_encoder", bytes=need.text_encoder)
    yield Part(kind="vae", bytes=need.vae)
    yield Part(kind="activations", bytes=need.activations)
