"""Sample the memory of a run's process tree and of its cards, and keep the peaks."""

from __future__ import annotations

import os
import time

from studio.jobs.shim import cards as gpu
from studio.jobs.shim import procs
from studio.jobs.shim.files import RunFiles


class Sampler:
    """Measures often at first and more rarely later, so that a month-long run stays small.

    Host memory is the proportional set size of the tree, in bytes. Memory per card is what the
    vendor's tool books on the tree's processes or, where it does not tell processes apart, the
    card's own figure less what was in use before.
    """

    def __init__(self, files: RunFiles, cards: list[gpu.Card]) -> None:
        self._files = files
        self._before = {card.index: card.used for card in cards}
        self._began = time.monotonic()
        self._next = 0.0
        self.peak_host = 0
        self.peak_gpu: dict[str, int] = {}

    def tick(self) -> None:
        """Take a sample when one is due."""
        now = time.monotonic()
        if now < self._next:
            return
        age = now - self._began
        self._next = now + (1.0 if age < 20 else 3.0 if age < 600 else 15.0 if age < 7200 else 60.0)
        tree = [entry.pid for entry in procs.descendants(os.getpid())]
        host = procs.memory_bytes(tree)
        self.peak_host = max(self.peak_host, host)
        row: dict = {"at": round(time.time(), 1), "host_bytes": host, "processes": len(tree)}
        if self._before:
            row |= self._cards(set(tree))
        self._files.sample(row)

    def _cards(self, tree: set[int]) -> dict:
        cards = [card for card in gpu.read_cards() if card.index in self._before]
        booked = dict.fromkeys(self._before, 0)
        for holder in gpu.read_holders(cards):
            if holder.pid in tree and holder.card in booked:
                booked[holder.card] += holder.used
        used = {}
        for card in cards:
            own = booked[card.index] or max(0, card.used - self._before[card.index])
            used[str(card.index)] = own
            self.peak_gpu[str(card.index)] = max(self.peak_gpu.get(str(card.index), 0), own)
        return {"gpu_bytes": used, "gpu_load": {str(c.index): c.load for c in cards}}
