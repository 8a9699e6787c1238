"""SGLang: `python -m sglang.launch_server`, an OpenAI-compatible server with RadixAttention."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from studio.core.errors import RecipeInvalid
from studio.core.spec import (
    Command,
    EndpointSpec,
    Placement,
    Probe,
    Resources,
    Scrape,
    Serving,
    StopStep,
)
from studio.engines.adapters import by_name, check_adapter, check_names, lone_adapter
from studio.engines.engine import (
    Engine,
    ServerConfig,
    check_model_dir,
    engine_env,
    knob,
    resolve_path,
    to_yaml,
)
from studio.engines.flags import Flags
from studio.engines.shared_fields import (
    model_field,
    served_model_name_field,
    trust_remote_code_field,
)
from studio.envs.catalog import SGLANG


class SglangConfig(ServerConfig):
    """The flags a chat server needs; names are those of `sglang.launch_server`."""

    model_path: str = model_field()
    tp_size: int = knob(
        1,
        title="Tensor parallel",
        help="Splits every layer over N cards: about 1/N of the weights on each. "
        "Attention heads must divide by N.",
        zh=("张量并行", "每一层切到 N 张卡上，每卡约存 1/N 的权重。注意力头数必须能被 N 整除。"),
        ge=1,
        le=64,
    )
    context_length: int | None = knob(
        None,
        title="Context length",
        help="Longest prompt plus answer, in tokens. Empty: what the model was made for.",
        zh=("上下文长度", "提示加回答的最大 token 数。留空为模型自己的上限。"),
        ge=16,
    )
    mem_fraction_static: float | None = knob(
        None,
        title="GPU memory share",
        help="Share of each card for weights and KV cache. Empty: SGLang works it out; lower it "
        "when a start or a long prompt runs out of memory.",
        zh=(
            "显存占用比例",
            "每张卡用于权重和 KV cache 的比例。留空由 SGLang 计算；启动或长提示显存不够时调小。",
        ),
        gt=0,
        lt=1,
    )
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = knob(
        "auto",
        title="Data type",
        help="Number format of the weights. V100 needs float16.",
        zh=("数据类型", "权重的数值格式。V100 需用 float16。"),
    )
    pp_size: int = knob(
        1,
        title="Pipeline parallel",
        help="Gives each of N cards a share of the layers.",
        zh=("流水线并行", "把层分给 N 张卡。"),
        group="parallel",
        ge=1,
        le=64,
    )
    dp_size: int = knob(
        1,
        title="Data parallel",
        help="N whole copies of the model behind one address: about N times the users, N times "
        "the memory.",
        zh=("数据并行", "同一地址后面放 N 份完整模型：用户数约为 N 倍，显存也是 N 倍。"),
        group="parallel",
        ge=1,
        le=64,
    )
    max_running_requests: int | None = knob(
        None,
        title="Requests at once",
        help="Most requests in one batch; more wait in line.",
        zh=("并发请求数", "同一批次里最多的请求数，其余排队。"),
        group="memory",
        ge=1,
    )
    chunked_prefill_size: int | None = knob(
        None,
        title="Prompt chunk (tokens)",
        help="Long prompts are read in pieces of this size. Smaller takes less memory and lets "
        "other answers flow; -1 reads them whole.",
        zh=(
            "提示分块（token）",
            "长提示按这个大小分块读入。越小越省显存，别人的回答越流畅；-1 表示不分块。",
        ),
        group="memory",
        ge=-1,
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8_e4m3", "fp8_e5m2"] = knob(
        "auto",
        title="KV cache type",
        help="fp8 halves the KV cache, so twice the tokens fit, at a small loss of quality.",
        zh=("KV cache 类型", "fp8 让 KV cache 减半，能放两倍的 token，质量略有损失。"),
        group="memory",
    )
    disable_radix_cache: bool = knob(
        False,
        title="No prefix caching",
        help="Computes shared beginnings again for every request: slower, only for comparisons.",
        zh=("关闭前缀缓存", "相同开头每次都重算：更慢，只用于对比测试。"),
        group="memory",
    )
    disable_cuda_graph: bool = knob(
        False,
        title="No CUDA graphs",
        help="Starts sooner and takes less memory, answers slower.",
        zh=("关闭 CUDA graph", "启动更快、更省显存，回答更慢。"),
        group="memory",
    )
    cpu_offload_gb: int = knob(
        0,
        title="Weights in host memory (GiB)",
        help="GiB of weights that stay in host memory: a bigger model fits, much slower.",
        zh=("放在内存里的权重（GiB）", "有多少 GiB 权重留在内存：能放更大的模型，但慢很多。"),
        group="memory",
        ge=0,
    )
    quantization: (
        Literal["awq", "awq_marlin", "gptq", "gptq_marlin", "fp8", "bitsandbytes"] | None
    ) = knob(
        None,
        title="Quantization",
        help="Empty reads it from the model. fp8 halves a bfloat16 model while it loads.",
        zh=("量化", "留空则按模型自带的设置。fp8 可在加载时把 bfloat16 模型减半。"),
        group="quant",
    )
    load_format: Literal["auto", "safetensors", "pt", "dummy", "sharded_state", "bitsandbytes"] = (
        knob(
            "auto",
            title="Weight format",
            help="How the weight files are read. dummy makes random weights: memory and speed "
            "are true, the answers are noise.",
            zh=("权重格式", "权重文件的读取方式。dummy 用随机权重：显存和速度是真的，回答是乱码。"),
            group="quant",
        )
    )
    limit_images: int | None = knob(
        None,
        title="Pictures per request",
        help="Most pictures in one request.",
        zh=("每次请求图片数", "一次请求最多几张图。"),
        group="vision",
        ge=0,
    )
    lora_paths: list[str] = knob(
        [],
        title="Adapters",
        help="One name=folder per line. Clients ask for the name as if it were a model.",
        zh=("适配器", "每行一个 名称=目录。客户端把名称当模型名来请求。"),
        group="lora",
    )
    max_loras_per_batch: int = knob(
        8,
        title="Adapters at once",
        help="Adapters used in the same batch, the bare model counted; each reserves memory.",
        zh=("同时使用的适配器数", "同一批次里可用的适配器数（原模型也算一个），每个都预留显存。"),
        group="lora",
        ge=1,
    )
    max_lora_rank: int | None = knob(
        None,
        title="Largest rank",
        help="Empty: that of the adapters named here.",
        zh=("最大秩", "留空为上面这些适配器的秩。"),
        group="lora",
        ge=1,
    )
    grammar_backend: Literal["xgrammar", "outlines", "llguidance"] | None = knob(
        None,
        title="Structured output by",
        help="What keeps an answer to a JSON schema or a pattern. Empty lets SGLang choose.",
        zh=("结构化输出后端", "用什么保证回答符合 JSON schema 或正则。留空由 SGLang 决定。"),
        group="output",
    )
    tool_call_parser: str = knob(
        "",
        title="Tool call parser",
        help="qwen25 for Qwen2.5 and Qwen3, llama3, mistral, deepseekv3; auto looks at the model.",
        zh=(
            "工具调用解析器",
            "Qwen2.5、Qwen3 用 qwen25，另有 llama3、mistral、deepseekv3；auto 看模型决定。",
        ),
        group="output",
    )
    reasoning_parser: str = knob(
        "",
        title="Reasoning parser",
        help="Tells the thinking from the answer: qwen3, deepseek-r1. Empty: all is answer.",
        zh=("思考解析器", "把思考过程与回答分开：qwen3、deepseek-r1。留空则全部算回答。"),
        group="output",
    )
    served_model_name: str = served_model_name_field()
    trust_remote_code: bool = trust_remote_code_field("server")
    random_seed: int | None = knob(
        None,
        title="Seed",
        help="Start of the random numbers. Empty: another one at every start.",
        zh=("随机种子", "留空则每次启动都不同。"),
        group="server",
        ge=0,
    )
    log_requests: bool = knob(
        False,
        title="Log requests",
        help="Writes every request into the log: useful to find a fault, slow under load.",
        zh=("记录请求", "把每个请求写进日志：排查问题时有用，高负载下会变慢。"),
        group="server",
    )

    @property
    def name(self) -> str:
        """The name clients ask for."""
        return self.served_model_name or self.model_path.rstrip("/").rpartition("/")[2]

    @property
    def adapters(self) -> dict[str, str]:
        """Folder or hub id of every adapter, by its name."""
        return by_name(self.lora_paths)

    @model_validator(mode="after")
    def _adapters_have_names(self) -> Self:
        check_names("lora_paths", self.lora_paths, self.name)
        return self


class Sglang(Engine[SglangConfig]):
    """`sglang.launch_server`: the prefix cache as a tree, fast for shared beginnings."""

    id = "sglang"
    title = "SGLang"
    env = SGLANG
    Config = SglangConfig
    serves = True

    def command(self, config: SglangConfig, place: Placement) -> Command:
        """Return `python -m sglang.launch_server ...` with what differs from its defaults.

        A key is written into a file, since SGLang reads none from the environment and a command
        line is seen by every user of the machine.
        """
        argv = [place.interpreter.python, "-m", "sglang.launch_server"]
        files = {}
        env = engine_env(place, config.model_path, on_cpu=not place.has_gpu)
        if config.api_key:
            argv += ["--config", "sglang.yaml"]
            files["sglang.yaml"] = to_yaml({"api-key": config.api_key})
            env["STUDIO_ENDPOINT_KEY"] = config.api_key
        argv += ["--model-path", resolve_path(config.model_path, place.root)]
        argv += ["--host", config.host, "--port", str(place.port)]
        argv += ["--served-model-name", config.name, "--enable-metrics"]
        flags = Flags.of("SGLang", place)
        for setting in SglangConfig.model_fields:
            if setting not in _HEAD:
                argv += self._words(config, place, flags, setting)
        flags.check(config.extra_args)
        return Command(argv=(*argv, *config.extra_args), env=env, files=files)

    def check(self, config: SglangConfig, root: Path) -> None:
        """Refuse a local path that is no model folder, and folders that hold no adapter."""
        alone = lone_adapter(config.model_path, root)
        if alone:
            raise RecipeInvalid(
                f"{alone.folder} holds a LoRA adapter for {alone.base}, not a whole model.",
                hint=f"Set model_path to {alone.base}, and add {alone.name}={alone.folder} to "
                "lora_paths.",
            )
        check_model_dir(config.model_path, root, weights=config.load_format != "dummy")
        for name, path in config.adapters.items():
            check_adapter(name, path, root, config.max_lora_rank)

    def resources(self, config: SglangConfig, has_gpu: bool) -> Resources:
        """One card per rank: tensor x pipeline x data parallel; none on a CPU machine."""
        return Resources(
            num_gpus=config.tp_size * config.pp_size * config.dp_size if has_gpu else 0
        )

    def probe(self, config: SglangConfig) -> Probe:
        """Ready when /health answers, which it does once the first generation went through."""
        return Probe(path="/health")

    def stop(self, config: SglangConfig) -> tuple[StopStep, ...]:
        """SIGTERM lets it end the requests under way."""
        return (StopStep(signal="SIGTERM", to="root", grace_s=20, label="terminate"),)

    def endpoint(self, config: SglangConfig) -> EndpointSpec:
        """An OpenAI-compatible chat endpoint; every adapter is a model of its own there."""
        return EndpointSpec(kind="chat", models=(config.name, *config.adapters))

    def scrape(self, config: SglangConfig) -> Scrape:
        """All of SGLang's own figures."""
        return Scrape(prefixes=("sglang:",))

    def serving(self, config: SglangConfig) -> Serving:
        """Return the sizes that decide what a card has to hold."""
        return Serving(
            model=config.model_path,
            backend="sglang",
            tensor_parallel_size=config.tp_size,
            pipeline_parallel_size=config.pp_size,
            data_parallel_size=config.dp_size,
            dtype=config.dtype,
            quantization=config.quantization,
            kv_cache_dtype=config.kv_cache_dtype,
            max_model_len=config.context_length,
            gpu_memory_utilization=config.mem_fraction_static or 0.9,
            max_num_seqs=config.max_running_requests,
            max_num_batched_tokens=config.chunked_prefill_size,
            enforce_eager=config.disable_cuda_graph,
            max_loras=config.max_loras_per_batch if config.lora_paths else 0,
            max_lora_rank=config.max_lora_rank or 16,
            dummy_weights=config.load_format == "dummy",
        )

    def _words(
        self, config: SglangConfig, place: Placement, flags: Flags, setting: str
    ) -> tuple[str, ...]:
        value = getattr(config, setting)
        flag = "--" + setting.replace("_", "-")
        if setting == "lora_paths":
            hung = [f"{n}={resolve_path(path, place.root)}" for n, path in config.adapters.items()]
            return flags.spell(setting, (flag, *hung)) if hung else ()
        if value == SglangConfig.model_fields[setting].default:
            return ()
        if setting == "limit_images":
            limit = json.dumps({"image": value})
            return flags.spell(setting, ("--limit-mm-data-per-request", limit))
        if setting == "disable_cuda_graph":
            both = ("--cuda-graph-backend-decode", "disabled")
            both += ("--cuda-graph-backend-prefill", "disabled")
            return flags.spell(setting, both if place.flags else (flag,), (flag,))
        return flags.spell(setting, (flag,) if value is True else (flag, str(value)))


_HEAD = (*("model_path", "host", "port", "api_key", "served_model_name"), "extra_args")
"""Settings that are said first, or in a way of their own."""
