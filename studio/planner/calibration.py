"""Every figure of the planner that is not exact: what engines take beside weights and cache.

Each constant names its source and date. To recalibrate, measure with `measured.compare` on the
machine in question and change the numbers here; nothing else holds one.
"""

from __future__ import annotations

from studio.planner.weights import MIB

GIB = 2**30

# --- cards ---------------------------------------------------------------------------------------

DRIVER_BYTES = {"H200": 606 * MIB, "RTX 4090": 357 * MIB}
"""What the driver keeps: memory that the vendor's tool counts and CUDA does not offer.

H200: 143,771 MiB against 139.81 GiB in CUDA; RTX 4090: 24,564 MiB against 23.64 GiB (2026-11)."""
DRIVER_BYTES_OTHERS = 512 * MIB
"""The same for a card nobody has measured here. Public reports of H100, L40S and RTX 5090 lie
between 0.46 and 0.57 GiB."""
CONTEXT_BYTES = 550 * MIB
"""CUDA context and loaded kernels of one process, outside of vLLM's budget.

With `SLACK` it gives the 130,855 MiB seen on an H200 at 0.9 (vLLM 0.26, 2026-11)."""
SLACK = 0.011
"""Share of the budget that the caching allocator holds on top of it once requests have run.

Same measurement as `CONTEXT_BYTES`; there is one point, so the two are not told apart by it."""
NCCL_BYTES = 1500 * MIB
"""NCCL's and the custom all-reduce's buffers per card with TP or PP above 1, outside the budget.

What two cards took beyond one in four servers with TP=2 (7B and 14B, with and without CUDA
graphs, vLLM 0.26 on H200, 2026-11): 1,436 to 1,882 MiB with the error of everything else in it."""

# --- vLLM on cards -------------------------------------------------------------------------------

RUNTIME_BYTES = 110 * MIB
"""What the profile run leaves inside the budget: cuBLAS workspaces, kernels, input buffers.

What remains of the KV cache of 2,063,088 tokens (7B, TP=1) and 4,410,656 (TP=2) at 0.9 on an H200
after weights, `activations.peak` and `GRAPH_BYTES_PER_LAYER` (vLLM 0.26, 2026-11)."""
GRAPH_BYTES_PER_LAYER = 96 * 1024
"""CUDA graph memory per captured graph and layer. vLLM captures every batch size twice (piecewise
and whole) and since 0.21 takes the estimate out of the budget. Same measurement as above."""
GRAPHS_PER_SIZE = 2
MAX_GRAPH_SIZE = 512
"""Largest batch that is captured (vLLM 0.32, config/vllm.py; Blackwell data centre cards: 1024)."""
LOGIT_BYTES_EXTRA = 4
"""The sampler copies the logits to float32 (vLLM 0.32, v1/worker/gpu/sample/sampler.py)."""
PICTURE_TOKENS = 16384
"""Tokens of the biggest picture of Qwen2-VL (12,845,056 pixels), with which vLLM profiles the
tower (v1/worker/gpu_model_runner.py); a preprocessor_config.json with less wins."""
BLOCK_TOKENS = 16
BLOCK_TOKENS_CPU = 128
"""Tokens of one KV block by default on cards and on a CPU (vLLM 0.32, platforms/)."""
BATCH_DEFAULTS = ((160 * GIB, 16384, 1024), (70 * GIB, 8192, 1024), (0, 2048, 256))
"""Card memory from which a server's max_num_batched_tokens and max_num_seqs default to these
(vLLM 0.32, engine/arg_utils.py get_batch_defaults); an A100 counts as a small card."""
BATCH_DEFAULTS_CPU = (2048, 128)
"""The same on a CPU, times the number of ranks."""
UTILIZATION_CPU = 0.92
"""Share of the host's memory vLLM takes on a CPU when no cache size is given (config/cache.py)."""
HIGHEST_UTILIZATION = 0.95
"""The most that is advised: above it there is no room left for context and slack."""

