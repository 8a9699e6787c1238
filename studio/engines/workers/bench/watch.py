"""What happens beside a load: the servers' own figures, the cards and the event loops between."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .cards import Cards
from .processors import EventLoops
from .server import send

FIRST_S, EVERY_S = 0.2, 1.0
"""Seconds until the first look, and later between two: each one costs the server a little."""
WAIT_S = 5.0
GIB = 2**30
RUNNING = ("vllm:num_requests_running", "sglang:num_running_reqs")
WAITING = ("vllm:num_requests_waiting", "sglang:num_queue_reqs")
KV_CACHE = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc", "sglang:token_usage")
PREEMPTIONS = ("vllm:num_preemptions_total", "sglang:num_retractions_total")
PREFIX_ASKED = ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")
PREFIX_HITS = ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")
_KEPT = {*RUNNING, *WAITING, *KV_CACHE, *PREEMPTIONS, *PREFIX_ASKED, *PREFIX_HITS}
_LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{[^}]*\})? (\S+)", re.M)

Page = dict[str, list[float]]
"""Values of every kept figure, one for each engine of a server."""


class Look(NamedTuple):
    """All cards together at one moment (unix seconds)."""

    at: float
    joules: float | None
    """Energy since the driver was loaded; None when a card does not count it."""
    watts: float | None
    fullest: float | None
    """Memory of the fullest card, GiB."""
    share: float | None


class Watch:
    """Looks at servers and cards in a thread of its own, from `begin` to `end`.

    `generator` is the process that sends the load, where one event loop sends it all.
    """

    def __init__(self, urls: Sequence[str], cards: Cards, generator: int | None = None) -> None:
        self._urls, self._cards = urls, cards
        self._loops = EventLoops(urls, generator)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        self._before: Page = {}
        self._after: Page = {}
        self._pages: list[tuple[float, Page]] = []
        self._looks: list[Look] = []

    def begin(self) -> None:
        """Take the first look and begin to watch."""
        self._before = self._after = self._ask()
        self._look()
        self._loops.look()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take the last look; asking twice does no harm."""
        if self._thread is None:
            return
        self._over.set()
        self._look()
        self._loops.look()
        self._thread.join(timeout=WAIT_S)
        self._thread = None
        self._after = self._ask() or self._after

    def figures(self, window: tuple[float, float] | None = None) -> dict[str, float]:
        """Return what was seen, under the names of points; nothing that was not told.

        `window` is when the load ran (unix seconds), for a tool that takes its time before; the
        time from `begin` to `end` without it.
        """
        if not self._looks:
            return {}
        began, ended = window or (self._looks[0].at, self._looks[-1].at)
        return {
            **self._of_servers(began, ended),
            **self._of_cards(began, ended),
            **self._loops.figures(began, ended),
        }

    def _work(self) -> None:
        wait_s = FIRST_S
        while not self._over.wait(wait_s):
            wait_s = min(EVERY_S, wait_s * 2)
            self._pages.append((time.time(), self._ask()))
            self._look()
            self._loops.look()

    # servers ------------------------------------------------------------------------------------

    def _of_servers(self, began: float, ended: float) -> dict[str, float]:
        pages = [page for at, page in self._pages if began <= at <= ended]
        found: dict[str, float] = {}
        running = [_sum(page, RUNNING) for page in pages if _has(page, RUNNING)]
        if any(running):  # else no look fell on a request: the load was too short
            found["running_max"] = max(running)
            waiting = [_sum(page, WAITING) for page in pages if _has(page, WAITING)]
            fullest = [v for page in pages for name in KV_CACHE for v in page.get(name, ())]
            if waiting:
                found["waiting_max"] = max(waiting)
            if fullest:
                found["kv_cache_use_max"] = max(fullest)
        if _has(self._before, PREEMPTIONS):
            found["preemptions"] = self._grown(PREEMPTIONS)
        asked = self._grown(PREFIX_ASKED)
        if asked > 0:
            found["prefix_hit_rate"] = self._grown(PREFIX_HITS) / asked
        return found

    def _grown(self, names: Iterable[str]) -> float:
        return max(0.0, _sum(self._after, names) - _sum(self._before, names))

    def _ask(self) -> Page:
        whole: Page = {}
        for url in self._urls:
            reply = send(url, wait_s=WAIT_S)
            if reply.status == 200:
                for name, values in read_page(reply.body.decode(errors="replace")).items():
                    whole.setdefault(name, []).extend(values)
        return whole

    # cards --------------------------------------------------------------------------------------

    def _look(self) -> None:
        cards = self._cards.read()
        if not cards:
            self._looks.append(Look(time.time(), None, None, None, None))
            return
        energy = [card.energy_mj for card in cards if card.energy_mj is not None]
        power = [card.power_mw for card in cards if card.power_mw is not None]
        memory = [(c.used, c.total) for c in cards if c.used is not None and c.total]
        self._looks.append(
            Look(
                time.time(),
                sum(energy) / 1000 if len(energy) == len(cards) else None,
                sum(power) / 1000 if len(power) == len(cards) else None,
                max((used / GIB for used, _ in memory), default=None),
                max((used / total for used, total in memory), default=None),
            )
        )

    def _of_cards(self, began: float, ended: float) -> dict[str, float]:
        looks = sorted(self._looks)
        fullest = [look.fullest for look in looks if look.fullest is not None]
        shares = [look.share for look in looks if look.share is not None]
        found: dict[str, float] = {}
        if fullest and shares:
            found |= {"memory_gib": max(fullest), "memory_share": max(shares)}
        counted = [(look.at, look.joules) for look in looks if look.joules is not None]
        if len(counted) < 2 or len(counted) < len(looks):
            counted = _summed([(look.at, w) for look in looks if (w := look.watts) is not None])
        if len(counted) > 1 and ended > began:
            joules = _at(counted, ended) - _at(counted, began)
            found |= {"energy_j": joules, "power_w": joules / (ended - began)}
        return found


def read_page(text: str) -> Page:
    """Return the figures we know from a page for Prometheus; NaN and text are left out."""
    found: Page = {}
    for name, _, value in _LINE.findall(text):
        if name in _KEPT:
            try:
                number = float(value)
            except ValueError:
                continue
            if number == number:
                found.setdefault(name, []).append(number)
    return found


def _summed(watts: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Turn power over time into energy over time, by trapezoids."""
    found: list[tuple[float, float]] = []
    total = 0.0
    for number, (at, now) in enumerate(watts):
        if number:
            before_at, before = watts[number - 1]
            total += (at - before_at) * (before + now) / 2
        found.append((at, total))
    return found


def _at(curve: Sequence[tuple[float, float]], at: float) -> float:
    """Return a curve's value at a moment, linear between two looks, held beyond its ends."""
    for (left, low), (right, high) in pairwise(curve):
        if at <= left:
            return low
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return curve[-1][1]


def _has(page: Page, names: Iterable[str]) -> bool:
    return any(name in page for name in names)


def _sum(page: Page, names: Iterable[str]) -> float:
    return sum(value for name in names for value in page.get(name, ()))
