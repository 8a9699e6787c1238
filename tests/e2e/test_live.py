"""A real vLLM at work: its figures move, prefix hits come, and an adapter is hung on and taken off.

The figures are compared with what the clients themselves counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from e2e.adapter import write_adapter
from e2e.conftest import answer, endpoint_of, ready, stopped
from studio.chat.client import Done, Sampling, list_models, stream
from studio.core.errors import EndpointDown, RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, State
from studio.jobs.jobs import Run
from studio.studio import Studio
from studio.telemetry.readings import Reading, all_readings
from studio.telemetry.serving import Load, load
from studio.ui.serving.routes import Live
from studio.ui.serving.view import live

pytestmark = [pytest.mark.engine, pytest.mark.timeout(1800)]

WHO = "你是谁？"
BASE = ROOT / "assets/models/tiny-qwen2.5"
SETTINGS = {
    "enable_prefix_caching": True,
    "block_size": 32,
    "max_num_seqs": 4,
    "enable_lora": True,
    "hot_lora": True,
    "max_loras": 2,
    "max_lora_rank": 8,
}
SHARED = "请记住：Ladder Studio 是学习和运行大模型的控制台。" * 8
"""A beginning that all requests share, many blocks long."""


@pytest.fixture(scope="module")
def server(real_studio: Studio) -> Iterator[Run]:
    """One server for this file."""
    run = ready(real_studio, real_studio.launch_recipe("vllm/smoke", SETTINGS))
    yield run
    stopped(real_studio, run)


@pytest.fixture(scope="module")
def endpoint(real_studio: Studio, server: Run) -> Endpoint:
    return endpoint_of(real_studio, server)


def readings(run: Run) -> list[Reading]:
    return all_readings(run.dir.folder / "served.jsonl")


def seen(run: Run, condition: Callable[[Load], bool], timeout_s: float = 60) -> Load:
    """Wait until the figures since the start satisfy a condition; return them."""
    until = time.monotonic() + timeout_s
    while True:
        now = load(readings(run), window_s=float("inf"))
        if now is not None and condition(now):
            return now
        assert time.monotonic() < until, now
        time.sleep(0.2)


def ask(endpoint: Endpoint, number: int) -> Done:
    messages = [
        {"role": "system", "content": SHARED},
        {"role": "user", "content": f"{WHO} {number}"},
    ]
    done = None
    with stream(endpoint, messages, sampling=Sampling(temperature=0, max_tokens=48)) as events:
        for event in events:
            done = event if isinstance(event, Done) else done
    assert done is not None and done.usage is not None
    return done


def test_ready_server_is_quiet_and_says_so(real_studio: Studio, server: Run) -> None:
    now = seen(server, lambda load: True)
    assert not now.asked
    assert (now.running, now.finished, now.block_size, now.prefix_caching) == (0, 0, 32, True)
    html = live("en", server, Live(real_studio).look(server))
    assert "nobody asks yet" in html and f":{server.spec.port}/v1" in html


def test_figures_agree_with_what_the_clients_counted(
    real_studio: Studio, server: Run, endpoint: Endpoint
) -> None:
    before = seen(server, lambda load: True)
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda number: ask(endpoint, number), range(40)))
    now = seen(server, lambda load: load.finished >= before.finished + 40 and not load.running)
    assert now.finished == before.finished + 40 and now.failed == before.failed
    asked = sum(one.usage["prompt_tokens"] for one in done)
    written = sum(one.usage["completion_tokens"] for one in done)
    assert now.prompt_tokens == before.prompt_tokens + asked
    assert now.generation_tokens == before.generation_tokens + written
    assert now.prefix_hit_rate_total > 0.7, "all but the first found the shared beginning"
    for figure in (now.ttft, now.itl, now.e2e):
        assert 0 < figure.p50 <= figure.p90 <= figure.p99
    slowest = max(one.total_s for one in done)
    assert now.ttft.p50 <= now.e2e.p50 <= slowest * 1.5 + 0.3, "a bucket is 0.3 s wide"
    rows = readings(server)
    assert max(row.values["running"] for row in rows) <= 4, "never more than max_num_seqs"
    speeds = [p.value for p in real_studio.points(server.id) if p.name == "generation tok/s"]
    assert not speeds or min(speeds) >= 0


def test_look_at_work_is_cheap_and_whole(real_studio: Studio, server: Run) -> None:
    look = Live(real_studio).look(server)
    html = live("zh", server, look)
    assert look.total.finished >= 40 and look.samples and look.host_bytes > 2**28
    for text in ("每秒 token 数", "前缀缓存", "首个 token", "curl http://127.0.0.1"):
        assert text in html
    assert "None" not in html and "nan" not in html


def test_adapter_is_hung_on_and_changes_the_answer(
    real_studio: Studio, server: Run, endpoint: Endpoint, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "one", BASE, seed=1)
    bare, _, _ = answer(endpoint, WHO, max_tokens=24)
    after = real_studio.load_adapter(server.id, "mine", str(folder))
    assert after.models == (*endpoint.models, "mine")
    assert set(list_models(endpoint)) == set(after.models), "the server says the same"
    assert [(a.name, a.folder) for a in real_studio.adapters(server.id)] == [("mine", str(folder))]
    changed, _, _ = answer(after.model_copy(update={"models": ("mine",)}), WHO, max_tokens=24)
    assert changed != bare
    with pytest.raises(RecipeInvalid, match="already serves a model named mine"):
        real_studio.load_adapter(server.id, "mine", str(folder))
    wide = write_adapter(tmp_path / "wide", BASE, seed=2, rank=16)
    with pytest.raises(RecipeInvalid, match="rank 16"):
        real_studio.load_adapter(server.id, "wide", str(wide))
    gone = real_studio.unload_adapter(server.id, "mine")
    assert gone.models == endpoint.models
    assert real_studio.adapters(server.id) == []
    assert real_studio.unload_adapter(server.id, "mine").models == endpoint.models
    assert answer(endpoint, WHO, max_tokens=24)[0] == bare


def test_what_serves_nothing_takes_no_adapter(real_studio: Studio, server: Run) -> None:
    for run in real_studio.jobs.list():
        if run.spec.endpoint is None or run.state is not State.READY:
            with pytest.raises(EndpointDown, match="serves nothing now"):
                real_studio.load_adapter(run.id, "mine", "./nowhere")
            return
