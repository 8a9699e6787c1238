"""What a load test will do, before it is launched: points, requests, and how long it may take.

The grid is counted by the worker's own module. The time comes from points that were measured on
the same server earlier; without any it is told for two paces, and said so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from studio.engines.workers.bench.eta import remaining_s
from studio.engines.workers.bench.grid import Load, loads
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.forms.work import Asked, Planned
from studio.ui.i18n import say

if TYPE_CHECKING:
    from studio.bench.point import Point
    from studio.launch import Launch
    from studio.studio import Studio

FAST, SLOW = 100.0, 20.0
"""Tokens a second for each user: two paces to think with, where nothing was measured."""
MANY_S = 2 * 3600.0
"""Longer than this is worth a warning."""
MOST_ROWS, MOST_LOADS = 12, 12
MOST_EARLIER = 400


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """A sweep that was counted."""

    loads: tuple[Load, ...]
    seconds: float | None
    """By earlier points of the same server; None where there are none."""
    earlier: int
    """How many points that is from."""
    fast_s: float
    slow_s: float

    @property
    def requests(self) -> int:
        """Requests that are counted; warm-up comes on top."""
        return sum(load.num_prompts for load in self.loads)

    @property
    def tokens(self) -> int:
        """Output tokens that are asked for."""
        return sum(load.num_prompts * (load.output_len or 0) for load in self.loads)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for scripts."""
        return {
            "points": len(self.loads),
            "requests": self.requests,
            "output_tokens": self.tokens,
            "seconds": self.seconds,
            "from_points": self.earlier,
            "seconds_at_100_tokens_s_each": self.fast_s,
            "seconds_at_20_tokens_s_each": self.slow_s,
            "ids": [load.id for load in self.loads],
        }


def plan_of(settings: dict[str, Any], earlier: Sequence[Point] = ()) -> LoadPlan:
    """Count a sweep from its validated settings, and say how long it takes by earlier points."""
    todo = loads({"dataset": "random", **settings})
    done = {load: point.seconds for point in earlier if (load := _as_load(point)) is not None}
    return LoadPlan(
        loads=tuple(todo),
        seconds=remaining_s(todo, done),
        earlier=len(done),
        fast_s=sum(_seconds(load, FAST) for load in todo),
        slow_s=sum(_seconds(load, SLOW) for load in todo),
    )


