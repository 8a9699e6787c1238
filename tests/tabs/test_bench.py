"""The Bench tab through its API and its routes, over results that are written here."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from gradio_client import Client
from measures.sweeps import URL, sweep

from studio.bench.point import Point, append_point
from studio.bench.saved import About, Saved
from studio.core.settings import Settings
from studio.engines.bench_run import results_folder
from studio.jobs.rundir import RunDir
from studio.studio import Studio
from studio.ui.bench.conditions import conditions
from studio.ui.page.launch import launch_page


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def folders(home: Path) -> tuple[str, str]:
    """Two load tests: the second server writes half as much again."""
    asked = {"input_len": [64], "output_len": [32], "concurrency": [1, 4, 16], "repeats": 3}
    asked |= {"prompts_per_user": 8, "tool": "vllm-bench", "base_url": URL}
    slow = sweep(home, "acme/Tiny", "transformers 5.6", 1.0, 1_750_000_000, settings=asked)
    fast = sweep(home, "acme/Tiny", "vllm 0.26.0", 1.5, 1_750_100_000, settings=asked)
    return slow, fast


@pytest.fixture(scope="module")
def studio(home: Path, folders: tuple[str, str]) -> Studio:
    return Studio(Settings(home=home, port=free_port(19300)))


@pytest.fixture(scope="module")
def url(studio: Studio) -> Iterator[str]:
    served = launch_page(studio, only="bench")
    yield served.url
    served.close()


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def fetch(url: str, path: str, lang: str = "en", **query: str) -> bytes:
    asked = urllib.parse.urlencode(query)
    cookie = {"cookie": f"ladder_lang={lang}"}
    request = urllib.request.Request(f"{url}/ladder/{path}?{asked}", headers=cookie)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def get(url: str, path: str, lang: str = "en", **query: str) -> dict[str, Any]:
    return json.loads(fetch(url, path, lang, **query))


def test_the_whole_api_is_there(client: Client) -> None:
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert names >= {
        "/bench_launch",
        "/bench_plan",
        "/bench_points",
        "/bench_compare",
        "/bench_verdict",
    }


# the table --------------------------------------------------------------------------------------


def test_folders_newest_first_with_the_range_of_their_points(
    url: str, folders: tuple[str, str]
) -> None:
    slow, fast = folders
    answer = get(url, "bench/table", choices="1")
    assert [row["key"] for row in answer["rows"]] == [fast, slow]
    assert answer["total"] == 2 and answer["points"] == 18
    row = answer["rows"][1]
    assert (row["points"], row["failed"], row["model"]) == (9, 1, "Tiny")
    keys = [column["key"] for column in answer["columns"]]
    assert row["cells"][keys.index("output_throughput")] == "100 – 909"
    assert row["cells"][keys.index("ttft_p90_ms")] == "40 – 640"
    servers = {item["value"]: item["count"] for item in answer["choices"]["filters"]["server"]}
    assert servers == {"transformers 5.6": 9, "vllm 0.26.0": 9}
    assert {c["key"] for c in answer["choices"]["columns"]} >= {"concurrency", "tpot_p90_ms"}


def test_points_are_filtered_sorted_and_paged(url: str, folders: tuple[str, str]) -> None:
    asked = {"by": "points", "server": "vllm 0.26.0", "status": "done"}
    answer = get(url, "bench/table", **asked, sort="output_throughput", desc="1", limit="3")
    assert answer["total"] == 8 and len(answer["rows"]) == 3
    shown = [row["cells"][0] for row in answer["rows"]]
    assert shown == ["1,360", "1,350", "536"] and answer["rows"][0]["folder"] == folders[1]
    rest = get(url, "bench/table", **asked, sort="output_throughput", offset="6", limit="3")
    assert [row["cells"][0] for row in rest["rows"]] == ["152", "150"]


def test_what_has_no_value_comes_last_whichever_way(url: str) -> None:
    for desc in ("0", "1"):
        answer = get(url, "bench/table", by="points", sort="output_throughput", desc=desc)
        assert all(row["error"] for row in answer["rows"][-2:])
        assert not any(row["error"] for row in answer["rows"][:-2])


def test_words_dates_and_columns_of_ones_own(url: str, folders: tuple[str, str]) -> None:
    assert get(url, "bench/table", find="tiny 0.26.0")["total"] == 1
    assert get(url, "bench/table", find="llama")["total"] == 0
    assert get(url, "bench/table", since="1750050000")["total"] == 1
    assert get(url, "bench/table", until="1750050000")["total"] == 1
    chosen = get(url, "bench/table", by="points", columns="concurrency,tpot_p90_ms")
    assert [column["key"] for column in chosen["columns"]] == ["concurrency", "tpot_p90_ms"]
    assert {tuple(row["cells"]) for row in chosen["rows"] if not row["error"]} == {
        ("1", "10"),
        ("4", "10"),
        ("16", "10"),
    }


def test_nonsense_in_an_address_is_left_out(url: str) -> None:
    answer = get(url, "bench/table", by="x", offset="-5", limit="a", since="b", sort="nothing")
    assert answer["by"] == "folders" and answer["total"] == 2


def test_csv_holds_every_figure_and_no_formula(home: Path, url: str) -> None:
    text = fetch(url, "bench/csv", by="points", status="done").decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 16
    assert {row["condition.concurrency"] for row in rows} == {"1", "4", "16"}
    assert float(rows[0]["output_throughput"]) > 0
    saved = Saved(home / "bench")
    folder = saved.begin(About(name="evil", model="=cmd()", created_at=1_749_000_000))
    append_point(folder, Point(id="@a", model="=cmd()", case="+1", figures={"score": 1}))
    try:
        text = fetch(url, "bench/csv", by="points", results=folder.name).decode()
        row = next(csv.DictReader(io.StringIO(text)))
        assert (row["id"], row["model"], row["case"]) == ("'@a", "'=cmd()", "'+1")
    finally:
        saved.delete(folder.name)


# one folder, several ----------------------------------------------------------------------------


def test_one_folder_says_what_it_found_and_where_it_comes_from(
    url: str, folders: tuple[str, str]
) -> None:
    html = get(url, "bench/one", name=folders[0])["html"]
    assert "users at once" in html and "transformers 5.6" in html
    assert 'data-kind="throughput-latency"' in html
    assert "The server stopped answering." in html
    assert 'data-act="resume"' in html, "one point failed: it can be measured again"
    assert f"ladder/bench/raw/{folders[0]}/points/in64-out32-c1-r0.json" in html
    assert "python app.py bench run x" in html
    each = get(url, "bench/one", name=folders[0], each="1")["html"]
    assert each.count("<tr>") > html.count("<tr>")
    assert "找不到" in get(url, "bench/one", lang="zh", name="nowhere")["html"]


def test_raw_json_as_the_tool_wrote_it_and_nothing_beside(
    url: str, home: Path, folders: tuple[str, str]
) -> None:
    path = f"bench/raw/{folders[0]}/points/in64-out32-c1-r0.json"
    assert json.loads(fetch(url, path)) == {"output_throughput": 1}
    (home / "secret.txt").write_text("secret")
    for name in ("../../secret.txt", "%2e%2e/%2e%2e/secret.txt", "points", "nothing.json"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(url, f"bench/raw/{folders[0]}/{name}")
        assert caught.value.code in (403, 404)


def test_report_and_journal_of_a_folder(url: str, folders: tuple[str, str]) -> None:
    report = fetch(url, f"bench/report/{folders[0]}").decode()
    assert report.lstrip().startswith("<!") and "Tiny" in report
    journal = fetch(url, f"bench/journal/{folders[0]}", lang="zh").decode()
    assert "Tiny" in journal and "python app.py bench run x" in journal


def test_two_folders_side_by_side(url: str, folders: tuple[str, str]) -> None:
    slow, fast = folders
    html = get(url, "bench/comparison", of=f"{slow},{fast}")["html"]
    assert "Output throughput: vllm 0.26.0 is better than transformers 5.6" in html
    assert "+50.0 %" in html and 'data-kind="throughput-latency"' in html
    other = get(url, "bench/comparison", of=f"{slow},{fast}", base="vllm 0.26.0")["html"]
    assert "−33.3 %" in other
    every = get(url, "bench/comparison", of=f"{slow},{fast}", metric="*")["html"]
    assert every.count("<tr>") > html.count("<tr>")


def test_points_of_one_folder_are_grouped_by_condition(url: str, folders: tuple[str, str]) -> None:
    keys = [f"{folders[0]}/in64-out32-c{c}-r{r}" for c in (1, 4) for r in range(3)]
    html = get(url, "bench/comparison", of=",".join(keys), metric="output_throughput")["html"]
    assert "64 → 32 · 4 users" in html and "+250 %" in html


def test_a_condition_that_all_share_is_told_once() -> None:
    def row(case: str, **condition: Any) -> Point:
        shared = {"cutoff_len": 1024, "bf16": True, **condition}
        return Point(id=case, at=1.0, status="done", engine="x", case=case, condition=shared)

    points = [row("ddp", strategy="ddp"), row("zero2", strategy="zero2")]
    html = conditions("en", points, {})
    seen = re.sub(r"<[^>]*>", " ", html)
    assert "1,024" not in seen and "zero2" in seen and "1,024" in html, "whole when pointed at"
    assert "1,024" in re.sub(r"<[^>]*>", " ", conditions("en", points[:1], {}))


def test_a_case_is_called_in_the_table_as_in_the_charts() -> None:
    points = [Point(id=f"x{c}", case=c, figures={"tokens_per_s": 9.0}) for c in ("zero1", "b")]
    html = conditions("zh", points, {"zero1": "ZeRO-1"})
    assert "<td>ZeRO-1</td>" in html and "<td>b</td>" in html and "<td>zero1<" not in html


def test_a_sweep_is_found_in_a_home_that_was_moved(tmp_path: Path) -> None:
    """Its run names the folder by the whole path that it had; the page said: nothing measured."""
    run = RunDir(tmp_path / "runs" / "01a")
    run.artifacts.mkdir(parents=True)
    (run.artifacts / "results.json").write_text('{"folder": "/gone/home/bench/7b_1"}')
    assert results_folder(run) == Path("/gone/home/bench/7b_1")
    (tmp_path / "bench" / "7b_1").mkdir(parents=True)
    assert results_folder(run) == tmp_path / "bench" / "7b_1"


def test_what_cannot_be_compared_is_a_sentence(url: str, folders: tuple[str, str]) -> None:
    assert "needs two groups" in get(url, "bench/comparison", of=folders[0])["html"]
    gone = get(url, "bench/comparison", of=f"{folders[0]},nowhere", lang="zh")["html"]
    assert "nowhere" in gone and "l-tone-warn" in gone


def test_every_figure_is_defined_in_both_languages(url: str) -> None:
    for lang, words in (("en", "First chunk received"), ("zh", "首")):
        html = get(url, "bench/definitions", lang=lang)["html"]
        assert words in html and 'data-figure="ttft_p90_ms"' in html


# the load test ----------------------------------------------------------------------------------


def test_a_plan_counts_points_and_requests(url: str, client: Client) -> None:
    settings = {"input_len": [64, 128], "concurrency": [1, 8], "repeats": 2, "base_url": URL}
    ask = {"engine": "vllm-bench", "settings": settings}
    answer = get(url, "bench/plan", ask=json.dumps(ask))
    assert not answer["blocked"] and ">8<" in answer["plan"]
    assert "bench_sweep.py sweep.json" in answer["preview"]
    plan = client.predict(URL, settings, "", api_name="/bench_plan")
    assert plan["points"] == 8 and plan["requests"] == 2 * 2 * (16 + 64)
    assert plan["seconds"] > 0 and plan["from_points"] == 16, "the same server was measured here"


def test_an_unmeasured_server_is_told_for_two_paces(client: Client) -> None:
    settings = {"model": "other", "output_len": [100], "concurrency": [1], "repeats": 1}
    settings |= {"num_prompts": 10}
    plan = client.predict("http://127.0.0.1:7/v1", settings, "", api_name="/bench_plan")
    assert plan["seconds"] is None
    assert plan["seconds_at_100_tokens_s_each"] == pytest.approx(10)
    assert plan["seconds_at_20_tokens_s_each"] == pytest.approx(50)


def test_without_a_server_the_plan_asks_for_one(url: str) -> None:
    answer = get(url, "bench/plan", ask=json.dumps({"engine": "vllm-bench", "settings": {}}))
    assert answer["blocked"] and "Choose a server above" in answer["plan"]
    form = get(url, "bench/form")
    assert form["engine"] == "vllm-bench" and 'data-kind="numbers"' in form["html"]
    assert 'data-name="server_run"' not in form["html"], "the studio fills that in"
    assert "No server answers yet" in get(url, "bench/endpoints")["html"]


def test_wrong_settings_are_named(url: str) -> None:
    settings = {"base_url": URL, "concurrency": [1], "request_rate": [2]}
    ask = json.dumps({"engine": "vllm-bench", "settings": settings})
    answer = get(url, "bench/plan", lang="zh", ask=ask)
    assert answer["blocked"] and "concurrency" in answer["plan"]
    with pytest.raises(Exception, match="makes no load"):
        Client(url, verbose=False).predict(URL, {}, "vllm", api_name="/bench_plan")


def test_sweeps_with_points_to_go_are_offered_while_they_are_fresh(
    url: str, home: Path, folders: tuple[str, str]
) -> None:
    asked = {"input_len": [64], "output_len": [32], "concurrency": [1, 4, 16], "repeats": 3}
    asked |= {"prompts_per_user": 8}
    fresh = sweep(home, "acme/Tiny", "vllm 0.26.0", 1.0, time.time() - 600, settings=asked)
    try:
        html = get(url, "bench/list")["html"]
        assert f'data-act="resume" data-value="{fresh}"' in html and "1 of 9 points" in html
        assert folders[0] not in html, "nobody waits for last year's"
    finally:
        Saved(home / "bench").delete(fresh)


def test_a_sweep_of_another_machine_was_not_interrupted_here(url: str, home: Path) -> None:
    asked = {"input_len": [64], "output_len": [32], "concurrency": [1, 4, 16, 64], "repeats": 3}
    asked |= {"prompts_per_user": 8}
    copied = sweep(home, "acme/Tiny", "vllm 0.26.0", 1.0, time.time() - 1200, settings=asked)
    about = home / "bench" / copied / "about.json"
    told = json.loads(about.read_text(encoding="utf-8"))
    about.write_text(json.dumps({**told, "run": "20260101-000000-elsewhere"}), encoding="utf-8")
    try:
        assert copied not in get(url, "bench/list", "zh")["html"]
        html = get(url, "bench/one", name=copied)["html"]
        assert "Its run is not in this home" in html and "Interrupted" not in html
    finally:
        Saved(home / "bench").delete(copied)


# scripts ----------------------------------------------------------------------------------------


def test_points_comparison_and_verdict_by_api(client: Client, folders: tuple[str, str]) -> None:
    asked = {"server": "vllm 0.26.0", "sort": "output_throughput"}
    found = client.predict(asked, 0, 2, api_name="/bench_points")
    assert found["total"] == 9 and found["points"][0]["figures"]["output_throughput"] > 1300
    compared = client.predict(list(folders), api_name="/bench_compare")
    assert compared["base"] == "transformers 5.6"
    rows = [row for row in compared["rows"] if row["metric"] == "output_throughput"]
    percents = [row["against_base"]["vllm 0.26.0"]["percent"] for row in rows]
    assert percents == pytest.approx([50, 50, 50])
    verdict = client.predict(folders[1], api_name="/bench_verdict")
    assert verdict["words"] and verdict["said"][0]["key"].startswith("measures.verdict.")
