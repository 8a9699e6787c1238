"""Disk and memory: a launch that has less than it takes is refused with both sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.core.errors import DiskFull, NotEnoughMemory
from studio.core.settings import Settings
from studio.engines import room
from studio.engines.engine import Room
from studio.studio import Studio


def test_too_little_room_is_said_with_both_sizes(tmp_path: Path) -> None:
    room.check_room(None, tmp_path)
    room.check_room(Room(disk_bytes=1, memory_bytes=1), tmp_path)
    with pytest.raises(DiskFull, match=r"takes about 1024\.0 GiB and the disk of .* GiB left"):
        room.check_room(Room(disk_bytes=2**40), tmp_path)
    with pytest.raises(NotEnoughMemory, match=r"about 16384\.0 GiB of memory and .* GiB are free"):
        room.check_room(Room(memory_bytes=2**44), tmp_path)


def test_a_launch_without_room_starts_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(settings)
    monkeypatch.setattr(room, "free_memory", lambda: 2**20)
    with pytest.raises(NotEnoughMemory, match=r"about 1\.0 GiB of memory and 0\.0 GiB are free"):
        studio.launch_recipe("llamafactory/merge-smoke")
    assert studio.jobs.list() == [], "not even a build of the environment"
    told = studio.plan(studio.ask_for(studio.recipes.get("llamafactory/merge-smoke")))
    assert told["memory_needed"] > 2**30 and told["disk_needed"] > 2**20


def test_a_container_has_less_memory_than_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert room.free_memory(tmp_path) == 700000
    (tmp_path / "memory.max").write_text("max\n")
    assert room.free_memory(tmp_path) > 2**20
    assert room.free_memory(tmp_path / "nowhere") > 2**20
