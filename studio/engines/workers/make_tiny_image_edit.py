"""Make the tiny image editor of random weights, and the skeleton of the true shape without any.

Runs inside the diffusers environment, usually as `python app.py run diffusers/make-tiny`. Both
folders have the layout of Qwen/Qwen-Image-Edit-2511, so that `DiffusionPipeline.from_pretrained`
takes the tiny one as it is.

    python make_tiny_image_edit.py --out tiny-qwen-image-edit --shape tiny

Every weight comes from a seed of its own, so the same versions give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import zlib
from pathlib import Path
from typing import Any

import numpy
import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageTransformer2DModel,
)
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

# Qwen2.5's special tokens, in Qwen2.5's order.
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
OPENING = (
    "<|im_start|>system\n"
    "Describe the key features of the input image (color, shape, size, texture, objects, "
    "background), then explain how the user's text instruction should alter or modify the image. "
    "Generate a new image that meets the user's requirements while maintaining consistency with "
    "the original input where appropriate.<|im_end|>\n<|im_start|>user\n"
)
"""What the pipeline puts before every prompt; it drops the first 64 embeddings again."""
OPENING_TOKENS = 64
OTHER_TEXTS = (
    "<|im_end|>\n<|im_start|>assistant\n",
    "Picture 1: Picture 2: Picture 3: ",
    "Make the sky a warm sunset and keep everything else as it is.",
    "Turn the photo into a watercolour painting. Remove the person in the background.",
    "把天空换成温暖的日落，其他地方保持不变。",
    "把照片变成水彩画。去掉背景里的人。给猫戴上一顶红色的帽子。",
)
CHAT_TEMPLATE = """\
{%- set turns = messages %}
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in turns %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['content'] is string %}
        {{- message['content'] }}
    {%- else %}
        {%- for part in message['content'] %}
            {%- if part['type'] in ('image', 'image_url') %}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part['type'] == 'video' %}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- else %}
                {{- part['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""

TRANSFORMER = {
    "tiny": {
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 4,
        "attention_head_dim": 16,
        "num_attention_heads": 4,
        "joint_attention_dim": 64,
        "guidance_embeds": False,
        "axes_dims_rope": (8, 4, 4),
        "zero_cond_t": True,
    },
    "qwen-image-edit-2511": {
        "patch_size": 2,
        "in_channels": 64,
        "out_channels": 16,
        "num_layers": 60,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 3584,
        "guidance_embeds": False,
        "axes_dims_rope": (16, 56, 56),
        "zero_cond_t": True,
    },
}
VAE = {
    # Four levels keep the true factor of 8 between pixels and latents.
    "tiny": {
        "base_dim": 8,
        "z_dim": 4,
        "dim_mult": [1, 1, 1, 1],
        "num_res_blocks": 1,
        "temperal_downsample": [False, True, True],
        "latents_mean": [0.0] * 4,
        "latents_std": [1.0] * 4,
    },
    # The latents' means and deviations are the class's own defaults, those of Wan 2.1's VAE.
    "qwen-image-edit-2511": {"base_dim": 96, "z_dim": 16, "dim_mult": [1, 2, 4, 4]},
}
TEXT = {
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [2, 3, 3],
        },
    },
    "qwen-image-edit-2511": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "max_position_embeddings": 128000,
        "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [16, 24, 24],
        },
    },
}
VISION = {
    "tiny": {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": 64,
        "fullatt_block_indexes": [1],
    },
    "qwen-image-edit-2511": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "window_size": 112,
        "tokens_per_second": 2,
    },
}
SCHEDULER = {
    "base_image_seq_len": 256,
    "base_shift": 0.5,
    "max_image_seq_len": 8192,
    "max_shift": 0.9,
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": 0.02,
    "time_shift_type": "exponential",
    "use_dynamic_shifting": True,
}
PIXELS = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "do_convert_rgb": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
MODEL_INDEX = {
    "_class_name": "QwenImageEditPlusPipeline",
    "_diffusers_version": "0.36.0",
    "processor": ["transformers", "Qwen2VLProcessor"],
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "QwenImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKLQwenImage"],
}


def main() -> None:
    """Write the model folder named on the command line."""
    args = parse_args()
    tokenizer = make_tokenizer()
    save_words(args.out, tokenizer)
    if args.shape == "tiny":
        save_weights(args.out, tokenizer)
    else:
        save_configs(args.out, tokenizer, args.shape)
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {len(tokenizer)} tokens, {size:,} bytes", flush=True)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--shape", choices=sorted(TRANSFORMER), default="tiny")
    return parser.parse_args()


