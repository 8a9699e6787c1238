"""One reading for everybody."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from studio.telemetry import snapshot
from studio.telemetry.snapshot import Shared


def test_twenty_viewers_cost_one_reading():
    readings = []
    shared = Shared(lambda: readings.append(1) or len(readings), fresh_s=60)
    threads = [threading.Thread(target=shared.get) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert shared.get() == 1 and len(readings) == 1


def test_a_slow_reading_holds_up_nobody_but_the_first():
    go, busy = threading.Event(), threading.Event()
    answers = iter([lambda: "old", lambda: (busy.set(), go.wait(10), "new")[-1]])
    shared = Shared(lambda: next(answers)(), fresh_s=0)
    assert shared.get() == "old"
    renewing = threading.Thread(target=shared.get)
    renewing.start()
    assert busy.wait(10)
    assert shared.get() == "old"
    go.set()
    renewing.join()
    shared._fresh_s = 60
    assert shared.get() == "new"


def test_a_reading_that_fails_is_tried_again():
    answers = iter([ZeroDivisionError(), "fine"])

    def read() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    shared = Shared(read)
    with pytest.raises(ZeroDivisionError):
        shared.get()
    assert shared.get() == "fine"


def test_the_host_is_plausible(tmp_path: Path):
    host = snapshot.host(tmp_path).get()
    assert 0 <= host.cpu <= 1 and 0 < host.ram <= 1 and host.num_cpus >= 1
    assert 0 < host.disk_free_bytes <= host.disk_total_bytes
