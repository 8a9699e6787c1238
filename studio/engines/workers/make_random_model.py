"""Write a model folder of a given config.json with random weights and a tokenizer to go with it.

    python make_random_model.py --config shape.json --tokenizer FOLDER --out FOLDER [--no-weights]

The numbers are transformers' own initialisation in bfloat16, drawn on the first card when there is
one. What it says is noise; memory and speed are those of the true model. The tokenizer is a small
one, borrowed, with a word made up for every id it lacks: such a model answers with any id, and one
without a text would be silent in the server's stream.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

BORROWED = ("tokenizer_config.json", "chat_template.jinja", "generation_config.json")
LETTERS = "HJQVWXYZ"
"""Letters of the words made up: the borrowed tokenizer merges no two of them."""
SPACE = "Ġ"
"""A space as byte-level BPE writes it."""
NOTE = (
    "# Random weights\n\nMade by Ladder Studio to try a machine: the shape is the published one, "
    "the weights are random numbers, the tokenizer is that of the studio's tiny model with made-up "
    "words for all other ids.\n"
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
    for key in ("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version"):
        if key in told:
            config[key] = told[key]
    (asked.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    told = json.loads((asked.tokenizer / "tokenizer_config.json").read_text())
    told["model_max_length"] = config["max_position_embeddings"]  # the tiny model's is 2,048
    (asked.out / "tokenizer_config.json").write_text(json.dumps(told, indent=2) + "\n")
    grown = json.loads((asked.tokenizer / "tokenizer.json").read_text())
    grow(grown, config["vocab_size"])
    (asked.out / "tokenizer.json").write_text(json.dumps(grown, ensure_ascii=False) + "\n")
    if asked.no_weights:
        print(f"configuration and tokenizer are in {asked.out}; no weights were asked for")
        return
    draw(asked.out, asked.seed)


def grow(tokenizer: dict[str, Any], vocab_size: int) -> None:
    """Give every id below `vocab_size` that a byte-level BPE `tokenizer.json` lacks a word.

    The words are a space and letters, each an earlier word and one letter more, merged last: all
    other text is encoded as before, and a word as its id alone. Added tokens instead take nine
    seconds to load. Those there are enter the vocabulary, or transformers would number them anew.
    """
    vocab, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    vocab |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    taken = set(vocab.values())
    free = iter([number for number in range(vocab_size) if number not in taken])
    words, number = [SPACE], next(free, None)
    for word in words:  # it grows on the way
        for letter in LETTERS:
            if number is None:
                return
            longer = word + letter
            if longer not in vocab:
                vocab[longer] = number
                merges.append([word, letter])
                number = next(free, None)
            words.append(longer)


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
