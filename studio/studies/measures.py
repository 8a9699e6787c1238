"""How each kind of cell is measured; every function returns when its rows are kept.

`load` serves and lets the load test's own engine measure; its points lie in a folder of their own.
`ask` and `images` serve and measure over HTTP, a row for each repeat. `training` and `run` are one
run for each repeat.
"""

from __future__ import annotations

import time
from pathlib import Path

from studio.core.errors import EngineExited, StudioError
from studio.core.spec import Endpoint
from studio.engines.bench_run import results_folder
from studio.jobs.jobs import Run
from studio.launch import Launch
from studio.loadtest import load_ask
from studio.studies import asking, editing
from studio.studies.cells import Cell, load_settings
from studio.studies.desk import Desk
from studio.studies.figures import run_figures, training_figures
from studio.studies.record import Phase
from studio.studies.serving import Server, ended, serving

GIB = 2**30
WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.pth")


def ident(cell: Cell, repeat: int | None = None) -> str:
    """Return the id of a cell's row: of one repeat, or of the server that a load was put on."""
    return cell.slug if repeat is None else f"{cell.slug}-r{repeat}"


def is_done(desk: Desk, cell: Cell, repeat: int) -> bool:
    """Tell whether nothing is left to measure: of a repeat, or of a whole cell that serves."""
    if cell.measure == "load":
        return desk.is_done(ident(cell))
    if cell.serves:
        return all(desk.is_done(ident(cell, n)) for n in range(desk.config.repeats))
    return desk.is_done(ident(cell, repeat))


def measure(desk: Desk, cell: Cell, repeat: int) -> None:
    """Measure a cell: all of its repeats where it serves, else the one asked for.

    Raises StudioError when it cannot be had, Halted when the study is stopped meanwhile.
    """
    if cell.measure == "load":
        _load(desk, cell)
    elif cell.measure in ("ask", "images"):
        _over_http(desk, cell)
    else:
        _one_run(desk, cell, repeat)


# one run for each repeat ------------------------------------------------------------------------


def _one_run(desk: Desk, cell: Cell, repeat: int) -> None:
    name, begun = ident(cell, repeat), time.time()
    run = _run_to_its_end(desk, cell, name, repeat)
    if cell.measure == "training":
        figures = training_figures(desk.studio, run)
        _check_ranks(run)
    else:
        told = desk.studio.results(run.id)
        figures = {key: figure.value for key, figure in told.items()} | run_figures(run)
    begun = run.started_at or begun
    desk.keep(cell, name, figures, runs=[run], begun=begun, repeat=repeat)
    if not desk.config.keep_models:
        _remove_weights(run)


def _remove_weights(run: Run) -> None:
    """Remove the weights and optimizer states that a training left; everything else stays."""
    for pattern in WEIGHTS:
        for path in run.dir.artifacts.rglob(pattern):
            if path.is_file() and not path.is_symlink():
                path.unlink()


def _run_to_its_end(desk: Desk, cell: Cell, name: str, repeat: int) -> Run:
    """Return the finished run of a row: found from before, taken over, or launched now."""
    before = desk.hands.ended_well(name)
    if before is not None:
        return before
    for attempt in range(desk.config.attempts):
        run = desk.hands.take(cell.launch, name)
        desk.say(cell, Phase.WAITING, run=run.id, repeat=repeat)
        try:
            return _followed(desk, cell, run)
        except EngineExited as error:
            if attempt + 1 == desk.config.attempts:
                raise
            desk.say(cell, Phase.WAITING, f"tried again: {error.message}")
        finally:
            if desk.studio.jobs.get(run.id).state.alive:
                desk.say(cell, Phase.STOPPING)
                desk.hands.stop(run)
    raise AssertionError("there is at least one attempt")


def _followed(desk: Desk, cell: Cell, run: Run) -> Run:
    config = desk.config
    desk.hands.started(
        run, config.queue_timeout_s, lambda run: desk.say(cell, Phase.WAITING, run.reason)
    )
    desk.say(cell, Phase.MEASURING)

    def told(run: Run) -> None:
        progress = desk.studio.progress(run.id)
        if progress is not None and progress.total:
            desk.fractions[cell.name] = min(1.0, progress.done / progress.total)

    return desk.hands.ended(run, config.case_timeout_s, told)


def _check_ranks(run: Run) -> None:
    """Refuse figures of a training that ran in fewer processes than it was asked for."""
    if run.ranks_seen < run.spec.ranks:
        raise StudioError(
            f"Run {run.id} came up with {run.ranks_seen} of {run.spec.ranks} processes, so its "
            "figures are not those of the case."
        )


