"""vLLM: `vllm serve`, an OpenAI-compatible server for text models."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from studio.core.spec import Command, EndpointSpec, Placement, Probe, Resources, StopStep
from studio.engines.engine import (
    Engine,
    ServerConfig,
    check_model_dir,
    engine_env,
    knob,
    resolve_path,
)
from studio.envs.catalog import VLLM


class VllmConfig(ServerConfig):
    """The flags a chat server needs; names are those of `vllm serve`."""

    model: str = knob(
        title="Model",
        help="A model folder, or a hub id such as Qwen/Qwen2.5-7B-Instruct.",
        zh=("模型", "模型目录，或 hub 上的名字，例如 Qwen/Qwen2.5-7B-Instruct。"),
        min_length=1,
    )
    served_model_name: str = knob(
        "",
        title="Served name",
        help="The name clients ask for. Empty: the model's own name.",
        zh=("对外名称", "客户端请求时使用的模型名。留空则用模型自己的名字。"),
    )
    tensor_parallel_size: int = knob(
        1,
        title="Tensor parallel",
        help="Splits every layer over N cards: about 1/N of the weights on each. "
        "Attention heads must divide by N.",
        zh=("张量并行", "每一层切到 N 张卡上，每卡约存 1/N 的权重。注意力头数必须能被 N 整除。"),
        ge=1,
        le=64,
    )
    max_model_len: int | None = knob(
        None,
        title="Context length",
        help="Longest prompt plus answer, in tokens. Shorter leaves memory for more users.",
        zh=("上下文长度", "提示加回答的最大 token 数。越短，能同时服务的用户越多。"),
        ge=16,
    )
    gpu_memory_utilization: float = knob(
        0.9,
        title="GPU memory share",
        help="Share of each card vLLM takes for weights and KV cache. Only used on cards.",
        zh=("显存占用比例", "vLLM 在每张卡上占用的显存比例（权重 + KV cache）。仅在有卡时生效。"),
        gt=0,
        le=1,
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = knob(
        "auto",
        title="Data type",
        help="Number format of the weights. V100 needs float16; a CPU is exact in float32.",
        zh=("数据类型", "权重的数值格式。V100 需用 float16；CPU 上 float32 最精确。"),
    )
    max_num_seqs: int | None = knob(
        None,
        title="Requests at once",
        help="Most requests in one batch; more wait in line.",
        zh=("并发请求数", "同一批次里最多的请求数，其余排队。"),
        group="memory",
        ge=1,
    )
    kv_cache_memory_bytes: int | None = knob(
        None,
        title="KV cache (bytes)",
        help="Exact size of the KV cache per card or CPU process, instead of a share.",
        zh=("KV cache 大小（字节）", "直接指定每卡（或每个 CPU 进程）的 KV cache 大小，替代比例。"),
        group="memory",
        ge=2**20,
    )
    enforce_eager: bool = knob(
        False,
        title="Eager mode",
        help="No CUDA graphs and no compilation: starts sooner, answers slower.",
        zh=("Eager 模式", "不用 CUDA graph、不编译：启动更快，回答更慢。"),
        group="memory",
    )


class Vllm(Engine[VllmConfig]):
    """`vllm serve`: paged KV cache, continuous batching, tensor parallelism."""

    id = "vllm"
    title = "vLLM"
    env = VLLM
    Config = VllmConfig
    serves = True

    def command(self, config: VllmConfig, place: Placement) -> Command:
        """Return `vllm serve MODEL ...` with every setting that differs from vLLM's default."""
        head = place.interpreter.program("vllm", "vllm.entrypoints.cli.main")
        argv = [*head, "serve", resolve_path(config.model, place.root)]
        argv += ["--host", config.host, "--port", str(place.port)]
        argv += ["--served-model-name", self._name(config)]
        if config.tensor_parallel_size > 1:
            argv += ["--tensor-parallel-size", str(config.tensor_parallel_size)]
        if config.max_model_len is not None:
            argv += ["--max-model-len", str(config.max_model_len)]
        if place.has_gpu:
            argv += ["--gpu-memory-utilization", str(config.gpu_memory_utilization)]
        if config.dtype != "auto":
            argv += ["--dtype", config.dtype]
        if config.max_num_seqs is not None:
            argv += ["--max-num-seqs", str(config.max_num_seqs)]
        if config.kv_cache_memory_bytes is not None:
            argv += ["--kv-cache-memory-bytes", str(config.kv_cache_memory_bytes)]
        if config.enforce_eager:
            argv.append("--enforce-eager")
        return Command(argv=(*argv, *config.extra_args), env=self._env(config, place))

    def check(self, config: VllmConfig, root: Path) -> None:
        """Refuse a local path that is no model folder."""
        check_model_dir(config.model, root, weights="dummy" not in config.extra_args)

    def resources(self, config: VllmConfig, has_gpu: bool) -> Resources:
        """One card per tensor-parallel rank; none on a CPU machine."""
        return Resources(num_gpus=config.tensor_parallel_size if has_gpu else 0)

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
        """An OpenAI-compatible chat endpoint."""
        return EndpointSpec(kind="chat", models=(self._name(config),))

    def _name(self, config: VllmConfig) -> str:
        return config.served_model_name or config.model.rstrip("/").rpartition("/")[2]

    def _env(self, config: VllmConfig, place: Placement) -> dict[str, str]:
        env = {"VLLM_NO_USAGE_STATS": "1"}
        env |= engine_env(place, config.model, on_cpu=not place.has_gpu)
        if not place.has_gpu:
            env["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        if config.api_key:
            env |= {"VLLM_API_KEY": config.api_key, "STUDIO_ENDPOINT_KEY": config.api_key}
        return env
