"""The machine strip's data: `GET /ladder/machine`, one reading a second for all viewers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from studio.core.errors import NotFound
from studio.telemetry import snapshot
from studio.telemetry.gpus import Gpu
from studio.telemetry.host import Host
from studio.ui import units
from studio.ui.door.gate import visitor
from studio.ui.i18n import lang_of, say
from studio.ui.routes import Route

if TYPE_CHECKING:
    from studio.studio import Studio

RAM_FULL = 0.95


class Strip:
    """Answers what the header's mini bars show."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio

    def routes(self) -> Iterable[Route]:
        """Return the one route, open to guests."""
        return [Route("machine", self.answer, guest=True)]

    def answer(self, request: Request) -> dict[str, Any]:
        """Return the bars: share filled, load, what to say on hover, and whether it is wrong."""
        host = snapshot.host(self._studio.settings.home).get()
        lang = lang_of(request)
        whole = visitor(request).role == "operator"
        return {
            "cards": [self._card(lang, card, whole) for card in snapshot.cards().get()],
            "cpu": {"fill": round(host.cpu, 3), "text": units.percent(host.cpu)},
            "ram": _ram(lang, host),
        }

    def _card(self, lang: str, card: Gpu, whole: bool) -> dict[str, Any]:
        facts = [
            (
                say(lang, "strip.memory"),
                f"{units.gib(card.used_bytes)} / {units.gib(card.total_bytes)}",
            )
        ]
        if card.load is not None:
            facts.append((say(lang, "strip.load"), units.percent(card.load)))
        if card.temperature_c is not None:
            facts.append((say(lang, "strip.temperature"), f"{card.temperature_c:.0f} °C"))
        if card.power_w is not None:
            cap = f" / {card.power_cap_w:.0f}" if card.power_cap_w else ""
            facts.append((say(lang, "strip.power"), f"{card.power_w:.0f}{cap} W"))
        return {
            "label": str(card.index),
            "title": f"{say(lang, 'strip.card', index=card.index)} · {card.name}",
            "fill": round(card.used, 3),
            "load": None if card.load is None else round(card.load, 2),
            "facts": facts,
            "holders": list(self._holders(lang, card, whole)),
            "wrong": say(lang, f"strip.{card.trouble}") if card.trouble else "",
        }

    def _holders(self, lang: str, card: Gpu, whole: bool) -> Iterable[dict[str, str]]:
        """Yield each run once by name, then other people's processes, which guests do not see."""
        seen = set()
        for holder in card.holders:
            if holder.run_id is not None:
                if holder.run_id not in seen:
                    seen.add(holder.run_id)
                    yield {"run": holder.run_id, "name": self._run_name(holder.run_id)}
            elif whole:
                name = say(lang, "strip.stranger", user=holder.user)
                if name not in seen:
                    seen.add(name)
                    yield {"run": "", "name": name}

    def _run_name(self, run_id: str) -> str:
        try:
            return self._studio.jobs.get(run_id).spec.name
        except NotFound:
            return run_id


def _ram(lang: str, host: Host) -> dict[str, Any]:
    full = host.ram >= RAM_FULL
    return {
        "fill": round(host.ram, 3),
        "text": f"{units.gib(host.ram_used_bytes)} / {units.gib(host.ram_total_bytes)}",
        "wrong": say(lang, "strip.ram_full") if full else "",
    }
