"""Write a model folder of a given config.json with random weights and a borrowed tokenizer.

    python make_random_model.py --config shape.json --tokenizer FOLDER --out FOLDER [--no-weights]

The numbers are transformers' own initialisation in bfloat16, drawn on the first card when there is
one. What it says is noise; memory and speed are those of the true model.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path

BORROWED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
NOTE = (
    "# Random weights\n\nMade by Ladder Studio to try a machine: the shape is the published one, "
    "the weights are random numbers, the tokenizer is that of the studio's tiny model.\n"
)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-weights", action="store_true")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "RANDOM_WEIGHTS.md").write_text(NOTE)
    for name in BORROWED:
        shutil.copy(asked.tokenizer / name, asked.out / name)
    told = json.loads((asked.tokenizer / "config.json").read_text())
    config = json.loads(asked.config.read_text())
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if key in told:
            config[key] = told[key]
    (asked.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    told = json.loads((asked.tokenizer / "tokenizer_config.json").read_text())
    told["model_max_length"] = config["max_position_embeddings"]  # the tiny model's is 2,048
    (asked.out / "tokenizer_config.json").write_text(json.dumps(told, indent=2) + "\n")
    if asked.no_weights:
        print(f"configuration and tokenizer are in {asked.out}; no weights were asked for")
        return
    draw(asked.out, asked.seed)


def draw(folder: Path, seed: int) -> None:
    """Draw the weights of a folder's config.json and write them beside it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    began = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    count = sum(weight.numel() for weight in model.parameters())
    print(f"{count:,} parameters drawn on {device} in {time.monotonic() - began:.1f} s", flush=True)
    model.save_pretrained(folder)
    print(f"written to {folder} in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
