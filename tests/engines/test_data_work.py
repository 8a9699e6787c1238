"""Work on data files as a run: what is executed, and a run that really imports a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from studio.core.errors import DataInvalid, NotFound, RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT, Settings
from studio.core.spec import Interpreter, Placement, State
from studio.data import work
from studio.data.model import Filter, Sample, Split
from studio.engines.data_work import DataWork, DataWorkConfig
from studio.engines.engine import Progress
from studio.engines.llamafactory_lengths import LlamaFactoryLengths, LlamaFactoryLengthsConfig
from studio.studio import Launch, Studio

PLACE = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
    root="/repo",
    data_dir="/home/data",
)


def config(**settings: Any) -> DataWorkConfig:
    return check_settings(DataWorkConfig, settings, "settings of Data")


def test_the_command_says_what_to_do_in_a_file(tmp_path: Path) -> None:
    asked = work.adding(tmp_path / "a b.csv", "faq", {"Q": "prompt"}, upload=True)
    command = DataWork().command(config(**asked), PLACE)
    assert command.argv == (sys.executable, "-m", "studio.data", "work.json", "--home", "/home")
    told = json.loads(command.files["work.json"])
    assert told == asked
    changed = work.applying("faq", Filter(contains="x", drop=("long",)), as_name="y")
    told = json.loads(DataWork().command(config(**changed), PLACE).files["work.json"])
    assert told["settings"]["drop"] == ["long"] and told["op"] == "filter"


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"verb": "add", "path": "/none.json", "name": "x"}, RecipeInvalid),
        ({"verb": "add", "path": __file__}, RecipeInvalid),
        ({"verb": "merge", "names": ["a"], "as_name": "x"}, RecipeInvalid),
        ({"verb": "merge", "names": ["a", "b"]}, RecipeInvalid),
        ({"verb": "apply", "name": "x", "op": "shuffle"}, DataInvalid),
    ],
)
def test_work_that_lacks_something_is_refused(settings: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        DataWork().check(config(**settings), ROOT)


def test_small_files_are_told_from_big_ones(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_bytes(b"x")
    assert work.is_small(path)
    with open(path, "r+b") as file:
        file.truncate(work.SMALL_BYTES + 1)
    assert not work.is_small(path)


def test_a_run_imports_a_file_and_changes_it(settings: Settings, tmp_path: Path) -> None:
    studio = Studio(settings)
    path = tmp_path / "d.jsonl"
    rows = [{"question": f"问{n}", "answer": f"答{n}"} for n in range(5000)]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")

    def done(asked: dict[str, Any]) -> str:
        run = studio.launch(Launch(engine="data-work", settings=asked))
        run = studio.jobs.wait(run.id, timeout_s=60)
        assert run.state is State.DONE, run.dir.log.read_text()
        progress = studio.progress(run.id)
        assert isinstance(progress, Progress) and progress.done == progress.total
        return run.dir.log.read_text()

    assert "faq.v1: 5000 rows, 0 records left out" in done(work.adding(path, "faq"))
    assert studio.data.get("faq").rows == 5000
    assert "faq.v2: 10 rows" in done(work.applying("faq", Sample(rows=10)))
    done(work.applying("faq", Split(val=0.5)))
    done(work.merging(["faq-train", "faq-val"], "both"))
    assert studio.data.get("both").rows == 10
    failed = studio.launch(Launch(engine="data-work", settings=work.adding(path, "faq")))
    failed = studio.jobs.wait(failed.id, timeout_s=60)
    assert failed.state is State.FAILED and failed.result["exit_code"] == DataInvalid.exit_code
    assert "There is a data set 'faq' already." in failed.dir.log.read_text()


def test_a_run_that_is_stopped_leaves_nothing_behind(settings: Settings, tmp_path: Path) -> None:
    studio = Studio(settings)
    path = tmp_path / "d.jsonl"
    row = json.dumps({"question": "q" * 500, "answer": "a" * 500}) + "\n"
    with open(path, "w") as file:
        for _ in range(300):
            file.write(row * 1000)
    run = studio.launch(Launch(engine="data-work", settings=work.adding(path, "big")))
    studio.jobs.wait(run.id, lambda r: studio.progress(r.id) is not None, timeout_s=60)
    studio.jobs.stop(run.id)
    run = studio.jobs.wait(run.id, timeout_s=30)
    assert run.state is State.STOPPED
    with pytest.raises(NotFound):
        studio.data.get("big")
    assert not list(studio.data.folder.glob(".adding-*"))


def test_lengths_are_counted_in_the_engines_environment() -> None:
    base = {"model_name_or_path": "assets/models/tiny-qwen2.5", "template": "qwen"}
    asked = check_settings(LlamaFactoryLengthsConfig, {**base, "dataset": "a,b"}, "settings")
    command = LlamaFactoryLengths().command(asked, PLACE)
    assert command.argv[0] == "/envs/it/bin/python" and command.argv[2:] == ("lengths.json",)
    told = json.loads(command.files["lengths.json"])
    assert told["dataset_dir"] == "/home/data"
    assert told["model_name_or_path"] == "/repo/assets/models/tiny-qwen2.5"
    assert command.env["CUDA_VISIBLE_DEVICES"] == "" and command.env["HF_HUB_OFFLINE"] == "1"


def test_lengths_of_unknown_data_sets_are_refused(settings: Settings) -> None:
    studio = Studio(settings)
    studio.data.register()
    base = {"model_name_or_path": "assets/models/tiny-qwen2.5", "template": "qwen"}
    with pytest.raises(RecipeInvalid, match="Did you mean smoke_zh_en"):
        studio.launch(
            Launch(engine="llamafactory-lengths", settings={**base, "dataset": "smoke_zhen"})
        )
