"""The real router: in front of stand-ins for what they can show, and of two real vLLM servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chat.sse_server import FakeChat, Script

from e2e.conftest import BUILD_S, answer, endpoint_of, ready
from studio.core.settings import ROOT
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.shim import procs
from studio.replicas import Replicas, launch_replicas, restart_copy, stop_group
from studio.studio import Launch, Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

WHO = "你是谁？"


class Healthy(FakeChat):
    """A stand-in that also answers health checks and counts them."""

    checks = 0

    async def _answer(self, method, path, headers, raw, reader, writer) -> None:
        if path == "/health":
            self.checks += 1
            return await self._plain(writer, 200, {})
        return await super()._answer(method, path, headers, raw, reader, writer)


def until(condition: Callable[[], bool], timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def router(studio: Studio, *servers: FakeChat, **settings) -> Run:
    urls = [f"http://127.0.0.1:{server.port}" for server in servers]
    settings = {"worker_urls": urls, "models": ["tiny"], **settings}
    return studio.launch(Launch(engine="router", settings=settings, name="front"))


def post(run: Run, path: str, body: dict, headers: dict[str, str]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", run.spec.port, timeout=30)
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, response.read()


def gone(studio: Studio, *runs: Run) -> None:
    for run in runs:
        studio.jobs.stop(run.id)
        ended = studio.jobs.wait(run.id, timeout_s=120)
        assert ended.state is State.STOPPED and ended.result["survivors"] == []
        assert procs.marked(run.id) == []


def test_streams_keeps_keys_and_fields_and_survives_a_dead_server(real_studio: Studio) -> None:
    """What a router must not break: pace, keys, unknown fields; and a server that dies."""
    steady = {"tiny": Script(pieces=["a "] * 60, rate=100)}
    with Healthy(steady, key="s3cret") as second:
        with Healthy(steady, key="s3cret") as first:
            run = router(real_studio, first, second, policy="round_robin", api_key="s3cret")
            run = ready(real_studio, run)
            endpoint = endpoint_of(real_studio, run)
            assert endpoint.routes and endpoint.api_key == "s3cret"
            text, pieces, done = answer(endpoint, "hi")
            assert text == "a " * 60 and pieces == 60
            assert done.total_s - done.ttft_s > 0.4, "in pieces, at their own pace"
            for _ in range(3):
                answer(endpoint, "hi")
            assert first.requests and second.requests, "round_robin uses both"
            body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
            body |= {"stream": True, "top_k": 5, "chat_template_kwargs": {"thinking": False}}
            assert post(run, "/v1/chat/completions", body, {})[0] in (401, 415, 400)
            plain = {"Content-Type": "application/json"}
            assert post(run, "/v1/chat/completions", body, plain)[0] == 401, "no key, no answer"
            keyed = {**plain, "Authorization": "Bearer s3cret"}
            assert post(run, "/v1/chat/completions", body, keyed)[0] == 200
            last = max((first, second), key=lambda s: "top_k" in (s.requests or [{}])[-1])
            assert last.requests[-1]["chat_template_kwargs"] == {"thinking": False}
        assert [answer(endpoint, "hi")[0] for _ in range(4)] == ["a " * 60] * 4
        until(lambda: run.dir.served() != [], 30)
        until(lambda: healthy(run) == 1, 60)
    cmdline = " ".join(run.spec.command.argv)
    assert "s3cret" not in cmdline
    gone(real_studio, run)


def healthy(run: Run) -> float | None:
    """Return how many servers the router calls healthy, from its own figures."""
    values: dict[str, float] = {}
    for row in run.dir.served():
        values |= row["values"]
    return values.get("vllm_router_worker_health")


def test_a_router_may_come_before_its_servers(real_studio: Studio) -> None:
    with Healthy() as late:
        pass
    run = router(real_studio, late)
    for build in run.spec.after:
        assert real_studio.jobs.wait(build, timeout_s=BUILD_S).state is State.DONE
    until(lambda: "Waiting for" in run.dir.log.read_text(), 60)
    assert real_studio.jobs.get(run.id).state is State.RUNNING
    with Healthy(port=late.port):
        run = ready(real_studio, run)
        assert answer(endpoint_of(real_studio, run), "hi")[0] == "Hi!"
        gone(real_studio, run)


@pytest.fixture(scope="module")
def two(real_studio: Studio) -> Iterator[Replicas]:
    """Two real vLLM servers with the tiny model and the real router before them."""
    ask = real_studio.ask_for(real_studio.recipes.get("vllm/smoke"))
    found = launch_replicas(real_studio, ask, 2)
    for run in (*found.copies, found.router):
        ready(real_studio, run)
    yield found
    runs = stop_group(real_studio, found.group, timeout_s=180)
    assert not any(run.state.alive for run in runs)
    assert all(procs.marked(run.id) == [] for run in runs)


def expected(samples: list[dict[str, str]], question: str) -> str:
    return next(row["output"] for row in samples if row["instruction"] == question)


def asked(run: Run) -> float:
    """Return how many prompts a vLLM has finished."""
    connection = http.client.HTTPConnection("127.0.0.1", run.spec.port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    rows = [row for row in text.splitlines() if row.startswith("vllm:request_success_total")]
    return sum(float(row.rpartition(" ")[2]) for row in rows)


def test_replicas_answer_at_one_address(two: Replicas, real_studio: Studio, samples) -> None:
    first = real_studio.endpoints()[0]
    assert (first.name, first.routes) == (two.group, True)
    assert first.models == ("tiny-qwen2.5",), "told by the copies"
    text, pieces, done = answer(first, WHO)
    assert text == expected(samples, WHO) and pieces > 3
    assert done.counted == "usage"
    names = {e.name for e in real_studio.endpoints() if e.group == two.group}
    assert names == {two.group, f"{two.group}-1of2", f"{two.group}-2of2"}


def test_a_conversation_stays_where_its_beginning_is_cached(
    two: Replicas, real_studio: Studio, samples
) -> None:
    """cache_aware: follow-up questions of two conversations go to one server each."""
    endpoint = endpoint_of(real_studio, two.router)
    long = " ".join(row["output"] for row in samples[:12])
    before = [asked(copy) for copy in two.copies]
    for _ in range(4):
        answer(endpoint, long, max_tokens=2)
    after = [asked(copy) for copy in two.copies]
    assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0, 4]


def test_one_replica_is_killed_and_the_other_answers(
    two: Replicas, real_studio: Studio, samples
) -> None:
    endpoint = endpoint_of(real_studio, two.router)
    dead = two.copies[0]
    pid = next(e["pid"] for e in dead.dir.events() if e["phase"] == "running")
    os.kill(pid, signal.SIGKILL)
    texts = [answer(endpoint, WHO)[0] for _ in range(6)]
    assert texts == [expected(samples, WHO)] * 6, "no request was lost"
    ended = real_studio.jobs.wait(dead.id, timeout_s=60)
    assert ended.state is State.FAILED and procs.marked(dead.id) == []
    until(lambda: healthy(two.router) == 1, 60)
    again = restart_copy(real_studio, dead.id)
    ready(real_studio, again)
    until(lambda: healthy(two.router) == 2, 60)


def test_the_command_line_stops_a_group(real_studio: Studio, test_home: Path) -> None:
    def app(*words: str) -> str:
        argv = [sys.executable, "app.py", *words, "--home", str(test_home), "--json"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    launched = json.loads(app("replicas", "vllm/smoke", "--detach", "--name", "by-hand"))
    assert launched["group"].startswith("by-hand") and len(launched["runs"]) == 3
    stopped = json.loads(app("stop", "--group", launched["group"], "--now"))
    assert {row["state"] for row in stopped} == {"stopped"}