def make_tokenizer() -> Qwen2Tokenizer:
    """Train a byte-level BPE tokenizer with Qwen2.5's rules, so small that it knows one text.

    As many merges are learnt as make the pipeline's own opening OPENING_TOKENS long, as it is with
    the real tokenizer: then the pipeline drops that opening and nothing of the prompt.
    """
    low, high = 256, 2048
    while low < high:
        middle = (low + high) // 2
        if len(train(middle).encode(OPENING).ids) > OPENING_TOKENS:
            low = middle + 1
        else:
            high = middle
    bpe = train(low)
    assert len(bpe.encode(OPENING).ids) == OPENING_TOKENS, "no vocabulary cuts it into 64"
    model = json.loads(bpe.to_str())["model"]
    specials = {token: low + number for number, token in enumerate(SPECIAL_TOKENS)}
    return Qwen2Tokenizer(
        vocab=model["vocab"] | specials,
        merges=[tuple(pair) for pair in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=list(SPECIAL_TOKENS),
        chat_template=CHAT_TEMPLATE,
        model_max_length=8192,
    )


def train(vocab_size: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer of `vocab_size` tokens and Qwen's special ones."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = [OPENING, *OTHER_TEXTS]
    for token in SPECIAL_TOKENS:
        texts = [text.replace(token, "") for text in texts]
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens(list(SPECIAL_TOKENS))
    return bpe


def save_words(folder: Path, tokenizer: Qwen2Tokenizer) -> None:
    """Write model_index.json, the scheduler, the tokenizer and the processor."""
    save_json(folder / "model_index.json", MODEL_INDEX)
    FlowMatchEulerDiscreteScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    for name in ("tokenizer", "processor"):
        tokenizer.save_pretrained(folder / name)
    kinds = {"preprocessor": "Image", "video_preprocessor": "Video"}
    for name, kind in kinds.items():
        told = {"processor_class": "Qwen2VLProcessor", **PIXELS}
        told[f"{kind.lower()}_processor_type"] = f"Qwen2VL{kind}Processor"
        save_json(folder / "processor" / f"{name}_config.json", told)


def save_weights(folder: Path, tokenizer: Qwen2Tokenizer) -> None:
    """Write the three models of the tiny shape, in bfloat16, weights from their own seeds."""
    parts = {
        "transformer": QwenImageTransformer2DModel(**TRANSFORMER["tiny"]),
        "vae": AutoencoderKLQwenImage(**VAE["tiny"]),
        "text_encoder": Qwen2_5_VLForConditionalGeneration(text_config("tiny", tokenizer)),
    }
    for name, model in parts.items():
        fill(name, model)
        model.to(torch.bfloat16).save_pretrained(folder / name)


def fill(part: str, model: torch.nn.Module) -> None:
    """Give every parameter values of its own: norms 1, the others even around 0.

    A matrix keeps the spread of what goes through it (variance 1 / inputs); biases are small.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            seed = zlib.crc32(f"{part}.{name}".encode())
            even = numpy.random.Generator(numpy.random.PCG64(seed)).random(
                parameter.numel(), dtype=numpy.float32
            )
            values = torch.from_numpy(2 * even - 1).reshape(parameter.shape)
            if parameter.ndim > 1 and "gamma" not in name:
                values *= (3 / parameter[0].numel()) ** 0.5
            elif name.endswith("bias"):
                values *= 0.1
            else:
                values = torch.ones_like(parameter)
            parameter.copy_(values)


def save_configs(folder: Path, tokenizer: Qwen2Tokenizer, shape: str) -> None:
    """Write the three models' configurations and nothing else of them."""
    with torch.device("meta"):
        AutoencoderKLQwenImage(**VAE[shape]).save_config(folder / "vae")
        QwenImageTransformer2DModel(**TRANSFORMER[shape]).save_config(folder / "transformer")
    text_config(shape, tokenizer).save_pretrained(folder / "text_encoder")


def text_config(shape: str, tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    """Return the text encoder's configuration with this tokenizer's ids."""
    token = tokenizer.convert_tokens_to_ids
    ids = {"bos_token_id": token("<|endoftext|>"), "eos_token_id": token("<|im_end|>")}
    text: dict[str, Any] = {"vocab_size": -(-len(tokenizer) // 64) * 64, **TEXT[shape], **ids}
    return Qwen2_5_VLConfig(
        architectures=["Qwen2_5_VLForConditionalGeneration"],
        text_config=text,
        vision_config=VISION[shape],
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=False,
        dtype="bfloat16",
        **ids,
    )


def save_json(path: Path, told: dict[str, Any]) -> None:
    """Write a JSON file the way diffusers does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
