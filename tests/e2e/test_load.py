"""Load tests with the real tools: `vllm bench serve` against vLLM and against known delays.

One vLLM server carries the file; about three CPU minutes.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FAKES, free_port

from e2e.conftest import ready, stopped
from studio.bench import formulas
from studio.bench.point import POINTS, Point, read_points
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.engines.bench_run import results_folder
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.loadtest import load_ask, plan_load, resume_ask
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

TOKENIZER = "assets/models/tiny-qwen2.5"
PATIENCE_S = 600
Serve = Callable[..., str]


@pytest.fixture(scope="module")
def server(real_studio: Studio) -> Iterator[Run]:
    """The tiny chat model on vLLM."""
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", {"port": free_port(8650)}))
    yield run
    stopped(real_studio, run)


@pytest.fixture
def timed() -> Iterator[Serve]:
    """Start servers with known delays, by their words; return their addresses."""
    started: list[subprocess.Popen[str]] = []

    def serve(*words: object) -> str:
        port = free_port(8700 + 10 * len(started))
        argv = [sys.executable, str(FAKES / "timed_openai.py"), str(port), *map(str, words)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        return f"http://127.0.0.1:{port}/v1"

    yield serve
    for child in started:
        child.kill()
        child.wait(10)


def measured(studio: Studio, run: Run) -> tuple[Run, list[Point]]:
    """Wait for a load test; return it and the points of its folder."""
    run = studio.jobs.wait(run.id, timeout_s=PATIENCE_S)
    folder = results_folder(run.dir)
    return run, read_points(folder / POINTS) if folder else []


def against(studio: Studio, url: str, **settings: Any) -> tuple[Run, list[Point]]:
    """Measure an address with the tiny tokenizer."""
    given = {"tokenizer": TOKENIZER, "repeats": 1, "warmup": False, "num_warmups": 0, **settings}
    return measured(studio, studio.launch(load_ask(studio, url, given)))


# against vLLM ------------------------------------------------------------------------------------


def test_killed_in_the_middle_and_resumed(real_studio: Studio, server: Run) -> None:
    """SIGKILL while a point is measured: what is done stays byte for byte, the rest follows."""
    grid = {"input_len": [48], "output_len": [24, 48], "concurrency": [1, 4], "repeats": 2}
    ask = load_ask(real_studio, server.id, {**grid, "num_prompts": 12, "slo_ttft_ms": 2000})
    assert plan_load(real_studio, ask.engine, ask.settings).points == 8
    run = real_studio.launch(ask)
    folder = until(lambda: results_folder(run.dir))
    until(lambda: len(read_points(folder / POINTS)) >= 2)
    pid = next(row["pid"] for row in run.dir.events() if "pid" in row)
    os.kill(pid, signal.SIGKILL)
    run = real_studio.jobs.wait(run.id, timeout_s=60)
    assert run.state is State.FAILED
    kept = (folder / POINTS).read_bytes()
    done = {point.id for point in read_points(folder / POINTS)}
    assert 2 <= len(done) < 8

    run, points = measured(real_studio, real_studio.launch(resume_ask(real_studio, folder.name)))
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    assert results_folder(run.dir) == folder
    assert (folder / POINTS).read_bytes().startswith(kept)
    assert len(points) == 8 and all(point.done for point in points)
    assert [point.id for point in points[:4]] == [
        *("in48-out24-c1-r0", "in48-out24-c4-r0", "in48-out48-c1-r0", "in48-out48-c4-r0"),
    ], "repeats are outermost"
    assert len({point.seed for point in points}) == 8
    progress = real_studio.progress(run.id)
    assert progress is not None and (progress.done, progress.total) == (8, 8)
    results = real_studio.saved.get(folder.name)
    assert results.about.run == run.id and results.about.server is not None
    assert results.about.server["engine"] == "vllm"
    for point in points:
        assert point.server_run == server.id and point.model == "tiny-qwen2.5"
        assert point.figures["completed"] == 12 and point.figures["failed"] == 0
        assert point.figures["output_tokens"] == 12 * point.condition["output_len"]
        assert point.figures["prefix_hit_rate"] == 0, "no prompt was seen before"
        same_as_an_independent_reader(folder, point)
    told = [point.figures for point in points if point.figures["duration_s"] > 2]
    assert all(0 < one["api_server_busy"] <= 1 for one in told)


def same_as_an_independent_reader(folder: Path, point: Point) -> None:
    """Work the figures out again from the single requests of the tool's own JSON."""
    raw = json.loads((folder / point.raw).read_text(encoding="utf-8"))
    told, close = point.figures, lambda value: pytest.approx(value, rel=1e-9)
    sent, first = raw["start_times"], raw["ttfts"]
    latency = [a + sum(gaps) for a, gaps in zip(first, raw["itls"], strict=True)]
    lengths = raw["output_lens"]
    assert told["output_throughput"] == close(sum(lengths) / raw["duration"])
    assert told["request_throughput"] == close(len(sent) / raw["duration"])
    pace = [formulas.tpot(e, f, n) or 0 for e, f, n in zip(latency, first, lengths, strict=True)]
    pooled = [gap for gaps in raw["itls"] for gap in gaps]
    rows = {"ttft": first, "tpot": pace, "itl": pooled, "e2el": latency}
    for name, seconds in rows.items():
        for key, value in formulas.latency_figures(name, seconds).items():
            assert told[key] == pytest.approx(value, rel=1e-6, abs=1e-6), key
    assert told["tokens_per_s_user"] == close(statistics.median(1 / p for p in pace if p))
    limits = [{"ttft_ms": f * 1000} for f in first]
    assert told["goodput"] == close(formulas.goodput(limits, point.slo, raw["duration"]))
    assert told["goodput_share"] == close(formulas.goodput_share(limits, point.slo))


