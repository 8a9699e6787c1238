"""A load test as its run shows it: the worker's command, how far it is, its curves and figures.

The worker keeps its results in a folder of their own (`home/bench/...`); the run knows which.
"""

from __future__ import annotations

import json
import shlex
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.bench import point as saved
from studio.bench.untold import told
from studio.core.spec import Command, Placement
from studio.engines.bench_fields import LoadConfig
from studio.engines.engine import Figure, Point, Progress, engine_env, resolve_path
from studio.jobs.rundir import RunDir, read_rows

WORKER = Path(__file__).with_name("workers") / "bench_sweep.py"
SWEEP = "sweep.json"
WHERE, PROGRESS = "results.json", "progress.jsonl"
"""Files of a run's artifacts: its folder of results; a row whenever something begins or ends."""
CURVES = {
    "output_throughput": "output tok/s",
    "ttft_p90_ms": "TTFT p90 (ms)",
    "tpot_p90_ms": "TPOT p90 (ms)",
}
FIGURES = ("output_throughput", "request_throughput", "ttft_p90_ms", "tpot_p90_ms", "e2el_p90_ms")


def sweep_command(tool: str, config: LoadConfig, place: Placement) -> Command:
    """Return the worker's command; its settings lie in `sweep.json` of the run folder."""
    settings: dict[str, Any] = config.model_dump(mode="json", exclude={"extra_args", "api_key"})
    settings["tool"] = tool
    settings["extra_args"] = list(config.extra_args)
    settings["bench_dir"] = place.bench_dir
    settings["again"] = _again(tool, config)
    settings["tokenizer"] = resolve_path(config.tokenizer, place.root) if config.tokenizer else ""
    if settings["dataset_path"]:
        file = resolve_path(settings["dataset_path"], place.root)
        settings["dataset_path"] = str(Path(place.root, file))
    env = engine_env(place, config.tokenizer, on_cpu=True)
    env |= {"DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONUNBUFFERED": "1"}
    env["OPENAI_API_KEY"] = config.api_key  # empty as well: nobody else's key goes out
    return Command(
        argv=(place.interpreter.python, str(WORKER), SWEEP),
        env=env,
        files={SWEEP: json.dumps(settings, ensure_ascii=False, indent=1) + "\n"},
    )


def results_folder(run: RunDir) -> Path | None:
    """Return the folder of results that a run writes; None until the worker has made it.

    In a home that was moved or copied it is the folder of the same name there.
    """
    try:
        told = json.loads((run.artifacts / WHERE).read_text(encoding="utf-8"))["folder"]
        folder = Path(told)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    moved = run.folder.parent.parent / folder.parent.name / folder.name
    return moved if moved.is_dir() and not folder.is_dir() else folder


def progress(run: RunDir) -> Progress | None:
    """Return the points done of how many, what is measured now, and the seconds left."""
    rows = read_rows(run.artifacts / PROGRESS)
    if not rows:
        return None
    last = rows[-1]
    left = last.get("remaining_s")
    if left is not None:
        left = max(0.0, left - (time.time() - last["at"]))
    text = str(last.get("now") or "")
    if last.get("failed"):
        text = f"{text}, {last['failed']} failed".strip(", ")
    return Progress(last["done"], max(1, last["total"]), text, left)


def curves(run: RunDir) -> Iterator[Point]:
    """Yield throughput and latencies against users or rate: the median of the repeats so far."""
    found: dict[tuple[str, float], list[float]] = defaultdict(list)
    for point in _points(run):
        load = point.condition.get("concurrency") or point.condition.get("request_rate")
        lengths = "/".join(
            str(point.condition.get(name) or "-") for name in ("input_len", "output_len")
        )
        for name, title in CURVES.items():
            if name in point.figures and load is not None:
                found[f"{title} {lengths}", float(load)].append(point.figures[name])
    for (title, load), values in sorted(found.items()):
        yield Point(title, load, statistics.median(values))


def figures(run: RunDir) -> dict[str, Figure]:
    """Return the median of each condition's repeats, with the standard error of their mean."""
    found: dict[str, list[float]] = defaultdict(list)
    for point in _points(run):
        for name in FIGURES:
            if name in point.figures:
                found[f"{point.id.rpartition('-r')[0]}/{name}"].append(point.figures[name])
    return {
        name: Figure(
            statistics.median(values),
            statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None,
        )
        for name, values in found.items()
    }


def _points(run: RunDir) -> list[saved.Point]:
    folder = results_folder(run)
    if folder is None:
        return []
    return [told(point) for point in saved.read_points(folder / saved.POINTS) if point.done]


def _again(tool: str, config: LoadConfig) -> str:
    """Return the shell line that measures the same again; the key is never in it."""
    hidden = {"base_url", "api_key", "server", "server_run", "measure_cards", "metrics_urls"}
    hidden |= {"results", "study", "case"}
    told = config.model_dump(mode="json", exclude_defaults=True, exclude=hidden)
    words = [f"{key}={_word(value)}" for key, value in told.items()]
    other = [] if tool == "vllm-bench" else ["--tool", tool]
    return shlex.join(["python", "app.py", "bench", "run", config.base_url, *words, *other])


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
