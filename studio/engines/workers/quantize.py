"""Quantize a language model with llm-compressor, and save what vLLM serves.

Runs inside an environment that has llmcompressor; the studio writes the settings:

    python quantize.py quantize.json

The model comes out in `output`, with its tokenizer. Every step is a line of JSON in
`artifacts/progress.jsonl` of the working directory. Calibration texts are rendered with the
model's own chat template, so that the activations are those of a conversation.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import torch
from calibration_texts import read_rows, render
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from transformers import AutoModelForCausalLM, AutoTokenizer

PROGRESS = Path("artifacts/progress.jsonl")
DATA_FREE = {"fp8-dynamic"}
"""Schemes whose scales come from the weights alone."""


def main() -> None:
    """Load, quantize and save, as the settings named on the command line say."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.monotonic()
    source = settings["model_name_or_path"]
    tell(0, "load")
    trust = settings["trust_remote_code"]
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", trust_remote_code=trust)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust)
    before = model_bytes(model)
    given: dict[str, Any] = {}
    if settings["scheme"] not in DATA_FREE:
        tell(10, "calibrate")
        given = calibration(settings, tokenizer)
        print(f"{len(given['dataset'])} calibration texts", flush=True)
    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = _leave  # AWQ pins for a card, and fails without one
    tell(15, "quantize")
    oneshot(model=model, tokenizer=tokenizer, recipe=recipe(settings), **given)
    tell(90, "save")
    output = Path(settings["output"])
    model.save_pretrained(output, save_compressed=True)
    tokenizer.save_pretrained(output)
    after = sum(path.stat().st_size for path in output.glob("*.safetensors"))
    summary = {
        "bytes_before": before,
        "bytes_after": after,
        "num_calibration_samples": len(given.get("dataset", ())),
        "seconds": round(time.monotonic() - started, 1),
    }
    (output.parent / "quantized.json").write_text(json.dumps(summary), encoding="utf-8")
    tell(100, "done")
    print(f"{before / 2**20:.1f} MiB became {after / 2**20:.1f} MiB", flush=True)


def recipe(settings: dict[str, Any]) -> list[Any]:
    """Return llm-compressor's modifiers for a scheme."""
    scheme = settings["scheme"]
    where: dict[str, Any] = {"targets": ["Linear"], "ignore": settings["ignore"]}
    if scheme == "fp8-dynamic":
        return [QuantizationModifier(scheme="FP8_DYNAMIC", **where)]
    if scheme == "int8-w8a8":
        smooth = SmoothQuantModifier(smoothing_strength=settings["smoothing_strength"])
        return [smooth, GPTQModifier(scheme="W8A8", **where)]
    symmetric = scheme == "gptq-w4a16"
    weights = {
        "num_bits": 4,
        "type": "int",
        "symmetric": symmetric,
        "strategy": "group",
        "group_size": settings["group_size"],
    }
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    if symmetric:
        damp = settings["dampening_frac"]
        return [GPTQModifier(config_groups=groups, ignore=where["ignore"], dampening_frac=damp)]
    return [AWQModifier(), QuantizationModifier(config_groups=groups, ignore=where["ignore"])]


def calibration(settings: dict[str, Any], tokenizer: Any) -> dict[str, Any]:
    """Return what `oneshot` wants to know about the calibration data."""
    rows, columns, tags = read_rows(settings["dataset"], settings["dataset_dir"])
    random.Random(settings["seed"]).shuffle(rows)
    most, samples = settings["max_seq_length"], []
    for row in rows:
        text = render(row, columns, tags, tokenizer)
        if text:
            ids = tokenizer(text, truncation=True, max_length=most, add_special_tokens=False)
            samples.append({"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"]})
        if len(samples) == settings["num_calibration_samples"]:
            break
    if not samples:
        sys.exit("The calibration data has no row with text that can be read.")
    return {
        "dataset": Dataset.from_list(samples),
        "max_seq_length": most,
        "num_calibration_samples": len(samples),
        "shuffle_calibration_samples": False,
    }


def _leave(cache: IntermediatesCache, batch_index: int, input_names: Any = None) -> None:
    """Leave a batch where it is."""


def model_bytes(model: torch.nn.Module) -> int:
    """Return what the parameters take, tied ones counted once."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def tell(done: float, step: str) -> None:
    """Say how far it is, in percent, and which step begins."""
    PROGRESS.parent.mkdir(exist_ok=True)
    with PROGRESS.open("a", encoding="utf-8") as file:
        row = {"at": time.time(), "done": done, "total": 100, "step": step}
        file.write(json.dumps(row) + "\n")
    print(f"== {step}", flush=True)


if __name__ == "__main__":
    main()
