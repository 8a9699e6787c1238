"""Reports, journal entries and the charts' routes: what is in them, and that they stand alone."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import brotli
import pytest
from conftest import spec
from starlette.requests import Request
from ui import chart_points as cp

from studio.bench.point import Point, append_point
from studio.bench.saved import About, Saved
from studio.core.errors import NotFound
from studio.studies.expect import Verdict, summary
from studio.studio import Studio
from studio.ui.charts import routes as chartroutes
from studio.ui.charts import sheet
from studio.ui.papers import journal, report

CASES = {"one-card": "One card", "tp2": "Two cards, TP=2", "replicas": "Two replicas"}
ENVIRONMENT = {"cards": ["Stand-in 141"] * 2, "driver": "1", "cpu": "Stand-in CPU", "cores": 8}


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Results of a study with three load tests, as its runner leaves them."""
    saved = Saved(tmp_path / "bench")
    study = saved.begin(
        About(
            kind="study",
            name="stand-in",
            title={"en": "Is <one> card enough?", "zh": "一张卡够吗？"},
            created_at=cp.AT,
            environment=ENVIRONMENT,
            command="python app.py study run stand-in",
        )
    )
    cells = [{"name": name, "title": {"en": title, "zh": title}} for name, title in CASES.items()]
    asked = {"en": "What does a second card bring?", "zh": "第二张卡带来什么？"}
    frozen = {"v": 1, "about": asked, "settings": {"chart": "scaling"}, "cells": cells}
    (study / "study.json").write_text(json.dumps(frozen))
    verdict = Verdict.model_validate(
        {
            "state": "not_met",
            "sureness": "clearly",
            "metric": "output_throughput",
            "of": "tp2",
            "against": "one-card",
            "limit": (1.8, None),
            "value": 1.46,
            "low": 1.42,
            "high": 1.5,
        }
    )
    (study / "verdict.json").write_text(json.dumps(summary([verdict])))
    for number, case in enumerate(reversed(CASES)):
        about = About(name=case, study=study.name, case=case, created_at=cp.AT + number)
        folder = saved.begin(about)
        for point in cp.scaling_points():
            if point.case == case:
                argv = ("vllm", "bench", "serve", "--model", "a b")
                append_point(folder, point.model_copy(update={"study": study.name, "argv": argv}))
    return saved


@pytest.fixture
def study(saved: Saved) -> str:
    """Name of the study's folder."""
    return next(item.name for item in saved.folders() if item.about.kind == "study")


def request(query: str = "", lang: str = "en", accept: str = "gzip") -> Request:
    """Return a request as the gate hands it on."""
    headers = [(b"x-ladder-lang", lang.encode()), (b"accept-encoding", accept.encode())]
    return Request({"type": "http", "query_string": query.encode(), "headers": headers})