# a load on a server -----------------------------------------------------------------------------


def _load(desk: Desk, cell: Cell) -> None:
    begun = time.time()
    with serving(desk, cell) as server:
        folder = _load_test(desk, cell, server)
    points = desk.studio.saved.get(folder.name).points
    failed = [point for point in points if not point.done]
    if len(failed) == len(points):
        why = next((point.error for point in failed if point.error), "it kept no points")
        raise StudioError(f"No point of the load test was measured: {why}")
    figures = _of_servers(desk, server)
    desk.keep(cell, ident(cell), figures, runs=ended(desk, server), begun=begun)


def _load_test(desk: Desk, cell: Cell, server: Server) -> Path:
    """Run the load test to its end and return the folder of its points."""
    name = f"{cell.slug}.load"
    left = desk.hands.alive(name)
    if left is not None and not server.adopted:
        desk.hands.stop(left)  # it asks a server that is gone
    run = desk.hands.take(_load_ask(desk, cell, server.endpoint), name)
    before = desk.record.load_results(cell.name)
    facts = {"results": before} if before else {}
    desk.say(cell, Phase.MEASURING, run=run.id, **facts)

    def told(run: Run) -> None:
        folder = results_folder(run.dir)
        if folder is not None and folder.name != desk.record.load_results(cell.name):
            desk.say(cell, Phase.MEASURING, results=folder.name)
        progress = desk.studio.progress(run.id)
        if progress is not None and progress.total:
            desk.fractions[cell.name] = min(1.0, progress.done / progress.total)

    try:
        desk.hands.started(run, desk.config.queue_timeout_s)
        run = desk.hands.ended(run, desk.config.case_timeout_s, told, list(server.runs))
    finally:
        told(desk.studio.jobs.get(run.id))
        desk.hands.stop(run)
    folder = results_folder(run.dir)
    if folder is None:
        raise StudioError(f"Run {run.id} left no folder of results.")
    return folder


def _load_ask(desk: Desk, cell: Cell, endpoint: Endpoint) -> Launch:
    settings = load_settings(cell, desk.config.repeats, endpoint.base_url)
    settings |= {"study": desk.record.name, "case": cell.name}
    before = desk.record.load_results(cell.name)
    if before:
        settings["results"] = before
    return load_ask(desk.studio, endpoint.id, settings, tool=cell.tool)


# questions and edits ----------------------------------------------------------------------------


def _over_http(desk: Desk, cell: Cell) -> None:
    with serving(desk, cell) as server:
        desk.say(cell, Phase.MEASURING)
        session = asking if cell.measure == "ask" else editing
        session.warm_up(desk, cell, server.endpoint)
        for repeat in range(desk.config.repeats):
            if desk.is_done(ident(cell, repeat)):
                continue
            desk.hands.check()
            begun = time.time()
            found = session.measure(desk, cell, server.endpoint, repeat)
            figures = _so_far(server) | found.figures | {"startup_s": server.startup_s}
            desk.keep(
                cell,
                ident(cell, repeat),
                figures,
                runs=list(server.runs),
                begun=begun,
                repeat=repeat,
                engine=session.ENGINE,
                condition=found.condition,
                raw=found.raw,
            )
            desk.fractions[cell.name] = (repeat + 1) / desk.config.repeats


def _so_far(server: Server) -> dict[str, float]:
    """Return the peaks that the supervisors have seen of a server that still runs."""
    rows = [row for run in server.runs for row in run.dir.metrics()]
    cards = [size for row in rows for size in row.get("gpu_bytes", {}).values()]
    hosts = [
        max((row["host_bytes"] for row in run.dir.metrics()), default=0) for run in server.runs
    ]
    found = {"peak_card_gib": max(cards, default=0) / GIB, "peak_host_gib": sum(hosts) / GIB}
    return {name: value for name, value in found.items() if value}


def _of_servers(desk: Desk, server: Server) -> dict[str, float]:
    """Return what the supervisors saw: memory of the fullest card, host memory, start-up."""
    found = [run_figures(run) for run in ended(desk, server)]
    cards = [figures["peak_card_gib"] for figures in found if "peak_card_gib" in figures]
    hosts = [figures["peak_host_gib"] for figures in found if "peak_host_gib" in figures]
    figures = {"startup_s": server.startup_s}
    if cards:
        figures["peak_card_gib"] = max(cards)
    if hosts:
        figures["peak_host_gib"] = sum(hosts)
    return figures
