"""The live view of a server: what it says in every situation, and that looking at it is cheap."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import free_port, spec

from studio.core.spec import Endpoint, EndpointSpec, Probe, Scrape, State, StopStep
from studio.jobs.jobs import Jobs, Run
from studio.jobs.rundir import RunDir
from studio.studio import Studio
from studio.telemetry.curves import history
from studio.telemetry.readings import Reading
from studio.telemetry.serving import LATELY_S, NOW_S, load
from studio.ui.page.shell import Served
from studio.ui.serving import view as serveview
from studio.ui.serving.routes import Live, routes
from studio.ui.serving.view import CardUse, Look, curl, live, openai_python
from studio.ui.tab import Tab

INF = float("inf")
BUCKETS = {"0.05": 90, "0.1": 9, "+Inf": 1}
IDLE = {"running": 0, "waiting": 0, "prompt_tokens": 0, "generation_tokens": 0}
BUSY = {
    "running": 31,
    "waiting": 7,
    "kv_use": 0.97,
    "kv_tokens": 100_000,
    "block_size": 16,
    "prefix_caching": 1,
    "prefix_queries": 100_000,
    "prefix_hits": 4_000,
    "prompt_tokens": 100_000,
    "generation_tokens": 36_000,
    "preemptions": 12,
    "finished|stop": 300,
    "finished|abort": 2,
    "ttft": BUCKETS,
    "itl": BUCKETS,
    "e2e": BUCKETS,
    "queue": BUCKETS,
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run that is ready, as far as anybody looks."""
    asked = spec(
        "server", serves=True, port=8000, endpoint=EndpointSpec(kind="chat", models=("m",))
    )
    asked = asked.model_copy(update={"scrape": Scrape(prefixes=("vllm:",))})
    return Run(spec=asked, state=State.READY, dir=RunDir(tmp_path), result=None)


def look(*values: dict, at: float = 1000.0, now: float = 1001.0, **fields: object) -> Look:
    """Return what is known after readings ten seconds apart, the last one at `at`."""
    count = len(values)
    readings = [Reading(at - 10 * (count - 1 - i), v) for i, v in enumerate(values)]
    return Look(
        at=now,
        now=load(readings, now=now, window_s=NOW_S),
        lately=load(readings, now=now, window_s=LATELY_S),
        total=load(readings, now=now, window_s=INF),
        samples=history(readings, now=now, span_s=600, points=60),
        **fields,
    )


def of(run: Run, state: State) -> Run:
    return Run(spec=run.spec, state=state, dir=run.dir, result=None)


# what it says -----------------------------------------------------------------------------------


def test_busy_server_is_told_at_a_glance(run: Run) -> None:
    html = live("en", run, look(IDLE, BUSY))
    for text in (
        "<b>31</b><span>running</span>",
        "7 in line",
        "<b>3,600</b><span>out</span>",
        "<b>10,000</b><span>in</span>",
        "97 %",
        "97,000 of 100,000 tokens",
        "Whole answer",
        "27.8 ms",
    ):
        assert text in html, text
    assert html.count("<svg viewBox") == 3
    assert "running 31" in html, "the curve tells its highest value"


def test_low_hit_rate_says_how_to_raise_it(run: Run) -> None:
    html = live("en", run, look(IDLE, BUSY))
    assert "4 %" in html and "word for word the same" in html
    assert "whole blocks of 16 tokens" in html
    good = live("en", run, look(IDLE, BUSY | {"prefix_hits": 80_000}))
    assert "the first token comes sooner" in good and "word for word" not in good
    off = live("en", run, look(IDLE, BUSY | {"prefix_caching": 0}))
    assert "Prefix caching is off" in off
    assert "整块命中" in live("zh", run, look(IDLE, BUSY))


def test_preemptions_say_what_to_do(run: Run) -> None:
    html = live("en", run, look(IDLE, BUSY))
    assert "12 preemptions in the last 5 min" in html and "max_num_seqs" in html
    past = live("en", run, look(BUSY, BUSY))
    assert "12 preemptions since the start" in past
    none = live("en", run, look(IDLE, BUSY | {"preemptions": 0}))
    assert "No preemptions" in none


@pytest.mark.parametrize("lang, text", [("en", "nobody asks yet"), ("zh", "还没有请求")])
def test_ready_and_nobody_asks(run: Run, lang: str, text: str) -> None:
    html = live(lang, run, look(IDLE))
    assert text in html
    assert f'data-endpoint="{run.id}"' in html, "a way to the chat"
    assert "l-tile" not in html


def test_what_is_not_known_is_not_drawn(run: Run) -> None:
    assert "as soon as the server is ready" in live("en", of(run, State.STARTING), Look(at=0))
    assert "as soon as the server is ready" in live("en", run, Look(at=0))
    silent = run.spec.model_copy(update={"scrape": None})
    without = Run(spec=silent, state=State.READY, dir=run.dir, result=None)
    assert "tells no figures" in live("en", without, Look(at=0))
    bare = live("en", run, look(IDLE, {"running": 1, "generation_tokens": 10}))
    assert "–" in bare and "nan" not in bare.lower() and "None" not in bare
    assert "Nothing was answered yet" in bare


