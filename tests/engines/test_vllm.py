"""Golden commands of vLLM, group by group, and the settings that do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from engines.recorded_flags import VLLM, flags_of

from studio.core.errors import RecipeInvalid
from studio.core.recipes import Recipes, check_settings
from studio.core.settings import ROOT
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import GROUPS
from studio.engines.vllm import Vllm
from studio.engines.vllm_config import VllmConfig

CPU = Placement(
    interpreter=Interpreter(name="vllm", python="/envs/it/bin/python"), port=8001, root="/repo"
)
GPU = CPU.model_copy(update={"has_gpu": True})
MODEL = "Qwen/Qwen2.5-7B-Instruct"
HEAD = [
    *("/envs/it/bin/vllm", "serve", MODEL, "--host", "127.0.0.1", "--port", "8001"),
    *("--served-model-name", "Qwen2.5-7B-Instruct"),
]
SHIPPED = {r.name: r for r in Recipes(Path("/nowhere"), ROOT / "recipes").list("vllm")}


def config(**settings: Any) -> VllmConfig:
    return check_settings(VllmConfig, {"model": MODEL, **settings}, "settings of vLLM")


def words(place: Placement = CPU, **settings: Any) -> list[str]:
    """Return the argv after what every command begins with."""
    argv = list(Vllm().command(config(**settings), place).argv)
    assert argv[: len(HEAD)] == HEAD
    return argv[len(HEAD) :]


def refused(**settings: Any) -> str:
    with pytest.raises(RecipeInvalid) as caught:
        config(**settings)
    assert caught.value.hint
    return str(caught.value)


GROUPED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "parallel": (
        {
            "tensor_parallel_size": 2,
            "pipeline_parallel_size": 2,
            "data_parallel_size": 2,
            "api_server_count": 4,
            "distributed_executor_backend": "mp",
            "enable_expert_parallel": True,
        },
        [
            *("--tensor-parallel-size", "2", "--pipeline-parallel-size", "2"),
            *("--data-parallel-size", "2", "--api-server-count", "4"),
            *("--distributed-executor-backend", "mp", "--enable-expert-parallel"),
        ],
    ),
    "memory": (
        {
            "max_num_seqs": 32,
            "max_num_batched_tokens": 4096,
            "kv_cache_dtype": "fp8",
            "kv_cache_memory_bytes": 2**30,
            "block_size": 32,
            "enable_prefix_caching": True,
            "enable_chunked_prefill": False,
            "enforce_eager": True,
            "cpu_offload_gb": 2.5,
            "kv_offloading_size": 20,
        },
        [
            *("--max-num-seqs", "32", "--max-num-batched-tokens", "4096"),
            *("--kv-cache-dtype", "fp8", "--kv-cache-memory-bytes", "1073741824"),
            *("--block-size", "32", "--enable-prefix-caching", "--no-enable-chunked-prefill"),
            *("--enforce-eager", "--cpu-offload-gb", "2.5", "--kv-offloading-size", "20"),
        ],
    ),
    "quant": (
        {"quantization": "awq", "load_format": "dummy"},
        ["--quantization", "awq", "--load-format", "dummy"],
    ),
    "speculative ngram": (
        {"speculative_method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4},
        [
            "--speculative-config",
            '{"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 4}',
        ],
    ),
    "speculative draft": (
        {"speculative_method": "draft_model", "speculative_model": "assets/models/tiny"},
        [
            "--speculative-config",
            '{"method": "draft_model", "model": "/repo/assets/models/tiny", '
            '"num_speculative_tokens": 4}',
        ],
    ),
    "speculative mtp": (
        {"speculative_method": "mtp", "num_speculative_tokens": 1},
        ["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'],
    ),
    "vision": (
        {"limit_images": 4, "limit_videos": 0, "min_pixels": 3136, "max_pixels": 1003520},
        [
            *("--limit-mm-per-prompt", '{"image": 4, "video": 0}'),
            *("--mm-processor-kwargs", '{"min_pixels": 3136, "max_pixels": 1003520}'),
        ],
    ),
    "lora": (
        {
            "enable_lora": True,
            "lora_modules": ["law=./law", "poem = org/poem"],
            "max_loras": 3,
            "max_lora_rank": 64,
            "max_cpu_loras": 8,
        },
        [
            *("--enable-lora", "--lora-modules", "law=/repo/law", "poem=org/poem"),
            *("--max-loras", "3", "--max-lora-rank", "64", "--max-cpu-loras", "8"),
        ],
    ),
    "output": (
        {
            "structured_outputs_backend": "xgrammar",
            "enable_auto_tool_choice": True,
            "tool_call_parser": "hermes",
            "reasoning_parser": "qwen3",
            "chat_template": "./chat.jinja",
            "generation_config": "vllm",
        },
        [
            *("--structured-outputs-config", '{"backend": "xgrammar"}'),
            *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
            *("--reasoning-parser", "qwen3", "--chat-template", "/repo/chat.jinja"),
            *("--generation-config", "vllm"),
        ],
    ),
    "server": (
        {
            "trust_remote_code": True,
            "revision": "main",
            "tokenizer": "./tok",
            "seed": 7,
            "enable_log_requests": True,
            "disable_uvicorn_access_log": True,
            "disable_log_stats": True,
        },
        [
            *("--trust-remote-code", "--revision", "main", "--tokenizer", "/repo/tok"),
            *("--seed", "7", "--enable-log-requests", "--disable-uvicorn-access-log"),
            "--disable-log-stats",
        ],
    ),
}


@pytest.mark.parametrize("group", GROUPED)
def test_every_group(group: str) -> None:
    settings, expected = GROUPED[group]
    assert words(**settings) == expected


def test_no_setting_is_without_words() -> None:
    """Every field changes the command when it is changed."""
    said = {name for settings, _ in GROUPED.values() for name in settings}
    main = {"model", "max_model_len", "gpu_memory_utilization", "dtype", "served_model_name"}
    server = {"host", "port", "api_key", "hot_lora", "extra_args"}
    assert set(VllmConfig.model_fields) == said | main | server


@pytest.mark.parametrize("version", VLLM)
@pytest.mark.parametrize("group", GROUPED)
def test_every_group_in_every_version(group: str, version: str) -> None:
    """The real versions know each flag that is said, `--no-enable-x` by its newer name."""
    known = flags_of("vllm", version)
    place = GPU.model_copy(update={"flags": known, "version": version})
    said = words(place, **GROUPED[group][0])
    assert {word for word in said if word.startswith("--")} <= known
    if group == "memory":
        opposite = "--disable" if version == "0.33.0" else "--no-enable"
        assert f"{opposite}-chunked-prefill" in said


RECIPES: dict[str, list[str]] = {
    "vllm/qwen2.5-7b": [
        *("Qwen/Qwen2.5-7B-Instruct", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.9"),
    ],
    "vllm/qwen2.5-14b-tp2": [
        *("Qwen/Qwen2.5-14B-Instruct", "--tensor-parallel-size", "2", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.9"),
    ],
    "vllm/qwen2.5-32b-awq-tp2": [
        *("Qwen/Qwen2.5-32B-Instruct-AWQ", "--tensor-parallel-size", "2"),
        *("--max-model-len", "8192", "--gpu-memory-utilization", "0.9", "--dtype", "float16"),
    ],
    "vllm/qwen2-vl-7b": [
        *("Qwen/Qwen2-VL-7B-Instruct", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.9", "--limit-mm-per-prompt", '{"image": 4, "video": 0}'),
        *("--mm-processor-kwargs", '{"max_pixels": 1003520}'),
    ],
    "vllm/qwen2.5-7b-dp2": [
        *("Qwen/Qwen2.5-7B-Instruct", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.9", "--data-parallel-size", "2"),
    ],
    "vllm/qwen2.5-7b-lora": [
        *("Qwen/Qwen2.5-7B-Instruct", "--max-model-len", "8192"),
        *("--gpu-memory-utilization", "0.9", "--enable-lora", "--max-loras", "2"),
        *("--max-lora-rank", "64"),
    ],
    "vllm/v100-half": [
        *("Qwen/Qwen2.5-7B-Instruct", "--tensor-parallel-size", "2", "--max-model-len", "4096"),
        *("--gpu-memory-utilization", "0.9", "--dtype", "float16"),
    ],
    "vllm/smoke": [
        *("/repo/assets/models/tiny-qwen2.5", "--max-model-len", "2048"),
        *("--gpu-memory-utilization", "0.9", "--dtype", "float32", "--max-num-seqs", "16"),
        *("--kv-cache-memory-bytes", "67108864", "--enforce-eager"),
    ],
    "vllm/smoke-vl": [
        *("/repo/assets/models/tiny-qwen2-vl", "--max-model-len", "2048"),
        *("--gpu-memory-utilization", "0.9", "--dtype", "float32", "--max-num-seqs", "16"),
        *("--kv-cache-memory-bytes", "67108864", "--enforce-eager"),
    ],
}
CARDS = {
    "vllm/qwen2.5-14b-tp2": 2,
    "vllm/qwen2.5-32b-awq-tp2": 2,
    "vllm/qwen2.5-7b-dp2": 2,
    "vllm/v100-half": 2,
}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_recipe_on_cards(name: str) -> None:
    chosen = check_settings(VllmConfig, SHIPPED[name].settings, name)
    argv = list(Vllm().command(chosen, GPU).argv)
    served = argv.index("--served-model-name")
    assert argv[:2] == ["/envs/it/bin/vllm", "serve"]
    assert [argv[2], *argv[served + 2 :]] == RECIPES[name]
    assert Vllm().resources(chosen, True).num_gpus == CARDS.get(name, 1)
    assert Vllm().resources(chosen, False).num_gpus == 0


def test_groups_are_known_and_the_main_ones_come_first() -> None:
    groups = [info.json_schema_extra["group"] for info in VllmConfig.model_fields.values()]
    assert set(groups) <= set(GROUPS)
    main = [n for n, g in zip(VllmConfig.model_fields, groups, strict=True) if g == "main"]
    assert main == [
        *("model", "tensor_parallel_size", "max_model_len", "gpu_memory_utilization", "dtype"),
    ]


def test_hot_lora_is_a_variable_and_an_offer() -> None:
    chosen = config(enable_lora=True, hot_lora=True, lora_modules=["law=/l"])
    command = Vllm().command(chosen, CPU)
    assert command.env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    offer = Vllm().endpoint(chosen)
    assert offer.models == ("Qwen2.5-7B-Instruct", "law") and offer.hot_lora
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in Vllm().command(config(), CPU).env


def test_on_a_cpu_one_adapter_slot_stays_empty() -> None:
    def slots(place, **settings) -> str:
        argv = Vllm().command(config(enable_lora=True, **settings), place).argv
        return argv[argv.index("--max-loras") + 1] if "--max-loras" in argv else ""

    two = ["law=./law", "poem=./poem"]
    assert slots(CPU, lora_modules=two) == "3"
    assert slots(CPU, lora_modules=two, max_loras=8) == "8"
    assert slots(CPU, hot_lora=True) == "4"
    assert slots(GPU, lora_modules=two[:1]) == ""
    assert "--max-loras" not in Vllm().command(config(), CPU).argv


def test_what_the_planner_is_told() -> None:
    told = Vllm().serving(
        config(
            tensor_parallel_size=2,
            data_parallel_size=2,
            quantization="fp8",
            speculative_method="draft_model",
            speculative_model="Qwen/Qwen2.5-0.5B-Instruct",
            load_format="dummy",
            max_loras=3,
        )
    )
    assert (told.backend, told.tensor_parallel_size, told.data_parallel_size) == ("vllm", 2, 2)
    assert told.draft_model == "Qwen/Qwen2.5-0.5B-Instruct" and told.dummy_weights
    assert told.max_loras == 0, "adapters are off"
    assert Vllm().serving(config(extra_args=["--load-format", "dummy"])).dummy_weights
    assert Vllm().scrape(config()).prefixes == ("vllm:",)


def test_settings_that_do_not_go_together() -> None:
    assert "needs a second model" in refused(speculative_method="draft_model")
    assert "is not used with" in refused(speculative_model="x/y")
    assert "prompt_lookup_max is not used" in refused(prompt_lookup_max=3)
    assert "hot_lora needs enable_lora" in refused(hot_lora=True)
    several = refused(enable_lora=True, hot_lora=True, api_server_count=2)
    assert "hot_lora needs a single API process" in several
    assert refused(enable_lora=True, hot_lora=True, data_parallel_size=2) == several
    assert "lora_modules needs enable_lora" in refused(lora_modules=["a=/a"])
    assert "name=folder" in refused(enable_lora=True, lora_modules=["/a"])
    assert "used twice" in refused(enable_lora=True, lora_modules=["a=/a", "a=/b"])
    assert "used twice" in refused(
        enable_lora=True, served_model_name="a", lora_modules=["a=/a"]
    ), "an adapter cannot take the model's name"
    assert "next higher one is 16" in refused(max_lora_rank=12)
    assert "less than max_loras" in refused(max_loras=4, max_cpu_loras=2)
    assert "needs enable_auto_tool_choice" in refused(tool_call_parser="hermes")
    assert "it is hermes" in refused(enable_auto_tool_choice=True)
    assert "is more than max_pixels" in refused(min_pixels=2, max_pixels=1)


def test_what_a_cpu_cannot_do_is_refused_before_the_start() -> None:
    both = {"pipeline_parallel_size": 2, "enforce_eager": True}
    with pytest.raises(RecipeInvalid, match="Set enforce_eager to false"):
        words(CPU, **both)
    assert "--enforce-eager" in words(GPU, **both)
    with pytest.raises(RecipeInvalid, match="multiple of 32"):
        words(CPU, block_size=16)


def test_flags_a_version_does_not_have() -> None:
    known = flags_of("vllm", "0.26.0") - {"--kv-offloading-size"}
    place = GPU.model_copy(update={"flags": known, "version": "0.26.0"})
    with pytest.raises(RecipeInvalid, match=r"vLLM 0\.26\.0 has no --kv-offloading-size"):
        words(place, kv_offloading_size=4)
    with pytest.raises(RecipeInvalid, match="Did you mean --max-num-seqs"):
        words(place, extra_args=["--max-num-sqs", "4"])
