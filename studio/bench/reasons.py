"""Why a server gives no more at a load: its cache, its limits, what computes, what feeds that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studio.bench.levels import Level
from studio.bench.said import Said, sentence

FULL = 0.95
"""Share of the KV cache from which it counts as full."""
BUSY = 0.9
"""Share of the time from which an event loop, one thread, counts as the limit."""
OFTEN_BUSY = 0.5
"""Share from which it is named where the cards draw less power than at a lighter load. Its average
is below what holds the cards back: tokens of all users come at once, and then nothing comes."""
LESS_POWER = 0.95
"""Share of the power drawn at a lighter load, below which cards are said to wait."""


def why(level: Level, server: Mapping[str, Any], lighter: Level | None = None) -> Said:
    """Say what holds a server back at a load, from its own figures.

    `lighter` is the load with the most output, where there is one below this.
    """
    kv, waiting = level.worst("kv_cache_use_max"), level.worst("waiting_max")
    running = level.worst("running_max")
    if kv is None or waiting is None or running is None:
        return sentence("why_unknown")
    preempted = level.worst("preemptions") or 0
    asked = int(level.value if "users" in level.load else running + waiting)
    values = {"kv_percent": round(kv * 100), "running": int(running), "asked": asked}
    held_back = running < 0.95 * asked
    if held_back and waiting and kv >= FULL:
        return sentence("why_kv", **values)
    if preempted:
        return sentence("why_preempt", preemptions=int(preempted))
    if not held_back:
        return _computes(level, server, values, lighter)
    if not waiting:
        return sentence("why_client", **values)
    own = (server.get("settings") or {}).get("max_num_seqs")
    limit = own * int(server.get("copies") or 1) if isinstance(own, int) else None
    if limit and running >= 0.95 * limit:
        return sentence("why_seqs", **values, limit=limit)
    return sentence("why_limit", **values)


def _computes(
    level: Level, server: Mapping[str, Any], values: Mapping[str, Any], lighter: Level | None
) -> Said:
    """Say what computes is the limit: cards or what feeds them, the processor, or nobody knows."""
    if any(point.cards for point in level.points):
        return _feeds(level, server, values, lighter) or sentence("why_compute", **values)
    if server.get("cards") == []:
        return sentence("why_compute_cpu", **values)
    return sentence("why_compute_unknown", **values)


def _feeds(
    level: Level, server: Mapping[str, Any], values: Mapping[str, Any], lighter: Level | None
) -> Said | None:
    """Say that cards wait for an event loop, or that nobody looked; None when neither is so."""
    api, generator = level.mean("api_server_busy"), level.mean("generator_busy")
    less = _less_power(level, lighter)
    values = {**values, **less}
    if api is None and generator is None:
        return sentence("why_waits", **values) if less else sentence("why_not_kv", **values)
    busiest = max(api or 0.0, generator or 0.0)
    values["busy_percent"] = round(busiest * 100)
    is_vllm = server.get("engine") == "vllm"
    if busiest >= BUSY:
        if busiest == generator:
            return sentence("why_generator", **values)
        if is_vllm:
            return sentence("why_api_vllm", **values)
        return sentence("why_api", **values)
    if less and busiest >= OFTEN_BUSY:
        if busiest == generator:
            return sentence("why_generator_less", **values)
        if is_vllm:
            return sentence("why_api_vllm_less", **values)
        return sentence("why_api_less", **values)
    return sentence("why_waits_else", **values) if less else None


def _less_power(level: Level, lighter: Level | None) -> dict[str, Any]:
    """Return by how much less power the cards draw than at a lighter load; empty when not less.

    Cards that compute all the time draw the more power the more they are given; where it falls
    while the load rises, they wait.
    """
    here, there = level.mean("power_w"), lighter.mean("power_w") if lighter else None
    if lighter is None or not here or not there or here >= LESS_POWER * there:
        return {}
    return {"less_percent": round((1 - here / there) * 100), "lighter": lighter.load}
