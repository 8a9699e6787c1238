"""Golden commands of SGLang, checked against the flags that version 0.5.23 really has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from engines.recorded_flags import flags_of

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.recipes import check_settings, read_recipe
from studio.core.settings import ROOT, Settings
from studio.core.spec import Interpreter, Placement
from studio.engines.engine import GROUPS
from studio.engines.sglang import Sglang, SglangConfig
from studio.envs.envs import Envs, EnvState
from studio.jobs.store import Store

KNOWN = flags_of("sglang", "0.5.23")
PLACE = Placement(
    interpreter=Interpreter(name="sglang", python="/envs/it/bin/python"),
    port=8001,
    root="/repo",
    has_gpu=True,
    flags=KNOWN,
    version="0.5.23",
)
MODEL = "Qwen/Qwen2.5-7B-Instruct"
HEAD = [
    *("/envs/it/bin/python", "-m", "sglang.launch_server", "--model-path", MODEL),
    *("--host", "127.0.0.1", "--port", "8001", "--served-model-name", "Qwen2.5-7B-Instruct"),
    "--enable-metrics",
]


def config(**settings: Any) -> SglangConfig:
    return check_settings(SglangConfig, {"model_path": MODEL, **settings}, "settings of SGLang")


def words(place: Placement = PLACE, **settings: Any) -> list[str]:
    argv = list(Sglang().command(config(**settings), place).argv)
    assert argv[: len(HEAD)] == HEAD
    return argv[len(HEAD) :]


def test_smallest_and_the_shipped_recipe() -> None:
    assert words() == []
    recipe = read_recipe(ROOT / "recipes/sglang/qwen2.5-7b.yaml")
    assert words(**recipe.settings) == ["--context-length", "8192"]
    chosen = config(tp_size=2, dp_size=2)
    assert Sglang().resources(chosen, True).num_gpus == 4


def test_everything_at_once_is_known_to_the_real_version() -> None:
    said = words(
        tp_size=2,
        context_length=8192,
        mem_fraction_static=0.85,
        dtype="bfloat16",
        pp_size=2,
        dp_size=2,
        max_running_requests=64,
        chunked_prefill_size=2048,
        kv_cache_dtype="fp8_e5m2",
        disable_radix_cache=True,
        disable_cuda_graph=True,
        cpu_offload_gb=4,
        quantization="fp8",
        load_format="dummy",
        limit_images=3,
        lora_paths=["law=./law", "poem=org/poem"],
        max_loras_per_batch=4,
        max_lora_rank=64,
        grammar_backend="xgrammar",
        tool_call_parser="qwen25",
        reasoning_parser="qwen3",
        trust_remote_code=True,
        random_seed=7,
        log_requests=True,
    )
    assert said == [
        *("--tp-size", "2", "--context-length", "8192", "--mem-fraction-static", "0.85"),
        *("--dtype", "bfloat16", "--pp-size", "2", "--dp-size", "2"),
        *("--max-running-requests", "64", "--chunked-prefill-size", "2048"),
        *("--kv-cache-dtype", "fp8_e5m2", "--disable-radix-cache"),
        *("--cuda-graph-backend-decode", "disabled", "--cuda-graph-backend-prefill", "disabled"),
        *("--cpu-offload-gb", "4", "--quantization", "fp8", "--load-format", "dummy"),
        *("--limit-mm-data-per-request", '{"image": 3}'),
        *("--lora-paths", "law=/repo/law", "poem=org/poem", "--max-loras-per-batch", "4"),
        *("--max-lora-rank", "64", "--grammar-backend", "xgrammar"),
        *("--tool-call-parser", "qwen25", "--reasoning-parser", "qwen3", "--trust-remote-code"),
        *("--random-seed", "7", "--log-requests"),
    ]
    assert {word for word in [*HEAD, *said] if word.startswith("--")} <= KNOWN


def test_cuda_graphs_are_off_in_older_versions_as_well() -> None:
    older = PLACE.model_copy(
        update={"flags": KNOWN - {"--cuda-graph-backend-decode"}, "version": "0.5.2"}
    )
    assert words(older, disable_cuda_graph=True) == ["--disable-cuda-graph"]
    unknown = PLACE.model_copy(update={"flags": None})
    assert words(unknown, disable_cuda_graph=True) == ["--disable-cuda-graph"]


def test_the_key_is_in_a_file_not_in_the_command() -> None:
    command = Sglang().command(config(api_key="s3cret"), PLACE)
    assert "s3cret" not in " ".join(command.argv)
    assert command.argv[3:5] == ("--config", "sglang.yaml") and "--config" in KNOWN
    assert yaml.safe_load(command.files["sglang.yaml"]) == {"api-key": "s3cret"}
    assert command.env["STUDIO_ENDPOINT_KEY"] == "s3cret"


def test_what_it_tells() -> None:
    told = Sglang().serving(config(tp_size=2, mem_fraction_static=0.8, lora_paths=["a=/a"]))
    assert (told.backend, told.tensor_parallel_size) == ("sglang", 2)
    assert (told.gpu_memory_utilization, told.max_loras) == (0.8, 8)
    assert Sglang().scrape(config()).prefixes == ("sglang:",)
    assert Sglang().endpoint(config(lora_paths=["a=/a"])).models == ("Qwen2.5-7B-Instruct", "a")
    groups = {info.json_schema_extra["group"] for info in SglangConfig.model_fields.values()}
    assert groups <= set(GROUPS)


def test_adapters_need_names() -> None:
    for paths, says in [(["/a"], "name=folder"), (["a=/a", "a=/b"], "used twice")]:
        with pytest.raises(RecipeInvalid, match=says):
            config(lora_paths=paths)
    with pytest.raises(RecipeInvalid, match="has no --tensor-paralel-size"):
        words(extra_args=["--tensor-paralel-size", "2"])


def test_without_a_card_it_cannot_be_built_and_says_so(tmp_path) -> None:
    settings = Settings(home=tmp_path / "home", variant="cpu")
    settings.prepare_home()
    envs = Envs(settings, Store(settings.database))
    status = envs.status("sglang")
    assert status.state is EnvState.MISSING
    assert status.problem == "SGLang needs an NVIDIA card, and this machine has none."
    with pytest.raises(EnvMissing, match=r"needs an NVIDIA card.*adopt an environment"):
        envs.build_argv("sglang")
