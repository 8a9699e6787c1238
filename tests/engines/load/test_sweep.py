"""The loop over the points: what is skipped, what fails, what ends it. The tool is a stand-in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import FAKES, free_port

from studio.bench.point import POINTS, Point, read_points
from studio.bench.saved import Saved
from studio.engines.vllm_bench import VllmBenchConfig
from studio.engines.workers.bench import sweep
from studio.engines.workers.bench.grid import Load
from studio.engines.workers.bench.server import Server
from studio.engines.workers.bench.sweep import Failed, Measured, Stopped
from studio.engines.workers.bench.watch import Watch


class Tool:
    """Measures nothing and says what it was asked; fails or dies where it is told to."""

    id, version, stopping, generator = "stand-in", "1.0", False, None

    def __init__(self, does: Callable[[Load], Any] = lambda load: None) -> None:
        self._does = does
        self.warmed: list[tuple[str, int]] = []
        self.measured: list[str] = []

    def prepare(self, server: Server, model: str, tokenizer: str) -> None:
        self.asked = (model, tokenizer)

    def warm_up(self, load: Load, num_prompts: int) -> None:
        self.warmed.append((load.id, num_prompts))

    def measure(self, load: Load, raw: Path, watch: Watch) -> Measured:
        watch.begin()
        watch.end()
        self.measured.append(load.id)
        raw.write_text("{}")
        figures = {"completed": load.num_prompts, "failed": 0, "output_tokens": 4}
        figures |= self._does(load) or {}
        return Measured(figures, ("tool", load.id))


@pytest.fixture
def server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server that is really asked; the test may end it."""
    port = free_port(8980)
    argv = [sys.executable, str(FAKES / "timed_openai.py"), str(port)]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    yield f"http://127.0.0.1:{port}/v1", child
    child.kill()
    child.wait(10)


@pytest.fixture
def run(
    server: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, list[Point]]]:
    """Run a sweep in a run folder of its own; return the exit code and the points."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STUDIO_RUN_ID", "01run")

    def go(tool: Tool, **given: Any) -> tuple[int, list[Point]]:
        config = VllmBenchConfig.model_validate(
            {"base_url": server[0], "tokenizer": "/t", "repeats": 1, "concurrency": [1, 2], **given}
        )
        settings = config.model_dump(mode="json") | {"tool": tool.id, "chat": False, "slo": {}}
        settings |= {"bench_dir": str(tmp_path / "bench"), "again": "python app.py", "warmup": True}
        code = sweep.run(settings, tool)
        where = Path("artifacts/results.json")
        folder = Path(json.loads(where.read_text())["folder"]) if where.exists() else tmp_path
        return code, read_points(folder / POINTS)

    return go


def test_every_point_is_written_as_the_studio_reads_it(run, tmp_path: Path) -> None:
    tool = Tool()
    code, points = run(
        tool,
        server={"engine": "vllm", "version": "0.9", "cards": [0, 1], "card_names": ["A", "A"]},
        study="s",
        case="c",
    )
    assert code == 0 and tool.asked == ("timed", "/t")
    assert tool.warmed == [("in512-out128-c2-r0", 2), *((i, 2) for i in tool.measured)]
    first = points[0]
    assert (first.id, first.status, first.engine) == ("in512-out128-c1-r0", "done", "stand-in")
    assert (first.model, first.server, first.cards, first.card_name) == (
        *("timed", "vllm 0.9"),
        2,
        "A",
    )
    assert (first.study, first.case, first.repeat) == ("s", "c", 0)
    assert first.argv == ("tool", first.id) and first.raw == f"points/{first.id}.json"
    assert first.figures["prefix_cache_reset"] == 0, "asked for, and the server cannot"
    (results,) = Saved(tmp_path / "bench").folders()
    assert results.about.run == "01run" and results.about.study == "s"
    assert results.about.settings["seed"] == 0
    rows = [json.loads(line) for line in Path("artifacts/progress.jsonl").read_text().splitlines()]
    assert [row["now"] for row in rows] == ["", "warm-up", *tool.measured, ""]
    assert (rows[-1]["done"], rows[-1]["total"], rows[-1]["remaining_s"]) == (2, 2, 0)


def test_going_on_skips_what_is_done_and_repeats_what_failed(run) -> None:
    def fails_once(load: Load) -> dict[str, float] | None:
        if load.concurrency == 2:
            raise Failed("not today")
        return None

    code, points = run(Tool(fails_once))
    assert code == 0 and [p.status for p in points] == ["done", "failed"]
    assert points[1].error == "not today"
    folder = Path(json.loads(Path("artifacts/results.json").read_text())["folder"])
    tool = Tool()
    code, points = run(tool, results=folder.name)
    assert code == 0 and tool.measured == ["in512-out128-c2-r0"]
    assert [p.status for p in points] == ["done", "done"]


def test_the_next_sweep_of_a_server_has_other_prompts(run) -> None:
    first, second = (run(Tool())[1][0].seed for _ in range(2))
    assert first != second
    assert run(Tool(), seed=0)[1][0].seed == first, "unless a seed is given"


def test_a_point_without_an_answer_failed(run) -> None:
    code, points = run(Tool(lambda load: {"completed": 0, "failed": 4}))
    assert code == 1 and {p.status for p in points} == {"failed"}
    assert points[0].error.startswith("no request was answered")


def test_a_load_longer_than_the_server_takes_is_not_tried(run) -> None:
    tool = Tool()
    code, points = run(tool, input_len=[64, 4096], concurrency=[1])
    assert code == 0 and tool.measured == ["in64-out128-c1-r0"]
    assert "4224 tokens" in points[1].error and "4096" in points[1].error


def test_a_server_that_is_gone_ends_the_sweep(run, server: tuple[str, Any]) -> None:
    def last(load: Load) -> dict[str, float]:
        server[1].kill()
        server[1].wait(10)
        return {"failed": 1}

    tool = Tool(last)
    code, points = run(tool)
    assert code == 1 and tool.measured == ["in512-out128-c1-r0"]
    assert points[0].status == "failed" and "stopped answering" in points[0].error


def test_a_stop_keeps_what_is_done(run) -> None:
    def stop(load: Load) -> None:
        if load.concurrency == 2:
            raise Stopped

    code, points = run(Tool(stop))
    assert code == sweep.STOPPED and [p.id for p in points] == ["in512-out128-c1-r0"]


def test_results_that_are_not_there(run, capsys: pytest.CaptureFixture[str]) -> None:
    code, points = run(Tool(), results="nothing_20200101-000000")
    assert code == 1 and points == []
    assert "ERROR: there are no results to go on with" in capsys.readouterr().out
