"""An edit at this moment: what is kept of it, and how far its job is."""

from __future__ import annotations

from typing import Any, NamedTuple

from studio.images import client
from studio.images.item import Item, ItemState


class Look(NamedTuple):
    """An edit at this moment, for a page that looks again and again."""

    item: Item
    job: client.Job
    """How far it is. `steps` is 0 where the endpoint does not tell."""
    tells: bool
    """True when the endpoint tells each step; False: it answers once, at the end."""

    @property
    def ended(self) -> bool:
        """True when nothing more will come."""
        return self.item.state is not ItemState.PENDING

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for a page or a script."""
        return {
            **self.job.model_dump(mode="json", exclude={"settings"}),
            "id": self.item.id,
            "ended": self.ended,
            "tells": self.tells,
            "item": self.item.summary(),
        }


def account_of(item: Item) -> client.Job:
    """Return the account of a job that has ended, from what was kept of it."""
    end = item.end
    assert end is not None
    return client.Job(
        job=item.asked.job,
        state=str(end.state),
        step=end.steps or 0,
        steps=end.steps or 0,
        variants=max(item.settings.n, 1),
        elapsed_s=end.ended_at - item.asked.created_at,
        rung=end.rung,
        notes=end.notes,
        error=end.error,
        seeds=end.seeds,
        pictures=end.num_out,
        timings=end.timings,
        peaks=end.peaks,
        cached=end.cached,
    )
