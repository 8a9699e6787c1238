"""The server that is asked, before anything is measured, and what is seen of it meanwhile."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import FAKES, free_port

from studio.engines.workers.bench import server as module
from studio.engines.workers.bench.cards import Cards, Reading
from studio.engines.workers.bench.server import Server, Unfit
from studio.engines.workers.bench.watch import GIB, Watch, read_page

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers as told; return its address."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: object) -> str:
        port = free_port(8900 + 5 * len(started))
        argv = [sys.executable, str(FAKES / "timed_openai.py"), str(port), *map(str, words)]
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        return f"http://127.0.0.1:{port}/v1"

    yield start
    for child in started:
        child.kill()
        child.wait(10)


@pytest.mark.parametrize(
    ("given", "root", "chat"),
    [
        ("http://h:1/v1", "http://h:1", "/v1/chat/completions"),
        ("http://h:1/v1/", "http://h:1", "/v1/chat/completions"),
        ("http://h:1", "http://h:1", "/v1/chat/completions"),
        ("https://h/openai/v1", "https://h/openai", "/v1/chat/completions"),
        ("https://h/compatible", "https://h/compatible", "/chat/completions"),
    ],
)
def test_addresses_as_people_write_them(given: str, root: str, chat: str) -> None:
    server = Server(given)
    assert (server.root, server.path(chat=True)) == (root, chat)


def test_a_server_that_can_be_measured(serve: Serve) -> None:
    server = Server(serve("--ttft-ms", 1, "--tpot-ms", 1))
    assert server.reach()["id"] == "timed" and server.reach("timed")["max_model_len"] == 4096
    server.try_once("timed", chat=True)
    server.try_once("timed", chat=False)
    assert server.alive() and server.version() == "" and not server.reset_prefix_cache()


def test_what_is_wrong_is_said_in_one_sentence(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.2)
    with pytest.raises(Unfit, match=r"cannot reach .* refused"):
        Server(f"http://127.0.0.1:{free_port(8960)}/v1").reach()
    with pytest.raises(Unfit, match="wants another API key: 401 Invalid API key"):
        Server(serve("--key", "right"), "wrong").reach()
    with pytest.raises(Unfit, match="does not serve the model x; it serves: timed"):
        Server(serve()).reach("x")
    with pytest.raises(Unfit, match="no OpenAI-compatible server: /v1/models answered 404"):
        Server(serve("--no-models")).reach()
    with pytest.raises(Unfit, match=r"has no /v1/completions .404.; backend = openai-chat"):
        Server(serve("--no-completions")).try_once("timed", chat=False)
    with pytest.raises(Unfit, match=r"refused a request of one token: 400 Too sleepy."):
        Server(serve("--refuse", "Too sleepy.")).try_once("timed", chat=True)


PAGE = """# HELP vllm:num_requests_running ...
vllm:num_requests_running{{engine="0",model_name="m"}} {running}
vllm:num_requests_running{{engine="1",model_name="m"}} 2.0
vllm:num_requests_waiting{{engine="0",model_name="m"}} 5
vllm:kv_cache_usage_perc{{engine="0"}} 0.25
vllm:kv_cache_usage_perc{{engine="1"}} 0.75
vllm:num_preemptions_total{{engine="0"}} {preempted}
vllm:prefix_cache_queries_total{{engine="0"}} {asked}
vllm:prefix_cache_hits_total{{engine="0"}} {hits}
vllm:num_requests_waiting_by_reason{{reason="capacity"}} 9
vllm:e2e_request_latency_seconds_sum{{engine="0"}} NaN
"""


def test_the_servers_figures_are_those_of_the_load(serve: Serve, tmp_path: Path) -> None:
    page = tmp_path / "page"
    page.write_text(PAGE.format(running=1, preempted=3, asked=1000, hits=100))
    url = serve("--metrics", page).removesuffix("/v1") + "/metrics"
    watch = Watch([url], Cards([]))
    watch.begin()
    page.write_text(PAGE.format(running=7, preempted=4, asked=1400, hits=200))
    until = time.monotonic() + 10
    while not watch.figures().get("running_max", 0) > 8 and time.monotonic() < until:
        time.sleep(0.05)
    watch.end()
    watch.end()
    assert watch.figures() == {
        "running_max": 9,
        "waiting_max": 5,
        "kv_cache_use_max": 0.75,
        "preemptions": 1,
        "prefix_hit_rate": 0.25,
    }


def test_a_page_without_our_figures_tells_nothing() -> None:
    assert read_page("up 1\nhttp_requests_total 5\n") == {}
    assert read_page("vllm:num_requests_running NaN\nvllm:num_requests_waiting text\n") == {}


class Two(Cards):
    """Two cards that draw 100 W and 300 W; the second is half full."""

    def __init__(self, counts: bool) -> None:
        self._counts, self._begin = counts, time.time()

    def read(self) -> list[Reading]:
        at = time.time() - self._begin
        energy = [int(watts * at * 1000) if self._counts else None for watts in (100, 300)]
        return [
            Reading(10 * GIB, 80 * GIB, energy[0], 100_000),
            Reading(40 * GIB, 80 * GIB, energy[1], 300_000),
        ]


@pytest.mark.parametrize("counts", [True, False], ids=["counter", "power"])
def test_energy_and_memory_of_the_cards(counts: bool) -> None:
    watch = Watch([], Two(counts))
    watch.begin()
    began = time.time()
    time.sleep(0.5)
    ended = time.time()
    watch.end()
    told = watch.figures((began, ended))
    assert told["power_w"] == pytest.approx(400, rel=0.02)
    assert told["energy_j"] == pytest.approx(400 * (ended - began), rel=0.02)
    assert told["memory_gib"] == 40 and told["memory_share"] == 0.5


def test_no_cards_no_figures() -> None:
    cards = Cards([])
    assert len(cards) == 0 and cards.read() == []
    watch = Watch([], cards)
    watch.begin()
    watch.end()
    assert watch.figures() == {}
