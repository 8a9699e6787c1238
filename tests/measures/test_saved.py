"""Points and folders of results on disk: torn lines, doubled ids, filters, a cache that notices."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import pytest
from measures.points import load, thrice

from studio.bench.point import POINTS, Point, append_point, read_points
from studio.bench.saved import About, Saved, folder_name
from studio.core.errors import NotFound, RunBusy


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return Saved(tmp_path / "bench")


def filled(saved: Saved, name: str, points: list[Point], **about: object) -> Path:
    folder = saved.begin(About.model_validate({"name": name, **about}))
    for point in points:
        append_point(folder, point)
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    point = load(32, 4216.5, seed=7, argv=("vllm", "bench", "serve"), raw="points/x.json")
    append_point(tmp_path, point)
    assert read_points(tmp_path / POINTS) == [point]
    assert read_points(tmp_path / POINTS, "here")[0].results == "here"
    assert "results" not in json.loads((tmp_path / POINTS).read_text())


def test_a_torn_line_costs_itself_only(tmp_path: Path) -> None:
    append_point(tmp_path, load(1, 10))
    with (tmp_path / POINTS).open("a") as file:
        file.write('{"id": "in512-out128-c8-r0", "figures": {"output_th')
    assert [point.id for point in read_points(tmp_path / POINTS)] == ["in512-out128-c1-r0"]
    append_point(tmp_path, load(32, 30))
    ids = [point.id for point in read_points(tmp_path / POINTS)]
    assert ids == ["in512-out128-c1-r0", "in512-out128-c32-r0"]


def test_lines_that_are_no_points_are_left_out(tmp_path: Path) -> None:
    lines = ["", "null", "[]", '{"no": "id"}', "\x00\x00", '{"id": "a", "figures": 7}', "{}"]
    lines.append('{"id": "b", "from_a_later_version": 1, "figures": {"x": 1}}')
    (tmp_path / POINTS).write_text("\n".join(lines))
    assert [point.id for point in read_points(tmp_path / POINTS)] == ["b"]
    assert read_points(tmp_path / "nowhere" / POINTS) == []


def test_a_point_measured_again_counts_once(tmp_path: Path) -> None:
    append_point(tmp_path, load(1, 0, status="failed", error="the server died"))
    append_point(tmp_path, load(8, 80))
    append_point(tmp_path, load(1, 10))
    found = read_points(tmp_path / POINTS)
    assert [(point.condition["concurrency"], point.status) for point in found] == [
        (1, "done"),
        (8, "done"),
    ]


def test_what_is_no_number_is_no_figure() -> None:
    told = {"a": math.nan, "b": math.inf, "g": 1e308, "c": None, "d": "x", "e": 3, "f": 0.5}
    point = Point.model_validate({"id": "x", "figures": told, "condition": {"deep": [1, 2]}})
    assert point.figures == {"e": 3, "f": 0.5}
    assert point.condition == {"deep": "[1, 2]"}
    assert (point.get("e"), point.get("deep"), point.get("status")) == (3, "[1, 2]", "done")
    assert point.get("nothing") is None


def test_folders_are_named_by_what_and_when(saved: Saved) -> None:
    at = time.mktime((2026, 3, 4, 5, 6, 7, 0, 0, -1))
    first = saved.begin(About(name="Qwen/Qwen2.5-7B-Instruct", created_at=at))
    second = saved.begin(About(model="Qwen/Qwen2.5-7B-Instruct", created_at=at))
    assert first.name == "Qwen2.5-7B-Instruct_20260304-050607"
    assert second.name == "Qwen2.5-7B-Instruct_20260304-050607-1"
    assert json.loads((first / "about.json").read_text())["created_at"] == at
    (second / "about.json").unlink()
    assert saved.get(second.name).created_at == at  # the name tells
    assert [folder_name(text) for text in ("/models/tiny/", "a b/c d", "...", "中文")] == [
        "tiny",
        "c-d",
        "results",
        "中文",
    ]


def test_newest_first_and_found_by_a_beginning(saved: Saved) -> None:
    filled(saved, "old", [load(1, 1)], created_at=100.0)
    filled(saved, "new", [load(1, 1), load(8, 0, status="failed")], created_at=200.0)
    new, old = saved.folders()
    assert (new.about.name, old.about.name) == ("new", "old")
    assert (new.num_points, new.num_failed, new.models) == (2, 1, ("Qwen/Qwen2.5-7B",))
    assert new.ended_at == 1_760_000_000.0
    assert saved.get("ne") == new
    with pytest.raises(NotFound):
        saved.get("nothing")


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "a/b", "/etc"])
def test_no_name_leads_out_of_the_folder(saved: Saved, name: str) -> None:
    filled(saved, "here", [])
    with pytest.raises(NotFound):
        saved.get(name)
    with pytest.raises(NotFound):
        saved.delete(name)


def test_filters(saved: Saved) -> None:
    seven = thrice(1, 211, 212, 213) + thrice(32, 4216, 4200, 4230)
    filled(saved, "seven", seven, created_at=100.0)
    other = load(32, 6048, cards=2, case="tp2", model="Qwen/Qwen2.5-14B", at=2_000_000_000.0)
    filled(saved, "study", [other], kind="study", created_at=200.0)
    assert len(saved.points()) == 7
    assert saved.points()[0].model == "Qwen/Qwen2.5-14B"  # the newest folder comes first
    assert len(saved.points(concurrency=32)) == 4
    assert len(saved.points(concurrency=[1, 32], model="Qwen/Qwen2.5-7B", repeat=0)) == 2
    assert len(saved.points(kind="load")) == 6
    assert len(saved.points(results=saved.get("study").name)) == 1
    assert len(saved.points(case="tp2", cards=2)) == 1
    assert len(saved.points(text="QWEN 14b")) == 1
    assert len(saved.points(since=1_900_000_000.0)) == 1
    assert len(saved.points(until=1_900_000_000.0, status="done")) == 6
    assert saved.points(nothing="here") == []
    assert saved.values("concurrency") == [1, 32]
    assert saved.values("model") == ["Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-7B"]


def test_the_cache_notices(saved: Saved) -> None:
    folder = filled(saved, "x", [load(1, 1)])
    before = saved.points()
    assert saved.points()[0] is before[0]  # not read again
    append_point(folder, load(8, 8))
    assert len(saved.points()) == 2
    (folder / "verdict.json").write_text('{"met": 1}')
    assert saved.get("x").verdict == {"met": 1}
    (folder / "about.json").write_text('{"name": "y", "kind": "quality"}')
    assert saved.get("x").about.kind == "quality"
    assert len(saved.points(kind="quality")) == 2
    saved.delete(saved.get("x").name)
    assert saved.folders() == saved.points() == []


def test_a_folder_without_about_is_read_all_the_same(saved: Saved) -> None:
    folder = saved.root / "brought-along"
    folder.mkdir(parents=True)
    append_point(folder, load(1, 1))
    (folder / "about.json").write_text("{ torn")
    (saved.root / "a-file").write_text("")
    assert saved.get("brought").title("en") == "brought-along"
    assert len(saved.points()) == 1


def test_a_study_and_the_folders_of_its_cases(saved: Saved) -> None:
    study = filled(saved, "scaling", [], kind="study", created_at=100.0)
    filled(saved, "two", [load(1, 2)], study=study.name, case="two", created_at=300.0)
    filled(saved, "one", [load(1, 1)], study=study.name, case="one", created_at=200.0)
    filled(saved, "stranger", [load(1, 9)])
    assert [item.about.name for item in saved.family("scaling")] == ["scaling", "one", "two"]


def test_what_is_being_written_is_not_deleted(tmp_path: Path) -> None:
    saved = Saved(
        tmp_path, writer=lambda found: found.about.run if found.about.run == "at-work" else ""
    )
    name = filled(saved, "x", [load(1, 1)], run="at-work").name
    with pytest.raises(RunBusy):
        saved.delete(name)
    with pytest.raises(NotFound):
        saved.delete("x")  # a beginning is enough to look, not to delete
    assert saved.points()


def test_titles(saved: Saved) -> None:
    filled(saved, "x", [], title={"en": "One or two", "zh": "一张还是两张"})
    found = saved.get("x")
    assert (found.title("zh"), found.title("en"), found.title("fr")) == (
        "一张还是两张",
        "One or two",
        "One or two",
    )
    assert found.summary()["num_points"] == 0
