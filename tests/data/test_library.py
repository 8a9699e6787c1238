"""Names, versions, registration, and two who write at once."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from studio.core.errors import DataInvalid, DiskFull, NotAllowed, NotFound
from studio.data import versions
from studio.data.library import DataSets, clean_name
from studio.data.model import Filter, Limits

from .conftest import SAMPLES

Written = Callable[..., Path]
ROWS = [{"instruction": f"q{n}", "output": f"a{n}"} for n in range(2500)]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("faq", "faq"),
        ("My data (2).v3", "My-data-2-v3"),
        ("客服问答", "客服问答"),
        ("../../etc/passwd", "etc-passwd"),
        ("/abs/olute", "abs-olute"),
        (".hidden", "hidden"),
        ("a\0b\nc", "a-b-c"),
        ("x" * 300, "x" * 60),
        ("CON:<>|", "CON"),
    ],
)
def test_names_cannot_leave_the_folder(given: str, kept: str) -> None:
    assert clean_name(given) == kept


@pytest.mark.parametrize("given", ["", " ", "..", "../..", "///", "-_-"])
def test_names_of_nothing_are_refused(given: str) -> None:
    with pytest.raises(DataInvalid):
        clean_name(given)


def test_a_data_set_is_never_overwritten(data: DataSets, written: Written) -> None:
    data.add(written(ROWS), "faq")
    for name in ("faq", "../faq", "smoke_zh_en"):
        with pytest.raises(DataInvalid, match="already"):
            data.add(written(ROWS), name)
    assert len([one for one in data.list() if not one.built_in]) == 1


def test_what_is_known_of_a_data_set(data: DataSets, written: Written) -> None:
    path = written([*ROWS, {"instruction": "", "output": "x"}])
    made = data.add(path, "faq")
    assert data.get("faq") == data.get("faq.v1") == made == data.list()[0]
    assert made.rows == 2500 and made.faults == 1 and made.kind == "alpaca"
    assert made.origin["path"] == str(path) and len(made.origin["sha256"]) == 64
    assert not list((data.folder / "faq").glob("original*")), "pointed to, so not copied"
    report = data.report("faq")
    assert (report.read, report.good, report.refused) == (2501, 2500, 1)
    assert report == data.check(path)
    assert [row["instruction"] for row in data.rows("faq", 2400, 3)] == ["q2400", "q2401", "q2402"]
    assert len(data.rows("faq", 2499, 50)) == 1 and data.rows("faq", 9000) == []
    assert json.loads(json.dumps(made.as_dict()))["key"] == "faq.v1"
    for name, words in (("fak", "Did you mean faq"), ("faq.v7", "faq"), ("../faq", "There")):
        with pytest.raises(NotFound) as caught:
            data.get(name)
        assert words in str(caught.value)


def test_samples_are_listed_and_stay(data: DataSets) -> None:
    sample = data.get("smoke_zh_en")
    assert sample.built_in and sample.kind == "alpaca" and sample.rows > 100
    assert data.rows("smoke_zh_en", 1, 1)[0]["instruction"]
    assert data.versions("smoke_zh_en") == [sample]
    with pytest.raises(NotAllowed):
        data.delete("smoke_zh_en")
    [own] = data.apply("smoke_zh_en", Filter(contains="vLLM"))
    assert own.name == "smoke_zh_en-own" and not own.built_in
    [other] = data.apply("smoke_zh_en", Filter(contains="vLLM"))
    assert other.name == "smoke_zh_en-own-2"


def test_deleting(data: DataSets, written: Written) -> None:
    path = written(ROWS)
    data.add(path, "faq")
    data.apply("faq", Filter(contains="q1"))
    data.delete("faq.v1")
    assert [one.key for one in data.versions("faq")] == ["faq.v2"]
    assert "faq.v1" not in json.loads(data.register().read_text())
    data.delete("faq.v2")
    assert not (data.folder / "faq").exists() and path.exists()
    assert "faq" not in json.loads(data.register().read_text())


def test_every_version_is_registered_and_nothing_is_written_twice(
    data: DataSets, written: Written
) -> None:
    data.add(written(ROWS), "问答")
    data.apply("问答", Filter(contains="q1"))
    info = data.register()
    text = info.read_text(encoding="ascii")
    known = json.loads(text)
    assert known["问答"] == known["问答.v2"] != known["问答.v1"]
    assert known["问答.v1"] == {
        "file_name": "问答/v1.jsonl",
        "columns": {"prompt": "instruction", "query": "input", "response": "output"},
    }
    assert known["smoke_zh_en"]["file_name"] == str(SAMPLES / "smoke_zh_en.json")
    for given in known.values():
        assert (data.folder / given["file_name"]).is_file()
    stamp = info.stat().st_mtime_ns
    for _ in range(3):
        assert data.register() == info
    assert info.stat().st_mtime_ns == stamp
    info.unlink()
    assert json.loads(data.register().read_text()) == known


def test_samples_with_pictures_name_them_by_absolute_paths(data: DataSets) -> None:
    known = json.loads(data.register().read_text())
    given = known["smoke_pictures"]
    lines = (data.folder / given["file_name"]).read_text(encoding="utf-8").splitlines()
    for line in lines:
        for path in json.loads(line)["images"]:
            assert Path(path).is_absolute() and Path(path).is_file()


def test_two_who_add_at_once(data: DataSets, written: Written) -> None:
    path = written(ROWS)
    barrier = threading.Barrier(6)

    def add(number: int) -> str:
        barrier.wait(10)
        other = DataSets(data.folder, SAMPLES)
        try:
            return other.add(path, f"set{number // 2}").name
        except DataInvalid:
            return "taken"

    with ThreadPoolExecutor(6) as pool:
        names = list(pool.map(add, range(6)))
    assert sorted(names) == ["set0", "set1", "set2", "taken", "taken", "taken"]
    known = json.loads(data.register().read_text())
    assert {"set0", "set1", "set2"} <= set(known)
    assert not list(data.folder.glob(".adding-*"))


def test_two_operations_at_once_make_two_versions(data: DataSets, written: Written) -> None:
    data.add(written(ROWS), "faq")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda n: data.apply("faq.v1", Filter(contains=f"q{n}")), range(1, 5)))
    assert sorted(one.version for [one] in made) == [2, 3, 4, 5]
    assert len(data.versions("faq")) == 5


def test_a_half_written_version_is_not_there(data: DataSets, written: Written) -> None:
    data.add(written(ROWS), "faq")
    (data.folder / "faq" / "v2.jsonl").write_text('{"instruction"')
    (data.folder / ".adding-x").mkdir()
    (data.folder / "empty").mkdir()
    assert [one.key for one in data.versions("faq")] == ["faq.v1"]
    assert [one.name for one in data.list() if not one.built_in] == ["faq"]
    data.apply("faq", Filter(contains="q1"))
    assert data.get("faq").version == 2 and data.get("faq").rows == len(data.rows("faq", 0, 9999))


def test_a_full_disk_leaves_nothing_behind(
    data: DataSets, written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(writer: versions.Writer, row: object) -> None:
        raise OSError(28, os.strerror(28))

    path = written(ROWS)
    monkeypatch.setattr(versions.Writer, "write", full)
    with pytest.raises(DiskFull, match="No room left"):
        data.add(path, "faq")
    assert [entry.name for entry in data.folder.iterdir() if "adding" in entry.name] == []


def test_long_samples_are_told_and_kept(data: DataSets, written: Written) -> None:
    short = DataSets(data.folder, SAMPLES, Limits(long_chars=50))
    path = written([{"instruction": "q", "output": "a" * 50}, {"instruction": "q", "output": "a"}])
    report = short.check(path)
    assert report.counts == {"long": 1} and report.faults[0].kept and report.good == 2
    short.add(path, "it")
    assert short.apply("it", Filter(drop=("long",)))[0].rows == 1


def test_reading_stops_where_nothing_can_be_read_any_more(data: DataSets, tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"instruction": "q", "output": "a"}\n' + "nonsense\n" * 5000)
    patient = DataSets(data.folder, SAMPLES, Limits(faults=10)).check(path)
    assert patient.counts == {"mixed": 5000} and len(patient.faults) == 10
    hasty = DataSets(data.folder, SAMPLES, Limits(faults=10, faults_in_a_row=100)).check(path)
    assert hasty.counts == {"mixed": 100, "hopeless": 1} and hasty.good == 1
    assert hasty.faults[-1].line == 102 and hasty.faults[-1].code == "hopeless"


def test_progress_is_told(data: DataSets, written: Written) -> None:
    told: list[tuple[int, int]] = []
    path = written(ROWS)
    data.add(path, "faq", tell=lambda done, total: told.append((done, total)))
    assert told[-1] == (path.stat().st_size,) * 2
    told.clear()
    data.apply("faq", Filter(contains="q1"), tell=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 2500) and told[-1] == (2500, 2500)


def test_nothing_to_read(data: DataSets, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        data.look(tmp_path / "none.json")
    with pytest.raises(NotFound):
        data.look(tmp_path)
    with pytest.raises(NotFound, match="not read from a file"):
        data.merge(["smoke_zh_en", "smoke_new_facts"], "both")
        data.report("both")
