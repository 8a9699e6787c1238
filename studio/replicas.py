"""Replicas: N copies of one server on disjoint cards, behind one address.

    found = launch_replicas(studio, studio.ask_for(studio.recipes.get("vllm/smoke")), 2)
    ...
    stop_group(studio, found.group)

The copies and the router are plain runs that share a `group`. The router is launched at once: it
waits by itself until a copy is up, and takes in the others as they come.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace

from studio.core.errors import NotEnoughGpus, NotFound, RecipeInvalid, RunBusy
from studio.core.settings import ROOT
from studio.core.spec import RunSpec
from studio.jobs import ports
from studio.jobs.jobs import Run
from studio.jobs.shim import cards as gpu
from studio.studio import Launch, Studio

ROUTER = "router"
"""Id of the engine that stands in front."""
MOST_COPIES = 64
PATIENCE_S = 7 * 24 * 3600
"""How long the router waits for its first copy, which may have to wait in line for cards."""


@dataclass(frozen=True, kw_only=True)
class Replicas:
    """A group as it was launched."""

    group: str
    router: Run
    copies: tuple[Run, ...]


def launch_replicas(
    studio: Studio,
    ask: Launch,
    copies: int,
    *,
    policy: str = "cache_aware",
    port: int | None = None,
) -> Replicas:
    """Launch N copies of a serving launch and the router in front of them.

    Each copy asks for its own cards; cards that were named are shared out in order. The copies
    listen on this machine only, the router where `ask` said. Raises RecipeInvalid, NotEnoughGpus
    and what `Studio.launch` raises; whatever had been started by then is stopped again.
    """
    shares = plan_replicas(studio, ask, copies)
    front = _router_ask(ask, policy, port)
    router_engine, config = studio.validate(ROUTER, front.settings)
    router_engine.check(config, ROOT)
    group = _free_name(studio, ask.name or ask.engine)
    started: list[Run] = []
    try:
        for number, share in enumerate(shares, 1):
            started.append(
                studio.launch(replace(share, name=f"{group}-{number}of{copies}", group=group))
            )
        router = studio.launch(_in_front_of(front, group, [run.spec for run in started]))
    except BaseException:
        for run in started:
            studio.jobs.stop(run.id, now=True)
        raise
    return Replicas(group=group, router=router, copies=tuple(started))


def plan_replicas(studio: Studio, ask: Launch, copies: int) -> list[Launch]:
    """Return what each copy will be launched with; raise RecipeInvalid or NotEnoughGpus."""
    if not 1 <= copies <= MOST_COPIES:
        raise RecipeInvalid(f"copies = {copies}: use 1 to {MOST_COPIES}.")
    engine = studio.engine(ask.engine)
    if not engine.serves or engine.id == ROUTER:
        raise RecipeInvalid(
            f"{engine.title} cannot be copied behind a router.",
            hint="Choose a recipe that serves a model.",
        )
    own = {"host": "127.0.0.1", "port": None}
    settings = {k: v for k, v in ask.settings.items() if k not in own}
    one = replace(ask, settings=settings)
    preview = studio.preview(one)
    if preview.endpoint is None or preview.endpoint.kind != "chat":
        raise RecipeInvalid(
            f"{engine.title} offers no chat that a router could hand on.",
            hint="Choose a recipe that serves a chat model.",
        )
    need = preview.resources
    if need.gpu_ids is not None:
        return _share_out(one, list(need.gpu_ids), copies)
    have = len(gpu.read_cards()) if need.num_gpus else 0
    if need.num_gpus * copies > have:
        raise NotEnoughGpus(
            f"{copies} copies need {need.num_gpus * copies} card(s) and this machine has {have}.",
            hint="Ask for fewer copies, or for fewer cards each.",
        )
    return [one] * copies


def group_runs(studio: Studio, group: str) -> list[Run]:
    """Return the runs of a group, the router first, then the copies; raise NotFound."""
    found = [run for run in studio.jobs.list(text=group) if group and run.spec.group == group]
    if not found:
        raise NotFound(f"There is no group {group}.", hint="`ls` lists the runs.")
    return sorted(found, key=lambda run: (run.spec.engine != ROUTER, run.id))


def stop_group(
    studio: Studio, group: str, *, now: bool = False, timeout_s: float | None = None
) -> list[Run]:
    """Ask every run of a group to stop, the router first; raise NotFound.

    Returns at once, or with `timeout_s` as soon as all have ended or the time is over.
    """
    runs = [studio.jobs.stop(run.id, now=now) for run in group_runs(studio, group)]
    until = time.monotonic() + (timeout_s or 0)
    while any(run.state.alive for run in runs) and time.monotonic() < until:
        time.sleep(0.1)
        runs = [studio.jobs.get(run.id) for run in runs]
    return runs


def restart_copy(studio: Studio, run_id: str) -> Run:
    """Launch an ended run of a group again where the router looks for it, on the same port.

    Raises RunBusy while the run is alive, PortTaken when another program has its port now.
    """
    run = studio.jobs.get(run_id)
    if run.state.alive:
        raise RunBusy(f"Run {run.id} is {run.state}.", hint="Stop it first.")
    ports.release(studio.jobs.store, run.id)
    return studio.relaunch(run.id, {"port": run.spec.port})


# below: helpers ---------------------------------------------------------------------------------


def _share_out(ask: Launch, cards: list[int], copies: int) -> list[Launch]:
    """Give each copy its part of the named cards."""
    each, odd = divmod(len(cards), copies)
    if odd or not each:
        raise RecipeInvalid(
            f"{len(cards)} named card(s) cannot be shared out evenly to {copies} copies.",
            hint="Name a multiple of the number of copies, or let the studio take idle ones.",
        )
    return [replace(ask, cards=cards[n * each : (n + 1) * each]) for n in range(copies)]


def _router_ask(ask: Launch, policy: str, port: int | None) -> Launch:
    """Return the router's launch but for the copies, so that it can be checked before them."""
    settings = {
        "worker_urls": ["http://127.0.0.1:1"],
        "policy": policy,
        "worker_startup_timeout_secs": PATIENCE_S,
        "host": ask.settings.get("host", "127.0.0.1"),
        "port": port or ask.settings.get("port"),
        "api_key": ask.settings.get("api_key", ""),
    }
    return Launch(engine=ROUTER, settings=settings, recipe=ask.recipe)


def _in_front_of(front: Launch, group: str, copies: list[RunSpec]) -> Launch:
    """Return the router's launch with its copies, checked as their own engine is probed."""
    probe = copies[0].probe
    settings = {
        **front.settings,
        "worker_urls": [f"http://{spec.host}:{spec.port}" for spec in copies],
        "health_check_endpoint": (probe.path if probe else None) or "/health",
    }
    return replace(front, settings=settings, name=group, group=group)


def _free_name(studio: Studio, wanted: str) -> str:
    """Return a group name that no run has yet: `qwen`, `qwen-2`, ..."""
    stem = re.sub(r"[^\w.-]+", "-", wanted).strip("-") or "replicas"
    taken = {run.spec.group for run in studio.jobs.list(text=stem)}
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name
