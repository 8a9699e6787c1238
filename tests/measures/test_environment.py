"""The machine as results keep it."""

from __future__ import annotations

import json
import os
import platform

import psutil

from studio.bench.environment import environment


def test_what_somebody_needs_who_reads_it_later() -> None:
    found = environment({"vllm": "0.26.0"})
    assert found["python"] == platform.python_version()
    assert found["cores"] == os.cpu_count()
    assert found["host_memory_bytes"] == psutil.virtual_memory().total
    assert found["versions"].keys() == {"ladder-studio", "vllm"}
    assert found["cpu"] and "Linux" in found["os"]
    assert len(found["cards"]) == len(found["card_memory"])
    assert json.loads(json.dumps(found)) == found