def test_router_shows_its_servers(run: Run) -> None:
    name = "vllm_router_"
    figures = {f"{name}worker_health": 2, f"{name}processed_requests_total": 40}
    html = live("en", run, look({f"{name}worker_health": 2}, figures))
    assert "<b>2</b><span>healthy</span>" in html and "KV cache" not in html
    assert "none answers" in live("en", run, look(figures | {f"{name}worker_health": 0}))


def test_server_that_does_not_answer(run: Run) -> None:
    assert "No figures since" in live("en", run, look(IDLE, BUSY, now=1300))
    assert "No figures since" not in live("en", run, look(IDLE, BUSY, now=1060))


def test_end_leaves_the_sum(run: Run) -> None:
    html = live("en", of(run, State.STOPPED), look(IDLE, BUSY))
    assert "up to its end" in html and "300" in html and "since the start" in html
    assert "l-spark" not in html
    assert "never asked" in live("en", of(run, State.STOPPED), look(IDLE))
    assert live("en", of(run, State.FAILED), Look(at=0)) == ""


def test_cards_and_host(run: Run) -> None:
    cards = (
        CardUse(index=0, used_bytes=20 * 2**30, total_bytes=24 * 2**30, load=0.83),
        CardUse(index=3, used_bytes=None, total_bytes=None, load=None),
    )
    html = live("en", run, look(IDLE, cards=cards))
    assert "Card 0 · Memory" in html and "20.0 / 24.0 GiB" in html and "83 %" in html
    assert "Card 3" in html
    host = live("en", run, look(IDLE, host_bytes=2**31, host_total_bytes=2**34))
    assert "Host memory" in host and "2.00 / 16.0 GiB" in host


# how to reach it --------------------------------------------------------------------------------


def test_connection_box_never_shows_the_key(run: Run) -> None:
    open_door = Endpoint(
        id="x", name="s", base_url="http://127.0.0.1:8000/v1", models=("m", "lora")
    )
    locked = open_door.model_copy(update={"api_key": "s3cret"})
    html = live("en", run, look(IDLE, endpoint=locked))
    assert "s3cret" not in html and "$KEY" in html
    assert "Only programs on this machine" in html
    assert ">lora<" in html
    assert "Authorization: Bearer $KEY" in curl(locked)
    assert "Authorization" not in curl(open_door)
    assert 'os.environ["KEY"]' in openai_python(locked)
    compile(openai_python(locked), "snippet", "exec")
    json.loads(curl(open_door).partition("-d '")[2].rstrip("'"))


def test_names_are_escaped(run: Run) -> None:
    evil = Endpoint(id="x", name="s", base_url="http://h/v1", models=("<script>alert(1)</script>",))
    assert "<script>" not in live("en", run, look(IDLE, endpoint=evil))


# the route --------------------------------------------------------------------------------------


def test_twenty_viewers_read_the_file_once(
    jobs: Jobs, studio: Studio, serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port(18350)
    asked = spec(
        "metered",
        port,
        serves=True,
        port=port,
        probe=Probe(path="/health"),
        scrape=Scrape(prefixes=("vllm:",)),
        endpoint=EndpointSpec(kind="chat", models=("m",)),
        stop=(StopStep(signal="SIGTERM", to="group", grace_s=5),),
    )
    run = jobs.submit(asked)
    jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=30)
    until = time.monotonic() + 20
    while len(run.dir.served()) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    drawn = []
    monkeypatch.setattr(serveview, "_busy", lambda *given: drawn.append(1) or "busy")
    tab = Tab(id="serve", icon="serve", order=1, build=lambda studio: None, routes=routes)
    url = f"{serve([tab]).url}/ladder/run/{run.id}/served"
    answers = [json.load(urllib.request.urlopen(url, timeout=20)) for _ in range(20)]
    assert "busy" in answers[0]["html"] and not answers[0]["final"]
    assert 1 <= len(drawn) <= 5, "20 looks within seconds, drawn once a second"
    again = json.load(urllib.request.urlopen(f"{url}?have={answers[-1]['version']}", timeout=20))
    assert "html" not in again or again["version"] != answers[-1]["version"]
    jobs.stop(run.id)
    jobs.wait(run.id, timeout_s=20)
    time.sleep(1)
    assert json.load(urllib.request.urlopen(url, timeout=20))["final"] is True


def test_address_is_the_one_the_visitor_uses(studio: Studio, jobs: Jobs) -> None:
    port = free_port(18360)
    asked = spec(
        "metered",
        port,
        serves=True,
        port=port,
        host="0.0.0.0",
        probe=Probe(path="/health"),
        endpoint=EndpointSpec(kind="chat", models=("m",)),
    )
    run = jobs.wait(jobs.submit(asked).id, lambda r: r.state is State.READY, timeout_s=30)
    seen = Live(studio).look(run, "gpu-box.lan")
    assert seen.endpoint.base_url == f"http://gpu-box.lan:{port}/v1"
    assert Live(studio).look(run).endpoint.base_url == f"http://127.0.0.1:{port}/v1"
    assert seen.now is None and seen.host_bytes is not None
    jobs.stop(run.id, now=True)
    jobs.wait(run.id, timeout_s=20)
