"""`data` on the command line: what a script sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studio.commands.data import data_app
from studio.core.errors import RecipeInvalid
from studio.core.settings import Settings
from studio.data import work


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    rows = [{"Q": f"q{n}", "A": f"a{n}"} for n in range(10)]
    path.write_text("\n".join(json.dumps(row) for row in [*rows, {"Q": "", "A": "x"}]))
    return path


def test_a_file_from_check_to_removal(file: Path, settings: Settings) -> None:
    def data(*words: str, code: int = 0) -> str:
        argv = [*words, "--home", str(settings.home)]
        found = CliRunner().invoke(data_app, argv, catch_exceptions=False)
        assert found.exit_code == code, found.output
        return found.output

    mapped = ("--map", "Q=prompt", "--map", "A=response")
    told = data("check", str(file), *mapped, code=1)
    assert "11 records, 10 good, 1 left out" in told and "line 11: Q is empty." in told
    told = json.loads(data("check", str(file), *mapped, "--json", code=1))
    assert told["faults"][0]["sentence"] == "Q is empty." and told["kind"] == "alpaca"
    assert data("add", str(file), "faq", *mapped) == "faq.v1: 10 rows, alpaca, 1 records left out\n"
    assert data("apply", "faq", "filter", "contains=q1") == "faq.v2: 1 rows, alpaca\n"
    assert data("apply", "faq.v1", "sample", "rows=3", "--as", "few") == "few.v1: 3 rows, alpaca\n"
    assert data("split", "faq.v1", "--val", "0.2").splitlines() == [
        "faq-train.v1: 8 rows, alpaca",
        "faq-val.v1: 2 rows, alpaca",
    ]
    assert data("merge", "faq-train", "faq-val", "--as", "all") == "all.v1: 10 rows, alpaca\n"
    shown = json.loads(data("show", "faq", "--json"))
    assert shown["versions"] == ["faq.v1", "faq.v2"] and len(shown["sample"]) == 1
    assert "q1" in data("show", "faq")
    data("rm", "faq.v2", "--yes")
    data("rm", "all", "--yes")
    names = [row["name"] for row in json.loads(data("ls", "--json"))]
    assert {"faq", "few", "smoke_zh_en"} <= set(names) and "all" not in names
    assert data("ls").splitlines()[0].split() == [
        "name", "version", "kind", "rows", "pictures", "file",
    ]  # fmt: skip
    with pytest.raises(RecipeInvalid, match="column=role"):
        data("check", str(file), "--map", "Q")


def test_a_big_file_becomes_a_run(
    file: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "SMALL_BYTES", 100)
    argv = ["add", str(file), "faq", "--map", "Q=prompt", "--map", "A=response", "--home"]
    found = CliRunner().invoke(data_app, [*argv, str(settings.home)], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    first, *log = found.output.splitlines()
    assert first.startswith("run ") and "faq.v1: 10 rows, 1 records left out" in log
