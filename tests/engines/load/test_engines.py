"""The engines of load tests: what is refused, what is launched, what their runs show."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import RecipeInvalid
from studio.core.recipes import check_settings, parse_overrides
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.guidellm import Guidellm
from studio.engines.vllm_bench import VllmBench
from studio.jobs.rundir import RunDir

URL = "http://127.0.0.1:8000/v1"
PLACE = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
    root="/repo",
    bench_dir="/home/bench",
)
BOTH = pytest.mark.parametrize("engine", [VllmBench(), Guidellm()], ids=lambda engine: engine.id)


@BOTH
def test_the_worker_gets_the_settings_and_not_the_key(engine: Any) -> None:
    settings = {"base_url": URL, "api_key": "s3cret", "tokenizer": "assets/models/tiny"}
    config = engine.Config.model_validate(settings)
    command = engine.command(config, PLACE)
    assert command.argv[0] == "/envs/it/bin/python" and command.argv[2] == "sweep.json"
    sweep = json.loads(command.files["sweep.json"])
    assert sweep["tool"] == engine.id and sweep["bench_dir"] == "/home/bench"
    assert sweep["tokenizer"] == "/repo/assets/models/tiny"
    assert "s3cret" not in command.files["sweep.json"] and "s3cret" not in str(command.argv)
    assert command.env["OPENAI_API_KEY"] == "s3cret"
    assert command.env["CUDA_VISIBLE_DEVICES"] == ""


@BOTH
def test_how_to_measure_again_can_be_typed(engine: Any) -> None:
    settings = {"base_url": URL, "input_len": [64, 128], "slo_ttft_ms": 250.0, "api_key": "s3cret"}
    config = engine.Config.model_validate(settings)
    again = json.loads(engine.command(config, PLACE).files["sweep.json"])["again"]
    words = shlex.split(again)
    assert words[:5] == ["python", "app.py", "bench", "run", URL] and "s3cret" not in again
    assert words[7:] == ([] if engine.id == "vllm-bench" else ["--tool", engine.id])
    assert parse_overrides(words[5:7]) == {"input_len": [64, 128], "slo_ttft_ms": 250.0}


@BOTH
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"base_url": "127.0.0.1:8000"}, "not the address of a server"),
        ({"base_url": URL, "concurrency": [1], "request_rate": [2]}, "cannot both be given"),
        ({"base_url": URL, "input_len": []}, "input_len"),
        ({"base_url": URL, "concurrency": [0]}, "concurrency"),
        ({"base_url": URL, "request_rate": [-1]}, "request_rate"),
        ({"base_url": URL, "repeats": 0}, "repeats"),
    ],
)
def test_what_makes_no_sense_is_refused(engine: Any, settings: dict, says: str) -> None:
    with pytest.raises(RecipeInvalid, match=says):
        check_settings(engine.Config, settings, "settings")


def test_what_only_vllms_tool_refuses() -> None:
    for settings, says in (
        ({"dataset": "random-mm", "backend": "openai"}, "has pictures"),
        ({"random_prefix_len": 512}, "leaves nothing of a prompt of 512 tokens"),
    ):
        with pytest.raises(RecipeInvalid, match=says):
            check_settings(VllmBench.Config, {"base_url": URL, **settings}, "settings")


def test_a_form_may_send_a_table_as_text() -> None:
    told = {"base_url": URL, "server": "", "input_len": ["64", "128"]}
    config = VllmBench.Config.model_validate(told)
    assert config.server == {} and config.input_len == [64, 128]
    given = VllmBench.Config.model_validate({"base_url": URL, "server": '{"engine": "vllm"}'})
    assert given.server == {"engine": "vllm"}


def test_a_grid_as_people_type_it() -> None:
    """`concurrency=1,16` and `input_len=512` come as text and as one number."""
    told = {"base_url": URL, "input_len": 512, "concurrency": "1, 8,16", "output_len": "64"}
    config = check_settings(VllmBench.Config, told, "settings")
    assert (config.input_len, config.output_len) == ([512], [64])
    assert config.concurrency == [1, 8, 16]
    rates = check_settings(VllmBench.Config, {"base_url": URL, "request_rate": "0.5,2"}, "settings")
    assert rates.request_rate == [0.5, 2]
    with pytest.raises(RecipeInvalid, match="concurrency"):
        check_settings(VllmBench.Config, {"base_url": URL, "concurrency": "many"}, "settings")


@pytest.mark.parametrize(
    ("kind", "name", "text", "says"),
    [
        ("custom", "", "", "dataset_path names none"),
        ("custom", "no.jsonl", None, "there is no file"),
        ("custom", "a.txt", '{"prompt": "x"}', "not a file of prompts"),
        ("custom", "a.jsonl", '{"question": "x"}', "not a file of prompts"),
        ("custom", "a.jsonl", "no json", "not a file of prompts"),
        ("sharegpt", "a.json", "[]", "not in ShareGPT's format"),
    ],
)
def test_files_of_prompts_are_looked_at(
    tmp_path: Path, kind: str, name: str, text: str | None, says: str
) -> None:
    if name and text is not None:
        (tmp_path / name).write_text(text)
    path = str(tmp_path / name) if name else ""
    config = VllmBench.Config(base_url=URL, dataset=kind, dataset_path=path)  # pyright: ignore
    with pytest.raises(RecipeInvalid, match=says):
        VllmBench().check(config, ROOT)


def test_the_shipped_prompts_are_prompts() -> None:
    config = VllmBench.Config(
        base_url=URL, dataset="custom", dataset_path="assets/data/prompts-smoke.jsonl"
    )
    VllmBench().check(config, ROOT)
    Guidellm().check(Guidellm.Config(**config.model_dump(include={"base_url"})), ROOT)


# what a run shows --------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """The folder of a run that has measured two conditions, one of them twice."""
    results = tmp_path / "bench" / "m_20260101-000000"
    results.mkdir(parents=True)
    rows = [("c1-r0", 1, 100.0), ("c4-r0", 4, 300.0), ("c1-r1", 1, 110.0)]
    with (results / "points.jsonl").open("w") as file:
        for ident, users, speed in rows:
            condition = {"input_len": 64, "output_len": 32, "concurrency": users}
            figures = {"output_throughput": speed, "ttft_p90_ms": 20.0}
            row = {"id": ident, "condition": condition, "figures": figures}
            file.write(json.dumps(row) + "\n")
        file.write('{"id": "c4-r1", "status": "failed", "figures": {}}\n')
    made = RunDir(tmp_path / "run")
    made.artifacts.mkdir(parents=True)
    (made.artifacts / "results.json").write_text(json.dumps({"folder": str(results)}))
    row = {"at": time.time() - 10, "done": 3, "total": 6, "failed": 1, "now": "c4-r1"}
    (made.artifacts / "progress.jsonl").write_text(json.dumps({**row, "remaining_s": 60}) + "\n")
    return made


def test_curves_are_over_the_load_with_the_median_of_the_repeats(run: RunDir) -> None:
    assert {tuple(point) for point in VllmBench().points(run)} == {
        ("output tok/s 64/32", 1.0, 105.0),
        ("output tok/s 64/32", 4.0, 300.0),
        ("TTFT p90 (ms) 64/32", 1.0, 20.0),
        ("TTFT p90 (ms) 64/32", 4.0, 20.0),
    }


def test_figures_that_a_server_cannot_have_told_are_not_shown_live(run: RunDir) -> None:
    """LLaMA-Factory's stream opens with an empty message, which is no first token."""
    folder = Path(json.loads((run.artifacts / "results.json").read_text())["folder"])
    figures = {"output_throughput": 80.0, "ttft_p90_ms": 2.0, "completed": 4, "output_tokens": 256}
    row = {"id": "c1-r0", "condition": {"concurrency": 1}, "figures": figures}
    row["server"] = "llamafactory-api 0.9.5"
    (folder / "points.jsonl").write_text(json.dumps(row) + "\n")
    assert [tuple(p) for p in VllmBench().points(run)] == [("output tok/s -/-", 1.0, 80.0)]
    assert list(VllmBench().results(run)) == ["c1/output_throughput"]


def test_progress_counts_down(run: RunDir) -> None:
    told = VllmBench().progress(run)
    assert told is not None and (told.done, told.total) == (3, 6)
    assert told.text == "c4-r1, 1 failed"
    assert told.remaining_s == pytest.approx(50, abs=2)


def test_results_have_their_spread(run: RunDir) -> None:
    found = VllmBench().results(run)
    assert found["c1/output_throughput"] == (105.0, pytest.approx(5.0))
    assert found["c4/output_throughput"] == (300.0, None)


def test_a_run_that_has_not_begun_shows_nothing(tmp_path: Path) -> None:
    empty = RunDir(tmp_path)
    assert VllmBench().progress(empty) is None and not list(VllmBench().points(empty))
    assert VllmBench().results(empty) == {}