# --- host ----------------------------------------------------------------------------------------

HOST_SERVER_BYTES = 900 * MIB
HOST_WORKER_BYTES = 390 * MIB
"""Proportional memory of the API server with its engine core, and of each worker, without weights
and cache: 1.43 GB in all with one worker and a cache of 64 MiB, 1.89 GB with two (vLLM 0.32 on a
CPU, 2026-11)."""
HOST_SERVER_CUDA_BYTES = 800 * MIB
HOST_CORE_CUDA_BYTES = 900 * MIB
HOST_WORKER_CUDA_BYTES = 1850 * MIB
"""The same with cards: the API server, an engine core that has workers beside it, each worker.
A single rank is core and worker in one. Peaks seen (vLLM 0.26, H200, 2026-11): 2.1 to 2.9 GB with
one card, 5.1 to 5.7 with TP=2, 7.6 with two data-parallel replicas."""

# --- other engines -------------------------------------------------------------------------------

HF_LENGTH = 4096
"""Length planned for the transformers backend when none is set: it reserves nothing ahead."""
SGLANG_PREFILL = ((160 * GIB, 16384), (60 * GIB, 8192), (35 * GIB, 4096), (0, 2048))
"""Card memory from which SGLang's chunked_prefill_size defaults to these (server_args.py, 0.5)."""

# --- training (LLaMA-Factory 0.9.5, DeepSpeed 0.19.8, torch 2.11) --------------------------------

TRAIN_NCCL_BYTES = 1360 * MIB
"""NCCL's buffers per card with more than one process: what DDP took beyond one card in a LoRA
training, whose gradients are small (27,009 against 25,571 MiB, H200, 2026-11)."""
STRAY_BYTES = 840 * MIB
"""What the first card takes beyond the others when ZeRO-1 or 2 offloads the optimizer with several
processes: 11,732 against 10,892 MiB (1.5B, two H200, 2026-11). One point; why is not known, most
likely contexts that the other processes open there while they pin host memory."""
TRAIN_SLACK = 0.01
"""Share of the allocated memory that lies in pieces too small for anything."""
LOGIT_BYTES = 14
"""Per token and word, with half precision: the logits (2), their float32 copy (4), log-softmax (4)
and its gradient (4), which cannot use the first piece; the gradient of the loss takes the copy's
place (transformers 5.6, loss/loss_utils.py). Seen in four of the seven H200 points."""
LOGIT_BYTES_FP32 = 12
HEAD_BYTES = 10
"""Per number of a trained head or embedding, on one card, where the batch is too small for the
logits to count: what a replay of the allocations (tests/planner/replay.py) leaves above 16 bytes
per parameter, 0.5B to 7B, 2026-11. What is reserved depends on luck as well: four trainings of
1.5B on one H200, all alike, took 27,835, 27,858, 29,018 and 29,064 MiB; the plan is 29,000."""
REWARD_LOGIT_BYTES = 6
"""A reward model makes logits and their float32 copy, and uses neither."""
REDUCE_BUCKET = {1: 500_000_000, 2: 500_000_000, 3: None}
"""Numbers in DeepSpeed's reduce buffer by stage; None: hidden size squared, its `auto`."""
LIVE_PARAMS = 1_000_000_000
SUB_GROUP = 1_000_000_000
"""DeepSpeed's stage3_max_live_parameters and sub_group_size, as in LLaMA-Factory's examples. That
what is gathered lies there twice is what two H200 points ask for (ZeRO-3 with 1.5B, with all
offloaded and with nothing, 2026-11): 10,468 and 21,947 MiB."""
OPTIMIZER_BYTES = {
    "adamw_8bit": 2.0, "adamw_bnb_8bit": 2.0, "paged_adamw_8bit": 2.0, "adafactor": 0.01,
    "sgd": 0.0, "lion_8bit": 1.0, "paged_lion_8bit": 1.0, "lion_32bit": 4.0, "adagrad": 4.0,
    "rmsprop": 4.0,
}  # fmt: skip
"""Bytes of states per trained number for optimizers that are not Adam in float32 (8)."""
HOST_TRAINER_BYTES = 640 * MIB
HOST_LAUNCHER_BYTES = 230 * MIB
"""Memory of a training process on a CPU without the model, and of what starts several (torchrun or
Accelerate): one process took 699 to 818 MB in all with the tiny model, two 1,522 to 1,716
(LLaMA-Factory 0.9.5, 2026-11). DeepSpeed's first start compiles operators, which takes 3 GB more
for a minute and is not counted."""
HOST_TRAINER_CUDA_BYTES = 1750 * MIB
HOST_LAUNCHER_CUDA_BYTES = 600 * MIB
"""The same with cards: 1.6 GiB with one process, 3.9 to 4.3 with two, while they train (H200,
2026-11). The pages of weight files, read while loading, are given back and not counted."""