def test_stop_keeps_what_is_done(real_studio: Studio, server: Run) -> None:
    settings = {"input_len": [32], "output_len": [64], "concurrency": [1, 2], "repeats": 4}
    run = real_studio.launch(load_ask(real_studio, server.id, {**settings, "num_prompts": 12}))
    folder = until(lambda: results_folder(run.dir))
    until(lambda: read_points(folder / POINTS))
    real_studio.jobs.stop(run.id)
    run, points = measured(real_studio, run)
    assert run.state is State.STOPPED and 1 <= len(points) < 8
    assert all(point.done for point in points)


def test_own_prompts_and_sharegpt(real_studio: Studio, server: Run, tmp_path: Path) -> None:
    rows = json.loads((ROOT / "assets/data/smoke_zh_en.json").read_text(encoding="utf-8"))
    own = tmp_path / "own.jsonl"
    lines = (json.dumps({"prompt": row["instruction"]}, ensure_ascii=False) for row in rows)
    own.write_text("\n".join(lines), encoding="utf-8")
    talks = tmp_path / "talks.json"
    turns = [
        {"conversations": [{"value": row["instruction"] * 4}, {"value": row["output"]}]}
        for row in rows
    ]
    talks.write_text(json.dumps(turns, ensure_ascii=False), encoding="utf-8")
    for kind, path in (("custom", own), ("sharegpt", talks)):
        settings = {"dataset": kind, "dataset_path": str(path), "output_len": [8]}
        settings |= {"concurrency": [2], "num_prompts": 8, "repeats": 1}
        ask = load_ask(real_studio, server.id, settings)
        run, points = measured(real_studio, real_studio.launch(ask))
        assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
        assert [point.id for point in points] == [f"{kind}-out8-c2-r0"]
        assert points[0].figures["completed"] == 8, points[0].error
        assert points[0].condition["input_len"] is None


def test_a_load_longer_than_the_server_takes_is_a_failed_point(
    real_studio: Studio, server: Run
) -> None:
    settings = {"input_len": [64, 4000], "output_len": [8], "concurrency": [2], "repeats": 1}
    ask = load_ask(real_studio, server.id, {**settings, "num_prompts": 4})
    run, points = measured(real_studio, real_studio.launch(ask))
    assert run.state is State.DONE
    assert [point.status for point in points] == ["done", "failed"]
    assert "max_model_len" in points[1].error and not points[1].figures


