"""How busy a server's process and the load generator are, told by the kernel."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from studio.engines.workers.bench.cards import Cards
from studio.engines.workers.bench.processors import EventLoops, busy_s, serving
from studio.engines.workers.bench.watch import Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own figures")

SERVER = """
import os, socket, sys, time
listening = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:  # holds the listening socket too, works, and serves nobody
    while os.getppid() != 1:
        pass
    os._exit(0)
print(listening.getsockname()[1], flush=True)
taken, _ = listening.accept()
busy = float(sys.argv[1])
while True:
    until = time.monotonic() + busy * 0.02
    while time.monotonic() < until:
        pass
    time.sleep((1 - busy) * 0.02)
"""


@contextmanager
def server(busy: float) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Run a server that is busy for a share of the time once somebody is connected."""
    argv = [sys.executable, "-c", SERVER, str(busy)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield int(child.stdout.readline()), child
        finally:
            child.kill()


@pytest.mark.parametrize("busy", [0.1, 1.0])
def test_the_process_that_holds_the_connection_is_looked_at(busy: float) -> None:
    with server(busy) as (port, child), socket.create_connection(("127.0.0.1", port)):
        until = time.monotonic() + 10
        while not serving({port}) and time.monotonic() < until:
            time.sleep(0.02)
        assert serving({port}) == {child.pid}
        loops, began = EventLoops([f"http://127.0.0.1:{port}/metrics"]), time.time()
        for _ in range(4):
            loops.look()
            time.sleep(0.3)
        told = loops.figures(began, time.time())
    assert set(told) == {"api_server_busy"}
    if busy == 1:
        assert told["api_server_busy"] > 0.9  # run or waiting for a core: true on a busy machine
    else:
        assert told["api_server_busy"] < 0.9


def test_the_load_generator_is_told_apart() -> None:
    """The watch's own process sends the load; its main thread sleeps here."""
    watch = Watch([], Cards([]), generator=threading.get_native_id())
    watch.begin()
    time.sleep(0.8)
    watch.end()
    assert set(watch.figures()) == {"generator_busy"}
    assert 0 <= watch.figures()["generator_busy"] < 0.9


def test_nothing_is_told_of_other_machines_and_ends() -> None:
    loops = EventLoops(["http://192.0.2.7:8000/metrics", "https://example.test/metrics"])
    loops.look()
    assert loops.figures(0, time.time() + 1) == {}
    assert serving(set()) == set() and busy_s([2**22 + 1]) == {}


def test_a_moment_tells_nothing() -> None:
    loops, began = EventLoops([], threading.get_native_id()), time.time()
    loops.look()
    loops.look()
    assert loops.figures(began, time.time()) == {}
