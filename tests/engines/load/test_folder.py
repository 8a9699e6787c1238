"""The folder of results: what the worker writes is what the studio reads, whatever happened."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.bench.point import POINTS, read_points
from studio.bench.saved import Saved, folder_name
from studio.engines.workers.bench import folder as worker

ABOUT = {
    "v": 1,
    "kind": "load",
    "name": "Qwen2.5-7B",
    "model": "Qwen/Qwen2.5-7B",
    "run": "01run",
    "created_at": 1_700_000_000.0,
    "settings": {"base_url": "http://a/v1", "server_run": ""},
}


def test_the_studio_reads_what_the_worker_wrote(tmp_path: Path) -> None:
    made = worker.begin(tmp_path, ABOUT)
    assert made.path.name.startswith("Qwen2.5-7B_2023")
    made.append({"id": "in8-out4-c1-r0", "figures": {"output_throughput": 12.5}, "seconds": 2.0})
    made.append({"id": "in8-out4-c2-r0", "status": "failed", "error": "gone"})
    found = Saved(tmp_path).get(made.path.name)
    assert found.about.model == "Qwen/Qwen2.5-7B" and found.about.kind == "load"
    assert [(p.id, p.status) for p in found.points] == [
        ("in8-out4-c1-r0", "done"),
        ("in8-out4-c2-r0", "failed"),
    ]


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    made = worker.begin(tmp_path, ABOUT)
    made.append({"id": "a", "status": "done", "seconds": 1.5})
    with (made.path / POINTS).open("a") as file:
        file.write('{"id": "b", "status": "do')
    assert made.seconds_done() == {"a": 1.5}
    made.append({"id": "b", "status": "done", "seconds": 2.5})
    assert made.seconds_done() == {"a": 1.5, "b": 2.5}
    assert [point.id for point in read_points(made.path / POINTS)] == ["a", "b"]


def test_a_point_that_failed_is_measured_again(tmp_path: Path) -> None:
    made = worker.begin(tmp_path, ABOUT)
    made.append({"id": "a", "status": "failed"})
    assert made.seconds_done() == {}
    made.append({"id": "a", "status": "done", "seconds": 3})
    assert made.seconds_done() == {"a": 3.0}
    assert read_points(made.path / POINTS)[0].done


def test_only_one_sweep_writes_a_folder(tmp_path: Path) -> None:
    made = worker.begin(tmp_path, ABOUT)
    with pytest.raises(worker.Busy, match="another sweep"):
        worker.go_on(tmp_path, made.path.name, "02run")
    made.close()
    again, about = worker.go_on(tmp_path, made.path.name, "02run")
    again.close()
    kept = json.loads((made.path / worker.ABOUT).read_text())
    assert kept["run"] == "02run" and kept["runs"] == ["01run", "02run"]
    assert about["settings"] == ABOUT["settings"]


@pytest.mark.parametrize("about", ["", '{"v": 1, "ki', "[]", '{"v": 1}', '{"settings": 5}'])
def test_a_torn_folder_is_not_gone_on_with(tmp_path: Path, about: str) -> None:
    made = worker.begin(tmp_path, ABOUT)
    made.close()
    (made.path / worker.ABOUT).write_text(about)
    with pytest.raises(worker.Torn, match="is torn"):
        worker.go_on(tmp_path, made.path.name, "02run")
    assert (made.path / worker.ABOUT).read_text() == about


def test_two_in_one_second_get_two_folders(tmp_path: Path) -> None:
    first, second = worker.begin(tmp_path, ABOUT), worker.begin(tmp_path, ABOUT)
    assert first.path != second.path
    assert worker.earlier_sweeps(tmp_path, "http://a/v1", "") == 2
    assert worker.earlier_sweeps(tmp_path, "http://b/v1", "") == 0


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B", "a b/c d", "..", "模型/千问", "x" * 200])
def test_folders_are_named_as_the_studio_names_them(name: str) -> None:
    assert worker.folder_name(name) == folder_name(name)
