"""Host memory is what the machine, every control group above the process, and a person leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.engines.workers.image_edit.machine import (
    GIB,
    Card,
    Machine,
    cores,
    cpu_flags,
    host_available,
    host_total,
    pretended_cards,
    this_machine,
)


def root_of(folder: Path, *, total: int = 64, available: int = 50, group: str = "0::/") -> Path:
    """A made-up /proc, sizes in GiB."""
    (folder / "proc/self").mkdir(parents=True)
    rows = f"MemTotal: {total * 2**20} kB\nMemAvailable: {available * 2**20} kB\nHugePages: 3\n"
    (folder / "proc/meminfo").write_text(rows)
    (folder / "proc/self/cgroup").write_text(group + "\n")
    (folder / "sys/fs/cgroup").mkdir(parents=True)
    return folder


def second(folder: Path, limit: int | str, used: int = 0, pages: int = 0) -> None:
    """A control group of version 2; sizes in GiB."""
    folder.mkdir(parents=True, exist_ok=True)
    text = limit if isinstance(limit, str) else str(limit * GIB)
    (folder / "memory.max").write_text(text + "\n")
    (folder / "memory.current").write_text(str(used * GIB))
    half = pages * GIB // 2
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {half}\nactive_file {half}\n")


def test_without_limits_it_is_what_the_kernel_says(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    assert host_available(root=root) == 50 * GIB
    assert host_total(root) == 64 * GIB


def test_a_container_limits_it_and_its_file_pages_are_free(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    second(root / "sys/fs/cgroup", 32, used=20, pages=8)
    assert host_available(root=root) == 20 * GIB
    assert host_total(root) == 32 * GIB


def test_the_tightest_of_the_groups_above_counts(tmp_path: Path) -> None:
    root = root_of(tmp_path, group="0::/user.slice/app.scope")
    second(root / "sys/fs/cgroup/user.slice", 16, used=2)
    second(root / "sys/fs/cgroup/user.slice/app.scope", "max", used=1)
    assert host_available(root=root) == 14 * GIB


def test_version_1_groups_count_too(tmp_path: Path) -> None:
    root = root_of(tmp_path, group="4:memory:/docker/ab\n0::/")
    group = root / "sys/fs/cgroup/memory/docker/ab"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text(str(24 * GIB))
    (group / "memory.usage_in_bytes").write_text(str(10 * GIB))
    (group / "memory.stat").write_text(f"total_inactive_file {GIB}\ntotal_active_file 0\n")
    assert host_available(root=root) == 15 * GIB


def test_no_limit_of_version_1_is_a_huge_number(tmp_path: Path) -> None:
    root = root_of(tmp_path, group="4:memory:/")
    group = root / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("9223372036854771712")
    (group / "memory.usage_in_bytes").write_text("5")
    (group / "memory.stat").write_text("total_inactive_file 0\n")
    assert host_available(root=root) == 50 * GIB


def test_a_person_may_allow_less(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    assert host_available(8, root) == 8 * GIB
    assert host_available(500, root) == 50 * GIB


def test_a_full_container_has_nothing_left(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    second(root / "sys/fs/cgroup", 4, used=5)
    assert host_available(root=root) == 0


def test_pretended_cards() -> None:
    cards = pretended_cards({"LADDER_IMAGE_CARDS": "24, 8"})
    assert [(card.index, card.free_bytes) for card in cards] == [(0, 24 * GIB), (1, 8 * GIB)]
    assert pretended_cards({}) == ()


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADDER_IMAGE_CARDS", "24")
    machine = this_machine(max_card_memory_gib=10, max_host_memory_gib=1)
    assert machine.pretended and machine.cards[0].free_bytes == 10 * GIB
    assert machine.host_available_bytes <= GIB and machine.host_total_bytes > 0
    real = this_machine((Card(0, "NVIDIA H200", 140 * GIB, 139 * GIB, 9.0),))
    assert not real.pretended and real.cards[0].free_bytes == 139 * GIB


def test_processor(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor: 0\nflags\t\t: avx2 amx_bf16\n")
    assert cpu_flags(tmp_path) == {"avx2", "amx_bf16"}
    assert cpu_flags(tmp_path / "none") == frozenset()
    assert cores() >= 1
    assert Machine().limited(4) == Machine()
