"""Frozen models that travel between the parts: commands, placements, run specs, endpoints."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """A value that nobody changes after it was made; unknown keys are ignored when read back."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class State(StrEnum):
    """What a run is doing, worked out from its files and processes at every look."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    READY = "ready"
    STOPPING = "stopping"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def alive(self) -> bool:
        """True while a supervisor is expected to be at work."""
        return self in _ALIVE


_ALIVE = {State.QUEUED, State.STARTING, State.RUNNING, State.READY, State.STOPPING}


class Interpreter(Frozen):
    """The Python of one engine's environment."""

    name: str
    python: str
    """Absolute path of the interpreter."""
    scripts: bool = True
    """True when console scripts lie beside the interpreter; an overlay on PYTHONPATH has none."""
    pythonpath: tuple[str, ...] = ()

    def program(self, script: str, module: str) -> tuple[str, ...]:
        """Return the argv head that starts a tool: its console script, or `python -m module`."""
        if self.scripts:
            return (str(Path(self.python).parent / script),)
        return (self.python, "-m", module)


class Placement(Frozen):
    """Where a command will run, given to `Engine.command` so that it can stay pure."""

    interpreter: Interpreter
    host: str = "127.0.0.1"
    port: int | None = None
    """Reserved port, for engines that serve."""
    root: str = "."
    """Absolute folder that a recipe's relative paths start from."""
    has_gpu: bool = False
    """True when the machine has cards the engine can use."""
    num_gpus: int = 0
    """Cards the run will be given: the person's count, else the engine's own; 0 on a CPU."""
    data_dir: str = ""
    """Absolute folder of the studio's own data sets, with their dataset_info.json."""
    cache_dir: str = ""
    """Absolute folder for what engines compile once, such as DeepSpeed's operators."""
    bench_dir: str = ""
    """Absolute folder that holds the results of load tests, a folder for each."""
    flags: frozenset[str] | None = None
    """Every `--flag` the engine of that environment knows; None while nobody has asked it."""
    version: str = ""
    """Version of the engine there; empty when nobody knows."""


class Command(Frozen):
    """What will be executed, byte for byte."""

    argv: tuple[str, ...]
    env: dict[str, str] = Field(default_factory=dict)
    """Variables set on top of the studio's own environment."""
    files: dict[str, str] = Field(default_factory=dict)
    """Text files written into the run folder (the working directory) before the start."""


class Resources(Frozen):
    """Cards a run needs; none for a CPU run."""

    num_gpus: int = Field(default=0, ge=0)
    gpu_ids: tuple[int, ...] | None = None
    """Physical indices when pinned; None takes any idle cards."""


class Probe(Frozen):
    """How to see that a server is ready: an HTTP path that answers 200, or a line in the log."""

    path: str | None = None
    log_line: str | None = None
    timeout_s: float = 1800.0


class Scrape(Frozen):
    """Where a server tells Prometheus its figures, and which of them are kept for the curves."""

    path: str = "/metrics"
    prefixes: tuple[str, ...] = ()
    """Names of metric families that are kept, by their beginning; all others are dropped."""
    port_shift: int = 0
    """Added to the server's port, for a server that tells its figures on a port of their own."""


class StopStep(Frozen):
    """One rung of the stop ladder."""

    signal: Literal["SIGINT", "SIGTERM", "SIGABRT", "SIGKILL"]
    to: Literal["root", "group", "ranks", "tree"] = "group"
    """root: the engine's first process; ranks: torch's worker processes, else root; tree: all."""
    grace_s: float = 10.0
    label: str = ""


class Pictures(Frozen):
    """How a vision-language model cuts a picture into tokens; sides in pixels."""

    patch: int = 14
    merge: int = 2
    """Patches per side that become one token."""
    min_pixels: int = 3136
    max_pixels: int = 12845056
    most: int | None = None
    """Pictures allowed in one request; None: the server's own limit."""


class EndpointSpec(Frozen):
    """What a serving run offers once it is ready."""

    kind: Literal["chat", "images"]
    models: tuple[str, ...]
    path: str = "/v1"
    pictures: Pictures | None = None
    """How it sees; None for a model that reads text alone, or that cuts pictures its own way."""
    text_only: bool = False
    """True when its config.json says that it has no eyes; False when nobody knows."""
    hot_lora: bool = False
    """True when adapters can be loaded and unloaded while it runs."""
    routes: bool = False
    """True for a router: it offers what the other endpoints of its group offer."""


class Serving(Frozen):
    """What a serving engine is about to load, in one vocabulary, so that it can be planned."""

    model: str
    """Model folder or hub id, as the recipe says it."""
    backend: Literal["vllm", "sglang", "hf"] = "vllm"
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    dtype: str = "auto"
    quantization: str | None = None
    """awq, gptq, fp8, bitsandbytes, ...; None takes what the config.json says."""
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    gpu_memory_utilization: float = 0.9
    """Share of each card that the engine takes."""
    kv_cache_memory_bytes: int | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    enforce_eager: bool = False
    max_loras: int = 0
    max_lora_rank: int = 16
    draft_model: str | None = None
    """Model that speculative decoding loads beside the main one."""
    dummy_weights: bool = False
    """True when random weights of the true shape are used and no weight file is read."""