# against known delays ----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["openai", "openai-chat"])
def test_known_delays_within_three_percent(real_studio: Studio, timed: Serve, backend: str) -> None:
    """First token after 1 s, then one every 100 ms: the tool says so, to 3 %.

    A busy machine delivers late and never early, so the promptest of three sittings counts.
    """
    url = timed("--ttft-ms", 1000, "--tpot-ms", 100)
    run, points = against(
        *(real_studio, url),
        backend=backend,
        input_len=[16],
        output_len=[10],
        concurrency=[1, 4],
        num_prompts=4,
        repeats=3,
        slo_ttft_ms=1500,
        slo_e2el_ms=1500,
    )
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    whole = 1000 + 9 * 100
    for users in (1, 4):
        told = [point.figures for point in points if point.condition["concurrency"] == users]
        assert len(told) == 3
        best = min(told, key=lambda one: one["ttft_median_ms"])
        for name, ms in (("ttft", 1000), ("tpot", 100), ("itl", 100), ("e2el", whole)):
            assert best[f"{name}_median_ms"] == pytest.approx(ms, rel=0.03), name
        assert best["tokens_per_s_user"] == pytest.approx(10, rel=0.03)
        assert best["output_throughput"] == pytest.approx(users * 10_000 / whole, rel=0.05)
        for one in told:
            assert one["goodput_share"] == 0, "no whole answer comes within 1.5 s"
            assert "running_max" not in one, "it has no figures of its own"
            for loop in ("api_server_busy", "generator_busy"):
                assert 0 < one[loop] < 0.9, "both mostly wait"


def test_the_server_dies_in_the_middle_and_comes_back(real_studio: Studio, timed: Serve) -> None:
    url = timed("--ttft-ms", 20, "--tpot-ms", 1, "--die-after", 10)
    settings = {"input_len": [16], "output_len": [4], "concurrency": [1, 2, 4], "num_prompts": 6}
    run, points = against(real_studio, url, **settings)
    assert run.state is State.FAILED
    assert [point.status for point in points] == ["done", "failed"], "and no third was tried"
    assert "stopped answering" in points[1].error
    why = explain(run)
    folder = results_folder(run.dir)
    assert why is not None and why.key == "load-server-died" and folder is not None
    assert why.fixes[0].changes == {"results": folder.name}
    again = timed("--ttft-ms", 20, "--tpot-ms", 1)
    ask = resume_ask(real_studio, folder.name, endpoint=again)
    run, points = measured(real_studio, real_studio.launch(ask))
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    assert len(points) == 3 and all(point.done for point in points)


@pytest.mark.parametrize(
    ("words", "settings", "key"),
    [
        (("--key", "right"), {"api_key": "wrong"}, "load-key"),
        ((), {"model": "no-such-model"}, "load-model"),
        (("--no-models",), {}, "load-not-openai"),
        (("--no-completions",), {}, "load-path"),
        (("--refuse", "The engine is asleep."), {}, "load-refused"),
        ((), {"tokenizer": "assets/data"}, "load-tokenizer"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_measured_says_why(
    real_studio: Studio, timed: Serve, words: tuple[str, ...], settings: dict[str, Any], key: str
) -> None:
    run, points = against(real_studio, timed(*words), num_prompts=1, **settings)
    assert run.state is State.FAILED and points == []
    why = explain(run)
    assert why is not None and why.key == key, run.dir.log.read_text()
    if key == "load-model":
        assert why.fixes[0].changes == {"model": "timed"}
    if key == "load-path":
        assert why.fixes[0].changes == {"backend": "openai-chat"}


def test_nobody_there(real_studio: Studio) -> None:
    run, _ = against(real_studio, f"http://127.0.0.1:{free_port(8790)}/v1")
    why = explain(run)
    assert run.state is State.FAILED and why is not None and why.key == "load-unreachable"


def test_the_key_reaches_the_server_and_no_file(real_studio: Studio, timed: Serve) -> None:
    key = "sk-for-tests-only"
    url = timed("--key", key, "--ttft-ms", 20, "--tpot-ms", 1)
    small = {"input_len": [16], "output_len": [4], "concurrency": [1], "num_prompts": 2}
    run, points = against(real_studio, url, api_key=key, **small)
    assert run.state is State.DONE and points[0].figures["completed"] == 2
    folder = results_folder(run.dir)
    assert folder is not None
    for path in (*folder.rglob("*"), run.dir.log, run.dir.folder / "sweep.json"):
        assert not path.is_file() or key not in path.read_text(encoding="utf-8"), path


def until(look: Callable[[], Any], timeout_s: float = 240) -> Any:
    """Wait until a look sees something, and return it."""
    end = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return seen
