"""Sample the memory of a run's process tree and of its cards, and keep the peaks."""

from __future__ import annotations

import os
import time

from studio.jobs.shim import cards as gpu
from studio.jobs.shim import nvml, procs
from studio.jobs.shim.files import RunFiles

HOST_SHARE = 200
"""Reading the host memory may take one part in so many of the time."""


class Sampler:
    """Measures often at first and more rarely later, so that a month-long run stays small.

    Host memory is that of the tree, in bytes (`procs.memory_bytes`). Memory per card is what the
    vendor's tool books on the tree's processes or, where it does not tell processes apart, the
    card's own figure less what was in use before. For a training, each row says how many of its
    processes are up (`ranks`), and of how many they were told (`world`).
    """

    def __init__(
        self,
        files: RunFiles,
        cards: list[gpu.Card],
        *,
        training: bool = False,
        run_id: str = "",
    ) -> None:
        self._files = files
        self._run_id = run_id
        self._training = training
        self._before = {card.index: card.used for card in cards}
        self._began = time.monotonic()
        self._next = self._next_host = 0.0
        self._host = 0
        self._nvml: nvml.Nvml | None = None
        if cards and all(card.vendor == "nvidia" for card in cards):
            self._nvml = nvml.open_cards((card.index, card.uuid) for card in cards)
        self.peak_host = 0
        self.peak_gpu: dict[str, int] = {}

    def tick(self) -> None:
        """Take a sample when one is due."""
        now = time.monotonic()
        if now < self._next:
            return
        age = now - self._began
        self._next = now + (1.0 if age < 20 else 3.0 if age < 600 else 15.0 if age < 7200 else 60.0)
        below = procs.descendants(os.getpid(), self._run_id)
        tree = [entry.pid for entry in below]
        row: dict = {"at": round(time.time(), 1), "host_bytes": self._host_bytes(tree, now)}
        row["processes"] = len(tree)
        if self._training:
            ranks = procs.ranks(below)
            row["ranks"] = len(ranks)
            row["world"] = max((world for _, world in ranks), default=0)
        if self._before:
            row |= self._cards(set(tree))
        self._files.sample(row)

    def _host_bytes(self, tree: list[int], now: float) -> int:
        """Return the tree's memory, measured anew when the last measurement is paid off."""
        if now < self._next_host:
            return self._host
        self._host = procs.memory_bytes(tree)
        self._next_host = now + HOST_SHARE * (time.monotonic() - now)
        self.peak_host = max(self.peak_host, self._host)
        return self._host

    def _cards(self, tree: set[int]) -> dict:
        booked, shown, load = dict.fromkeys(self._before, 0), dict(self._before), {}
        for index, reading in self._readings().items():
            shown[index], load[str(index)] = reading.used, reading.load
            booked[index] = sum(n for pid, n in reading.processes.items() if pid in tree)
        used = {}
        for index in load:
            own = booked[int(index)] or max(0, shown[int(index)] - self._before[int(index)])
            used[index] = own
            self.peak_gpu[index] = max(self.peak_gpu.get(index, 0), own)
        return {"gpu_bytes": used, "gpu_load": load}

    def _readings(self) -> dict[int, nvml.Reading]:
        """Ask the library, or the vendor's tool where there is none."""
        if self._nvml is not None:
            found = {index: self._nvml.read(index) for index in self._before}
            return {index: reading for index, reading in found.items() if reading is not None}
        cards = [card for card in gpu.read_cards() if card.index in self._before]
        booked: dict[int, dict[int, int]] = {card.index: {} for card in cards}
        for holder in gpu.read_holders(cards):
            if holder.card in booked:
                held = booked[holder.card]
                held[holder.pid] = held.get(holder.pid, 0) + holder.used
        return {c.index: nvml.Reading(c.used, c.load, booked[c.index]) for c in cards}
