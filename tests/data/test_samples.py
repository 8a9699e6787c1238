"""The sample data that come with the studio: whole, without a fault, in both languages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studio.core.settings import ROOT
from studio.data.library import DataSets

SAMPLES = ROOT / "assets/data"
KINDS = {
    "smoke_zh_en": "alpaca",
    "smoke_new_facts": "alpaca",
    "smoke_multiturn": "openai",
    "smoke_pictures": "openai",
    "smoke_preference": "preference",
    "smoke_labels": "kto",
    "smoke_text": "pretrain",
}


@pytest.fixture
def data(tmp_path: Path) -> DataSets:
    return DataSets(tmp_path / "data", SAMPLES)


def test_one_sample_of_every_kind(data: DataSets) -> None:
    assert {sample.name: sample.kind for sample in data.list()} == KINDS
    assert set(json.loads((SAMPLES / "dataset_info.json").read_text("utf-8"))) == set(KINDS)
    assert all(sample.built_in for sample in data.list())


@pytest.mark.parametrize("name", KINDS)
def test_sample_has_no_fault_and_both_languages(data: DataSets, name: str) -> None:
    sample = data.get(name)
    assert sample.faults == 0
    rows = [json.dumps(row, ensure_ascii=False) for row in data.rows(name, 0, 400)]
    chinese = [any("\u4e00" <= letter <= "\u9fff" for letter in row) for row in rows]
    assert len(rows) >= 20
    assert sum(chinese) >= 0.3 * len(rows), "Chinese"
    assert not all(chinese), "and English"


def test_new_facts_are_new() -> None:
    """None of them is in what the tiny model was trained on."""
    known = (SAMPLES / "smoke_multiturn.json").read_text(encoding="utf-8")
    rows = json.loads((SAMPLES / "smoke_new_facts.json").read_text(encoding="utf-8"))
    for row in rows:
        assert row["instruction"] not in known and row["output"] not in known


def test_pictures_are_there() -> None:
    rows = json.loads((SAMPLES / "smoke_pictures.json").read_text(encoding="utf-8"))
    for row in rows:
        assert row["messages"][0]["content"].count("<image>") == len(row["images"]) == 1
        assert (SAMPLES / row["images"][0]).is_file()


def test_training_finds_every_sample_by_name(data: DataSets) -> None:
    """The studio's own dataset_info.json leads to each of them from another folder."""
    info = data.register()
    table = json.loads(info.read_text(encoding="utf-8"))
    assert set(table) == set(KINDS)
    for entry in table.values():
        assert Path(info.parent, entry["file_name"]).is_file()
