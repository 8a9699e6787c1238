"""Load tests of endpoints: from "this server, these loads" to a launch, and going on with one.

    run = studio.launch(load_ask(studio, endpoint.id, {"concurrency": [1, 32]}))
    ...
    run = studio.launch(resume_ask(studio, "Qwen2.5-7B_20260101-120000"))

What is known of a server of the studio's own is frozen into the launch here: its model's folder for
the tokenizer, its cards for memory and energy, its version and settings for the results.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from studio.core.errors import NotFound, RecipeInvalid, RunBusy
from studio.core.settings import ROOT
from studio.core.spec import Endpoint
from studio.engines.bench_fields import LoadConfig
from studio.engines.engine import resolve_path
from studio.engines.workers.bench.grid import Load, loads
from studio.jobs.jobs import Run
from studio.jobs.shim import cards as gpu
from studio.studio import Launch, Studio

TOOLS = ("vllm-bench", "guidellm")
"""Engines that make load, the usual one first."""
_EMPTY = ("", None, [], {})
"""What a form sends for a field that nobody filled in."""
_FILLED_IN = ("base_url", "api_key", "server", "server_run", "measure_cards", "metrics_urls")


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What a sweep comes to before it begins."""

    points: int
    requests: int
    tokens: int
    """Of prompts and answers; a data set's own lengths are not counted."""
    seconds: float | None
    """As earlier results of the same model took at the same loads; None where there are none."""


def load_ask(
    studio: Studio,
    endpoint: str,
    settings: Mapping[str, Any] | None = None,
    *,
    tool: str = "vllm-bench",
    group: str = "",
) -> Launch:
    """Return the launch of a load test of an endpoint: the id or name of one, or a URL.

    What `settings` say wins over what is known of the server. Raises NotFound for an endpoint that
    does not answer now, or for results to go on with that are not there.
    """
    if tool not in TOOLS:
        raise NotFound(f"{tool} makes no load.", hint=f"Use one of: {', '.join(TOOLS)}.")
    known = target(studio, endpoint)
    told = {key: value for key, value in (settings or {}).items() if value not in _EMPTY}
    if told.get("results"):
        told["results"] = _load_results(studio, str(told["results"]))
    filled: dict[str, Any] = {**known, **told}
    name = str(filled.get("model") or urlsplit(filled["base_url"]).netloc)
    stem = name.rstrip("/").rpartition("/")[2]
    return Launch(
        engine=tool,
        settings=filled,
        name=f"load-{stem}",
        title=f"Load test of {stem}",
        group=group,
    )


def resume_ask(studio: Studio, results: str, *, endpoint: str = "", group: str = "") -> Launch:
    """Return the launch that goes on with earlier results: points that are done are kept.

    The same server is asked while it runs; `endpoint` names the one to ask when it was started
    again. Raises NotFound for results or a server that are not there, RecipeInvalid for results
    that are no load test.
    """
    found = studio.saved.get(_load_results(studio, results))
    frozen = found.about.settings
    tool = str(frozen["tool"])
    if endpoint:
        known = target(studio, endpoint)
    else:
        same = _whom(studio, str(frozen.get("server_run") or ""))
        known = same or target(studio, str(frozen["base_url"]))
    fields = studio.engine(tool).Config.model_fields
    kept = {key: value for key, value in frozen.items() if key in fields}
    kept = {key: value for key, value in kept.items() if key not in (*_FILLED_IN, "results")}
    ask = load_ask(studio, known["base_url"], {**known, **kept}, tool=tool, group=group)
    return Launch(
        engine=tool,
        settings={**ask.settings, "results": found.name},
        name=ask.name,
        title=ask.title,
        group=group,
    )


def target(studio: Studio, endpoint: str) -> dict[str, Any]:
    """Return the settings that follow from whom is asked; raise NotFound."""
    known = _whom(studio, endpoint)
    if known is not None:
        return known
    if urlsplit(endpoint).scheme in ("http", "https"):
        return {"base_url": endpoint}
    names = ", ".join(found.name for found in studio.endpoints()) or "none"
    raise NotFound(
        f"There is no endpoint {endpoint!r} that answers now.",
        hint=f"Give an address such as http://127.0.0.1:8000/v1, or one of these: {names}.",
    )


def plan_load(studio: Studio, tool: str, settings: Mapping[str, Any]) -> LoadPlan:
    """Return how many points and requests a sweep has, and how long it will take if known."""
    config = studio.validate(tool, dict(settings))[1]
    assert isinstance(config, LoadConfig)
    values = config.model_dump(mode="json")
    grid = loads({"dataset": "random", **values})
    tokens = sum(
        load.num_prompts * ((load.input_len or 0) + (load.output_len or 0)) for load in grid
    )
    return LoadPlan(
        points=len(grid),
        requests=sum(load.num_prompts for load in grid),
        tokens=tokens,
        seconds=_seconds(studio, config, grid),
    )


# below: helpers ---------------------------------------------------------------------------------


