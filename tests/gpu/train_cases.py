"""What `train_points.py` measures: shapes of models, and settings in waves, side by side."""

from __future__ import annotations

from typing import Any, NamedTuple

SHAPES: dict[str, dict[str, Any]] = {
    "qwen2.5-1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}


class Case(NamedTuple):
    """One setting to be measured."""

    label: str
    model: str
    cards: int
    steps: int
    settings: dict[str, Any]


FULL = {
    "finetuning_type": "full",
    "learning_rate": 1e-5,
    "per_device_train_batch_size": 2,
    "lr_scheduler_type": "constant",
}
LORA = {
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "per_device_train_batch_size": 4,
    "lr_scheduler_type": "constant",
}
SMALL, LARGE = "qwen2.5-1.5b", "qwen2.5-7b"
WAVES: dict[str, list[Case]] = {
    "one": [
        Case("7B LoRA, one card", LARGE, 1, 60, LORA),
        Case("1.5B full, one card", SMALL, 1, 120, FULL),
    ],
    "one-small": [Case("1.5B full, one card", SMALL, 1, 120, FULL)],
    "lora-ddp": [Case("7B LoRA, DDP x2", LARGE, 2, 60, LORA)],
    "ddp": [Case("1.5B full, DDP x2", SMALL, 2, 120, FULL)],
    "zero1": [Case("1.5B full, ZeRO-1 x2", SMALL, 2, 120, {**FULL, "strategy": "zero1"})],
    "zero2": [Case("1.5B full, ZeRO-2 x2", SMALL, 2, 120, {**FULL, "strategy": "zero2"})],
    "zero3": [Case("1.5B full, ZeRO-3 x2", SMALL, 2, 60, {**FULL, "strategy": "zero3"})],
    "zero2-offload": [
        Case(
            "1.5B full, ZeRO-2 + optimizer offload x2",
            SMALL,
            2,
            20,
            {**FULL, "strategy": "zero2", "offload": "optimizer"},
        )
    ],
    "zero3-offload": [
        Case(
            "1.5B full, ZeRO-3 + all offloaded x2",
            SMALL,
            2,
            30,
            {**FULL, "strategy": "zero3", "offload": "all"},
        )
    ],
    "lora-zero2": [Case("7B LoRA, ZeRO-2 x2", LARGE, 2, 60, {**LORA, "strategy": "zero2"})],
    "lora-zero3": [Case("7B LoRA, ZeRO-3 x2", LARGE, 2, 40, {**LORA, "strategy": "zero3"})],
    "fsdp2": [
        Case(
            "1.5B full, FSDP2 x2",
            SMALL,
            2,
            60,
            {**FULL, "strategy": "fsdp2", "launcher": "accelerate"},
        )
    ],
    "qlora": [
        Case("7B QLoRA NF4, one card", LARGE, 1, 40, {**LORA, "quantization_bit": 4}),
        Case(
            "1.5B full, batch 8, one card",
            SMALL,
            1,
            60,
            {**FULL, "per_device_train_batch_size": 8},
        ),
    ],
    "launchers": [
        Case(
            "1.5B full, ZeRO-2 x2, deepspeed launcher",
            SMALL,
            2,
            60,
            {**FULL, "strategy": "zero2", "launcher": "deepspeed"},
        )
    ],
    "accelerate": [
        Case(
            "1.5B full, DDP x2, accelerate launch",
            SMALL,
            2,
            60,
            {**FULL, "launcher": "accelerate"},
        )
    ],
}