# report -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_report_holds_everything_and_asks_nothing(saved: Saved, study: str, lang: str):
    page = report.report(saved, study, lang)
    script = sheet.plotly_file().read_text("utf-8")
    assert page.count(script) == 1
    own = page.replace(script, "")
    assert not re.search(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", own)
    assert "default-src 'unsafe-inline' data: blob:" in own
    assert own.count('<figure class="l-chart"') >= 4
    assert "Stand-in CPU" in own and "python app.py study run stand-in" in own
    assert "&lt;one&gt;" in own or lang == "zh"
    words = re.sub(r"<(script|style)>.*?</\1>", "", own, flags=re.DOTALL)
    assert not re.search(r"(charts|report|measures|study)\.[a-z_]+[<\".]", words)


def test_a_report_tells_question_verdict_and_cases_in_the_studys_order(saved: Saved, study: str):
    page = report.report(saved, study, "en").partition("<script>/**")[0]
    assert "What does a second card bring?" in page
    assert "Not met" in page and "1.46×" in page and "at least 1.80×" in page
    at = [page.index(f"<h3>{title}</h3>") for title in CASES.values()]
    assert at == sorted(at)
    assert "Two cards, TP=2 is better than One card" in page
    assert "vllm bench serve --model &#x27;a b&#x27;" in page


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_resumed_study_took_the_time_of_its_runs(saved: Saved, study: str, lang: str):
    """Ninety seconds on the first day, thirty on the next, by another run."""
    rows = [
        ("", "measuring", 0, "run-1"),
        ("tp2", "waiting", 10, "run-of-the-case"),
        ("tp2", "measuring", 90, None),
        ("", "measuring", 86_400, "run-2"),
        ("", "measuring", 86_400, "run-2"),
        ("", "done", 86_430, "run-2"),
    ]
    folder = saved.get(study).folder
    (folder / "state.jsonl").write_text(
        "".join(
            json.dumps({"at": cp.AT + at, "cell": cell, "phase": phase, "run": run}) + "\n"
            for cell, phase, at, run in rows
        )
    )
    told = {"en": "2 min, in 2 sittings", "zh": "2 分钟，分 2 次运行"}[lang]
    assert told in journal.journal(saved, study, lang)


def test_two_repeats_show_their_ends_and_three_half_an_interval(saved: Saved):
    two = saved.begin(About(name="two", created_at=cp.AT))
    for n, speed in enumerate((11.77, 9.92)):
        append_point(two, Point(id=f"p{n}", repeat=n, figures={"samples_per_s": speed}))
    told = journal.journal(saved, two.name, "en")
    assert "| 10.8 (9.92–11.8) | 2 |" in told
    assert "the smaller and the larger of two repeats" in told and "±" not in told
    append_point(two, Point(id="p2", repeat=2, figures={"samples_per_s": 10.8}))
    told = journal.journal(saved, two.name, "en")
    assert "| 10.8 ± 2.30 | 3 |" in told and "± is half the 95 % interval" in told


def test_a_report_is_written_beside_its_points(saved: Saved, study: str):
    studio: Any = SimpleNamespace(saved=saved, settings=SimpleNamespace(lang="zh"))
    path = report.write_report(studio, saved.get(study).folder)
    assert path.name == "report.html" and "一张卡够吗？" in path.read_text("utf-8")
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


def test_results_without_a_point_make_a_report_without_plotly(saved: Saved):
    empty = saved.begin(About(name="empty", created_at=cp.AT))
    assert len(report.report(saved, empty.name, "en")) < 100_000
    with pytest.raises(NotFound):
        report.report(saved, "nothing", "en")


def test_a_report_without_plotly_leaves_its_charts_out(
    saved: Saved, study: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sheet, "find_spec", lambda name: None)
    page = report.report(saved, study, "en")
    assert "Charts are left out: Plotly is not installed." in page
    assert "1.46×" in page and "l-chart" + '" id' not in page
    assert "图表已略去：" in report.report(saved, study, "zh")


ODD_STUDIES = ["[]", '{"settings": null, "cells": null}', '{"settings": {}, "cells": [5]}', '{"v":']


@pytest.mark.parametrize("question", ODD_STUDIES)
def test_odd_files_and_points_cost_a_part_and_not_the_paper(saved: Saved, question: str):
    odd = saved.begin(About(kind="study", name="odd", created_at=cp.AT))
    (odd / "study.json").write_text(question)
    (odd / "verdict.json").write_text('{"verdicts": [{"state": "weird"}]}')
    for number, users in enumerate(("a", True, 1.5, None, -1, 10**15)):
        condition, figures = {"concurrency": users}, {"output_throughput": -number, "score": 1e308}
        case = str(number)
        append_point(odd, Point(id=case, case=case, condition=condition, figures=figures))
    for lang in ("en", "zh"):
        assert "odd" in report.report(saved, odd.name, lang)
        assert "odd" in journal.journal(saved, odd.name, lang)


def test_an_interrupted_study_names_the_cases_without_a_result(saved: Saved):
    cut = saved.begin(About(kind="study", name="cut", created_at=cp.AT))
    cells = [{"name": "a"}, {"name": "b", "title": {"en": "The second", "zh": "第二项"}}]
    (cut / "study.json").write_text(json.dumps({"settings": {}, "cells": cells}))
    append_point(cut, Point(id="a", case="a", figures={"score": 1.0}))
    assert "- Without a result: The second\n" in journal.journal(saved, cut.name, "en")
    assert "没有结果的对比项: 第二项" in journal.journal(saved, cut.name, "zh")


def test_cases_of_different_kinds_are_not_compared(saved: Saved):
    rungs = saved.begin(About(kind="study", name="rungs", created_at=cp.AT))
    for case, figures in {"text": {"score": 1.0}, "train": {"loss_last": 2.0}}.items():
        append_point(rungs, Point(id=case, case=case, condition={"kind": case}, figures=figures))
    assert "Nothing to compare" not in journal.journal(saved, rungs.name, "en")


# journal ----------------------------------------------------------------------------------------


def test_a_journal_entry_is_markdown_with_what_is_needed_to_do_it_again(saved: Saved, study: str):
    text = journal.journal(saved, study, "en")
    assert text.startswith("# Is \\<one> card enough?\n\nWhat does a second card bring?\n")
    assert "- **Not met, clearly**: Output throughput: Two cards, TP=2 against One card" in text
    assert "```bash\npython app.py study run stand-in\n```" in text
    assert "```bash\nvllm bench serve --model 'a b'\n```" in text
    assert "- Cards: 2 × Stand-in 141" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + 9 and len({row.count(" | ") for row in rows}) == 1
    assert rows[2].startswith("| One card | 1 | ")


def test_a_load_test_over_lengths_has_a_part_for_each_and_one_for_all(saved: Saved):
    folder = saved.begin(About(name="grid", created_at=cp.AT + 9))
    for lengths in ((128, 64), (2048, 64)):
        for point in cp.load_points(lengths=lengths, loads=(1, 8, 64)):
            append_point(folder, point.model_copy(update={"results": folder.name}))
    text = journal.journal(saved, folder.name, "en").partition("## What it says")[2]
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert heads == [
        "### Input 128 tokens, output 64",
        "### Input 2,048 tokens, output 64",
        "### Overall",
    ]
    first, _, rest = text.partition(heads[1])
    assert "Most output" in first and "Limits" not in first
    assert "Limits" in rest.partition(heads[2])[2]
    parts = journal.journal(saved, folder.name, "zh").partition("### ")[2].partition("### 总体")
    assert "Limits" not in parts[0] and "限制" in parts[2] and "：\n" not in parts[0]


def test_remarks_stay_when_an_entry_is_written_again(saved: Saved, study: str):
    studio: Any = SimpleNamespace(saved=saved, settings=SimpleNamespace(lang="auto"))
    path = journal.write_journal(studio, saved.get(study).folder)
    text = path.read_text("utf-8")
    assert "_Write here" in text
    path.write_text(text.partition("_Write here")[0] + "Try a longer prompt.\n\n## And\n\nmore\n")
    journal.write_journal(studio, saved.get(study).folder, "zh")
    again = path.read_text("utf-8")
    assert again.endswith("## 备注\n\nTry a longer prompt.\n\n## And\n\nmore\n")


def test_any_run_has_a_journal_entry(studio: Studio):
    run = studio.jobs.submit(spec("crash", title="It crashes"))
    studio.jobs.wait(run.id, timeout_s=30)
    text = journal.run_journal(studio, run.id, "en")
    assert text.startswith("# It crashes\n\n") and "- State: Failed" in text
    assert f"```bash\npython app.py relaunch {run.id}\n```" in text
    assert "crash.py" in text and "- Duration: " in text and "## Remarks" in text
    with pytest.raises(NotFound):
        journal.run_journal(studio, "nothing", "en")


# routes -----------------------------------------------------------------------------------------


def test_the_route_draws_what_is_saved_and_says_when_nothing_is_new(saved: Saved, study: str):
    view = chartroutes.ChartRoutes(saved)
    drawn = view.chart(request(f"kind=scaling&results={study}&base=one-card"))
    assert drawn["title"].startswith("Two cards, TP=2: 1.4") and drawn["wide"]["data"]
    assert drawn["file"] == f"{study}-scaling" and drawn["plotly"].startswith("ladder/plotly.js?v=")
    have = drawn["version"]
    again = view.chart(request(f"kind=scaling&results={study}&base=one-card&have={have}"))
    assert again == {"version": have}
    chinese = view.chart(request(f"kind=scaling&results={study}", lang="zh"))
    assert chinese["version"] != have and "倍" in chinese["title"]


def test_the_route_keeps_to_the_cases_asked_for(saved: Saved, study: str):
    view = chartroutes.ChartRoutes(saved)
    drawn = view.chart(request(f"kind=compare&results={study}&case=tp2,replicas"))
    assert {row[0] for row in drawn["table"]["rows"]} == {"Two cards, TP=2", "Two replicas"}
    with pytest.raises(NotFound):
        view.chart(request("kind=compare&results=nothing"))
    with pytest.raises(NotFound):
        view.chart(request("kind=pie"))


@pytest.mark.parametrize(
    ("accept", "unpack"), [("gzip, br", brotli.decompress), ("gzip", gzip.decompress)]
)
def test_plotly_is_packed_and_kept_for_ever_by_its_version(accept: str, unpack: Any):
    version = chartroutes.plotly_url().partition("v=")[2]
    answer = chartroutes.serve_plotly(request(f"v={version}", accept=accept))
    assert unpack(answer.body) == sheet.plotly_file().read_bytes()
    assert len(answer.body) < 1_600_000 and "immutable" in answer.headers["cache-control"]
    assert answer.headers["vary"] == "accept-encoding"
    old = chartroutes.serve_plotly(request("v=0", accept=accept))
    assert old.headers["cache-control"] == "no-cache"