class LoadPlans:
    """Draws the plan of a load test."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def of(self, launch: Launch) -> LoadPlan:
        """Count what a launch asks for; raise RecipeInvalid for settings that make no sense."""
        _, config = self._studio.validate(launch.engine, launch.settings)
        settings = config.model_dump(mode="json")
        return plan_of(settings, self._earlier(launch.engine, settings))

    def draw(self, lang: str, launch: Launch, asked: Asked, on: str) -> Planned:
        """Return the plan: the grid with its requests, the figures, how long it may take."""
        plan = self.of(launch)
        figures = [
            (say(lang, "bench.plan.points"), units.number(len(plan.loads)), _product(lang, plan)),
            (say(lang, "bench.plan.requests"), units.number(plan.requests), ""),
            (say(lang, "bench.plan.time"), *_time(lang, plan)),
        ]
        tiles = "".join(
            f"<div><span>{w.esc(name)}</span><b>{w.esc(value)}</b><small>{w.esc(more)}</small></div>"
            for name, value, more in figures
        )
        notes = _notes(lang, plan)
        html = (
            f'<div class="l-b-plan l-tone-ok">{grid(lang, plan.loads)}'
            f'<div class="l-figures l-b-figures">{tiles}</div>{notes}</div>'
        )
        return Planned(
            html=html, short=say(lang, "bench.plan.short", n=units.number(len(plan.loads)))
        )

    def _earlier(self, engine: str, settings: dict[str, Any]) -> list[Point]:
        """Return points of the same run or address, else of the same model, by the same tool.

        An address may have served other models: those that do not fit are left out, and without a
        name only the model that was measured there last counts.
        """
        done = self._studio.saved.points(engine=engine, status="done", kind="load")
        base, run = _bare(str(settings.get("base_url") or "")), settings.get("server_run")
        model = settings.get("model")
        same = [
            point
            for point in done
            if (point.server_run == run if run else _bare(point.endpoint) == base)
        ]
        wanted = model or (same[0].model if same else None)
        same = [point for point in same if point.model == wanted]
        if not same and model:
            same = [point for point in done if point.model == model]
        return same[:MOST_EARLIER]


def grid(lang: str, todo: Sequence[Load], cells: Mapping[str, str] | None = None) -> str:
    """Return the grid as a table: lengths down, loads across; `cells` by condition, else requests.

    A grid too large to be seen as a whole is cut, and says so.
    """
    first = {load.condition_id: load for load in reversed(todo)}
    conditions = list(first.values())
    rows = sorted({_lengths(load) for load in conditions}, key=lambda pair: [n or 0 for n in pair])
    columns = sorted({_pressure(load) for load in conditions})
    shown = {(_lengths(load), _pressure(load)): load for load in conditions}
    head = "".join(
        f'<th class="l-num">{w.esc(_pressure_said(*column))}</th>'
        for column in columns[:MOST_LOADS]
    )
    body = ""
    for row in rows[:MOST_ROWS]:
        line = ""
        for column in columns[:MOST_LOADS]:
            load = shown.get((row, column))
            text = "" if load is None else units.number(load.num_prompts)
            if load is not None and cells is not None:
                text = cells.get(load.condition_id, "")
            line += text if text.startswith("<td") else f'<td class="l-num">{w.esc(text)}</td>'
        body += f"<tr><th>{w.esc(_lengths_said(lang, *row))}</th>{line}</tr>"
    cut = ""
    if len(rows) > MOST_ROWS or len(columns) > MOST_LOADS:
        cut = f'<p class="l-sub">{w.esc(say(lang, "bench.plan.cut"))}</p>'
    kind = "rate" if any(load.request_rate is not None for load in todo) else "users"
    told = say(lang, f"bench.plan.grid_{'live_' if cells is not None else ''}{kind}")
    return (
        f'<p class="l-sub">{w.esc(told)}</p><div class="l-scroll"><table class="l-table l-b-grid">'
        f"<thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>{cut}"
    )


# pieces -----------------------------------------------------------------------------------------


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")


def _lengths(load: Load) -> tuple[int | None, int | None]:
    return load.input_len, load.output_len


def _pressure(load: Load) -> tuple[float, bool]:
    rate = load.request_rate
    return (float(load.concurrency or 0), False) if rate is None else (rate, True)


def _pressure_said(value: float, rate: bool) -> str:
    whole = value.is_integer()
    return units.number(int(value) if whole else value, "/s" if rate else "")


def _lengths_said(lang: str, input_len: int | None, output_len: int | None) -> str:
    left = say(lang, "bench.plan.own") if input_len is None else units.number(input_len)
    right = say(lang, "bench.plan.own") if output_len is None else units.number(output_len)
    return f"{left} → {right}"


def _product(lang: str, plan: LoadPlan) -> str:
    conditions = len({load.condition_id for load in plan.loads})
    repeats = len(plan.loads) // max(1, conditions)
    return say(lang, "bench.plan.product", conditions=conditions, repeats=repeats)


def _time(lang: str, plan: LoadPlan) -> tuple[str, str]:
    if plan.seconds is not None:
        about = say(lang, "bench.plan.about", time=units.duration(lang, _rough(plan.seconds)))
        return about, say(lang, "bench.plan.from_points", n=units.number(plan.earlier))
    fast, slow = (units.duration(lang, _rough(s)) for s in (plan.fast_s, plan.slow_s))
    return f"{fast} – {slow}", say(lang, "bench.plan.unmeasured")


def _notes(lang: str, plan: LoadPlan) -> str:
    notes = ""
    if len({load.condition_id for load in plan.loads}) * 3 > len(plan.loads):
        notes += w.note(say(lang, "bench.plan.few_repeats"), icon_name="info")
    longest = plan.seconds if plan.seconds is not None else plan.fast_s
    if longest > MANY_S:
        told = units.duration(lang, _rough(longest))
        notes += w.note(say(lang, "bench.plan.long", time=told), tone="warn", icon_name="clock")
    return notes


def _rough(seconds: float) -> float:
    """Round to what an estimate is good for: minutes from two minutes on."""
    return round(seconds / 60) * 60 if seconds >= 120 else math.ceil(seconds / 5) * 5


def _seconds(load: Load, pace: float) -> float:
    """Return how long a point takes when every user gets `pace` tokens a second."""
    answer = (load.output_len or 128) / pace
    if load.request_rate:
        return load.num_prompts / load.request_rate + answer
    return math.ceil(load.num_prompts / (load.concurrency or 1)) * answer


def _as_load(point: Point) -> Load | None:
    """Return an earlier point as a load of a grid, so that the same condition is recognized."""
    given = point.condition
    try:
        load = Load(
            id=point.id,
            input_len=given.get("input_len"),
            output_len=given.get("output_len"),
            concurrency=given.get("concurrency"),
            request_rate=given.get("request_rate"),
            repeat=point.repeat,
            num_prompts=int(given.get("num_prompts") or point.figures.get("completed") or 1),
            seed=0,
        )
    except (TypeError, ValueError):
        return None
    # the same id may stand in several folders; each is a measurement of its own
    return replace(load, seed=hash((point.results, point.id)))


def conditions_of(points: Iterable[Point]) -> dict[str, list[Point]]:
    """Return points by the condition that their ids share."""
    found: dict[str, list[Point]] = {}
    for point in points:
        found.setdefault(point.id.rpartition("-r")[0], []).append(point)
    return found