def optimizer_bytes(name: str) -> float:
    """Return the bytes of optimizer states per trained number."""
    return OPTIMIZER_BYTES.get(name, 8.0)


def driver_bytes(name: str) -> int:
    """Return what the driver of a card of this name keeps for itself."""
    known = (size for part, size in DRIVER_BYTES.items() if part.lower() in name.lower())
    return next(known, DRIVER_BYTES_OTHERS)


def batch_defaults(name: str, total_bytes: int) -> tuple[int, int]:
    """Return max_num_batched_tokens and max_num_seqs of a server that was told neither."""
    size = 0 if "a100" in name.lower() else total_bytes
    return next((tokens, seqs) for least, tokens, seqs in BATCH_DEFAULTS if size >= least)


def captured_sizes(max_num_seqs: int, max_num_batched_tokens: int) -> int:
    """Return how many batch sizes vLLM captures: 1, 2, 4, every 8th to 256, every 16th above."""
    most = min(max_num_seqs * 2, MAX_GRAPH_SIZE, max_num_batched_tokens)
    sizes = {n for n in (1, 2, 4) if n <= most}
    sizes.update(range(8, min(most + 1, 256), 8), range(256, most + 1, 16))
    sizes.update(n for n in (max_num_batched_tokens, max_num_seqs) if n <= most)
    return len(sizes)


COMPUTE = {
    "P100": 6.0, "V100": 7.0, "TITAN V": 7.0, "T4": 7.5, "RTX 20": 7.5, "QUADRO RTX": 7.5,
    "A100": 8.0, "A800": 8.0, "A30": 8.0, "A40": 8.6, "A10": 8.6, "RTX 30": 8.6, "RTX A": 8.6,
    "L40": 8.9, "L20": 8.9, "L4": 8.9, "RTX 40": 8.9, "ADA GENERATION": 8.9,
    "H100": 9.0, "H200": 9.0, "H800": 9.0, "H20": 9.0, "GH200": 9.0, "B200": 10.0, "B300": 10.3,
    "RTX 50": 12.0,
}  # fmt: skip
"""CUDA compute capability by a part of the card's name (NVIDIA's published table)."""
BFLOAT16_FROM, FP8_FROM = 8.0, 8.9
PACKED_FROM = {"awq": 7.5, "gptq": 6.0, "fp8": 7.5, "bitsandbytes": 7.0, "compressed-tensors": 7.5}
"""Capability a packing needs (vLLM 0.32, get_min_capability of each); FP8 runs natively from
`FP8_FROM`, below it only the weights are FP8."""


def compute_capability(name: str) -> float | None:
    """Return a card's capability by its name; None for a card that is not in the table."""
    found = [part for part in COMPUTE if part in name.upper()]
    return COMPUTE[max(found, key=len)] if found else None


def sglang_prefill(total_bytes: int) -> int:
    """Return SGLang's default chunked_prefill_size for a card."""
    return next(tokens for least, tokens in SGLANG_PREFILL if total_bytes >= least)
