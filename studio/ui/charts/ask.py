"""What a chart is drawn from: points, language, width and the few options there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from studio.bench.point import Point
from studio.ui import units
from studio.ui.charts.drawing import Drawing, Note
from studio.ui.charts.interval import Spread, bars_said
from studio.ui.charts.series import MOST, Series, axis_of, series_of, shared
from studio.ui.i18n import say

MOST_ERRORS = 3
LONGEST_ERROR = 160


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One chart that somebody wants to see."""

    kind: str
    lang: str
    points: Sequence[Point]
    narrow: bool = False
    """True for a telephone: names stand above the chart, fewer ticks."""
    metric: str = ""
    """A figure's name; empty leaves the choice to the chart."""
    at: str = ""
    """The load (or other first condition) to look at where a chart shows only one."""
    base: str = ""
    """The case that others are compared with; empty means the first."""
    limit: float | None = None
    """A line that must not be crossed, in the metric's unit: a card's GiB."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Titles of cases and folders."""

    def say(self, key: str, **values: object) -> str:
        """Return `charts.<key>` in the language asked for."""
        return say(self.lang, f"charts.{key}", **values)

    @cached_property
    def x(self) -> str:
        """What is turned up: `concurrency`, `request_rate` or nothing."""
        return axis_of(self.points)

    @cached_property
    def series(self) -> list[Series]:
        """The points as named series."""
        return series_of(self.lang, self.points, x=self.x, names=self.names)

    @property
    def x_title(self) -> str:
        """Title of the load's axis."""
        return self.say(f"axis.{self.x or 'none'}")

    def load(self, value: Any) -> str:
        """Return a load in words: `32 users`."""
        if value is None:
            return ""
        if not self.x:
            return tick(value)
        return self.say(f"load.{self.x}{'_one' if value == 1 else ''}", n=tick(value))

    def nothing(self, key: str = "none", **values: object) -> Drawing:
        """Return the empty chart, with the sentence why."""
        return Drawing(
            kind=self.kind,
            title=self.say(f"{self.kind}.title"),
            empty=self.say(f"empty.{key}", **values),
            notes=tuple(self.failures()),
        )

    def about(self, *, without: Iterable[str] = ()) -> str:
        """Return what everything drawn has in common."""
        return shared(self.lang, self.points, without=without)

    def notes(
        self, spreads: Iterable[Spread | None], *more: Note | str, lines: bool = True
    ) -> tuple[Note, ...]:
        """Return the sentences below the chart, in the order they matter.

        `lines` tells whether what is one too many was drawn in grey, or not at all.
        """
        found = [note if isinstance(note, Note) else Note(note) for note in more if note]
        told = bars_said(self.lang, spreads)
        if told:
            found.append(Note(told))
        hidden = sum(series.extra for series in self.series)
        if hidden:
            key = "note.many" if lines else "note.left"
            found.append(Note(self.say(key, n=hidden, most=MOST)))
        return (*self.failures(), *found)

    def lonely(self, marks: Sequence[Any]) -> str:
        """Return what a single point lacks; empty for more."""
        return self.say("note.one") if len(marks) == 1 else ""

    def failures(self) -> list[Note]:
        """Return which points failed, and why."""
        failed = [point for point in self.points if not point.done]
        if not failed:
            return []
        reasons = list(dict.fromkeys(p.error.strip() for p in failed if p.error.strip()))
        cut = [r if len(r) <= LONGEST_ERROR else f"{r[:LONGEST_ERROR]}…" for r in reasons]
        text = self.say("note.failed", n=len(failed), of=len(self.points))
        why = "; ".join(cut[:MOST_ERRORS])
        return [Note(f"{text} {why}".strip(), "bad")]


def tick(value: Any) -> str:
    """Return a load as it stands on an axis."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return units.number(value) if isinstance(value, (int, float)) else str(value)
