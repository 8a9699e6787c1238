"""The `bench` commands over results written by hand."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from measures.points import load, server, thrice
from typer.testing import CliRunner

from studio.bench.point import Point, append_point
from studio.bench.saved import About
from studio.cli import app
from studio.commands.terminal import print_table
from studio.core.errors import NotFound, RecipeInvalid, StudioError
from studio.core.settings import Settings
from studio.studio import Studio

ONE = thrice(1, 210, 211, 212) + thrice(128, 8700, 8750, 8800, ttft=900)
TWO = [
    *thrice(1, 299, 300, 301, cards=2),
    *thrice(128, 13000, 13028, 13056, cards=2, figures=server(0.5, 128, 3)),
]


@pytest.fixture
def studio(settings: Settings) -> Studio:
    return Studio(settings)


def results(studio: Studio, name: str, points: list[Point], **about: Any) -> Path:
    folder = studio.saved.begin(About(name=name, model="Qwen/Qwen2.5-7B", **about))
    for point in points:
        append_point(folder, point)
    return folder


def cli(studio: Studio, *words: object, code: int = 0) -> str:
    home = ["--home", str(studio.settings.home)]
    argv = ["bench", *map(str, words), *home]
    answer = CliRunner().invoke(app, argv, catch_exceptions=False)
    assert answer.exit_code == code, answer.output
    return answer.stdout


def told(studio: Studio, *words: object) -> Any:
    return json.loads(cli(studio, *words, "--json"))


def test_folders_newest_first(studio: Studio) -> None:
    results(studio, "one", ONE, created_at=100.0)
    title = {"en": "One or two cards", "zh": "一张还是两张"}
    results(studio, "scaling", [], kind="study", created_at=200.0, title=title)
    lines = cli(studio, "ls").splitlines()
    assert lines[1].startswith("scaling_") and lines[1].endswith("One or two cards")
    assert re.match(r"one_\S+ +load +6 of 6 +Qwen/Qwen2.5-7B", lines[2])
    assert [row["kind"] for row in told(studio, "ls", "--kind", "load")] == ["load"]
    assert [row["num_points"] for row in told(studio, "ls", "--find", "TWO cards")] == [0]


def test_show_tells_how_to_do_it_again(studio: Studio) -> None:
    failed = load(256, 0, status="failed", error="Connection refused")
    place = {"cpu": "Xeon", "os": "Linux", "cards": ["NVIDIA H200"]}
    results(studio, "one", [*ONE, failed], command="python app.py bench run x", environment=place)
    text = cli(studio, "show", "one")
    assert "again      python app.py bench run x" in text
    assert "machine    Xeon · Linux" in text and "points     6 of 7 done" in text
    assert re.search(r"in512-out128-c128-r1 +8,750", text)
    assert re.search(r"in512-out128-c256-r0 +Connection refused", text)
    shown = told(studio, "show", "one")
    assert len(shown["points"]) == 7 and shown["num_failed"] == 1


def test_points_of_all_folders(studio: Studio) -> None:
    results(studio, "one", ONE, created_at=100.0)
    results(studio, "two", TWO, created_at=200.0)
    assert len(told(studio, "points")) == 12
    assert len(told(studio, "points", "two", "--model", "Qwen/Qwen2.5-7B")) == 6
    assert told(studio, "points", "--find", "nothing") == []
    text = cli(studio, "points", "one", "--metric", "ttft_p90_ms", "--lang", "zh")
    assert text.splitlines()[0].split() == ["测点", "TTFT", "P90", "(ms)"]
    rows = list(csv.DictReader(io.StringIO(cli(studio, "points", "one", "--csv"))))
    assert (rows[3]["concurrency"], rows[3]["output_throughput"]) == ("128", "8700")
    with pytest.raises(NotFound, match="Did you mean ttft_p90_ms"):
        cli(studio, "points", "--metric", "ttft_p9_ms")


def test_comparison_in_words(studio: Studio) -> None:
    results(studio, "one", ONE, created_at=100.0)
    results(studio, "two", TWO, created_at=200.0)
    text = cli(studio, "compare", "one", "two", "--metric", "output_throughput")
    assert re.search(
        r"128 +out tok/s +8,750 +13,028 +\+48.9 % +\+47.\d % … \+50.\d % +better", text
    )
    assert "They differ in Cards." in text
    assert "two is better than one in 2 of 2 conditions, +42.2 % to +48.9 %." in text
    found = told(studio, "compare", "one", "two")
    assert found["base"] == "one" and found["sentences"]
    with pytest.raises(RecipeInvalid, match="needs two groups"):
        cli(studio, "compare", "one")


def test_the_cases_of_a_study(studio: Studio) -> None:
    study = results(studio, "scaling", [], kind="study")
    results(studio, "a", [p.model_copy(update={"case": "one"}) for p in ONE], study=study.name)
    results(studio, "b", [p.model_copy(update={"case": "tp2"}) for p in TWO], study=study.name)
    assert told(studio, "compare", "scaling")["groups"] == ["one", "tp2"]
    both = told(studio, "compare", "scaling:tp2", "scaling:one")
    assert both["base"] == "scaling:tp2"
    with pytest.raises(NotFound, match="has no case tp4"):
        cli(studio, "compare", "scaling:tp4", "a")
    assert len(told(studio, "show", "scaling")["points"]) == 12
    assert len(told(studio, "points", "scaling")) == 12


def test_what_has_nothing_in_common_is_no_table(studio: Studio) -> None:
    results(studio, "one", ONE)
    other = [point.model_copy(update={"figures": {"score": 1.0}}) for point in TWO]
    results(studio, "two", other)
    assert cli(studio, "compare", "one", "two").startswith("Nothing to compare")


def test_a_beginning_that_several_share(studio: Studio) -> None:
    results(studio, "tiny-a", ONE)
    results(studio, "tiny-b", TWO)
    with pytest.raises(NotFound, match="2 results begin with tiny"):
        cli(studio, "show", "tiny")


def test_columns_stand_below_each_other_with_chinese_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A Chinese character takes two columns of a terminal."""
    print_table(("name", "n"), [("中文名", 1), ("four", 2)])
    assert capsys.readouterr().out.splitlines() == ["name    n", "中文名  1", "four    2"]


