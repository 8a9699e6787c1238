"""The supervisor's samples: from the library where there is one, from the tool where not."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

from studio.jobs.shim import cards as gpu
from studio.jobs.shim import nvml, procs
from studio.jobs.shim.sample import Sampler


class Files:
    """Keeps the rows instead of writing them."""

    def __init__(self):
        self.rows = []

    def sample(self, row):
        self.rows.append(row)


class Library:
    """Plays NVIDIA's library through the same ctypes structures; one card, two processes."""

    used, load, pids = 5 * 2**30, 37, {}

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):
        return 0 if uuid == b"GPU-real" else 6

    def nvmlDeviceGetMemoryInfo_v2(self, handle, memory):
        assert memory._obj.version == ctypes.sizeof(memory._obj) | 2 << 24
        memory._obj.used = self.used
        return 0

    def nvmlDeviceGetUtilizationRates(self, handle, load):
        load._obj.gpu = self.load
        return 0

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle, count, found):
        if count._obj.value < len(self.pids):
            return 7
        for place, (pid, used) in enumerate(self.pids.items()):
            found[place].pid, found[place].used = pid, used
        count._obj.value = len(self.pids)
        return 0


@pytest.fixture
def library(monkeypatch):
    made = Library()
    made.pids = {}
    monkeypatch.setattr(nvml.ctypes, "CDLL", lambda name: made)
    return made


def card(uuid: str, used: int = 0) -> gpu.Card:
    return gpu.Card(0, "Card", 24 * 2**30, used, 0, uuid)


def test_the_library_books_memory_on_our_processes(library, monkeypatch):
    monkeypatch.setattr(procs, "descendants", lambda pid, run_id: [procs.stat(os.getpid())])
    library.pids = {os.getpid(): 2 * 2**30, 1: 3 * 2**30}
    files = Files()
    sampler = Sampler(files, [card("GPU-real")])
    sampler.tick()
    assert files.rows[0]["gpu_bytes"] == {"0": 2 * 2**30}
    assert files.rows[0]["gpu_load"] == {"0": 37}
    assert sampler.peak_gpu == {"0": 2 * 2**30}


def test_without_processes_the_cards_own_figure_less_what_was_there(library):
    files = Files()
    Sampler(files, [card("GPU-real", used=2**30)]).tick()
    assert files.rows[0]["gpu_bytes"] == {"0": 4 * 2**30}


def test_many_processes_get_more_room(library):
    library.pids = {pid: 2**20 for pid in range(1, 200)}
    opened = nvml.open_cards([(0, "GPU-real")])
    assert opened is not None and len(opened.read(0).processes) == 199


def test_a_card_the_library_does_not_know_is_left_to_the_tool(library, fake_cards):
    fake_cards({"used": 2048, "load": 11})
    files = Files()
    Sampler(files, [card("GPU-0", used=2**30)]).tick()
    assert files.rows[0]["gpu_bytes"] == {"0": 2**30}
    assert files.rows[0]["gpu_load"] == {"0": 11}


def test_host_memory_is_measured_again_only_when_the_last_time_is_paid_off(monkeypatch):
    clock, asked = [100.0], []
    monkeypatch.setattr("studio.jobs.shim.sample.time.monotonic", lambda: clock[0])

    def slow(tree):
        asked.append(clock[0])
        clock[0] += 0.1
        return 7

    monkeypatch.setattr(procs, "memory_bytes", slow)
    files = Files()
    sampler = Sampler(files, [])
    for _ in range(40):
        sampler.tick()
        clock[0] += 1.0
    assert len(asked) == 2, "0.1 s each is paid off by 20 s"
    assert {row["host_bytes"] for row in files.rows} == {7}
    assert sampler.peak_host == 7


def test_memory_of_a_large_process_is_told_without_walking_its_pages(monkeypatch):
    monkeypatch.setattr(procs, "_pss_bytes", lambda pid: pytest.fail("walked"))
    code = "import time; held = bytearray(400 * 2**20); print('up', flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert 400 <= procs.memory_bytes([child.pid]) / 2**20 < 440
    finally:
        child.kill()
        child.wait()


def test_what_large_processes_share_counts_once(monkeypatch):
    sizes = {1: (600, 100), 2: (700, 90), 3: (5, 3)}
    monkeypatch.setattr(procs, "_resident", lambda pid: tuple(n * 2**20 for n in sizes[pid]))
    monkeypatch.setattr(procs, "_pss_bytes", lambda pid: 6 * 2**20)
    assert procs.memory_bytes(sizes) == (600 + 700 + 100 + 6) * 2**20
