"""The files that launchers read: DeepSpeed's JSON and Accelerate's YAML. Pure text.

DeepSpeed's values are those of LLaMA-Factory's examples (`ds_z1` to `ds_z3_offload`), with
communication overlapped; `auto` is filled in by the trainer.
"""

from __future__ import annotations

import json
from typing import Any

from studio.engines.engine import to_yaml

DEEPSPEED_JSON = "ds.json"
ACCELERATE_YAML = "accelerate.yaml"
MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16", "pure_bf16": "bf16"}
"""What Accelerate calls a precision."""

BY_WIDTH = (
    "reduce_bucket_size",
    "stage3_prefetch_bucket_size",
    "stage3_param_persistence_threshold",
)
"""Sizes of ZeRO-3 that `auto` takes from the model's config."""


def deepspeed(
    strategy: str,
    offload: str,
    nvme_path: str,
    *,
    precision: str | None = None,
    accumulation: int | None = None,
    on_cpu: bool,
) -> str:
    """Return a DeepSpeed config for `zero1` to `zero3` as JSON.

    `offload` is none, optimizer or all; `nvme_path` a folder on a disk, empty for host memory.
    `precision` and `accumulation` are None where a trainer fills them in. Memory is pinned for
    cards only.
    """
    zero: dict[str, Any] = {
        "stage": int(strategy.removeprefix("zero")),
        "overlap_comm": True,
        "contiguous_gradients": True,
    }
    if strategy == "zero3":
        zero |= {
            "sub_group_size": 1_000_000_000,
            "stage3_max_live_parameters": 1_000_000_000,
            "stage3_max_reuse_distance": 1_000_000_000,
            "stage3_gather_16bit_weights_on_model_save": True,
        }
        if precision is None:  # a trainer knows the model's width; a script takes the defaults
            zero |= dict.fromkeys(BY_WIDTH, "auto")
    else:
        zero |= {
            "allgather_partitions": True,
            "allgather_bucket_size": 500_000_000,
            "reduce_scatter": True,
            "reduce_bucket_size": 500_000_000,
            "round_robin_gradients": True,
        }
    waits: dict[str, Any] = {"device": "cpu", "pin_memory": not on_cpu}
    if nvme_path:
        waits |= {"device": "nvme", "nvme_path": nvme_path}
    if offload != "none":
        zero["offload_optimizer"] = waits
    if offload == "all":
        zero["offload_param"] = waits
    config = {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": accumulation or "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "auto" if precision is None else precision == "bf16"},
        "fp16": {
            "enabled": "auto" if precision is None else precision == "fp16",
            "loss_scale": 0,
            "loss_scale_window": 1000,
            "initial_scale_power": 16,
            "hysteresis": 2,
            "min_loss_scale": 1,
        },
        "zero_optimization": zero,
    }
    return json.dumps(config, indent=2) + "\n"


def accelerate(
    *,
    num_processes: int,
    strategy: str,
    deepspeed_config: str,
    offload: bool,
    precision: str,
    on_cpu: bool,
) -> str:
    """Return a config for `accelerate launch --config_file` as YAML.

    Two processes on a CPU are said to be MULTI_GPU with `use_cpu`: what Accelerate calls
    MULTI_CPU needs mpirun and starts one process without it. With a DeepSpeed config file
    Accelerate takes the precision from that file, not from here.
    """
    top: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "num_machines": 1,
        "num_processes": num_processes,
        "machine_rank": 0,
        "main_process_port": 0,
        "same_network": True,
        "gpu_ids": "all",
        "use_cpu": on_cpu,
    }
    nested: dict[str, dict[str, Any]] = {}
    if deepspeed_config:
        top["distributed_type"] = "DEEPSPEED"
        zero3 = strategy == "zero3"
        settings = {"deepspeed_config_file": deepspeed_config, "zero3_init_flag": zero3}
        nested["deepspeed_config"] = settings
    elif strategy == "fsdp2":
        top |= {"distributed_type": "FSDP", "mixed_precision": MIXED[precision]}
        nested["fsdp_config"] = {
            "fsdp_version": 2,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_offload_params": offload,
            "fsdp_reshard_after_forward": True,
            "fsdp_state_dict_type": "FULL_STATE_DICT",
        }
    else:
        top["distributed_type"] = "MULTI_GPU" if num_processes > 1 else "NO"
        top["mixed_precision"] = MIXED[precision]
    text = to_yaml(top)
    for name, values in nested.items():
        inner = to_yaml(values).splitlines()
        text += f"{name}:\n" + "".join(f"  {line}\n" for line in inner)
    return text
