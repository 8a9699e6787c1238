"""Memory and energy of some NVIDIA cards, by the driver's library (ctypes, as in nvml.h).

Indices are those of `nvidia-smi`; CUDA_VISIBLE_DEVICES does not touch them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

LIBRARY = "libnvidia-ml.so.1"
_OK = 0
_MEMORY_V2 = 2 << 24


class Reading(NamedTuple):
    """One card at one moment; None for what it does not tell."""

    used: int | None
    total: int | None
    energy_mj: int | None
    """Millijoules since the driver was loaded."""
    power_mw: int | None


class _Memory(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class Cards:
    """Some cards of this machine, kept open; none where there is no driver."""

    def __init__(self, indices: Sequence[int] | None = None) -> None:
        self._library, self._handles = None, []
        try:
            self._library = ctypes.CDLL(LIBRARY)
            if self._library.nvmlInit_v2() != _OK:
                self._library = None
        except (OSError, AttributeError):
            self._library = None
        for index in range(self.count()) if indices is None else indices:
            handle = ctypes.c_void_p()
            by_index = self._library and self._library.nvmlDeviceGetHandleByIndex_v2
            if by_index and by_index(ctypes.c_uint(index), ctypes.byref(handle)) == _OK:
                self._handles.append(handle)

    def __len__(self) -> int:
        return len(self._handles)

    def count(self) -> int:
        """Return how many cards the machine has."""
        number = ctypes.c_uint()
        if self._library is None:
            return 0
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(number)) != _OK:
            return 0
        return number.value

    def names(self) -> list[str]:
        """Return the names of the cards that are open."""
        room = ctypes.create_string_buffer(96)
        found = []
        for handle in self._handles:
            if self._library.nvmlDeviceGetName(handle, room, ctypes.c_uint(96)) == _OK:
                found.append(room.value.decode(errors="replace"))
        return found

    def driver(self) -> str:
        """Return the driver's version; empty without one."""
        room = ctypes.create_string_buffer(80)
        if self._library is None:
            return ""
        told = self._library.nvmlSystemGetDriverVersion(room, ctypes.c_uint(80))
        return room.value.decode(errors="replace") if told == _OK else ""

    def read(self) -> list[Reading]:
        """Return a reading of every card."""
        return [self._read(handle) for handle in self._handles]

    def _read(self, handle: ctypes.c_void_p) -> Reading:
        memory = _Memory(version=ctypes.sizeof(_Memory) | _MEMORY_V2)
        energy, power = ctypes.c_ulonglong(), ctypes.c_uint()
        told = self._tells("nvmlDeviceGetMemoryInfo_v2", handle, memory)
        counts = self._tells("nvmlDeviceGetTotalEnergyConsumption", handle, energy)
        draws = self._tells("nvmlDeviceGetPowerUsage", handle, power)
        return Reading(
            memory.used if told else None,
            memory.total if told else None,
            energy.value if counts else None,
            power.value if draws else None,
        )

    def _tells(self, name: str, handle: ctypes.c_void_p, answer: Any) -> bool:
        """Ask one question; an older driver, or a card that cannot say, does not answer it."""
        ask = getattr(self._library, name, None)
        return ask is not None and ask(handle, ctypes.byref(answer)) == _OK
