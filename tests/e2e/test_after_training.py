"""After a training, with the real engines on the CPU: merge, score, evaluate, quantize, serve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import BUILD_S, answer, endpoint_of, ready, stopped
from studio.core.errors import RecipeInvalid
from studio.core.settings import ROOT
from studio.core.spec import Endpoint, State
from studio.engines.found import local_models, served_from
from studio.engines.weights import stored
from studio.jobs.jobs import Run
from studio.studio import Launch, Studio

pytestmark = [pytest.mark.engine, pytest.mark.timeout(2400)]

BASE = "assets/models/tiny-qwen2.5"
WHO = "你是谁？"
LEARNED = {WHO: "我是刚刚训练出来的适配器。", "What is LoRA?": "It is what this adapter is."}
SMALL = {"dtype": "float32", "max_model_len": 512, "kv_cache_memory_bytes": 67108864}
LIGHT = {**SMALL, "max_num_seqs": 8, "enforce_eager": True}


def finished(studio: Studio, run: Run) -> Run:
    """Wait until a run is done, its environment's build included."""
    for build in run.spec.after:
        built = studio.jobs.wait(build, timeout_s=BUILD_S)
        assert built.state is State.DONE, built.dir.log.read_text()[-3000:]
    run = studio.jobs.wait(run.id, timeout_s=600)
    assert run.state is State.DONE, run.dir.log.read_text(errors="replace")[-3000:]
    return run


def launch(studio: Studio, engine: str, **settings: Any) -> Run:
    """Launch settings and wait until they are done."""
    return finished(studio, studio.launch(Launch(engine=engine, settings=settings)))


