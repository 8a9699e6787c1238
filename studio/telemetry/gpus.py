"""The machine's cards at this moment, and who holds them.

NVML tells most and costs a millisecond; where it is missing, the vendors' command-line tools are
asked (`studio.jobs.shim.cards`: nvidia-smi, rocm-smi, hy-smi). Both give the same `Gpu`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

from studio.jobs.shim import cards as tools
from studio.jobs.shim import procs

HOT_C = 90
"""Degrees from which a card is too hot to be well."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A process that holds memory on a card."""

    pid: int
    user: str
    command: str
    used_bytes: int | None
    """None where the driver does not tell."""
    run_id: str | None
    """The run of ours it belongs to; None for a stranger."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One card at one moment. A figure that the driver does not tell is None."""

    index: int
    name: str
    vendor: str
    total_bytes: int
    used_bytes: int
    load: float | None
    """How busy, 0 to 1."""
    power_w: float | None = None
    power_cap_w: float | None = None
    temperature_c: float | None = None
    uuid: str = ""
    holders: tuple[Holder, ...] = ()
    trouble: str = ""
    """What is wrong as a code (`hot`, `unreadable`); empty when the card is well."""

    @property
    def used(self) -> float:
        """Share of the memory in use, 0 to 1."""
        return self.used_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True, kw_only=True)
class Driver:
    """What the cards are driven by, as far as it is known."""

    name: str = ""
    version: str = ""
    cuda: str = ""
    """Highest CUDA version the driver supports."""


class Gpus:
    """Reads the cards, through NVML while it works. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nvml: Any = None
        self._tried = False

    def read(self) -> list[Gpu]:
        """Return the cards that this process may see, by index."""
        nvml = self._library()
        if nvml is not None:
            with self._lock:
                found = _read_nvml(nvml)
            return _visible(found)
        cards = tools.read_cards()
        held: dict[int, list[Holder]] = {}
        for holder in tools.read_holders(cards):
            held.setdefault(holder.card, []).append(describe(holder.pid, holder.used))
        return [_from_tool(card, tuple(held.get(card.index, ()))) for card in cards]

    def driver(self) -> Driver:
        """Return the driver's version and the CUDA version it goes up to."""
        nvml = self._library()
        if nvml is not None:
            number = _ask(nvml.nvmlSystemGetCudaDriverVersion) or 0
            cuda = f"{number // 1000}.{number % 1000 // 10}" if number else ""
            return Driver(
                name="nvidia", version=str(_ask(nvml.nvmlSystemGetDriverVersion) or ""), cuda=cuda
            )
        cards = tools.read_cards()
        return Driver(name=cards[0].vendor if cards else "")

    def _library(self) -> Any:
        """Return NVML once it is initialised, None when it cannot be."""
        with self._lock:
            if not self._tried:
                self._tried = True
                self._nvml = _start_nvml()
            return self._nvml


def describe(pid: int, used_bytes: int | None) -> Holder:
    """Return who a process is, as far as we may know; run ids come from its environment mark."""
    user, command = "?", ""
    try:
        process = psutil.Process(pid)
        user = process.username()
        command = " ".join(process.cmdline()) or process.name()
    except psutil.Error:
        pass
    run_id = procs.environ(pid).get(procs.MARK)
    return Holder(
        pid=pid, user=user, command=command[:400], used_bytes=used_bytes or None, run_id=run_id
    )


def _start_nvml() -> Any:
    try:
        import pynvml  # only when cards are looked at: 20 ms
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _read_nvml(nvml: Any) -> list[Gpu]:
    return [_card(nvml, index) for index in range(_ask(nvml.nvmlDeviceGetCount) or 0)]


def _card(nvml: Any, index: int) -> Gpu:
    handle = _ask(nvml.nvmlDeviceGetHandleByIndex, index)
    if handle is None:
        return Gpu(
            index=index,
            name="?",
            vendor="nvidia",
            total_bytes=0,
            used_bytes=0,
            load=None,
            trouble="unreadable",
        )
    memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    heat = _ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)
    return Gpu(
        index=index,
        name=_text(_ask(nvml.nvmlDeviceGetName, handle)),
        vendor="nvidia",
        total_bytes=memory.total if memory else 0,
        used_bytes=memory.used if memory else 0,
        load=rates.gpu / 100 if rates else None,
        power_w=_thousandth(_ask(nvml.nvmlDeviceGetPowerUsage, handle)),
        power_cap_w=_thousandth(_ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle)),
        temperature_c=heat,
        uuid=_text(_ask(nvml.nvmlDeviceGetUUID, handle)),
        holders=tuple(
            describe(process.pid, process.usedGpuMemory)
            for process in _ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()
        ),
        trouble=_trouble(memory is not None, heat),
    )


def _from_tool(card: tools.Card, holders: tuple[Holder, ...]) -> Gpu:
    heat = float(card.temperature_c) if card.temperature_c >= 0 else None
    return Gpu(
        index=card.index,
        name=card.name,
        vendor=card.vendor,
        total_bytes=card.total,
        used_bytes=card.used,
        load=card.load / 100 if card.load >= 0 else None,
        power_w=card.power_w if card.power_w >= 0 else None,
        power_cap_w=card.power_cap_w if card.power_cap_w >= 0 else None,
        temperature_c=heat,
        uuid=card.uuid,
        holders=holders,
        trouble=_trouble(card.total > 0, heat),
    )


def _trouble(readable: bool, heat: float | None) -> str:
    if not readable:
        return "unreadable"
    return "hot" if heat is not None and heat >= HOT_C else ""


def _visible(found: list[Gpu]) -> list[Gpu]:
    """Keep the cards that CUDA_VISIBLE_DEVICES of our environment leaves us."""
    chosen = os.environ.get(tools.visible_variable("nvidia"))
    if chosen is None:
        return found
    wanted = {part.strip() for part in chosen.split(",") if part.strip()}
    return [card for card in found if str(card.index) in wanted or card.uuid in wanted]


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """Call NVML; None when this card or driver does not tell."""
    import pynvml  # imported already when we get here

    try:
        return call(*arguments)
    except pynvml.NVMLError:
        return None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _thousandth(value: int | None) -> float | None:
    return None if value is None else value / 1000
