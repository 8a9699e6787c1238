"""From settings to a pipeline that edits: the rung is chosen, loaded, tried and remembered."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from . import ladder as rungs_of
from . import worked
from .cards import device_of, open_cards, peaks
from .editing import Cancelled, Editor, Emit, Ran
from .faults import Faults, is_out_of_memory
from .fetching import fetched
from .ladder import Ask, Rung
from .loading import Plan, dtype_of, load
from .machine import Machine, this_machine
from .narrow import fp8_product_fault
from .rungs import layout
from .seconds import Work
from .sizes import Sizes, read_sizes
from .speed import Adapters, BadSetting, compiled, effective

__all__ = [
    "BadSetting",
    "Cancelled",
    "NoRung",
    "Ran",
    "Session",
    "is_out_of_memory",
    "open_session",
]
LOG = logging.getLogger("image_edit")


class NoRung(Exception):
    """No rung can be taken; `ladder` says why for each."""

    def __init__(self, message: str, ladder: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.ladder = list(ladder)


class Session:
    """A loaded pipeline and where its experience is kept."""

    def __init__(
        self, editor: Editor, memory: Memory, rung: str, config: Mapping[str, Any], sizes: Sizes
    ) -> None:
        self._editor, self._memory, self._rung = editor, memory, rung
        self._config, self._sizes = config, sizes

    def edit(self, job: Mapping[str, Any], cancelled: Callable[[], bool]) -> None:
        """Do one job; raise what `Editor.edit` raises. What ran out of memory is remembered."""
        work = self._memory.work = self._work(job)
        try:
            self._editor.edit(job, cancelled)
        except Ran as ran:
            error = ran.__cause__ or ran
            if is_out_of_memory(error):
                reason = f"out of memory at {ran.stage}: {error}"
                self._memory.failed(self._rung, reason, tokens=work.tokens(self._sizes))
            raise

    def _work(self, job: Mapping[str, Any]) -> Work:
        """Return how much a job is."""
        ordinary = Ask.of(
            self._config,
            width=int(job.get("width") or 0),
            height=int(job.get("height") or 0),
            references=max(1, len(job.get("pictures") or ())),
        ).work
        scale = float(job.get("true_cfg_scale") or self._config.get("true_cfg_scale") or 4.0)
        guided = scale > 1 and not self._config.get("lightning")
        return replace(ordinary, steps=int(job.get("steps") or 1), cfg=guided)


class Memory:
    """This machine's entry in worked.json."""

    def __init__(self, config: Mapping[str, Any], machine: Machine) -> None:
        self._state = str(config.get("state_dir") or "")
        self._machine = machine
        self.work = Work()
        """What the job at work is."""
        self._key = worked.key_of(
            machine,
            str(config["model"]),
            str(config.get("dtype") or "bfloat16"),
            str(config.get("gguf") or ""),
            (config.get("max_card_memory_gib"), config.get("max_host_memory_gib")),
        )

    def read(self) -> worked.Worked:
        """Return what is known."""
        return worked.read(self._state, self._key) if self._state else worked.Worked()

    def failed(self, rung: str, reason: str, *, tokens: int = 0) -> None:
        """Keep that a rung ran out of memory, with a picture of so many tokens."""
        if self._state:
            told = reason.strip().splitlines()[0][:300]
            worked.note_failed(self._state, self._key, rung, told, self._machine, tokens=tokens)

    def went(self, rung: str, seconds: Mapping[str, Any]) -> None:
        """Keep that a rung made a picture, and how fast."""
        if self._state:
            told = {**seconds, "work": self.work.as_dict()}
            worked.note_worked(self._state, self._key, rung, told)


def open_session(config: Mapping[str, Any], skip: Sequence[str], emit: Emit) -> Session:
    """Choose the best rung and load the pipeline on it; raise NoRung when there is none."""
    torch.set_grad_enabled(False)
    if os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    began = time.monotonic()
    named, config = config, fetched(config)
    folder = Path(config["model"])
    cards = () if config.get("device") == "cpu" else open_cards(config.get("max_card_memory_gib"))
    machine = this_machine(
        cards,
        max_card_memory_gib=config.get("max_card_memory_gib"),
        max_host_memory_gib=config.get("max_host_memory_gib"),
    )
    memory = Memory(named, machine)
    sizes = read_sizes(folder, gguf=str(config.get("gguf") or ""))
    rung, ladder = _choose(config, sizes, machine, skip, memory)
    emit("rung", rung=rung.name, why=rung.why, ladder=ladder)
    faults = Faults(rung.name)
    try:
        faults.strike("load")
        plan = _plan(config, folder, machine, rung)
        if plan.layout.device.type == "cuda":
            torch.cuda.set_device(plan.layout.device)
        loaded = load(plan)
        adapters = Adapters(loaded, config)
        notes = [*loaded.notes, *effective(config, loaded, adapters)]
    except Exception as error:
        if is_out_of_memory(error):
            memory.failed(rung.name, f"out of memory while loading: {error}")
        raise

    load_s = round(time.monotonic() - began, 2)

    def listen(event: str, **more: Any) -> None:
        if event == "done":
            timings = more["timings"]
            told = {key: timings[key] for key in ("encode_s", "decode_s")}
            told |= {"load_s": load_s, "step_s": timings["steady_step_s"]}
            memory.went(rung.name, told)
        emit(event, **more)

    settings = {**config, "cfg_mode": rung.cfg_mode}
    editor = Editor(loaded, settings, emit=listen, faults=faults, adapters=adapters)
    for note in notes:
        LOG.info("%s", note)
    emit("loaded", seconds=load_s, peaks=peaks(), notes=notes)
    return Session(editor, memory, rung.name, settings, sizes)


def _choose(
    config: Mapping[str, Any],
    sizes: Sizes,
    machine: Machine,
    skip: Sequence[str],
    memory: Memory,
) -> tuple[Rung, list[dict[str, Any]]]:
    """Return the rung to take and the whole ladder as plain values."""
    told = dict.fromkeys(skip, "it ran out of memory.")
    ask = Ask.of(config, skip=told, worked=memory.read())
    found = rungs_of.rungs(sizes, machine, ask)
    ladder = [rung.as_dict() for rung in found]
    try:
        return rungs_of.choose(found, ask), ladder
    except rungs_of.NoRung as error:
        raise NoRung(str(error), ladder) from error


def _plan(config: Mapping[str, Any], folder: Path, machine: Machine, rung: Rung) -> Plan:
    """Return what to load and where."""
    devices = {card.index: device_of(card) for card in machine.cards}
    shape = layout(rung, devices.__getitem__)
    if shape.fp8_product:
        fault = fp8_product_fault(shape.device)
        if fault:
            LOG.warning("Products in fp8 do not run here, weights are widened instead: %s", fault)
            shape = replace(shape, fp8_product=False)
    return Plan(
        folder=folder,
        layout=shape,
        dtype=dtype_of(str(config.get("dtype") or "bfloat16")),
        dummy=config.get("load_format") == "dummy",
        gguf=Path(config["gguf"]) if config.get("gguf") else None,
        prepare=compiled(bool(config.get("compile"))),
    )
