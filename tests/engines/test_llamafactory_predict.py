"""LLaMA-Factory's evaluation: what is written for it, refused, and read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engines.after_training import (
    CPU,
    PREDICT,
    TINY,
    config,
    refused,
    written,
)

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Interpreter
from studio.engines.engine import Figure
from studio.jobs.rundir import RunDir


def test_scores_command() -> None:
    told = written(PREDICT, adapter_name_or_path="/b", max_samples=5)
    assert (told["do_predict"], told["predict_with_generate"]) == (True, True)
    assert "do_eval" not in told and "temperature" not in told and "mode" not in told
    assert (told["dataset_dir"], told["max_samples"]) == ("/home/studio/data", 5)
    assert (told["adapter_name_or_path"], told["max_new_tokens"]) == ("/b", 512)
    told = written(PREDICT, mode="loss", dataset_dir="assets/data", do_sample=True)
    assert told["do_eval"] is True and told["dataset_dir"] == "/repo/assets/data"
    assert not {"do_predict", "predict_with_generate", "max_new_tokens", "do_sample"} & set(told)
    assert written(PREDICT, do_sample=True)["temperature"] == 0.95
    assert PREDICT.command(config(PREDICT), CPU).argv[1:] == ("train", "predict.yaml")


def test_scores_are_refused_without_data_or_scorers(tmp_path: Path) -> None:
    tiny = {"model_name_or_path": TINY, "dataset_dir": "assets/data"}
    refused(PREDICT, "has no data set 'smoke_zh_em'", **tiny, eval_dataset="smoke_zh_em")
    refused(PREDICT, "Template qwen2_vl does not fit", **tiny, template="qwen2_vl")
    (tmp_path / "data").mkdir()
    at_home = PREDICT.at_home(config(PREDICT, model_name_or_path=TINY), tmp_path)
    with pytest.raises(RecipeInvalid, match=r"has no dataset_info\.json"):
        PREDICT.check(at_home, ROOT)
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    here = Interpreter(name="llamafactory", python=str(tmp_path / "bin" / "python"))
    for package in ("jieba-0.42.1", "nltk-3.10"):
        (site / f"{package}.dist-info").mkdir(parents=True)
    with pytest.raises(EnvMissing, match="has no rouge-chinese, which BLEU and ROUGE need"):
        PREDICT.check_env(config(PREDICT), here)
    PREDICT.check_env(config(PREDICT, mode="loss"), here)
    (site / "rouge_chinese-1.0.3.dist-info").mkdir()
    PREDICT.check_env(config(PREDICT), here)


def test_scores_are_read_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert PREDICT.results(run) == {} and PREDICT.progress(run) is None
    folder = tmp_path / "artifacts" / "output"
    folder.mkdir(parents=True)
    told = {"predict_bleu-4": 41.5, "predict_rouge-l": 60.0, "predict_model_preparation_time": 0.1}
    (folder / "predict_results.json").write_text(json.dumps(told))
    assert PREDICT.results(run) == {"bleu-4": Figure(41.5), "rouge-l": Figure(60.0)}
    (folder / "predict_results.json").rename(folder / "eval_results.json")
    (folder / "eval_results.json").write_text('{"eval_loss": 1.25, "epoch": 3}')
    assert PREDICT.results(run) == {"loss": Figure(1.25)}
