"""Tell what diffusers and transformers make of the shipped image editors.

Runs in the diffusers environment: `python image_shapes.py TINY SKELETON told.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLQwenImage, DiffusionPipeline, QwenImageTransformer2DModel
from transformers import AutoProcessor, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

TEXTS = ("把照片变成水彩画，颜色 #ff8800 😀", "Make it naïve,\n  twice\t", "日本語とعربي")


def main() -> None:
    """Write what was found as JSON."""
    tiny, skeleton, told = map(Path, sys.argv[1:])
    told.write_text(json.dumps({"tiny": plain(tiny), "true": counts(skeleton)}))


def plain(folder: Path) -> dict[str, Any]:
    """Load a folder the way anybody would, and encode texts with it."""
    pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    tokenizer = pipe.tokenizer
    opening = pipe.prompt_template_encode.partition("{}")[0]
    return {
        "pipeline": type(pipe).__name__,
        "processor": type(pipe.processor).__name__,
        "opening": [len(tokenizer(opening).input_ids), pipe.prompt_template_encode_start_idx],
        "texts": [[text, tokenizer.decode(tokenizer(text).input_ids)] for text in TEXTS],
        "template": tokenizer.apply_chat_template(
            [{"role": "user", "content": "你好"}], tokenize=False, add_generation_prompt=True
        ),
        "specials": tokenizer.convert_ids_to_tokens(range(len(tokenizer) - 14, len(tokenizer))),
        "zero_cond_t": pipe.transformer.config.zero_cond_t,
        "factor": pipe.vae_scale_factor,
        "finite": all(bool(p.isfinite().all()) for p in pipe.transformer.parameters()),
    }


def counts(folder: Path) -> dict[str, Any]:
    """Build the models of the true shape without memory and count their parameters."""
    with init_empty_weights(include_buffers=False):
        transformer = QwenImageTransformer2DModel.from_config(
            QwenImageTransformer2DModel.load_config(folder / "transformer")
        )
        vae = AutoencoderKLQwenImage.from_config(AutoencoderKLQwenImage.load_config(folder / "vae"))
        text = Qwen2_5_VLForConditionalGeneration(
            Qwen2_5_VLConfig.from_pretrained(folder / "text_encoder")
        )
    processor = AutoProcessor.from_pretrained(folder / "processor")
    ids = processor.tokenizer.convert_tokens_to_ids
    return {
        "transformer": parameters(transformer),
        "blocks": len(transformer.transformer_blocks),
        "block": parameters(transformer.transformer_blocks[0]),
        "text_encoder": parameters(text),
        "vision": parameters(text.model.visual),
        "vae": parameters(vae),
        "image_token": [ids("<|image_pad|>"), text.config.image_token_id],
    }


def parameters(model: torch.nn.Module) -> int:
    """Count a model's parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


if __name__ == "__main__":
    main()
