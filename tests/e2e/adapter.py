"""A small LoRA adapter with fixed random weights, written by hand: no torch, no peft needed."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np


def write_adapter(folder: Path, base: Path, *, seed: int, rank: int = 8) -> Path:
    """Write a PEFT adapter for the query projections of a Qwen2-style model and return its folder.

    Strong enough to change what the model says; the same seed gives the same bytes.
    """
    shape = json.loads((base / "config.json").read_text())
    hidden, heads = shape["hidden_size"], shape["num_attention_heads"]
    width = shape.get("head_dim", hidden // heads) * heads
    noise = np.random.default_rng(seed)
    tensors = {}
    for layer in range(shape["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        tensors[f"{name}.lora_A.weight"] = noise.normal(0, 1, (rank, hidden))
        tensors[f"{name}.lora_B.weight"] = noise.normal(0, 1, (width, rank))
    folder.mkdir(parents=True)
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "bias": "none",
        "inference_mode": True,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(safetensors(tensors))
    return folder


def safetensors(tensors: dict[str, np.ndarray]) -> bytes:
    """Pack float32 tensors: length of the header, the header as JSON, then the numbers."""
    header, data = {}, b""
    for name, tensor in tensors.items():
        numbers = tensor.astype("<f4").tobytes()
        offsets = [len(data), len(data) + len(numbers)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += numbers
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + data