class Training(Frozen):
    """What a training is about to load and keep, in one vocabulary, so that it can be planned."""

    model: str
    """Model folder or hub id, as the recipe says it."""
    stage: str = "sft"
    """pt, sft, rm, dpo, kto, ... in LLaMA-Factory's words."""
    finetuning_type: Literal["full", "freeze", "lora"] = "lora"
    lora_rank: int = 8
    lora_target: str = "all"
    """`all`, or names of linear layers separated by commas."""
    use_dora: bool = False
    additional_target: str = ""
    """With `lora`: names of modules that are trained whole beside it, separated by commas."""
    freeze_trainable_layers: int = 2
    """With `freeze`: how many of the last layers are trained; below 0 the first ones."""
    quantization_bit: int | None = None
    """4 or 8 when the frozen weights are quantized while they load (QLoRA)."""
    double_quantization: bool = True
    """With 4 bits: the scales are quantized once more."""
    precision: Literal["fp32", "bf16", "fp16", "pure_bf16"] = "bf16"
    """bf16 and fp16 are mixed: float32 master weights and states of what is trained."""
    optimizer: str = "adamw_torch"
    num_processes: int = 1
    """One per card."""
    strategy: Literal["ddp", "fsdp2", "zero1", "zero2", "zero3"] = "ddp"
    offload: Literal["none", "optimizer", "all"] = "none"
    """What waits in host memory: nothing, the optimizer's states, or these and the parameters."""
    offload_nvme: bool = False
    """True when what is offloaded goes to a disk instead of host memory."""
    own_config: bool = False
    """True when a DeepSpeed config of the person's own says what is dealt out and offloaded."""
    reduce_bucket_size: int | None = None
    """Numbers in DeepSpeed's buffer for gradients under way; None takes the studio's own."""
    overlap_comm: bool = True
    """With ZeRO-1 and ZeRO-2: there are two such buffers, one sent while the other is filled."""
    per_device_train_batch_size: int = 1
    gradient_accumulation_steps: int = 1
    cutoff_len: int = 2048
    gradient_checkpointing: bool = True
    flash_attn: bool = True
    """True when attention keeps no score matrix (sdpa, FlashAttention)."""
    liger_kernel: bool = False
    """True when the loss is computed in pieces, so that the logits are never whole."""
    packing: bool = False
    needs_reference: bool = False
    """True when a second, frozen copy of the model is held (DPO and KTO of full parameters)."""
    freeze_vision_tower: bool = True
    freeze_multi_modal_projector: bool = True
    image_max_pixels: int = 589824
    num_train_epochs: float = 3.0
    max_steps: int = -1
    num_samples: int | None = None
    """Samples of the training set, where they are counted."""
    save_steps: int | None = None
    """Steps between checkpoints; None saves the result alone."""
    save_total_limit: int | None = None
    save_only_model: bool = False
    """True when checkpoints carry no optimizer states."""
    on_cpu: bool = False


class Imaging(Frozen):
    """What an image editor is about to load and do, so that it can be planned."""

    model: str
    """Model folder or hub id, as the recipe says it."""
    gguf: str = ""
    """File the transformer comes from instead; empty without one."""
    dummy_weights: bool = False
    """True when random weights of the true shape are used and no weight file is read."""
    rung: str = "auto"
    """A name of the ladder, or `auto` for the best that fits."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    allow_quantized: bool = True
    max_card_memory_gib: float | None = None
    max_host_memory_gib: float | None = None
    vae_tiling: Literal["auto", "always", "never"] = "auto"
    width: int = 1024
    height: int = 1024
    references: int = 1
    """Pictures given with a request, each resized to `reference_pixels`."""
    reference_pixels: int = 1024 * 1024
    condition_pixels: int = 384 * 384
    num_inference_steps: int = 40
    cfg: bool = True
    """True when every step computes twice, with the prompt and with the negative one."""
    cfg_mode: Literal["auto", "sequential", "batched"] = "auto"
    fp8_compute: bool | None = None
    """None: where the card can."""
    compile: bool = False


class RunSpec(Frozen):
    """A launch with frozen settings: everything the shim and every later reader need."""

    id: str
    name: str
    engine: str
    title: str = ""
    recipe: str | None = None
    config: dict = Field(default_factory=dict)
    command: Command
    resources: Resources = Resources()
    serves: bool = False
    """A server never ends well by itself: only a stop makes it end without failure."""
    probe: Probe | None = None
    scrape: Scrape | None = None
    stop: tuple[StopStep, ...] = ()
    endpoint: EndpointSpec | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    after: tuple[str, ...] = ()
    """Ids of runs that must be DONE first, such as the build of the environment."""
    env_name: str = ""
    """Environment the engine lives in."""
    bin_dir: str = ""
    """Folder put first on PATH, so that an engine finds its own tools."""
    created_at: float
    studio_version: str = ""
    relaunch_of: str | None = None
    group: str = ""
    """Name shared by runs that belong together, such as replicas and their router."""
    ranks: int = 0
    """Training processes that should come up; 0 for a run that is no training."""


class Endpoint(Frozen):
    """Something that answers: a READY run, or an external OpenAI-compatible URL."""

    id: str
    """Run id, or `url-…` for an external one."""
    name: str
    kind: Literal["chat", "images"] = "chat"
    base_url: str
    models: tuple[str, ...] = ()
    api_key: str = Field("", repr=False)
    run_id: str | None = None
    pictures: Pictures | None = None
    """How it sees; None when it reads text alone, or when nobody knows (an external URL)."""
    text_only: bool = False
    """True when it is known to read text alone."""
    hot_lora: bool = False
    group: str = ""
    """Group of its run: replicas and the router in front of them share one."""
    routes: bool = False
    """True when it is the router of its group."""
