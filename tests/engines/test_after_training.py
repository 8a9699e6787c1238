"""Export, evaluation and quantization: what is written for the engine, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.core.errors import DiskFull, EnvMissing, NotEnoughMemory, RecipeInvalid
from studio.core.recipes import check_settings
from studio.core.settings import ROOT, Settings
from studio.core.spec import Interpreter, Placement
from studio.engines import room
from studio.engines.bars import last_bar
from studio.engines.engine import GROUPS, Engine, Figure, Room
from studio.engines.llamafactory_export import LlamaFactoryExport
from studio.engines.llamafactory_predict import LlamaFactoryPredict
from studio.engines.llm_compressor import LlmCompressor
from studio.engines.lm_eval import LmEval
from studio.engines.workers.calibration_texts import read_rows, render
from studio.jobs.rundir import RunDir
from studio.studio import Studio

TINY = "assets/models/tiny-qwen2.5"
CPU = Placement(
    interpreter=Interpreter(name="it", python="/envs/it/bin/python"),
    root="/repo",
    data_dir="/home/studio/data",
)
GPU = CPU.model_copy(update={"has_gpu": True, "num_gpus": 1})
EXPORT, PREDICT, EVAL, QUANT = (
    LlamaFactoryExport(),
    LlamaFactoryPredict(),
    LmEval(),
    LlmCompressor(),
)
ENOUGH: dict[str, dict[str, Any]] = {
    EXPORT.id: {"model_name_or_path": "assets/a"},
    PREDICT.id: {"model_name_or_path": "assets/a", "template": "qwen", "eval_dataset": "faq"},
    EVAL.id: {"pretrained": "assets/a", "tasks": "ladder_smoke"},
    QUANT.id: {"model_name_or_path": "assets/a", "dataset": "faq"},
}


def config(engine: Engine, **settings: Any) -> Any:
    return check_settings(engine.Config, {**ENOUGH[engine.id], **settings}, "settings")


def written(engine: Engine, place: Placement = CPU, **settings: Any) -> dict[str, Any]:
    """Return what the file beside the command says; JSON is YAML too."""
    files = engine.command(config(engine, **settings), place).files
    assert len(files) == 1
    return yaml.safe_load(next(iter(files.values())))


def refused(engine: Engine, says: str, root: Path = ROOT, **settings: Any) -> None:
    with pytest.raises(RecipeInvalid, match=says) as caught:
        engine.check(config(engine, **settings), root)
    assert caught.value.hint


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """Write a safetensors file of float32 zeros."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + bytes(end))


