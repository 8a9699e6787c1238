"""The ladder of a worker that runs: which rung and why, the falls, memory now, jobs, the queue.

What the worker tells comes from its `/ladder`; how many jobs it has done and what memory it takes
from the supervisor's samples, so that both are still there once it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import StudioError
from studio.core.spec import Endpoint, State
from studio.images import client
from studio.planner.result import CardMemory
from studio.telemetry import snapshot
from studio.telemetry.readings import Tails
from studio.ui import units
from studio.ui import widgets as w
from studio.ui.i18n import lang_of, say
from studio.ui.image.rungs import Row, ladder_html, row_of, span, title
from studio.ui.plan import view as planview
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.sentences import translate
from studio.ui.serving.routes import Live
from studio.ui.serving.view import CardUse

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

FRESH_S = 1.0
KEEP_S = 300.0
"""How long the last word of a worker that does not answer is shown."""
OUTCOMES = ("done", "failed", "cancelled")


@dataclass(frozen=True, kw_only=True)
class Fall:
    """One rung given up for memory."""

    before: str
    after: str
    reason: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a worker says of itself; empty while it does not answer."""

    status: str = ""
    """loading, ready, reloading after a fall, or failed."""
    rung: str = ""
    why: str = ""
    rungs: tuple[Mapping[str, Any], ...] = ()
    falls: tuple[Fall, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    peaks: Mapping[str, Any] = field(default_factory=dict)
    queue: int = 0
    running: bool = False

    @property
    def row(self) -> Mapping[str, Any]:
        """What is known of the rung at work."""
        return next((row for row in self.rungs if row.get("rung") == self.rung), {})

    @property
    def picture_s(self) -> float | None:
        """Seconds of a picture on that rung, measured where there is a measurement."""
        row = row_of(self.row, "runs", {})
        return row.measured_picture_s or row.picture_s


def read_told(said: Mapping[str, Any]) -> Told:
    """Read a worker's `/ladder`; what is not there stays empty."""
    falls = [
        Fall(
            before=str(fall.get("from", "")),
            after=str(fall.get("to", "")),
            reason=str(fall.get("reason", "")),
            at=float(fall.get("at") or 0),
        )
        for fall in said.get("falls") or ()
    ]
    return Told(
        status=str(said.get("status", "")),
        rung=str(said.get("rung") or ""),
        why=str(said.get("why") or ""),
        rungs=tuple(row for row in said.get("ladder") or () if isinstance(row, dict)),
        falls=tuple(falls),
        skipped=dict(said.get("skipped") or {}),
        peaks=dict((said.get("loaded") or {}).get("peaks") or {}),
        queue=int(said.get("queued") or 0),
        running=bool(said.get("running")),
    )


@dataclass(frozen=True, kw_only=True)
class LadderLook:
    """What is known about a worker at one moment."""

    told: Told
    jobs: Mapping[str, int] = field(default_factory=dict)
    """Jobs by outcome since the start."""
    cards: tuple[CardUse, ...] = ()
    totals: Mapping[int, CardMemory] = field(default_factory=dict)
    """The machine's cards, with nothing held on them."""
    host_bytes: float | None = None
    host_total_bytes: int | None = None


class Ladders:
    """The ladders of all workers, shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent, self._views = Recent(FRESH_S), Recent(FRESH_S)
        self._live, self._tails = Live(studio), Tails()
        self._last: dict[str, tuple[float, Told]] = {}

    def routes(self) -> list[Route]:
        """Return `run/{id}/ladder`, the first part of the run pane."""
        return [Route("run/{id}/ladder", self.ladder)]

    def ladder(self, request: Request) -> dict[str, Any]:
        """Return what a worker does now; final once it has ended."""
        lang, run_id = lang_of(request), request.path_params["id"]

        def view() -> tuple[str, bool]:
            run = self._studio.jobs.get(run_id)
            return live(lang, run, self.look(run)), not run.state.alive

        html, over = self._views.get((lang, run_id), view)
        return fragment(request, html, final=over)

    def told(self, run: Run) -> Told:
        """Ask a worker for its ladder; its last word while it does not answer."""
        if not run.state.alive or run.spec.port is None:
            return Told()
        return self._recent.get(run.id, lambda: self._ask(run))

    def look(self, run: Run) -> LadderLook:
        """Gather what is known about a worker."""
        seen = self._live.look(run)
        known = snapshot.cards().get() if run.state.alive and run.cards else []
        return LadderLook(
            told=self.told(run),
            jobs=self._jobs(run),
            cards=tuple(seen.cards),
            totals={
                position: CardMemory(card.index, card.name, int(card.total_bytes or 0), 0)
                for position, index in enumerate(run.cards)
                for card in known
                if card.index == index
            },
            host_bytes=seen.host_bytes,
            host_total_bytes=int(seen.host_total_bytes) if seen.host_total_bytes else None,
        )

    def _ask(self, run: Run) -> Told:
        try:
            told = read_told(client.ladder(_address(run)))
        except StudioError:
            at, told = self._last.get(run.id, (0.0, Told()))
            return told if time.monotonic() - at < KEEP_S else Told()
        if len(self._last) > 32:
            self._last.clear()
        self._last[run.id] = (time.monotonic(), told)
        return told

    def _jobs(self, run: Run) -> dict[str, int]:
        readings = self._tails.readings(run.dir.folder / "served.jsonl")
        if not readings:
            return {}
        values = readings[-1].values
        counts = {name: values.get(f"image_jobs_total|{name}", 0) for name in OUTCOMES}
        return {name: int(n) for name, n in counts.items() if isinstance(n, (int, float))}


def _address(run: Run) -> Endpoint:
    """Return where a worker answers, ready or not."""
    host = "127.0.0.1" if run.spec.host in ("0.0.0.0", "::") else run.spec.host
    return Endpoint(
        id=run.id,
        name=run.spec.name,
        kind="images",
        base_url=f"http://{host}:{run.spec.port}/v1",
        api_key=run.spec.command.env.get("STUDIO_ENDPOINT_KEY", ""),
        run_id=run.id,
    )


# drawing ----------------------------------------------------------------------------------------


def live(lang: str, run: Run, look: LadderLook) -> str:
    """Return the live ladder of a worker, whatever its state."""
    if not run.state.alive:
        return _ended(lang, look)
    told = look.told
    if not told.rungs:
        key = "waiting" if run.state is State.QUEUED else "choosing"
        return w.note(say(lang, f"imageworker.{key}"), icon_name="clock")
    rungs = ladder_html(lang, rows_of(look), act="rung")
    return (
        f'<div class="l-ladder-live"><div class="l-beside">{_lead(lang, told)}'
        f"{_figures(lang, look)}{_memory(lang, look)}{_falls(lang, told)}</div>"
        f"{w.card(say(lang, 'imageworker.ladder'), rungs)}</div>"
    )


def rows_of(look: LadderLook) -> list[Row]:
    """Return the rungs as rows: the one at work, those given up, the others."""
    told, rows = look.told, []
    at = {fall.before: fall.at for fall in told.falls}
    for row in told.rungs:
        name = str(row.get("rung", ""))
        if name == told.rung:
            standing = "runs"
        elif name in told.skipped:
            standing = "fell"
        else:
            standing = "fits" if row.get("fits") else "no"
        made = row_of(row, standing, look.totals, look.host_total_bytes)
        if standing == "fell":
            made = _with(made, why=told.skipped[name], at=at.get(name))
        rows.append(made)
    return rows


def _with(row: Row, **changes: Any) -> Row:
    return Row(**{**vars(row), **changes})


def _lead(lang: str, told: Told) -> str:
    """Return which rung runs and why, or that it is being loaded."""
    name, why = title(lang, told.rung), translate(lang, told.why)
    key = told.status if told.status in ("loading", "reloading", "failed") else "runs"
    tone, drawing = {
        "runs": ("ok", "check"),
        "loading": ("", "clock"),
        "reloading": ("warn", "refresh"),
        "failed": ("bad", "alert"),
    }[key]
    text = say(lang, f"imageworker.lead.{key}", rung=name, why=why)
    return w.note(text.strip(), tone=tone, icon_name=drawing)


def _figures(lang: str, look: LadderLook) -> str:
    told, jobs = look.told, look.jobs
    row = row_of(told.row, "runs", {})
    measured = row.measured_step_s is not None
    kind = say(lang, "imageworker.measured" if measured else "imageworker.expected")
    step = row.measured_step_s if measured else row.step_s
    failed = jobs.get("failed", 0)
    more = say(lang, "imageworker.figure.and_failed", n=failed) if failed else ""
    facts = [
        (say(lang, "imageworker.figure.step"), units.number(step, "s"), kind if step else ""),
        (say(lang, "imageworker.figure.picture"), span(lang, told.picture_s), kind),
        (say(lang, "imageworker.figure.done"), units.number(jobs.get("done", 0)), more),
        (say(lang, "imageworker.figure.queue"), units.number(told.queue), ""),
    ]
    return planview.figures_html(facts)


def _memory(lang: str, look: LadderLook) -> str:
    """Return the memory in use beside what the ladder planned for the rung at work."""
    needs = {int(need["card"]): _bytes(need) for need in look.told.row.get("cards") or ()}
    meters = []
    for position, card in enumerate(look.cards):
        name = f"{say(lang, 'live.card', index=card.index)} · {say(lang, 'live.memory')}"
        meters.append(_meter(lang, name, card.used_bytes, card.total_bytes, needs.get(position)))
    host = look.told.row.get("host_bytes")
    name = say(lang, "live.ram")
    meters.append(_meter(lang, name, look.host_bytes, look.host_total_bytes, host))
    body = f'<div class="l-meters wide">{"".join(meters)}</div>'
    return w.card(say(lang, "imageworker.memory"), body)


def _meter(
    lang: str, label: str, used: float | None, total: float | None, planned: float | None
) -> str:
    text = units.gib(used)
    if total:
        text = f"{text.removesuffix(' GiB')} / {units.gib(total)}"
    if planned:
        text += " · " + say(lang, "imageworker.planned", size=units.gib(planned))
    share = used / total if used and total else 0.0
    return f"<span>{w.esc(label)}</span>{w.bar(share)}<b>{w.esc(text)}</b>"


def _bytes(need: Mapping[str, Any]) -> int:
    return sum(
        int(need.get(kind) or 0) for kind in ("transformer", "text_encoder", "vae", "activations")
    )


def _falls(lang: str, told: Told) -> str:
    if not told.falls:
        return ""
    items = "".join(
        f"<li>{w.when(lang, fall.at)}<span>{w.esc(_fall(lang, fall))}</span></li>"
        for fall in reversed(told.falls)
    )
    body = f'<ol class="l-falls">{items}</ol>'
    return w.card(say(lang, "imageworker.falls"), body, tone="warn")


def _fall(lang: str, fall: Fall) -> str:
    return say(
        lang,
        "imageworker.fall",
        before=title(lang, fall.before),
        after=title(lang, fall.after),
        reason=translate(lang, fall.reason),
    )


def _ended(lang: str, look: LadderLook) -> str:
    if not look.jobs:
        return w.note(say(lang, "imageworker.ended_nothing"), icon_name="history")
    facts = [
        (say(lang, f"imageworker.figure.{name}"), units.number(n), "")
        for name, n in look.jobs.items()
    ]
    note = w.note(say(lang, "imageworker.ended"), icon_name="history")
    return f'<div class="l-ladder-live">{note}{planview.figures_html(facts)}</div>'