def _load_results(studio: Studio, name: str) -> str:
    """Return the whole name of a load test's results that can be gone on with.

    Raises NotFound, RecipeInvalid, or RunBusy while another run measures them.
    """
    found = studio.saved.get(name)
    if found.points and not found.about.settings:
        raise RecipeInvalid(
            f"about.json of {found.name} is lost or torn, so nobody can tell what was measured.",
            hint=f"The points are kept: `bench show {found.name}`.",
        )
    if found.about.kind != "load" or found.about.settings.get("tool") not in TOOLS:
        raise RecipeInvalid(
            f"{found.name} is not a load test, so there is no sweep to go on with.",
            hint="`bench ls` tells which results are.",
        )
    if run := studio.saved.writer(found):
        raise RunBusy(f"Run {run} works on {found.name}.", hint="Wait for it, or stop it.")
    return found.name


def _whom(studio: Studio, wanted: str) -> dict[str, Any] | None:
    """Return the settings for an endpoint by id, name or address; None when nobody has it."""
    offered = studio.endpoints()
    same = _bare(wanted)
    for endpoint in offered:
        if wanted in (endpoint.id, endpoint.run_id) or _bare(endpoint.base_url) == same:
            return _settings(studio, endpoint)
    for endpoint in offered:
        if wanted and wanted == endpoint.name:
            return _settings(studio, endpoint)
    return None


def _settings(studio: Studio, endpoint: Endpoint) -> dict[str, Any]:
    filled: dict[str, Any] = {"base_url": endpoint.base_url}
    if endpoint.api_key:
        filled["api_key"] = endpoint.api_key
    if endpoint.models:
        filled["model"] = endpoint.models[0]
    if endpoint.run_id is None:
        return filled
    run = studio.jobs.get(endpoint.run_id)
    servers = _behind(studio, run) if endpoint.routes else [run]
    filled["server_run"] = run.id
    filled["server"] = _server(studio, run, servers)
    filled["measure_cards"] = sorted({card for one in servers for card in one.cards})
    filled["metrics_urls"] = [url for one in servers if (url := _metrics_url(one))]
    tokenizer = _tokenizer(studio, servers[0])
    if tokenizer:
        filled["tokenizer"] = tokenizer
    if not filled.get("model") and servers[0].spec.endpoint is not None:
        filled["model"] = servers[0].spec.endpoint.models[0]
    return filled


def _behind(studio: Studio, router: Run) -> list[Run]:
    """Return the copies that a router hands requests to; the router itself when none is known."""
    group = router.spec.group
    alike = studio.jobs.list(text=group, serves=True) if group else []
    copies = [run for run in alike if run.spec.group == group and run.id != router.id]
    return [run for run in copies if run.state.alive] or [router]


def _server(studio: Studio, run: Run, servers: list[Run]) -> dict[str, Any]:
    """Return what is kept of a server with the results: how it was started, on what."""
    first = servers[0].spec
    cards = sorted({card for one in servers for card in one.cards})
    names = {card.index: card.name for card in gpu.read_cards()} if cards else {}
    engine, config = studio.validate(first.engine, first.config)
    settings = config.model_dump(mode="json", exclude_defaults=True, exclude={"api_key"})
    return {
        "engine": engine.id,
        "version": studio.envs.version(first.env_name) if first.env_name else "",
        "recipe": first.recipe,
        "settings": settings,
        "argv": list(first.command.argv),
        "cards": cards,
        "card_names": [names.get(card, "") for card in cards],
        "copies": len(servers),
        "startup_s": _startup_s(servers),
        "router": run.spec.engine if run.id != servers[0].id else "",
    }


def _startup_s(servers: list[Run]) -> float | None:
    """Return the seconds from the process's start until it was ready, of the slowest copy."""
    took = []
    for run in servers:
        at = {row.get("phase"): row["at"] for row in reversed(run.dir.events()) if "at" in row}
        if "ready" in at and "running" in at:
            took.append(round(at["ready"] - at["running"], 2))
    return max(took, default=None)


def _metrics_url(run: Run) -> str:
    scrape, port = run.spec.scrape, run.spec.port
    if scrape is None or port is None:
        return ""
    host = "127.0.0.1" if run.spec.host in ("0.0.0.0", "::") else run.spec.host
    return f"http://{host}:{port + scrape.port_shift}{scrape.path}"


def _tokenizer(studio: Studio, run: Run) -> str:
    """Return the tokenizer a server uses: its own setting, else the folder of its model."""
    engine, config = studio.validate(run.spec.engine, run.spec.config)
    own = str(getattr(config, "tokenizer", "") or getattr(config, "tokenizer_path", "") or "")
    need = engine.serving(config)
    text = own or (need.model if need else "")
    return resolve_path(text, str(ROOT)) if text else ""


def _seconds(studio: Studio, config: LoadConfig, grid: list[Load]) -> float | None:
    """Return how long a grid takes, from earlier points of the same model; None without any."""
    if not config.model:
        return None
    known: dict[str, list[float]] = {}
    for point in studio.saved.points(model=config.model, status="done"):
        per_request = point.seconds / max(1, point.figures.get("completed", 1))
        known.setdefault(point.id.rpartition("-r")[0], []).append(per_request)
    total = 0.0
    for load in grid:
        if load.condition_id not in known:
            return None
        total += statistics.median(known[load.condition_id]) * load.num_prompts
    return math.ceil(total)


def _bare(url: str) -> str:
    """Return an address as it is compared: without /v1 and the last slash."""
    return url.rstrip("/").removesuffix("/v1")
