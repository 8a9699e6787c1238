"""The supervisor keeps a server's own figures: small rows, and never in the way of a stop."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import free_port, spec
from prometheus_client.parser import text_string_to_metric_families

from studio.core.spec import Probe, Scrape, State, StopStep
from studio.jobs.jobs import Jobs, Run
from studio.jobs.shim import scrape
from studio.jobs.shim.figures import FIGURES, read
from studio.jobs.shim.scrape import Rows, fetch
from studio.telemetry.readings import Unroller
from studio.telemetry.serving import VLLM

PAGE = (Path(__file__).parent / "pages/vllm-0.32.txt").read_text()
POLITE = (StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),)


def metered(jobs: Jobs, port: int, *arguments: object) -> Run:
    """Start the fake server and wait until it is ready."""
    asked = spec(
        "metered",
        port,
        *arguments,
        serves=True,
        port=port,
        probe=Probe(path="/health"),
        scrape=Scrape(prefixes=("vllm:",)),
        stop=POLITE,
    )
    run = jobs.submit(asked)
    return jobs.wait(run.id, lambda r: r.state is State.READY, timeout_s=120)


def until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# a run ------------------------------------------------------------------------------------------


def test_figures_of_a_server_are_kept(jobs: Jobs) -> None:
    port = free_port(18320)
    run = metered(jobs, port)
    until(lambda: len(run.dir.served()) >= 2)
    first, second = run.dir.served()[:2]
    assert first["full"] is True
    assert first["values"] == {
        "running": 5,
        "kv_use": 0.5,
        "generation_tokens": 10,
        "finished|stop": 1,
        "ttft": {"0.1": 0, "0.25": 1, "+Inf": 0},
    }
    assert second["values"] == {"generation_tokens": 20, "finished|stop": 2, "ttft": {"0.25": 2}}
    assert 1.5 < second["at"] - first["at"] < 20
    reset = urllib.request.Request(f"http://127.0.0.1:{port}/reset", method="POST")
    urllib.request.urlopen(reset, timeout=5).close()
    until(lambda: sum("full" in row for row in run.dir.served()) == 2)
    unroller = Unroller()
    readings = [unroller.feed(row) for row in run.dir.served()]
    tokens = [reading.values["generation_tokens"] for reading in readings]
    assert tokens == sorted(tokens), "a counter that starts over goes on from where it was"
    status = Path(f"/proc/{run.dir.supervisor().pid}/status").read_text()
    assert int(status.partition("VmRSS:")[2].split()[0]) < 20 * 1024, "KiB of the supervisor"
    jobs.stop(run.id)
    assert jobs.wait(run.id, timeout_s=120).state is State.STOPPED


def test_slow_figures_delay_no_stop(jobs: Jobs) -> None:
    run = metered(jobs, free_port(18330), 30)
    time.sleep(0.3)  # the question is on its way
    began = time.monotonic()
    jobs.stop(run.id)
    ended = jobs.wait(run.id, timeout_s=120)
    assert ended.state is State.STOPPED
    assert time.monotonic() - began < 15, "the answer takes 30 s"
    assert run.dir.served() == []


# the page ---------------------------------------------------------------------------------------


def test_real_page_agrees_with_an_independent_reader() -> None:
    """Every figure equals what prometheus_client reads from the same page of a real vLLM."""
    found = read(PAGE, VLLM)
    theirs = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(PAGE)
        for sample in family.samples
    }

    def value(name: str, **labels: str) -> float:
        wanted = labels.items()
        return sum(v for (n, told), v in theirs.items() if n == name and wanted <= set(told))

    for family, figure in FIGURES.items():
        if not family.startswith("vllm:") or figure not in found:
            continue
        if isinstance(buckets := found[figure], dict):
            cumulative = 0
            for bound, count in buckets.items():
                cumulative += count
                assert cumulative == value(f"{family}_bucket", le=bound) or not any(
                    name == f"{family}_bucket" for name, _ in theirs
                )
        elif any(name == family for name, _ in theirs):
            assert found[figure] == pytest.approx(value(family), abs=1e-4), figure
    assert found["finished|stop"] == value("vllm:request_success_total", finished_reason="stop")
    assert sum(found["ttft"].values()) == value("vllm:time_to_first_token_seconds_count") > 0
    assert (found["block_size"], found["kv_tokens"], found["prefix_caching"]) == (128, 4096, 1)


def test_labels_are_folded_and_strange_ones_survive() -> None:
    page = (
        'vllm:num_requests_waiting{engine="0",model_name="a\\"}b{ 7"} 1\n'
        'vllm:num_requests_waiting{engine="1",model_name="x"} 2\n'
        'vllm:kv_cache_usage_perc{engine="0"} 0.123456\nvllm:kv_cache_usage_perc{engine="1"} NaN\n'
        'router_requests_total{worker="u"} 5 1712345678000\nrouter_up 1\nrouter_wait_sum 3\nnoise\n'
    )
    assert read(page, ("vllm:", "router_")) == {
        "waiting": 3,
        "kv_use": 0.1235,
        "router_requests_total": 5,
        "router_up": 1,
    }
    assert read(page, ()) == {}


# rows -------------------------------------------------------------------------------------------


def test_quiet_is_said_once_and_then_once_a_minute() -> None:
    rows = Rows()
    same = {"running": 1, "generation_tokens": 5}
    told = [rows.next(same, 1000.0 + 2 * i) for i in range(62)]
    kept = [row for row in told if row is not None]
    assert [row["at"] for row in kept] == [1000, 1002, 1062, 1122]
    assert [row["values"] for row in kept] == [same, {}, {}, {}]
    assert rows.next({**same, "running": 2}, 1130) == {"at": 1130, "values": {"running": 2}}
    assert rows.next({}, 1132) is None, "no answer is no row"
    full = rows.next({**same, "running": 2}, 1300.04)
    assert full == {"at": 1300.0, "full": True, "values": {**same, "running": 2}}


@pytest.mark.parametrize(
    "after", [{"n_total": 3}, {"n_total": 9, "more": 1}, {}], ids=["fell", "came", "went"]
)
def test_a_new_beginning_is_a_full_row(after: dict) -> None:
    rows = Rows()
    rows.next({"n_total": 7, "running": 2}, 0)
    values = {"running": 0, **after}
    assert rows.next(values, 2) == {"at": 2, "full": True, "values": values}


MOVING = ("prefix_queries", "prefix_hits", "prompt_tokens", "generation_tokens", "finished|stop")


def test_a_month_of_rows_stays_small() -> None:
    """A server that is busy all the time, in its tenth million of everything."""
    rows, written, now, n = Rows(), [0, 0], 0.0, 0
    base = read(PAGE, VLLM)
    hours = 3
    while now < hours * 3600:
        now += scrape.OFTEN_S if now < scrape.FIRST_S else scrape.RARELY_S
        n += 1
        values = base | {key: 10_000_000 + 37 * n for key in MOVING}
        for key in ("ttft", "itl", "e2e", "queue"):
            values[key] = {b: 10_000_000 + n * (i < 3) for i, b in enumerate(base[key])}
        values |= {"running": n % 61, "kv_use": round(n % 97 / 97, 4), "waiting": n % 7}
        row = rows.next(values, 1_781_000_000 + now)
        line = json.dumps(row, separators=(",", ":")) + "\n"
        written[now > scrape.FIRST_S] += len(line)
    month = written[0] + written[1] / (hours - 1) * 24 * 30
    print(f"{month / 1e6:.0f} MB a month, with every figure moving")
    assert month < 110e6


# the question -----------------------------------------------------------------------------------


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Send these bytes to whoever connects; give the port."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)


@pytest.mark.parametrize(
    "answer, text",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\na 1", "a 1"),
        (b"HTTP/1.0 200 OK\r\n\r\na 1\nb 2\n", "a 1\nb 2\n"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=1\r\na \r\n4\r\n12\nb\r\n0\r\n\r\n",
            "a 12\nb",
        ),
    ],
    ids=["length", "close", "chunked"],
)
def test_answers_of_all_kinds_are_read(answer: bytes, text: str) -> None:
    with answering(answer) as port:
        assert fetch("127.0.0.1", port, "/metrics") == text


def test_refusals_are_no_figures() -> None:
    with (
        answering(b"HTTP/1.1 404 Not Found\r\n\r\nvllm:num_requests_running 3") as port,
        pytest.raises(OSError),
    ):
        fetch("127.0.0.1", port, "/metrics")
