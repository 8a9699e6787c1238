"""Broken files are refused, repaired, or their faults named by line; memory stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from data.broken import FILES, Broken

from studio.core.errors import DataInvalid
from studio.data.library import DataSets
from studio.data.model import Limits
from studio.ui.i18n import words


@pytest.fixture(params=FILES, ids=[broken.name for broken in FILES])
def broken(request: pytest.FixtureRequest) -> Broken:
    return request.param


def laid_out(broken: Broken, tmp_path: Path) -> tuple[DataSets, Path]:
    folder = tmp_path / "upload"
    folder.mkdir()
    path = folder / broken.file
    if callable(broken.data):
        broken.data(folder)
    else:
        path.write_bytes(broken.data)
    limits = Limits(record_bytes=broken.limit) if broken.limit else Limits()
    return DataSets(tmp_path / "home" / "data", tmp_path / "no-samples", limits), path


def test_a_broken_file_is_told_by_line(broken: Broken, tmp_path: Path) -> None:
    data, path = laid_out(broken, tmp_path)
    if broken.refused:
        with pytest.raises(DataInvalid, match=broken.refused):
            data.check(path, upload=broken.upload)
        return
    report = data.check(path, upload=broken.upload)
    assert {fault.line: fault.code for fault in report.faults} == broken.faults
    assert report.good == broken.good
    assert set(report.repaired) >= set(broken.repaired)
    if not broken.repaired:
        assert not {"encoding", "bom", "comma"} & set(report.repaired)
    for lang in ("en", "zh"):
        for fault in report.faults:
            sentence = words(lang)[f"data.fault.{fault.code}"].format_map(fault.values)
            assert sentence and len(sentence) < 400
        for code in report.repaired:
            assert words(lang)[f"data.repair.{code}"]


def test_what_is_good_in_a_broken_file_is_kept_and_nothing_else(
    broken: Broken, tmp_path: Path
) -> None:
    data, path = laid_out(broken, tmp_path)
    before = path.read_bytes()
    if not broken.good:
        with pytest.raises(DataInvalid):
            data.add(path, "it", upload=broken.upload)
        assert [one for one in data.list() if not one.built_in] == []
        assert not list(data.folder.glob(".adding-*"))
    else:
        made = data.add(path, "it", upload=broken.upload)
        assert made.rows == broken.good == len(data.rows("it", 0, 1000))
        assert made.faults == sum(code != "duplicate" for code in broken.faults.values())
        assert (data.folder / "it" / f"original{path.suffix}").read_bytes() == before
    assert path.read_bytes() == before


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 40
    assert len({broken.name for broken in FILES}) == len(FILES)
