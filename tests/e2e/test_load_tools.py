"""Load tests beyond text and vLLM's tool: pictures, and GuideLLM against known delays.

One vision-language server for one test; GuideLLM needs no engine, only its own environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from conftest import FAKES, free_port

from e2e.conftest import BUILD_S, ready, stopped
from studio.bench.point import POINTS, read_points
from studio.core.spec import State
from studio.engines.bench_run import results_folder
from studio.engines.explain import explain
from studio.jobs.jobs import Run
from studio.loadtest import load_ask
from studio.studio import Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

TOKENIZER = "assets/models/tiny-qwen2.5"


@pytest.fixture
def timed() -> Iterator[str]:
    """A server whose first token comes after 1 s and then one every 100 ms."""
    port = free_port(8670)
    argv = [sys.executable, str(FAKES / "timed_openai.py"), str(port), "--key", "sk-tests"]
    argv += ["--ttft-ms", "1000", "--tpot-ms", "100"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    yield f"http://127.0.0.1:{port}/v1"
    child.kill()
    child.wait(10)


def ended(studio: Studio, run: Run) -> Run:
    """Wait for a load test, its environment's build included."""
    for build in run.spec.after:
        assert studio.jobs.wait(build, timeout_s=BUILD_S).state is State.DONE
    return studio.jobs.wait(run.id, timeout_s=600)


def test_pictures(real_studio: Studio) -> None:
    server = ready(real_studio, real_studio.launch_recipe("vllm/smoke-vl"))
    try:
        recipe = real_studio.recipes.get("vllm-bench/pictures").settings
        own = {key: value for key, value in recipe.items() if key not in ("base_url", "tokenizer")}
        ask = load_ask(real_studio, server.id, {**own, "repeats": 1, "concurrency": [2]})
        run = ended(real_studio, real_studio.launch(ask))
        assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
        folder = results_folder(run.dir)
        assert folder is not None
        (point,) = read_points(folder / POINTS)
        assert point.done and point.id == "in32-out16-img1-c2-r0"
        assert point.condition["images"] == 1 and point.condition["image_size"] == "112x112"
        assert point.figures["completed"] == 8, point.error
        assert point.figures["input_tokens"] > 8 * (32 + 10), "a picture is tokens too"
        assert "/v1/chat/completions" in point.argv
    finally:
        stopped(real_studio, server)


def test_guidellm_tells_known_delays(real_studio: Studio, timed: str) -> None:
    settings = {"tokenizer": TOKENIZER, "api_key": "sk-tests", "input_len": [16]}
    settings |= {"output_len": [10], "concurrency": [2], "num_prompts": 6, "repeats": 3}
    ask = load_ask(real_studio, timed, {**settings, "slo_ttft_ms": 1500}, tool="guidellm")
    run = ended(real_studio, real_studio.launch(ask))
    assert run.state is State.DONE, run.dir.log.read_text()[-3000:]
    folder = results_folder(run.dir)
    assert folder is not None
    points = read_points(folder / POINTS)
    assert len(points) == 3
    for point in points:
        assert point.engine == "guidellm" and point.model == "timed"
        assert point.figures["completed"] == 6 and point.figures["failed"] == 0, point.error
    # a busy machine delivers late and never early, so the promptest of three sittings counts
    point = min(points, key=lambda point: point.figures["ttft_median_ms"])
    told, whole = point.figures, 1000 + 9 * 100
    for name, ms in (("ttft", 1000), ("tpot", 100), ("e2el", whole)):
        assert told[f"{name}_median_ms"] == pytest.approx(ms, rel=0.03), name
    assert told["goodput_share"] == 1
    raw = json.loads((folder / point.raw).read_text(encoding="utf-8"))
    own = raw["benchmarks"][0]["metrics"]["time_per_output_token_ms"]["successful"]["mean"]
    assert own > 1.3 * told["tpot_mean_ms"], "GuideLLM's own TPOT has the first token in it"
    for path in folder.rglob("*"):
        assert not path.is_file() or "sk-tests" not in path.read_text(encoding="utf-8"), path


def test_guidellm_without_the_key(real_studio: Studio, timed: str) -> None:
    ask = load_ask(real_studio, timed, {"tokenizer": TOKENIZER}, tool="guidellm")
    run = ended(real_studio, real_studio.launch(ask))
    why = explain(run)
    assert run.state is State.FAILED and why is not None and why.key == "load-key"
