"""What browsers ask about servers again and again: the live view. Operators only; it only looks."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.spec import Endpoint
from studio.jobs.jobs import Run
from studio.jobs.logs import read_from
from studio.telemetry import snapshot
from studio.telemetry.curves import history
from studio.telemetry.readings import Tails
from studio.telemetry.serving import LATELY_S, NOW_S, load
from studio.ui.i18n import lang_of
from studio.ui.recent import Recent
from studio.ui.routes import Route, fragment
from studio.ui.serving.view import SPAN_S, CardUse, Look, live

if TYPE_CHECKING:
    from studio.studio import Studio

FRESH_S = 0.9
CURVE_SAMPLES = 100


def routes(studio: Studio) -> Sequence[Route]:
    """Return `run/{id}/served`, the live view."""
    return [Route("run/{id}/served", Live(studio).served)]


class Live:
    """The live view of every server, shared between viewers for a moment."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._recent = Recent(FRESH_S)
        self._tails = Tails()

    def served(self, request: Request) -> dict[str, Any]:
        """Return what a server does now; final once it has ended."""
        lang, run_id = lang_of(request), request.path_params["id"]
        host = request.url.hostname or ""

        def view() -> tuple[str, bool]:
            run = self._studio.jobs.get(run_id)
            return live(lang, run, self.look(run, host)), not run.state.alive

        html, over = self._recent.get((lang, run_id, host), view)
        return fragment(request, html, final=over)

    def look(self, run: Run, host: str = "") -> Look:
        """Gather what is known about a server; `host` is how the visitor calls this machine."""
        readings, now = self._tails.readings(run.dir.folder / "served.jsonl"), time.time()
        row = _last_sample(run)
        return Look(
            at=now,
            now=load(readings, now=now, window_s=NOW_S),
            lately=load(readings, now=now, window_s=LATELY_S),
            total=load(readings, now=now, window_s=math.inf),
            samples=history(readings, now=now, span_s=SPAN_S, points=CURVE_SAMPLES),
            cards=_cards(run, row),
            host_bytes=row.get("host_bytes"),
            host_total_bytes=snapshot.host(self._studio.settings.home).get().ram_total_bytes,
            endpoint=self._endpoint(run, host),
        )

    def _endpoint(self, run: Run, host: str) -> Endpoint | None:
        """Return the run's endpoint as this visitor reaches it; None when it offers none."""
        found = next((e for e in self._studio.jobs.endpoints("chat") if e.run_id == run.id), None)
        if found is not None and host and run.spec.host in ("0.0.0.0", "::"):
            address = f"[{host}]" if ":" in host else host
            url = found.base_url.replace("://127.0.0.1:", f"://{address}:", 1)
            return found.model_copy(update={"base_url": url})
        return found


def _last_sample(run: Run) -> dict[str, Any]:
    """Return the supervisor's last sample of memory and load."""
    lines = read_from(run.dir.folder / "metrics.jsonl", -8192).text.splitlines()
    for line in reversed(lines):
        try:
            return json.loads(line)
        except ValueError:
            continue
    return {}


def _cards(run: Run, row: dict[str, Any]) -> list[CardUse]:
    """Return the run's cards: what its own processes use, and how busy the card is."""
    if not run.cards:
        return []
    known = {card.index: card for card in snapshot.cards().get()} if run.state.alive else {}
    used, loads = row.get("gpu_bytes") or {}, row.get("gpu_load") or {}
    found = []
    for index in run.cards:
        card, percent = known.get(index), loads.get(str(index), -1)
        sampled = percent / 100 if percent >= 0 else None
        found.append(
            CardUse(
                index=index,
                used_bytes=used.get(str(index)),
                total_bytes=card.total_bytes if card else None,
                load=card.load if card and card.load is not None else sampled,
            )
        )
    return found
