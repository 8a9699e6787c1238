"""Wins, ties and losses: counted, as a rate with its interval, by category and by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from studio.bench import formulas
from studio.bench.formulas import Interval

Side = Literal["left", "right", "tie"]
"""Who won a comparison: what stood on the left (or first), on the right (or second), nobody."""


class Verdict(NamedTuple):
    """One comparison that was decided."""

    question: str
    category: str
    left: str
    right: str
    """Models as they stood."""
    won: Side

    @property
    def winner(self) -> str:
        """The model that won; empty for a tie."""
        return {"left": self.left, "right": self.right, "tie": ""}[self.won]


class WinRate(NamedTuple):
    """What a model came to in comparisons; a tie is half a win."""

    wins: int = 0
    ties: int = 0
    losses: int = 0

    @property
    def num(self) -> int:
        """Comparisons."""
        return self.wins + self.ties + self.losses

    @property
    def rate(self) -> float | None:
        """(wins + ties / 2) / comparisons, 0 to 1; None without comparisons."""
        return formulas.win_rate(self.wins, self.losses, self.ties) if self.num else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the rate (Wilson); None without comparisons."""
        return formulas.win_interval(self.wins, self.losses, self.ties) if self.num else None

    @property
    def decided(self) -> bool:
        """True when the interval leaves out one half, so that one side is the better one."""
        span = self.interval
        return span is not None and not span.low <= 0.5 <= span.high

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        span = self.interval
        return {
            **self._asdict(),
            "num": self.num,
            "rate": self.rate,
            "low": span.low if span else None,
            "high": span.high if span else None,
            "decided": self.decided,
        }


class Bias(NamedTuple):
    """How often each side won, whoever stood there."""

    left: int = 0
    right: int = 0
    ties: int = 0

    @property
    def rate(self) -> float | None:
        """Share of decided comparisons that the left (or first) one won; 0.5 is fair."""
        num = self.left + self.right
        return self.left / num if num else None

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of that share (Wilson); None when nothing was decided."""
        num = self.left + self.right
        return formulas.wilson(self.left, num) if num else None

    @property
    def leans(self) -> bool:
        """True when the interval leaves out one half: the side itself decides votes."""
        span = self.interval
        return span is not None and not span.low <= 0.5 <= span.high

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for `--json` and a page."""
        span = self.interval
        return {
            **self._asdict(),
            "rate": self.rate,
            "low": span.low if span else None,
            "high": span.high if span else None,
            "leans": self.leans,
        }


def win_rates(verdicts: Iterable[Verdict]) -> dict[str, WinRate]:
    """Return each model's wins, ties and losses against all others."""
    return _count(verdicts, lambda verdict, model: model)


def versus(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], WinRate]:
    """Return each model's wins, ties and losses against each other one."""
    return _count(verdicts, lambda v, model: (model, v.right if model == v.left else v.left))


def by_category(verdicts: Iterable[Verdict]) -> dict[str, dict[str, WinRate]]:
    """Return each model's wins, ties and losses by category: category, then model."""
    counted = _count(verdicts, lambda verdict, model: (verdict.category, model))
    found: dict[str, dict[str, WinRate]] = {}
    for (category, model), rate in counted.items():
        found.setdefault(category, {})[model] = rate
    return found


def position_bias(verdicts: Iterable[Verdict]) -> Bias:
    """Return how often each side won."""
    won = [verdict.won for verdict in verdicts]
    return Bias(won.count("left"), won.count("right"), won.count("tie"))


def _count(
    verdicts: Iterable[Verdict], key_of: Callable[[Verdict, str], Any]
) -> dict[Any, WinRate]:
    counts: dict[Any, list[int]] = {}
    for verdict in verdicts:
        for model in (verdict.left, verdict.right):
            place = 1 if verdict.won == "tie" else 0 if verdict.winner == model else 2
            counts.setdefault(key_of(verdict, model), [0, 0, 0])[place] += 1
    return {key: WinRate(*numbers) for key, numbers in counts.items()}
