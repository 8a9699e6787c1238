"""Who would edit: whether a worker is ready, which rung it runs and why, how long an edit takes.

Shown beside the button, for guests as well; so it says nothing of machines, paths or other people.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from studio.chat.desk import Person
from studio.core.errors import NotFound, StudioError
from studio.core.spec import Endpoint, State
from studio.engines.workers.image_edit.ordinary import Ordinary
from studio.images.desk import ImageDesk
from studio.ui import widgets as w
from studio.ui.i18n import say
from studio.ui.image.rungs import about, title
from studio.ui.image.workers import ENGINE
from studio.ui.recent import Recent
from studio.ui.sentences import translate

if TYPE_CHECKING:
    from studio.jobs.jobs import Run
    from studio.studio import Studio

FRESH_S = 2.0
STEPS, CFG = 40, 4.0
"""What a worker takes by itself when nothing tells otherwise."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What an edit will be asked for, as far as it decides how long it takes."""

    steps: int | None = None
    cfg: float | None = None
    variants: int = 1
    pixels: int | None = None
    """Of the result; None for what the worker makes when nobody says."""
    pictures: int = 1
    """Pictures that are given."""


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """What is known about the worker that would take the next edit."""

    endpoint: Endpoint | None = None
    run: Run | None = None
    """A worker on its way, while none is ready."""
    rung: str = ""
    why: str = ""
    reloading: bool = False
    waiting: int = 0
    """Edits in line, the one at work included."""
    step_s: float | None = None
    """Of one step of an ordinary edit."""
    encode_s: float = 0.0
    decode_s: float = 0.0
    ordinary: Ordinary = field(default_factory=Ordinary)
    """The edit whose seconds these are."""
    steps: int = STEPS
    cfg: float = CFG
    loras: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """True when an edit would be taken now."""
        return self.endpoint is not None

    def seconds(self, wish: Wish) -> float | None:
        """Return how long an edit will take once it is its turn; None when nobody knows.

        Weighed as the worker itself does.
        """
        if self.step_s is None:
            return None
        cfg = self.cfg if wish.cfg is None else wish.cfg
        asked = {
            "pixels": wish.pixels or self.ordinary.pixels,
            "pictures": wish.pictures,
            "guided": cfg > 1,
        }
        step = self.step_s * self.ordinary.weight("step", **asked)
        decode = self.decode_s * self.ordinary.weight("decode", **asked)
        encode = self.encode_s * self.ordinary.weight("encode", **asked)
        return encode + wish.variants * ((wish.steps or self.steps) * step + decode)


class WorkerStates:
    """What is known, shared between viewers for a moment."""

    def __init__(self, studio: Studio, desk: ImageDesk) -> None:
        self._studio, self._desk = studio, desk
        self._recent = Recent(FRESH_S)

    def now(self, person: Person) -> WorkerState:
        """Return what is known about the worker of this person's next edit."""
        return self._recent.get(person.guest, lambda: self._look(person))

    def _look(self, person: Person) -> WorkerState:
        found = self._desk.endpoints(person)
        if not found:
            return WorkerState(run=self._coming())
        endpoint = found[0]
        config = self._config(endpoint)
        facts: dict[str, Any] = {
            "endpoint": endpoint,
            "steps": int(config.get("num_inference_steps") or STEPS),
            "cfg": float(config.get("true_cfg_scale") or CFG),
            "ordinary": Ordinary.of(config),
            "loras": tuple(_name(text) for text in config.get("loras") or ()),
        }
        if config.get("lightning"):
            facts |= {"steps": int(config.get("lightning_steps") or 4), "cfg": 1.0}
        try:
            told = self._desk.ladder(person, endpoint.id)
        except StudioError:
            return WorkerState(**facts)
        return WorkerState(**facts, **_from_ladder(told))

    def _coming(self) -> Run | None:
        for run in self._studio.jobs.list(engine=ENGINE, limit=8):
            if run.state in (State.QUEUED, State.STARTING, State.RUNNING):
                return run
        return None

    def _config(self, endpoint: Endpoint) -> dict[str, Any]:
        """Return the settings that a worker of ours was started with."""
        try:
            return self._studio.jobs.get(endpoint.run_id).spec.config if endpoint.run_id else {}
        except NotFound:
            return {}


def line(lang: str, state: WorkerState, wish: Wish) -> str:
    """Return what stands beside the button: how long it takes and which rung runs, and why."""
    if state.endpoint is None:
        key = "coming" if state.run is not None else "none"
        return f'<p class="l-img-who">{w.esc(say(lang, f"image.worker.{key}"))}</p>'
    if state.reloading:
        return f'<p class="l-img-who">{w.esc(say(lang, "image.worker.reloading"))}</p>'
    seconds = state.seconds(wish)
    time = f"<b>≈ {w.esc(about(lang, seconds))}</b>" if seconds is not None else ""
    why = translate(lang, state.why)
    told = w.esc(title(lang, state.rung) if state.rung else state.endpoint.name)
    if state.waiting:
        told += f" · {w.esc(say(lang, 'image.worker.waiting', n=state.waiting))}"
    return (
        f'<p class="l-img-who" title="{w.esc(why)}">{time}<span>{told}</span>'
        f"<small>{w.esc(why)}</small></p>"
    )


# inside -----------------------------------------------------------------------------------------


def _from_ladder(told: dict[str, Any]) -> dict[str, Any]:
    """Read a worker's account of its ladder: the rung at work and its expected seconds."""
    rung = str(told.get("rung") or "")
    rows = [row for row in told.get("ladder") or () if isinstance(row, dict)]
    row = next((row for row in rows if row.get("rung") == rung), {})

    def known(kind: str) -> float | None:
        return _number(row.get(f"measured_{kind}_s")) or _number(row.get(f"{kind}_s"))

    return {
        "rung": rung,
        "why": str(told.get("why") or row.get("why") or ""),
        "reloading": told.get("status") == "reloading",
        "waiting": int(_number(told.get("queued")) or 0) + bool(told.get("running")),
        "step_s": known("step"),
        "encode_s": known("encode") or 0.0,
        "decode_s": known("decode") or 0.0,
    }


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _name(text: str) -> str:
    """Return the name in `name=path@0.8`."""
    return str(text).partition("=")[0]
