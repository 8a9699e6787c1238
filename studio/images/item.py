"""One edit as it is kept: what was asked, and how it ended. Written once each, never changed."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from studio.core.spec import Frozen
from studio.images.request import EditSettings


class ItemState(StrEnum):
    """Whether there is a result yet."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Fault(Frozen):
    """Why an edit failed: a sentence, and what to do."""

    message: str = ""
    hint: str = ""
    log: tuple[str, ...] = ()
    """Last lines of the worker's log, where they tell more."""


class Asked(Frozen):
    """`item.json`: what was asked, of whom, and when. Never changed."""

    id: str
    created_at: float
    settings: EditSettings
    endpoint_id: str = ""
    endpoint: str = ""
    """Name of the endpoint as it was then."""
    run_id: str | None = None
    job: str = ""
    """Id at the worker; empty for an endpoint that answers once, without jobs."""
    num_before: int = 1
    has_mask: bool = False
    size_before: tuple[int, int] = (0, 0)
    """Width and height of the first picture."""
    group: str = ""
    """Batch that it belongs to."""
    source: str = ""
    """File name of the first picture, when there was one."""


class End(Frozen):
    """`end.json`: how it ended. Never changed."""

    state: ItemState
    ended_at: float
    num_out: int = 0
    size_out: tuple[int, int] = (0, 0)
    seeds: tuple[int, ...] = ()
    steps: int | None = None
    """Steps that were really made: the worker's default where none were asked for."""
    true_cfg_scale: float | None = None
    rung: str = ""
    timings: dict[str, Any] = Field(default_factory=dict)
    peaks: dict[str, Any] = Field(default_factory=dict)
    cached: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: Fault | None = None


class Item(Frozen):
    """One edit as it is kept."""

    asked: Asked
    end: End | None = None

    @property
    def id(self) -> str:
        """Sortable id: the time it was asked."""
        return self.asked.id

    @property
    def state(self) -> ItemState:
        """PENDING until there is an end."""
        return self.end.state if self.end else ItemState.PENDING

    @property
    def settings(self) -> EditSettings:
        """What was asked, as it was asked."""
        return self.asked.settings

    @property
    def before(self) -> tuple[str, ...]:
        """File names of the pictures that were given."""
        return tuple(f"before-{k}.png" for k in range(self.asked.num_before))

    @property
    def out(self) -> tuple[str, ...]:
        """File names of the results."""
        return tuple(f"out-{k}.png" for k in range(self.end.num_out if self.end else 0))

    @property
    def thumb(self) -> str:
        """File name of the small picture for lists."""
        return "after.webp" if self.out else "before.webp"

    def summary(self) -> dict[str, Any]:
        """Return plain values for `--json`, lists and scripts."""
        asked = self.asked.model_dump(mode="json")
        end = self.end.model_dump(mode="json") if self.end else {}
        return {
            **asked,
            **end,
            "state": str(self.state),
            "before": list(self.before),
            "out": list(self.out),
            "thumb": self.thumb,
        }
