"""NVIDIA's management library, asked directly: no process is started for a reading.

`nvidia-smi` opens the driver anew each time, which a training with short steps feels; the library
stays open. Only the standard library is used (ctypes). Structures as in NVIDIA's nvml.h.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import NamedTuple

LIBRARY = "libnvidia-ml.so.1"
_OK, _TOO_SMALL = 0, 7
_UNKNOWN = 2**64 - 1
"""What the library says for the memory of a process it cannot tell (NVML_VALUE_NOT_AVAILABLE)."""


class Reading(NamedTuple):
    """One card at one moment: memory in use in bytes, load in percent, bytes by process id."""

    used: int
    load: int
    processes: dict[int, int]


class _Memory(ctypes.Structure):
    _fields_ = [
        ("version", ctypes.c_uint),
        ("total", ctypes.c_ulonglong),
        ("reserved", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    ]


class _Load(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("used", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class Nvml:
    """Some cards of this machine, kept open."""

    def __init__(self, library: ctypes.CDLL, handles: dict[int, ctypes.c_void_p]) -> None:
        self._library, self._handles = library, handles

    def read(self, index: int) -> Reading | None:
        """Return one card's reading; None when the library would not say."""
        handle, memory, load = self._handles[index], _Memory(), _Load()
        memory.version = ctypes.sizeof(_Memory) | 2 << 24
        if self._library.nvmlDeviceGetMemoryInfo_v2(handle, ctypes.byref(memory)) != _OK:
            return None
        told = self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(load)) == _OK
        return Reading(memory.used, load.gpu if told else -1, self._processes(handle))

    def _processes(self, handle: ctypes.c_void_p) -> dict[int, int]:
        room = 64
        while True:
            count, found = ctypes.c_uint(room), (_Process * room)()
            ask = self._library.nvmlDeviceGetComputeRunningProcesses_v3
            code = ask(handle, ctypes.byref(count), found)
            if code == _TOO_SMALL and room < 4096:
                room *= 4
                continue
            if code != _OK:
                return {}
            listed = found[: count.value]
            return {entry.pid: entry.used for entry in listed if entry.used != _UNKNOWN}


def open_cards(uuids: Iterable[tuple[int, str]]) -> Nvml | None:
    """Open cards given as (index, uuid); None when there is no such library or no such card."""
    try:
        library = ctypes.CDLL(LIBRARY)
        if library.nvmlInit_v2() != _OK:
            return None
        handles = {}
        for index, uuid in uuids:
            handle = ctypes.c_void_p()
            if library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)) != _OK:
                return None
            handles[index] = handle
        made = Nvml(library, handles)
        return made if handles and all(made.read(index) for index in handles) else None
    except (OSError, AttributeError):
        return None