def adapter(folder: Path, base: str, *, inputs: int = 256, module: str = "q_proj") -> Path:
    """Write an adapter of rank 2 on one layer of the tiny model."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": base, "r": 2})
    )
    name = f"base_model.model.model.layers.0.self_attn.{module}"
    shapes = {f"{name}.lora_A.weight": (2, inputs), f"{name}.lora_B.weight": (256, 2)}
    write_weights(folder / "adapter_model.safetensors", shapes)
    return folder


@pytest.mark.parametrize("engine", [EXPORT, PREDICT, EVAL, QUANT], ids=lambda e: e.id)
def test_every_field_has_a_group_and_both_languages(engine: Engine) -> None:
    for name, info in engine.Config.model_fields.items():
        extra = info.json_schema_extra
        assert isinstance(extra, dict) and extra["group"] in GROUPS, name
        chinese = extra["zh"]
        assert isinstance(chinese, dict) and chinese["title"] and chinese["description"], name


# merge ------------------------------------------------------------------------------------------


def test_merge_command() -> None:
    command = EXPORT.command(config(EXPORT, adapter_name_or_path="/b, assets/c"), CPU)
    assert command.argv == ("/envs/it/bin/llamafactory-cli", "export", "export.yaml")
    assert yaml.safe_load(command.files["export.yaml"]) == {
        "model_name_or_path": "/repo/assets/a",
        "adapter_name_or_path": "/b,/repo/assets/c",
        "template": "qwen",
        "export_dir": "artifacts/output",
        "export_size": 5,
        "export_device": "cpu",
        "export_legacy_format": False,
        "infer_dtype": "auto",
    }
    assert "adapter_name_or_path" not in written(EXPORT), "only new shards"
    assert EXPORT.resources(config(EXPORT), has_gpu=True).num_gpus == 0
    assert EXPORT.resources(config(EXPORT, export_device="auto"), has_gpu=True).num_gpus == 1


def test_merge_wants_the_base_the_adapter_was_trained_on(tmp_path: Path) -> None:
    own = adapter(tmp_path / "own", str(ROOT / TINY))
    moved = adapter(tmp_path / "moved", "/elsewhere/tiny-qwen2.5")
    cached = adapter(tmp_path / "cached", "Qwen/tiny-qwen2.5")
    for folder in (own, moved, cached):
        EXPORT.check(
            config(EXPORT, model_name_or_path=TINY, adapter_name_or_path=str(folder)), ROOT
        )
    other = adapter(tmp_path / "other", "Qwen/Qwen2.5-7B-Instruct")
    mine: dict[str, Any] = {"model_name_or_path": TINY, "adapter_name_or_path": str(other)}
    refused(EXPORT, "was trained on Qwen/Qwen2.5-7B-Instruct, not on assets/models/tiny", **mine)
    EXPORT.check(config(EXPORT, **mine, any_base=True), ROOT)
    wide = adapter(tmp_path / "wide", str(ROOT / TINY), inputs=3584)
    mine["adapter_name_or_path"] = str(wide)
    refused(EXPORT, "q_proj has 256 x 256 there, and the adapter wants 3584", **mine)
    alien = adapter(tmp_path / "alien", str(ROOT / TINY), module="query_key_value")
    refused(EXPORT, "none of its layers is there", **{**mine, "adapter_name_or_path": str(alien)})
    refused(EXPORT, "holds a LoRA adapter for", model_name_or_path=str(own))
    refused(EXPORT, "there is no folder", **{**mine, "adapter_name_or_path": "/no/where"})


def test_merge_into_quantized_weights_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "tiny-qwen2.5"
    model.mkdir()
    told = json.loads((ROOT / TINY / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**told, "quantization_config": {}}))
    (model / "model.safetensors").symlink_to(ROOT / TINY / "model.safetensors")
    own = adapter(tmp_path / "own", str(ROOT / TINY))
    refused(EXPORT, "is quantized", model_name_or_path=str(model), adapter_name_or_path=str(own))


def test_merge_needs_room() -> None:
    numbers, gib = 1_706_240, 2**30
    tiny = {"model_name_or_path": TINY}
    stored = EXPORT.room(config(EXPORT, **tiny), ROOT, False)
    whole = EXPORT.room(config(EXPORT, **tiny, infer_dtype="float32"), ROOT, False)
    half = EXPORT.room(config(EXPORT, **tiny, infer_dtype="bfloat16"), ROOT, False)
    assert stored == whole and whole is not None and half is not None
    assert whole.disk_bytes - half.disk_bytes == 2 * numbers
    assert gib < whole.memory_bytes < 1.01 * gib
    on_card = EXPORT.room(config(EXPORT, **tiny, export_device="auto"), ROOT, True)
    assert on_card is not None and on_card.memory_bytes == 0
    assert EXPORT.room(config(EXPORT, model_name_or_path="Qwen/Qwen2.5-7B"), ROOT, False) is None


def test_old_files_need_an_old_transformers(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    here = Interpreter(name="llamafactory", python=str(tmp_path / "bin" / "python"))
    old = config(EXPORT, export_legacy_format=True)
    (site / "transformers-4.57.1.dist-info").mkdir(parents=True)
    EXPORT.check_env(old, here)
    (site / "transformers-4.57.1.dist-info").rename(site / "transformers-5.6.0.dist-info")
    with pytest.raises(EnvMissing, match=r"transformers 5\.6\.0 writes safetensors only"):
        EXPORT.check_env(old, here)
    EXPORT.check_env(config(EXPORT), here)


# room -------------------------------------------------------------------------------------------


def test_too_little_room_is_said_with_both_sizes(tmp_path: Path) -> None:
    room.check_room(None, tmp_path)
    room.check_room(Room(disk_bytes=1, memory_bytes=1), tmp_path)
    with pytest.raises(DiskFull, match=r"takes about 1024\.0 GiB and the disk of .* GiB left"):
        room.check_room(Room(disk_bytes=2**40), tmp_path)
    with pytest.raises(NotEnoughMemory, match=r"about 16384\.0 GiB of memory and .* GiB are free"):
        room.check_room(Room(memory_bytes=2**44), tmp_path)


def test_a_launch_without_room_starts_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(settings)
    monkeypatch.setattr(room, "free_memory", lambda: 2**20)
    with pytest.raises(NotEnoughMemory, match=r"about 1\.0 GiB of memory and 0\.0 GiB are free"):
        studio.launch_recipe("llamafactory/merge-smoke")
    assert studio.jobs.list() == [], "not even a build of the environment"
    told = studio.plan(studio.ask_for(studio.recipes.get("llamafactory/merge-smoke")))
    assert told["memory_needed"] > 2**30 and told["disk_needed"] > 2**20


def test_a_container_has_less_memory_than_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("400000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert room.free_memory(tmp_path) == 700000
    (tmp_path / "memory.max").write_text("max\n")
    assert room.free_memory(tmp_path) > 2**20
    assert room.free_memory(tmp_path / "nowhere") > 2**20


# evaluation -------------------------------------------------------------------------------------


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


def test_bars_are_read_from_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert last_bar(log) is None
    log.write_text(
        "Loading weights: 100%|##########| 26/26 [00:00<00:00, 9.1it/s]\n"
        "  0%|          | 0/20 [00:00<?, ?it/s]\r 25%|##5       | 5/20 [00:02<01:06,  2.2it/s]"
    )
    assert last_bar(log) == ("", 5, 20, 66.0)
    assert last_bar(log, "^Loading") == ("Loading weights", 26, 26, 0.0)
    assert last_bar(log, "^Writing") is None


# harness ----------------------------------------------------------------------------------------


def test_harness_command_for_a_model() -> None:
    command = EVAL.command(config(EVAL, peft="/b", tasks="a, b", limit=10), GPU)
    assert command.argv == ("/envs/it/bin/lm_eval", "run", "--config", "eval.yaml")
    assert yaml.safe_load(command.files["eval.yaml"]) == {
        "model": "hf",
        "model_args": {"pretrained": "/repo/assets/a", "dtype": "auto", "peft": "/b"},
        "tasks": ["a", "b"],
        "batch_size": "auto",
        "apply_chat_template": True,
        "log_samples": True,
        "output_path": "artifacts/output",
        "seed": 1234,
        "include_path": "/repo/assets/tasks",
        "device": "cuda",
        "limit": 10,
    }
    on_cpu = written(EVAL)
    assert (on_cpu["device"], on_cpu["batch_size"]) == ("cpu", 1), "auto tries until a card is full"
    assert EVAL.resources(config(EVAL), has_gpu=True).num_gpus == 1


def test_harness_command_for_a_server() -> None:
    asking = {"model": "local-chat-completions", "base_url": "http://a:8000/v1/", "api_key": "k"}
    command = EVAL.command(config(EVAL, **asking, pretrained="tiny"), GPU)
    told = yaml.safe_load(command.files["eval.yaml"])
    assert told["model_args"] == {
        "model": "tiny",
        "base_url": "http://a:8000/v1/chat/completions",
        "num_concurrent": 8,
    }
    assert "device" not in told and command.env["OPENAI_API_KEY"] == "k"
    assert "k" not in command.files["eval.yaml"].split(), "the key is not written down"
    assert EVAL.resources(config(EVAL, **asking), has_gpu=True).num_gpus == 0
    for settings, says in [
        ({"base_url": "a:8000"}, "base_url is not the address of one"),
        ({"peft": "/b"}, "peft works with model = hf"),
        ({"apply_chat_template": False}, "A chat server applies the chat template"),
        ({"model": "local-completions"}, "needs the tokenizer"),
    ]:
        with pytest.raises(RecipeInvalid, match=says) as caught:
            config(EVAL, **{**asking, **settings})
        assert caught.value.hint
    assert config(EVAL, **{**asking, "model": "local-completions", "tokenizer": "/t"})


def test_harness_refusals(tmp_path: Path) -> None:
    refused(EVAL, "There is no model folder", pretrained="/no/where")
    refused(EVAL, "include_path: there is no folder", pretrained=TINY, include_path="/no/where")
    other = adapter(tmp_path / "other", "Qwen/Qwen2.5-7B-Instruct")
    refused(EVAL, "was trained on Qwen/Qwen2.5-7B-Instruct", pretrained=TINY, peft=str(other))
    EVAL.check(config(EVAL, pretrained=TINY), ROOT)


def test_harness_figures_have_their_errors(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "output" / "__model"
    folder.mkdir(parents=True)
    rows = {
        "name": "gsm8k",
        "alias": "gsm8k",
        "exact_match,strict-match": 0.5,
        "exact_match_stderr,strict-match": 0.01,
        "acc,none": 0.25,
        "acc_stderr,none": "N/A",
    }
    (folder / "results_2026-11-21.json").write_text(json.dumps({"results": {"gsm8k": rows}}))
    assert EVAL.results(RunDir(tmp_path)) == {
        "gsm8k/exact_match (strict-match)": Figure(0.5, 0.01),
        "gsm8k/acc": Figure(0.25, None),
    }
    assert EVAL.results(RunDir(tmp_path / "artifacts")) == {}


# quantization -----------------------------------------------------------------------------------


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