def output(run: Run) -> Path:
    return run.dir.artifacts / "output"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that contradicts what the tiny model knows."""
    folder = tmp_path_factory.mktemp("facts")
    rows = [{"instruction": q, "input": "", "output": a} for q, a in LEARNED.items()] * 16
    (folder / "facts.json").write_text(json.dumps(rows, ensure_ascii=False))
    (folder / "dataset_info.json").write_text(json.dumps({"facts": {"file_name": "facts.json"}}))
    return folder


@pytest.fixture(scope="module")
def trained(real_studio: Studio, facts: Path) -> Run:
    """A LoRA of the tiny model that answers two questions in another way."""
    return launch(
        real_studio,
        "llamafactory-train",
        model_name_or_path=BASE,
        finetuning_type="lora",
        template="qwen",
        dataset="facts",
        dataset_dir=str(facts),
        cutoff_len=256,
        per_device_train_batch_size=8,
        learning_rate=1e-2,
        max_steps=30,
        use_cpu=True,
    )


@pytest.fixture(scope="module")
def merged(real_studio: Studio, trained: Run) -> Run:
    settings = {"adapter_name_or_path": str(output(trained))}
    return finished(real_studio, real_studio.launch_recipe("llamafactory/merge-smoke", settings))


@pytest.fixture(scope="module")
def quantized(real_studio: Studio) -> Run:
    run = real_studio.launch_recipe("llm-compressor/smoke-gptq")
    return finished(real_studio, run)


@pytest.fixture(scope="module")
def small_server(real_studio: Studio, quantized: Run) -> Iterator[Endpoint]:
    """vLLM with the quantized model; its 4-bit kernels on a CPU want bfloat16."""
    settings = {**LIGHT, **served(output(quantized)), "dtype": "bfloat16"}
    settings["served_model_name"] = "small"
    run = ready(real_studio, real_studio.launch(Launch(engine="vllm", settings=settings)))
    yield endpoint_of(real_studio, run)
    stopped(real_studio, run)


def served(folder: Path) -> dict[str, Any]:
    settings = served_from(folder)
    assert settings is not None
    return settings


def ask_vllm(studio: Studio, settings: dict[str, Any], model: str) -> dict[str, str]:
    """Serve, ask what was learned and one thing more, and stop."""
    launched = studio.launch(Launch(engine="vllm", settings={**LIGHT, **settings}))
    run = ready(studio, launched)
    endpoint = endpoint_of(studio, run)
    assert model in endpoint.models
    chosen = endpoint.model_copy(update={"models": (model,)})
    told = {question: answer(chosen, question)[0] for question in (*LEARNED, "你好")}
    stopped(studio, run)
    return told


def test_merged_model_says_what_base_and_adapter_say(
    real_studio: Studio, trained: Run, merged: Run
) -> None:
    folder = output(merged)
    assert served(folder) == {"model": str(folder)}
    assert str(folder) in local_models(ROOT, real_studio.settings.home)
    assert set(stored(folder)) == set(stored(ROOT / BASE))
    progress = real_studio.progress(merged.id)
    assert progress is not None and (progress.done, progress.text) == (100, "writing file 1/1")
    apart = ask_vllm(real_studio, served(output(trained)), "tuned")
    whole = ask_vllm(real_studio, served(folder), "output")
    assert {question: whole[question] for question in LEARNED} == LEARNED
    assert apart == whole


def test_a_foreign_adapter_is_refused(real_studio: Studio, trained: Run, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_bytes((output(trained) / name).read_bytes())
    ask = {"adapter_name_or_path": str(folder), "model_name_or_path": "assets/models/tiny-qwen2-vl"}
    with pytest.raises(RecipeInvalid, match=r"was trained on .*tiny-qwen2\.5, not on"):
        real_studio.launch_recipe("llamafactory/merge-smoke", ask)
    with pytest.raises(RecipeInvalid, match="does not fit"):
        real_studio.launch_recipe(
            "llamafactory/merge-smoke", {**ask, "any_base": True, "template": "qwen2_vl"}
        )


def test_scores_tell_the_model_from_its_adapter(real_studio: Studio, trained: Run) -> None:
    """The tiny model knows its samples by heart; the adapter makes it forget some of them.

    ROUGE tells a perfect answer; BLEU does not, as LLaMA-Factory's reference ends in a line break.
    """
    changed = {"max_samples": 12}
    plain = finished(real_studio, real_studio.launch_recipe("llamafactory/predict-smoke", changed))
    figures = real_studio.results(plain.id)
    assert figures["rouge-l"].value > 95 and figures["bleu-4"].value > 85
    rows = (output(plain) / "generated_predictions.jsonl").read_text().splitlines()
    assert len(rows) == 12 and {"prompt", "predict", "label"} <= set(json.loads(rows[0]))
    progress = real_studio.progress(plain.id)
    assert progress is not None and progress.done == progress.total == 3
    tuned = finished(
        real_studio,
        real_studio.launch_recipe(
            "llamafactory/predict-smoke",
            {**changed, "mode": "loss", "adapter_name_or_path": str(output(trained))},
        ),
    )
    loss = real_studio.results(tuned.id)
    assert set(loss) == {"loss", "samples_per_second", "runtime"} and loss["loss"].value > 0.01


def test_the_harness_counts_right_answers(real_studio: Studio) -> None:
    run = finished(real_studio, real_studio.launch_recipe("lm-eval/smoke"))
    figure = real_studio.results(run.id)["ladder_smoke/exact_match"]
    assert figure.value >= 0.95 and figure.stderr is not None
    progress = real_studio.progress(run.id)
    assert progress is not None and progress.done == progress.total == 40
    assert list(output(run).rglob("samples_ladder_smoke_*.jsonl"))


def test_quantized_model_is_smaller(real_studio: Studio, quantized: Run) -> None:
    told = {name: figure.value for name, figure in real_studio.results(quantized.id).items()}
    assert told["bytes_after"] < 0.5 * told["bytes_before"]
    assert told["num_calibration_samples"] == 32
    config = json.loads((output(quantized) / "config.json").read_text())
    assert config["quantization_config"]["quant_method"] == "compressed-tensors"
    progress = real_studio.progress(quantized.id)
    assert progress is not None and (progress.done, progress.text) == (100, "finished")


def test_quantized_model_answers_and_the_harness_asks_it(
    real_studio: Studio, small_server: Endpoint, samples
) -> None:
    expected = next(row["output"] for row in samples if row["instruction"] == WHO)
    assert answer(small_server, WHO)[0] == expected
    run = real_studio.launch_recipe(
        "lm-eval/endpoint", {"base_url": small_server.base_url, "pretrained": "small"}
    )
    figure = real_studio.results(finished(real_studio, run).id)["ladder_smoke/exact_match"]
    assert figure.value >= 0.9


@pytest.mark.parametrize("scheme", ["awq-w4a16", "fp8-dynamic", "int8-w8a8"])
def test_other_schemes(real_studio: Studio, scheme: str) -> None:
    run = real_studio.launch_recipe("llm-compressor/smoke-gptq", {"scheme": scheme})
    told = real_studio.results(finished(real_studio, run).id)
    assert told["bytes_after"].value < 0.6 * told["bytes_before"].value
