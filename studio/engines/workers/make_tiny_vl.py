"""Prepare the tiny vision-language model: tokenizer, processor and configuration, without weights.

Runs inside an environment that has transformers (LLaMA-Factory's, for one). The weights come from
real training afterwards: `python app.py run recipes/llamafactory/make-tiny-vl.yaml`, which draws
its own pictures (`draw_shapes.py`).

    python make_tiny_vl.py --model tiny-qwen2-vl --samples pictures

The same input gives the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from make_tiny_chat import make_tokenizer, speak_to_older_versions
from shape_pictures import COLOURS, SHAPES, Drawing, draw
from shape_talk import conversations
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2VLConfig

SIDE = 112
"""Every picture is scaled to about SIDE x SIDE pixels: 8 x 8 patches, 16 tokens."""

DEFAULT_SYSTEM = "You are a helpful assistant."

# Renders what LLaMA-Factory's `template: qwen2_vl` renders, default system message included.
CHAT_TEMPLATE = """\
{%- set system = 'DEFAULT_SYSTEM' %}
{%- set turns = messages %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] or system %}
    {%- if system is not string %}
        {%- set system = system | map(attribute='text') | join %}
    {%- endif %}
    {%- set turns = messages[1:] %}
{%- endif %}
{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}
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
""".replace("DEFAULT_SYSTEM", DEFAULT_SYSTEM)

SAMPLES = (
    *("red circle", "blue square", "green triangle", "yellow star", "purple heart"),
    "black cross",
)


def main() -> None:
    """Write the model folder and the sample pictures named on the command line."""
    args = parse_args()
    tokenizer = make_tokenizer(texts(args.seed), vocab_size=args.vocab_size)
    tokenizer.chat_template = CHAT_TEMPLATE
    save_model_folder(args.model, tokenizer)
    if args.samples:
        save_samples(args.samples, args.seed)
    print(f"{len(tokenizer)} tokens, {len(SHAPES)} shapes in {len(COLOURS)} colours")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    parser.add_argument("--samples", type=Path, help="folder for a few pictures to show")
    parser.add_argument("--vocab-size", type=int, default=768)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def texts(seed: int) -> list[str]:
    """Return what is said in a thousand conversations, to learn the vocabulary from."""
    rng = random.Random(seed)
    talks = conversations([draw(rng) for _ in range(1000)], rng)
    said = [turn["content"] for talk in talks for turn in talk["messages"]]
    return [text.replace("<image>", "") for text in said]


def save_model_folder(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write config.json, generation_config.json, the processor's and the tokenizer's files."""
    token = tokenizer.convert_tokens_to_ids
    end, pad = token("<|im_end|>"), token("<|endoftext|>")
    ids = {"bos_token_id": pad, "eos_token_id": end, "pad_token_id": pad}
    text = {
        "vocab_size": -(-len(tokenizer) // 64) * 64,
        "hidden_size": 128,
        "intermediate_size": 320,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.08,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [4, 6, 6],
        },
        **ids,
    }
    vision = {
        "depth": 2,
        "embed_dim": 128,
        "hidden_size": text["hidden_size"],
        "num_heads": 4,
        "mlp_ratio": 2,
        "initializer_range": 0.08,
    }
    config = Qwen2VLConfig(
        architectures=["Qwen2VLForConditionalGeneration"],
        text_config=text,
        vision_config=vision,
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
        dtype="float32",
        **ids,
    )
    generation = GenerationConfig(
        do_sample=True,  # vLLM ignores do_sample; the best token alone is greedy in every engine
        temperature=0.1,
        top_k=1,
        bos_token_id=pad,
        pad_token_id=pad,
        eos_token_id=[end, pad],
    )
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    generation.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    speak_to_older_versions(folder / "tokenizer_config.json")
    save_processor(folder / "preprocessor_config.json")


def save_processor(path: Path) -> None:
    """Write how a picture becomes patches, in the words of the published Qwen2-VL."""
    settings = {
        "processor_class": "Qwen2VLProcessor",
        "image_processor_type": "Qwen2VLImageProcessor",
        "min_pixels": SIDE * SIDE,
        "max_pixels": SIDE * SIDE,
        "size": {"shortest_edge": SIDE * SIDE, "longest_edge": SIDE * SIDE},
        "patch_size": 14,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.25, 0.25, 0.25],
    }
    path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def save_samples(folder: Path, seed: int) -> None:
    """Draw one picture for each of SAMPLES, none of them seen in training."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SAMPLES:
        drawing = sample(name, rng)
        larger = Drawing(
            drawing.shape,
            drawing.colour,
            drawing.fill,
            *(length * 3 for length in (drawing.x, drawing.y, drawing.radius)),
            drawing.turn,
            (drawing.size[0] * 3, drawing.size[1] * 3),
            drawing.back,
        )
        larger.image().save(folder / f"{name.replace(' ', '-')}.png", optimize=True)


def sample(name: str, rng: random.Random) -> Drawing:
    """Return a held-out drawing of a colour and a shape."""
    while True:
        drawing = draw(rng, held_out=True)
        if f"{drawing.colour} {drawing.shape}" == name and drawing.size == (112, 112):
            return drawing


if __name__ == "__main__":
    main()
