"""llm-compressor: what is written for it, refused and read back, and its calibration texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engines.after_training import (
    CPU,
    GPU,
    QUANT,
    TINY,
    adapter,
    config,
    refused,
    written,
)

from studio.core.settings import ROOT
from studio.engines.engine import Figure
from studio.engines.workers.calibration_texts import read_rows, render
from studio.jobs.rundir import RunDir


def test_quantization_command() -> None:
    command = QUANT.command(config(QUANT), CPU)
    worker = ROOT / "studio/engines/workers/quantize.py"
    assert command.argv == ("/envs/it/bin/python", str(worker), "quantize.json")
    assert command.env["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in QUANT.command(config(QUANT), GPU).env
    told = json.loads(command.files["quantize.json"])
    assert (told["dataset"], told["dataset_dir"]) == ("faq", "/home/studio/data")
    told = written(QUANT, dataset="assets/data/smoke_zh_en.json")
    assert (told["dataset"], told["dataset_dir"]) == ("/repo/assets/data/smoke_zh_en.json", "")
    told = written(QUANT, scheme="fp8-dynamic")
    assert (told["dataset"], told["output"]) == ("", "artifacts/output")


def test_quantization_refusals(tmp_path: Path) -> None:
    tiny = {"model_name_or_path": TINY, "dataset_dir": "assets/data", "dataset": "smoke_zh_en"}
    QUANT.check(config(QUANT, **tiny), ROOT)
    refused(QUANT, "needs calibration data", **{**tiny, "dataset": ""})
    refused(QUANT, "There is no file", **{**tiny, "dataset": "/no/where.jsonl"})
    refused(QUANT, "has no data set 'faq'", **{**tiny, "dataset": "faq"})
    refused(QUANT, "group_size = 48 does not divide 256", **tiny, group_size=48)
    refused(
        QUANT, "is a vision model", **{**tiny, "model_name_or_path": "assets/models/tiny-qwen2-vl"}
    )
    QUANT.check(config(QUANT, **{**tiny, "dataset": ""}, scheme="fp8-dynamic"), ROOT)
    own = adapter(tmp_path / "own", str(ROOT / TINY))
    refused(QUANT, "holds a LoRA adapter", **{**tiny, "model_name_or_path": str(own)})


def test_quantization_needs_room() -> None:
    tiny = {"model_name_or_path": TINY}
    on_cpu = QUANT.room(config(QUANT, **tiny), ROOT, has_gpu=False)
    on_card = QUANT.room(config(QUANT, **tiny), ROOT, has_gpu=True)
    awq = QUANT.room(config(QUANT, **tiny, scheme="awq-w4a16"), ROOT, has_gpu=False)
    assert on_cpu is not None and on_card is not None and on_card == awq
    assert on_cpu.memory_bytes - on_card.memory_bytes == 4 * (6 * 256**2 + 512**2), "Hessians"
    assert 2**30 + 8e6 < on_card.memory_bytes < 2**30 + 12e6
    assert QUANT.room(config(QUANT, model_name_or_path="org/model"), ROOT, has_gpu=False) is None


def test_quantization_is_read_back(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    assert QUANT.progress(run) is None and QUANT.results(run) == {}
    (tmp_path / "artifacts").mkdir()
    told = run.artifacts / "progress.jsonl"
    told.write_text('{"done": 0, "total": 100, "step": "load"}\n')
    assert QUANT.progress(run) == (0, 100, "loading the model", None)
    told.write_text('{"done": 15, "total": 100, "step": "quantize"}\n')
    run.log.write_text("(2/3): Calibrating:  50%|#####     | 16/32 [00:00<00:00, 99.1it/s]")
    assert QUANT.progress(run) == (40, 100, "layer 2/3", None)
    (run.artifacts / "quantized.json").write_text('{"bytes_before": 8, "bytes_after": 3}')
    assert QUANT.results(run) == {"bytes_before": Figure(8), "bytes_after": Figure(3)}


class Tokenizer:
    """A chat template that anybody can read."""

    chat_template = "yes"

    def apply_chat_template(self, messages: list[dict[str, str]], *, tokenize: bool) -> str:
        return " | ".join(f"{message['role']}: {message['content']}" for message in messages)


@pytest.mark.parametrize(
    ("row", "columns", "tags", "text"),
    [
        (
            {"instruction": "q", "input": "more", "output": "a"},
            {},
            {},
            "user: q\nmore | assistant: a",
        ),
        (
            {"ask": "q", "reply": "a"},
            {"prompt": "ask", "response": "reply"},
            {},
            "user: q | assistant: a",
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
            {},
            {},
            "user: q | assistant: a",
        ),
        (
            {"talk": [{"who": "user", "says": "q"}]},
            {"messages": "talk"},
            {"role_tag": "who", "content_tag": "says"},
            "user: q",
        ),
        ({"messages": [{"role": "system", "content": "s"}]}, {}, {}, "system: s"),
        ({"text": "plain"}, {}, {}, "plain"),
        ({"body": "plain"}, {"prompt": "body"}, {}, "plain"),
        ({"number": 3}, {}, {}, ""),
    ],
)
def test_calibration_texts(row: dict, columns: dict, tags: dict, text: str) -> None:
    assert render(row, columns, tags, Tokenizer()) == text


def test_calibration_rows_by_name_and_by_path(tmp_path: Path) -> None:
    rows, columns, _ = read_rows("smoke_zh_en", str(ROOT / "assets/data"))
    assert columns["response"] == "output" and "output" in rows[0]
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"}\n')
    assert read_rows(str(path), "") == ([{"text": "a"}, {"text": "b"}], {}, {})
