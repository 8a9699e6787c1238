"""Qwen-Image-Edit by diffusers alone, as its documentation uses it; told what to do on stdin.

    python bare_image.py SHAPE_FOLDER PICTURE

Runs in the diffusers environment. Weights are random ones of the true shape, made on the card. Each
line of stdin is `STEPS CFG`, each answer on stdout is a line of JSON with the whole seconds of that
edit at 1024 x 1024 and the peak of the card. Knows nothing of the studio: it is what the studio is
compared with.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from PIL import Image
from transformers import (
    AutoProcessor,
    AutoTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

PROMPT = "Replace the sky with a calm evening sky and keep everything else as it is."


def built(folder: Path) -> QwenImageEditPlusPipeline:
    """Return the pipeline on the card with random bfloat16 weights."""
    text = Qwen2_5_VLConfig.from_pretrained(folder / "text_encoder")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        config = QwenImageTransformer2DModel.load_config(folder / "transformer")
        transformer = QwenImageTransformer2DModel.from_config(config)
        vae = AutoencoderKLQwenImage.from_config(AutoencoderKLQwenImage.load_config(folder / "vae"))
        encoder = Qwen2_5_VLForConditionalGeneration(text)
    torch.set_default_dtype(torch.float32)
    for module in (transformer, vae, encoder):
        module.to("cuda", torch.bfloat16).eval().requires_grad_(False)
    return QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"),
        vae=vae,
        text_encoder=encoder,
        tokenizer=AutoTokenizer.from_pretrained(folder / "tokenizer"),
        processor=AutoProcessor.from_pretrained(folder / "processor"),
        transformer=transformer,
    )


def main() -> None:
    """Build, then edit once for each line."""
    begun = time.monotonic()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pipe = built(Path(sys.argv[1]))
    pipe.set_progress_bar_config(disable=True)
    picture = Image.open(sys.argv[2]).convert("RGB")
    print(json.dumps({"built_s": time.monotonic() - begun}), file=answers)
    for line in sys.stdin:
        steps, cfg = line.split()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        started = time.monotonic()
        pipe(
            image=[picture],
            prompt=PROMPT,
            negative_prompt=" ",
            true_cfg_scale=float(cfg),
            num_inference_steps=int(steps),
            width=1024,
            height=1024,
            generator=torch.Generator("cuda").manual_seed(7),
        )
        torch.cuda.synchronize()
        row = {
            "total_s": time.monotonic() - started,
            "peak_gib": torch.cuda.max_memory_allocated() / 2**30,
        }
        print(json.dumps(row), file=answers)


if __name__ == "__main__":
    main()
