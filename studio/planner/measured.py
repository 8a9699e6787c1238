"""What a run really took, by its own log and the supervisor's samples, beside the plan."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from studio.jobs.rundir import RunDir
from studio.planner import calibration as cal
from studio.planner.image_measured import image_pairs
from studio.planner.image_result import ImagePlan
from studio.planner.result import OWN, CardPlan, ServingPlan
from studio.planner.training_measured import peaks, training_pairs
from studio.planner.training_result import TrainingPlan

GIB = 2**30
LEAST_BYTES = GIB // 10
"""Below this, the two decimals of a log line say too little to compare."""
_READ_BYTES = 4 * 2**20
"""Everything that is looked for is said while a server starts."""
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_WHO = re.compile(r"\((EngineCore\w*)")

# vLLM 0.26 to 0.33 on cards, 0.32 on a CPU
_WEIGHTS = re.compile(r"Model loading took ([\d.]+) Gi?B")
_TOKENS = re.compile(r"(?:GPU|CPU) KV cache size: ([\d,]+) tokens")
_CACHE = re.compile(r"(?:Available KV cache memory: |(?:Explicitly|Auto) set \()([\d.]+)")
_GRAPHS = re.compile(r"Graph capturing finished in \d+ secs?, took ([\d.]+) GiB")
_ESTIMATE = re.compile(r"Estimated CUDA graph memory: ([\d.]+) GiB")
_PEAK = re.compile(r"(consumed memory[^,]*|weight), ([\d.]+) GiB for peak activation")
# SGLang
_SGLANG_TOKENS = re.compile(r"max_total_num_tokens=(\d+)")
_SGLANG_WEIGHTS = re.compile(r"Load weight end\..*mem usage=([\d.]+) GB")


class Row(NamedTuple):
    """One figure: planned, measured, and by which ratio of the measured the plan was off."""

    what: str
    """Key below `plan.measured`; sizes end in `_bytes`."""
    planned: float
    measured: float
    error: float
    """(planned - measured) / measured; below 0 the plan promised too little."""


class Comparison(NamedTuple):
    """The plan of a run beside what came true, as far as the run has told."""

    rows: tuple[Row, ...]

    def of(self, what: str) -> Row | None:
        """Return one row; None when the run has not told it."""
        return next((row for row in self.rows if row.what == what), None)


AnyPlan = ServingPlan | TrainingPlan | ImagePlan


def compare(plan: AnyPlan, run_dir: RunDir) -> Comparison | None:
    """Return planned beside measured; None while the run has said nothing that can be compared.

    A worker's figures are taken from the fullest one. The peak of a card is the memory of the
    run's own processes, so the driver's share is not in it.
    """
    if isinstance(plan, TrainingPlan):
        pairs = list(training_pairs(plan, run_dir))
    elif isinstance(plan, ImagePlan):
        pairs = list(image_pairs(plan, run_dir))
    else:
        pairs = [*_from_log(plan, run_dir), *_from_samples(plan, run_dir)]
    rows = tuple(
        Row(what, planned, measured, (planned - measured) / measured)
        for what, planned, measured in pairs
        if measured
    )
    return Comparison(rows) if rows else None


def _from_log(plan: ServingPlan, run_dir: RunDir) -> Iterator[tuple[str, float, float]]:
    lines = _lines(run_dir)
    card = _fullest(plan)
    weights = _most(lines, _WEIGHTS) or _most(lines, _SGLANG_WEIGHTS)
    if weights >= LEAST_BYTES:
        yield "weights_bytes", plan.weights_bytes, weights
    if tokens := _tokens(lines):
        yield "kv_tokens", plan.kv_tokens, tokens
    cache = min((size for size in _sizes(lines, _CACHE)), default=0)
    if cache >= LEAST_BYTES and card is not None:
        planned = min(card.of("cache") for card in plan.cards)
        yield "cache_bytes", planned, cache
    if card is None:
        return
    if (graphs := _most(lines, _GRAPHS)) and card.of("graphs"):
        yield "graphs_bytes", card.of("graphs"), graphs
    if (peak := _peak(lines)) >= LEAST_BYTES:
        yield "activations_bytes", card.of("activations"), peak


def _from_samples(plan: ServingPlan, run_dir: RunDir) -> Iterator[tuple[str, float, float]]:
    """Yield the peaks."""
    cards, host = peaks(run_dir)
    on_cards = [card for card in plan.cards if card.card is not None]
    if on_cards and (peak := max(cards.values(), default=0)):
        yield "peak_bytes", max(map(_own, on_cards)), peak
    elif not on_cards and host:
        yield "host_bytes", plan.host_bytes, host


def _own(card: CardPlan) -> int:
    """Return what the engine's own processes hold of a card."""
    return sum(card.of(kind) for kind in OWN) - cal.driver_bytes(card.name)


def _fullest(plan: ServingPlan) -> CardPlan | None:
    cards = [card for card in plan.cards if card.card is not None]
    return max(cards, key=_own, default=None)


def _lines(run_dir: RunDir) -> list[str]:
    try:
        with run_dir.log.open("rb") as file:
            text = file.read(_READ_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    return [_ANSI.sub("", line) for line in text.splitlines()]


def _sizes(lines: list[str], pattern: re.Pattern[str]) -> Iterator[float]:
    for line in lines:
        if found := pattern.search(line):
            yield float(found.group(1)) * GIB


def _most(lines: list[str], pattern: re.Pattern[str]) -> float:
    return max(_sizes(lines, pattern), default=0.0)


def _tokens(lines: list[str]) -> int:
    """Return the tokens of all replicas; a replica that says it more than once counts once."""
    by_engine: dict[str, int] = {}
    for line in lines:
        if found := _TOKENS.search(line):
            who = _WHO.search(line)
            by_engine[who.group(1) if who else ""] = int(found.group(1).replace(",", ""))
        elif found := _SGLANG_TOKENS.search(line):
            by_engine[""] = int(found.group(1))
    return sum(by_engine.values())


def _peak(lines: list[str]) -> float:
    """Return the activation peak. Where vLLM counts the graphs in (0.32), they are taken out."""
    peaks = []
    estimate = _most(lines, _ESTIMATE)
    for line in lines:
        if found := _PEAK.search(line):
            inside = estimate if found.group(1).startswith("consumed") else 0
            peaks.append(float(found.group(2)) * GIB - inside)
    return max(peaks, default=0.0)


def read_plan(run_dir: RunDir) -> AnyPlan | None:
    """Return the plan a run was launched with; None when there was none."""
    kept = run_dir.plan()
    return as_plan(kept) if kept else None


def as_plan(kept: dict[str, Any]) -> AnyPlan | None:
    """Return the content of a plan.json as the plan it is; None when nothing could be planned."""
    if "kv_tokens" in kept:
        return ServingPlan.model_validate_json(json.dumps(kept))
    if "effective_batch" in kept:
        return TrainingPlan.model_validate_json(json.dumps(kept))
    if "rungs" in kept:
        return ImagePlan.model_validate_json(json.dumps(kept))
    return None
