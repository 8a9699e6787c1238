"""What worked is remembered per machine and model; what failed only while nothing got better."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from studio.engines.workers.image_edit import worked
from studio.engines.workers.image_edit.machine import GIB, Card, Machine
from studio.engines.workers.image_edit.worked import Worked, key_of


def machine(free: float = 23, host: float = 60) -> Machine:
    card = Card(0, "NVIDIA GeForce RTX 4090", 24 * GIB, int(free * GIB), 8.9)
    return Machine((card,), int(host * GIB), 64 * GIB)


KEY = key_of(machine(), "/models/edit", "bfloat16", "", (None, None))


def test_a_rung_that_made_a_picture_is_kept_with_its_seconds(tmp_path: Path) -> None:
    worked.note_worked(tmp_path, KEY, "groups", {"step_s": 4.0, "load_s": 60.0})
    worked.note_worked(tmp_path, KEY, "groups", {"step_s": 3.9})
    found = worked.read(tmp_path, KEY)
    assert found.rung == "groups"
    assert found.seconds == {"groups": {"step_s": 3.9, "load_s": 60.0}}


def test_a_failure_is_kept_until_more_is_free(tmp_path: Path) -> None:
    worked.note_worked(tmp_path, KEY, "fp8", {"step_s": 1.0})
    worked.note_failed(tmp_path, KEY, "fp8", "out of memory at step 3", machine(free=20))
    found = worked.read(tmp_path, KEY)
    assert found.rung == ""
    assert found.still_failed(machine(free=20)) == {"fp8": "out of memory at step 3"}
    assert found.still_failed(machine(free=18)) == {"fp8": "out of memory at step 3"}
    assert found.still_failed(machine(free=23)) == {}


def test_a_failure_of_a_larger_picture_says_nothing_about_smaller_ones(tmp_path: Path) -> None:
    worked.note_failed(tmp_path, KEY, "fp8", "out of memory", machine(), tokens=30_000)
    found = worked.read(tmp_path, KEY)
    assert found.still_failed(machine(), 8_000) == {}
    assert found.still_failed(machine(), 30_000) == {"fp8": "out of memory"}


def test_on_a_cpu_host_memory_is_what_counts(tmp_path: Path) -> None:
    here = Machine((), 30 * GIB, 64 * GIB)
    worked.note_failed(tmp_path, "cpu", "cpu", "killed", here)
    found = worked.read(tmp_path, "cpu")
    assert found.still_failed(Machine((), 29 * GIB)) == {"cpu": "killed"}
    assert found.still_failed(Machine((), 60 * GIB)) == {}


def test_success_takes_a_failure_back(tmp_path: Path) -> None:
    worked.note_failed(tmp_path, KEY, "fp8", "out of memory", machine())
    worked.note_worked(tmp_path, KEY, "fp8", {"step_s": 1.0})
    assert worked.read(tmp_path, KEY).failed == {}


def test_failures_of_one_impossible_request_are_forgotten(tmp_path: Path) -> None:
    worked.note_failed(tmp_path, KEY, "whole", "out of memory", machine())
    since = time.time()
    worked.note_failed(tmp_path, KEY, "fp8", "out of memory", machine())
    worked.forget_failed(tmp_path, since)
    assert set(worked.read(tmp_path, KEY).failed) == {"whole"}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"other": 3}'])
def test_a_damaged_file_is_no_experience(tmp_path: Path, text: str) -> None:
    (tmp_path / worked.FILE).write_text(text)
    assert worked.read(tmp_path, KEY) == Worked()
    worked.note_worked(tmp_path, KEY, "cpu", {})
    assert worked.read(tmp_path, KEY).rung == "cpu"


def test_the_key_tells_machines_models_and_limits_apart() -> None:
    keys = {
        KEY,
        key_of(machine(), "/models/edit", "float16", "", (None, None)),
        key_of(machine(), "/models/other", "bfloat16", "", (None, None)),
        key_of(machine(), "/models/edit", "bfloat16", "/q4.gguf", (None, None)),
        key_of(machine(), "/models/edit", "bfloat16", "", (20.0, None)),
        key_of(Machine((), 0, 64 * GIB), "/models/edit", "bfloat16", "", (None, None)),
    }
    assert len(keys) == 6
    assert key_of(machine(free=3, host=5), "/models/edit", "bfloat16", "", (None, None)) == KEY
