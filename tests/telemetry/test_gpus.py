"""Cards and their holders, by fake tools and by a fake NVML."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from studio.core.ids import new_id
from studio.telemetry import gpus
from studio.telemetry.gpus import Gpus

MIB = 2**20
GIB = 2**30


def test_a_machine_without_cards_has_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    assert Gpus().read() == [] and Gpus().driver() == gpus.Driver()


@pytest.mark.parametrize("count", [1, 2, 8])
def test_the_tool_tells_every_card(fake_cards: Callable[..., None], count: int):
    fake_cards(*({"used": 1000 * number, "load": 10 * number} for number in range(count)))
    cards = Gpus().read()
    assert [card.index for card in cards] == list(range(count))
    last = cards[-1]
    assert last.used_bytes == 1000 * (count - 1) * MIB and last.total_bytes == 24_564 * MIB
    assert last.load == pytest.approx((count - 1) / 10)
    assert (last.power_w, last.power_cap_w, last.temperature_c) == (30.0, 450.0, 40.0)
    assert last.trouble == ""


def test_a_holder_is_one_of_our_runs_or_a_stranger(fake_cards: Callable[..., None]):
    run_id = new_id()
    code = "import sys; sys.stdin.read()"
    ours = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        env={**os.environ, "STUDIO_RUN_ID": run_id},
    )
    theirs = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        fake_cards({"used": 9000, "pids": {ours.pid: 5000, theirs.pid: 3000}}, {"used": 2})
        first, second = Gpus().read()
        mine, stranger = first.holders
        assert (mine.run_id, mine.used_bytes) == (run_id, 5000 * MIB)
        assert stranger.run_id is None and stranger.pid == theirs.pid
        assert stranger.user and code in stranger.command
        assert second.holders == ()
    finally:
        for process in (ours, theirs):
            process.communicate()


def test_a_process_that_is_gone_is_still_told(fake_cards: Callable[..., None]):
    fake_cards({"used": 9000, "pids": {4_000_000: 9000}})
    (holder,) = Gpus().read()[0].holders
    assert (holder.user, holder.command, holder.run_id) == ("?", "", None)


def test_the_environment_limits_the_cards(
    fake_cards: Callable[..., None], monkeypatch: pytest.MonkeyPatch
):
    fake_cards(*({} for _ in range(8)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6,7")
    assert [card.index for card in Gpus().read()] == [6, 7]


class FakeNvml:
    """A library with a good card, a hot one that hides its load, and one that fell off the bus."""

    NVML_TEMPERATURE_GPU = 0

    def nvmlDeviceGetCount(self) -> int:
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 2:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=24 * GIB, used=6 * GIB)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        if handle == 1:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=80)

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 93 if handle == 1 else 61

    def nvmlDeviceGetName(self, handle: int) -> bytes:
        return b"NVIDIA H200"

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return 123_456

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:
        return 700_000

    def nvmlDeviceGetUUID(self, handle: int) -> str:
        return f"GPU-{handle}"

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:
        return [SimpleNamespace(pid=os.getpid(), usedGpuMemory=None)] if handle == 0 else []

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 13_010


def test_nvml_is_asked_first_and_what_it_hides_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpus, "_start_nvml", FakeNvml)
    good, hot, lost = Gpus().read()
    assert (good.used, good.load, good.power_w, good.trouble) == (0.25, 0.8, 123.456, "")
    assert good.holders[0].pid == os.getpid() and good.holders[0].used_bytes is None
    assert hot.load is None and hot.trouble == "hot"
    assert lost.trouble == "unreadable" and lost.used == 0.0
    assert Gpus().driver() == gpus.Driver(name="nvidia", version="580.95", cuda="13.1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1")
    assert [card.index for card in Gpus().read()] == [1]
