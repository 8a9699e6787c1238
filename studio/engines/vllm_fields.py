"""Settings of vLLM that decide where a model runs and what memory it takes. Names are vLLM's own.

Every default is vLLM's own, so that only what a person changed becomes a flag. The rest of the
settings, and how they depend on each other, is in vllm_config.py.
"""

from __future__ import annotations

from typing import Literal

from studio.engines.engine import ServerConfig, knob
from studio.engines.shared_fields import model_field


class VllmFields(ServerConfig):
    """Model, parallelism, memory and quantization."""

    # main ---------------------------------------------------------------------------------------

    model: str = model_field()
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

    # parallel -----------------------------------------------------------------------------------

    pipeline_parallel_size: int = knob(
        1,
        title="Pipeline parallel",
        help="Gives each of N cards a share of the layers. Less traffic between cards than tensor "
        "parallel, but a single answer gets no faster.",
        zh=("流水线并行", "把层分给 N 张卡。卡间通信比张量并行少，但单个回答不会变快。"),
        group="parallel",
        ge=1,
        le=64,
    )
    data_parallel_size: int = knob(
        1,
        title="Data parallel",
        help="N whole copies of the model behind one address: about N times the users, N times "
        "the memory. Best when the model fits one card.",
        zh=(
            "数据并行",
            "同一地址后面放 N 份完整模型：用户数约为 N 倍，显存也是 N 倍。单卡放得下时最划算。",
        ),
        group="parallel",
        ge=1,
        le=64,
    )
    api_server_count: int | None = knob(
        None,
        title="API processes",
        help="Processes that take requests and hand out tokens. One fills one processor core; "
        "where a load test says that it is the limit, take 2 or 4. Empty takes one per copy.",
        zh=(
            "API 进程数",
            "接收请求、分发 token 的进程数。一个进程最多用满一个 CPU 核；"
            "压测结果说它是瓶颈时，设为 2 或 4。留空则每份模型一个。",
        ),
        group="parallel",
        ge=1,
        le=64,
    )
    distributed_executor_backend: Literal["mp", "ray", "uni"] | None = knob(
        None,
        title="Worker backend",
        help="How the workers of several cards are started: mp on one machine, ray on many. "
        "Empty lets vLLM choose.",
        zh=("多卡启动方式", "单机多卡用 mp，多机用 ray。留空由 vLLM 决定。"),
        group="parallel",
    )
    enable_expert_parallel: bool = knob(
        False,
        title="Expert parallel",
        help="Puts whole experts of a mixture-of-experts model on different cards instead of "
        "cutting each one. No effect on other models.",
        zh=("专家并行", "MoE 模型把整个专家分到不同的卡，而不是每个专家都切开。对其他模型无效。"),
        group="parallel",
    )

    # memory -------------------------------------------------------------------------------------

    max_num_seqs: int | None = knob(
        None,
        title="Requests at once",
        help="Most requests in one batch; more wait in line. Lower it when start-up runs out of "
        "memory.",
        zh=("并发请求数", "同一批次里最多的请求数，其余排队。启动时显存不够就调小。"),
        group="memory",
        ge=1,
    )
    max_num_batched_tokens: int | None = knob(
        None,
        title="Tokens per step",
        help="Most tokens computed in one step. More reads prompts faster and takes more memory; "
        "less keeps answers that are under way smoother.",
        zh=(
            "每步 token 数",
            "一步最多计算的 token 数。大则读提示更快、更占显存；小则正在生成的回答更流畅。",
        ),
        group="memory",
        ge=1,
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "float16", "fp8", "fp8_e4m3", "fp8_e5m2"] = knob(
        "auto",
        title="KV cache type",
        help="fp8 halves the KV cache, so twice the tokens fit, at a small loss of quality.",
        zh=("KV cache 类型", "fp8 让 KV cache 减半，能放两倍的 token，质量略有损失。"),
        group="memory",
    )
    kv_cache_memory_bytes: int | None = knob(
        None,
        title="KV cache (bytes)",
        help="Exact size of the KV cache per card or CPU process, instead of a share.",
        zh=("KV cache 大小（字节）", "直接指定每卡（或每个 CPU 进程）的 KV cache 大小，替代比例。"),
        group="memory",
        ge=2**20,
    )
    block_size: int | None = knob(
        None,
        title="KV block (tokens)",
        help="Tokens per block of the KV cache. Prefixes are shared in whole blocks, so smaller "
        "ones hit more often and cost a little speed.",
        zh=(
            "KV 块大小（token）",
            "KV cache 每块的 token 数。前缀按整块共享，块小则命中更多，速度略降。",
        ),
        group="memory",
        ge=1,
        le=1024,
    )
    enable_prefix_caching: bool | None = knob(
        None,
        title="Prefix caching",
        help="Keeps the KV cache of beginnings that requests share, such as a system prompt, so "
        "it is not computed again. Empty: vLLM turns it on where it works.",
        zh=(
            "前缀缓存",
            "保留各请求相同开头（如系统提示）的 KV cache，不再重算。留空：能用时 vLLM 自动打开。",
        ),
        group="memory",
    )
    enable_chunked_prefill: bool | None = knob(
        None,
        title="Chunked prefill",
        help="Reads long prompts piece by piece between the steps of other answers, which do not "
        "stall then. Empty lets vLLM choose.",
        zh=("分块 prefill", "长提示分块读入，穿插在其他回答之间，别人不会卡住。留空由 vLLM 决定。"),
        group="memory",
    )
    enforce_eager: bool = knob(
        False,
        title="Eager mode",
        help="No CUDA graphs and no compilation: starts sooner, answers slower.",
        zh=("Eager 模式", "不用 CUDA graph、不编译：启动更快，回答更慢。"),
        group="memory",
    )
    cpu_offload_gb: float = knob(
        0,
        title="Weights in host memory (GiB)",
        help="GiB of weights per card that stay in host memory and are fetched in every step: "
        "a bigger model fits, much slower.",
        zh=(
            "放在内存里的权重（GiB）",
            "每张卡有多少 GiB 权重留在内存、每一步再取：能放更大的模型，但慢很多。",
        ),
        group="memory",
        ge=0,
    )
    kv_offloading_size: float | None = knob(
        None,
        title="KV cache in host memory (GiB)",
        help="GiB of host memory for parts of the KV cache that the cards have no room for, so "
        "that old prefixes still hit. Summed over all cards.",
        zh=(
            "内存里的 KV cache（GiB）",
            "显存放不下的 KV cache 存到内存，旧前缀仍能命中。是所有卡合计的大小。",
        ),
        group="memory",
        gt=0,
    )

    # quant --------------------------------------------------------------------------------------

    quantization: (
        Literal[
            "awq",
            "awq_marlin",
            "gptq",
            "gptq_marlin",
            "fp8",
            "bitsandbytes",
            "compressed-tensors",
            "modelopt",
            "mxfp4",
            "torchao",
        ]
        | None
    ) = knob(
        None,
        title="Quantization",
        help="Empty reads it from the model, which is right for AWQ and GPTQ downloads. fp8 and "
        "bitsandbytes shrink a bfloat16 model while it loads: about 1/2 and 1/3 of the memory.",
        zh=(
            "量化",
            "留空则按模型自带的设置，AWQ、GPTQ 模型无需填写。fp8 和 bitsandbytes 可在加载时压缩 "
            "bfloat16 模型：显存约为 1/2 和 1/3。",
        ),
        group="quant",
    )
    load_format: Literal[
        "auto",
        "safetensors",
        "pt",
        "npcache",
        "dummy",
        "sharded_state",
        "runai_streamer",
        "bitsandbytes",
        "mistral",
    ] = knob(
        "auto",
        title="Weight format",
        help="How the weight files are read. dummy reads none and makes random weights: memory "
        "and speed are true, the answers are noise.",
        zh=(
            "权重格式",
            "权重文件的读取方式。dummy 不读文件、用随机权重：显存和速度是真的，回答是乱码。",
        ),
        group="quant",
    )
