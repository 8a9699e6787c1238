"""Every kind of chart: its name, what it needs, and the function that draws it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from studio.bench.point import Point
from studio.core.errors import NotFound
from studio.ui.charts.ask import Ask
from studio.ui.charts.bars import COMPARED, SPEEDS, compare, scaling
from studio.ui.charts.curves import pareto, throughput_latency
from studio.ui.charts.drawing import Drawing
from studio.ui.charts.heat import heat
from studio.ui.charts.history import history
from studio.ui.charts.memory import memory
from studio.ui.charts.percentiles import percentiles
from studio.ui.charts.quality import quality
from studio.ui.charts.series import axis_of, series_of, value_of


@dataclass(frozen=True)
class Chart:
    """One kind of chart. Its words are `charts.<id>.title` (the question), `.read`, `.name`."""

    id: str
    paint: Callable[[Ask], Drawing]
    needs: tuple[str, ...]
    """Figures of which a point must have one; `*` stands for anything."""
    loads: int = 1
    """Different loads from which on it shows more than a table would."""
    lengths: int = 1
    series: int = 1
    """Cases, models or servers to be seen beside each other."""
    days: int = 1
    """Folders of results that measured the same."""

    def fits(self, points: Sequence[Point]) -> bool:
        """Tell whether these points make a picture worth looking at."""
        found = [p for p in points if p.done and any(_has(p, need) for need in self.needs)]
        if not found:
            return False
        x = axis_of(found)
        return (
            self.loads <= len({p.condition.get(x) for p in found if x}) + (self.loads < 2)
            and self.lengths <= len({value_of(p, "lengths") for p in found})
            and self.series <= len(series_of("en", found, x=x))
            and self.days <= len({p.results for p in found})
        )


def _has(point: Point, need: str) -> bool:
    return any(fnmatchcase(name, need) for name in point.figures)


CHARTS: dict[str, Chart] = {
    chart.id: chart
    for chart in (
        Chart("throughput-latency", throughput_latency, ("output_throughput",), loads=2),
        Chart("percentiles", percentiles, ("ttft_median_ms", "tpot_median_ms"), loads=2),
        Chart("heat", heat, ("output_throughput",), loads=2, lengths=2),
        Chart("pareto", pareto, ("tokens_per_s_user",), loads=2),
        Chart("scaling", scaling, SPEEDS, series=2),
        Chart("compare", compare, COMPARED, series=2),
        Chart("memory", memory, ("peak_card_gib", "memory_gib"), series=2),
        Chart("quality", quality, ("score", "win_rate", "*/*")),
        Chart("history", history, (*SPEEDS, "score"), days=2),
    )
}
"""By id, in the order a page shows them."""


def draw(
    kind: str,
    points: Sequence[Point],
    lang: str,
    *,
    narrow: bool = False,
    metric: str = "",
    at: str = "",
    base: str = "",
    limit: float | None = None,
    names: Mapping[str, str] | None = None,
) -> Drawing:
    """Draw one kind of chart; raise NotFound for a kind that does not exist.

    `metric` is a figure's name, `at` the load to look at, `base` the case that others are compared
    with, `limit` a line not to be crossed, `names` the titles of cases and folders.
    """
    chart = CHARTS.get(kind)
    if chart is None:
        raise NotFound(f"There is no chart {kind}.", hint=f"There are: {', '.join(CHARTS)}.")
    ask = Ask(
        kind=kind,
        lang=lang,
        points=points,
        narrow=narrow,
        metric=metric,
        at=at,
        base=base,
        limit=limit,
        names=names or {},
    )
    return chart.paint(ask) if points else ask.nothing("points")


def fitting(points: Sequence[Point]) -> list[str]:
    """Return the kinds that show something for these points, in the order a page shows them."""
    return [chart.id for chart in CHARTS.values() if chart.fits(points)]