def test_verdict_with_limits_of_ones_own(studio: Studio) -> None:
    results(studio, "one", ONE)
    text = cli(studio, "verdict", "one")
    assert text.startswith("1 user at once: first token under 100 ms")
    assert "Limits, because none were set: TTFT ≤ 500 ms, TPOT ≤ 50 ms." in text
    assert cli(studio, "verdict", "one", "ttft_ms=1000").startswith("At least 128 users at once")
    assert cli(studio, "verdict", "one", "--lang", "zh").startswith("1 个用户同时使用")
    assert told(studio, "verdict", "one")["said"][0]["key"] == "measures.verdict.users"
    for wrong in ("ttft=1", "ttft_ms=soon", "ttft_ms=0", "ttft_ms=.nan", "ttft_ms=.inf"):
        with pytest.raises(RecipeInvalid, match="is no limit"):
            cli(studio, "verdict", "one", wrong)


def test_report_and_journal(studio: Studio, tmp_path: Path) -> None:
    folder = results(studio, "one", ONE, command="python app.py bench run x")
    text = cli(studio, "journal", "one")
    assert "python app.py bench run x" in text and "8,750" in text
    page = tmp_path / "one.html"
    assert cli(studio, "report", "one", "-o", page).strip() == str(page)
    assert page.read_text().startswith("<!doctype html>")
    assert cli(studio, "report", "one", "--lang", "zh").strip() == str(folder / "report.html")
    assert 'lang="zh-CN"' in (folder / "report.html").read_text()
    with pytest.raises(NotFound, match="There are no results called nothing"):
        cli(studio, "journal", "nothing")


def test_a_chart_into_a_file(studio: Studio, tmp_path: Path) -> None:
    told = {"tokens_per_s_user": 80, "ttft_median_ms": 90}
    points = [p.model_copy(update={"figures": p.figures | told}) for p in ONE]
    results(studio, "one", points)
    file = tmp_path / "load.csv"
    assert cli(studio, "chart", "one", "throughput-latency", "-o", file).strip() == str(file)
    assert "8750" in file.read_text(encoding="utf-8-sig")
    figure = tmp_path / "load.json"
    cli(studio, "chart", "one", "throughput-latency", "-o", figure, "--lang", "zh")
    assert json.loads(figure.read_text())["data"]
    with pytest.raises(RecipeInvalid, match="one kind of chart"):
        cli(studio, "chart", "one", "-o", file)
    with pytest.raises(RecipeInvalid, match="one kind of chart"):  # a kind misspelt is no folder
        cli(studio, "chart", "one", "throughput", "-o", file)
    with pytest.raises(StudioError, match="cannot be written"):
        cli(studio, "chart", "one", "throughput-latency", "-o", tmp_path / "none" / "x.csv")


def test_delete_asks_first(studio: Studio) -> None:
    name = results(studio, "one", ONE).name
    cli(studio, "rm", name, code=1)  # nobody answers
    assert studio.saved.get("one")
    with pytest.raises(NotFound, match="There are no results"):
        cli(studio, "rm", "one", "--yes")
    cli(studio, "rm", name, "--yes")
    assert told(studio, "ls") == []


def test_a_load_test_as_it_would_run(studio: Studio) -> None:
    text = cli(
        studio, "run", "http://127.0.0.1:1/v1", "model=tiny", "concurrency=[1,8]", "--dry-run"
    )
    assert "bench_sweep.py" in text
    with pytest.raises(NotFound, match="no endpoint"):
        cli(studio, "run", "nobody", "--dry-run")
    results(studio, "study", [], kind="study")
    with pytest.raises(RecipeInvalid, match="not a load test"):
        cli(studio, "resume", "study")
