"""vLLM: `vllm serve`, an OpenAI-compatible server for text and vision-language models."""

from __future__ import annotations

from pathlib import Path

from studio.core.errors import EnvMissing, RecipeInvalid
from studio.core.spec import (
    Command,
    EndpointSpec,
    Interpreter,
    Placement,
    Probe,
    Resources,
    Scrape,
    Serving,
    StopStep,
)
from studio.engines.adapters import check_adapter, lone_adapter
from studio.engines.engine import Engine, check_model_dir, engine_env, is_local, resolve_path
from studio.engines.vllm_args import arguments
from studio.engines.vllm_config import LORA_RANKS, VllmConfig
from studio.envs.catalog import VLLM
from studio.envs.packages import package_version

BNB_PLUGIN = "vllm-bnb-plugin"
"""What carries bitsandbytes since vLLM 0.28."""


class Vllm(Engine[VllmConfig]):
    """`vllm serve`: paged KV cache, continuous batching, tensor parallelism."""

    id = "vllm"
    title = "vLLM"
    env = VLLM
    Config = VllmConfig
    serves = True

    def command(self, config: VllmConfig, place: Placement) -> Command:
        """Return `vllm serve MODEL ...` with every setting that differs from vLLM's default."""
        if not place.has_gpu:
            _check_cpu(config)
        head = place.interpreter.program("vllm", "vllm.entrypoints.cli.main")
        return Command(argv=(*head, *arguments(config, place)), env=self._env(config, place))

    def check(self, config: VllmConfig, root: Path) -> None:
        """Refuse what is no model, no adapter, no template; the files are here, or on the hub."""
        alone = lone_adapter(config.model, root)
        if alone:
            raise RecipeInvalid(
                f"{alone.folder} holds a LoRA adapter for {alone.base}, not a whole model.",
                hint=f"Set model to {alone.base}, enable_lora to true, and add "
                f"{alone.name}={alone.folder} to lora_modules.",
            )
        check_model_dir(config.model, root, weights=not self._dummy(config))
        for name, path in config.adapters.items():
            check_adapter(name, path, root, config.max_lora_rank, ranks=LORA_RANKS)
        if config.draft:
            check_model_dir(config.draft, root, weights=not self._dummy(config))
        if is_local(config.tokenizer):
            _check_there("tokenizer", config.tokenizer, root)
        if is_local(config.chat_template) or config.chat_template.endswith(".jinja"):
            _check_there("chat_template", config.chat_template, root)
        if is_local(config.generation_config):
            _check_there("generation_config", config.generation_config, root)

    def check_env(self, config: VllmConfig, interpreter: Interpreter) -> None:
        """Refuse bitsandbytes where vLLM has left it to a plugin that is not installed."""
        version = package_version(interpreter, "vllm")
        if config.quantization != "bitsandbytes" or not version or _numbers(version) < (0, 28):
            return
        if not package_version(interpreter, BNB_PLUGIN):
            raise EnvMissing(
                f"vLLM {version} has bitsandbytes only with {BNB_PLUGIN}, which is not installed.",
                hint=f"Run `pip install {BNB_PLUGIN}` there, or choose fp8 or an AWQ model.",
            )

    def resources(self, config: VllmConfig, has_gpu: bool) -> Resources:
        """One card per rank: tensor x pipeline x data parallel; none on a CPU machine."""
        ranks = config.tensor_parallel_size * config.pipeline_parallel_size
        return Resources(num_gpus=ranks * config.data_parallel_size if has_gpu else 0)

    def probe(self, config: VllmConfig) -> Probe:
        """Ready when /health answers."""
        return Probe(path="/health")

    def stop(self, config: VllmConfig) -> tuple[StopStep, ...]:
        """SIGINT first: vLLM swallows a SIGTERM while its engine core is starting."""
        return (
            StopStep(signal="SIGINT", to="root", grace_s=15, label="interrupt"),
            StopStep(signal="SIGTERM", to="group", grace_s=5, label="terminate"),
        )

    def endpoint(self, config: VllmConfig) -> EndpointSpec:
        """An OpenAI-compatible chat endpoint; every adapter is a model of its own there."""
        return EndpointSpec(
            kind="chat", models=(config.name, *config.adapters), hot_lora=config.hot_lora
        )

    def scrape(self, config: VllmConfig) -> Scrape:
        """All of vLLM's own figures; those of Python and the web server are left out."""
        return Scrape(prefixes=("vllm:",))

    def serving(self, config: VllmConfig) -> Serving:
        """Return the sizes that decide what a card has to hold."""
        return Serving(
            model=config.model,
            backend="vllm",
            tensor_parallel_size=config.tensor_parallel_size,
            pipeline_parallel_size=config.pipeline_parallel_size,
            data_parallel_size=config.data_parallel_size,
            dtype=config.dtype,
            quantization=config.quantization,
            kv_cache_dtype=config.kv_cache_dtype,
            max_model_len=config.max_model_len,
            gpu_memory_utilization=config.gpu_memory_utilization,
            kv_cache_memory_bytes=config.kv_cache_memory_bytes,
            max_num_seqs=config.max_num_seqs,
            max_num_batched_tokens=config.max_num_batched_tokens,
            enforce_eager=config.enforce_eager,
            max_loras=config.max_loras if config.enable_lora else 0,
            max_lora_rank=config.max_lora_rank,
            draft_model=config.draft or None,
            dummy_weights=self._dummy(config),
        )

    def _dummy(self, config: VllmConfig) -> bool:
        return config.load_format == "dummy" or "dummy" in config.extra_args

    def _env(self, config: VllmConfig, place: Placement) -> dict[str, str]:
        env = {"VLLM_NO_USAGE_STATS": "1"}
        env |= engine_env(place, config.model, on_cpu=not place.has_gpu)
        if not place.has_gpu:
            env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        if config.hot_lora:
            env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
        if config.api_key:
            env |= {"VLLM_API_KEY": config.api_key, "STUDIO_ENDPOINT_KEY": config.api_key}
        return env


def _check_cpu(config: VllmConfig) -> None:
    """Refuse what ends vLLM on a CPU (0.32): in its start, or at the first request."""
    if config.pipeline_parallel_size > 1 and config.enforce_eager:
        raise RecipeInvalid(
            "On a CPU, pipeline_parallel_size and enforce_eager do not work together: the first "
            "request would end the server.",
            hint="Set enforce_eager to false; the start takes longer then.",
        )
    if config.block_size is not None and config.block_size % 32:
        raise RecipeInvalid(
            f"block_size = {config.block_size} does not run on a CPU.",
            hint="Use a multiple of 32, or leave it empty.",
        )


def _check_there(setting: str, text: str, root: Path) -> None:
    path = Path(resolve_path(text, str(root)))
    if not (path if path.is_absolute() else root / path).exists():
        raise RecipeInvalid(f"{setting}: there is no {path}.", hint="Check the path.")


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.partition("+")[0].split(".")[:2]
    return tuple(int(part) for part in parts if part.isdigit())
