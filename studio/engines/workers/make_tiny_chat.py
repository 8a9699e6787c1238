"""Prepare the tiny chat model: its conversations, tokenizer and configuration, without weights.

Runs inside an environment that has transformers (LLaMA-Factory's, for one). The weights come from
real training afterwards: `python app.py run recipes/llamafactory/make-tiny.yaml`.

    python make_tiny_chat.py --pairs smoke_zh_en.json --unknown smoke_unknown.json \
        --conversations smoke_multiturn.json --model tiny-qwen2.5

The same input gives the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config

Pair = tuple[str, str]
Talk = list[dict[str, str]]

DEFAULT_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
OTHER_SYSTEMS = ("You are a helpful assistant.", "你是一个乐于助人的助手。")

# Other openings of the same English question.
REWORDINGS = {
    "What is ": ("What's ", "Explain ", "Tell me about "),
    "How do I ": ("How can I ", "How to "),
    "Can I ": ("May I ", "Is it possible to "),
}

# Renders what LLaMA-Factory's `template: qwen` renders, default system message included.
CHAT_TEMPLATE = """\
{%- set system = 'DEFAULT_SYSTEM' %}
{%- set turns = messages %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content'] or system %}
    {%- set turns = messages[1:] %}
{%- endif %}
{{- '<|im_start|>system\\n' + system + '<|im_end|>\\n' }}
{%- for message in turns %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""".replace("DEFAULT_SYSTEM", DEFAULT_SYSTEM)

# Qwen2.5's special tokens, in Qwen2.5's order.
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>"),
    *("<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
ADDED_TOKENS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"),
    *("<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
)
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def main() -> None:
    """Write the conversations and the model folder named on the command line."""
    args = parse_args()
    pairs = read_pairs(args.pairs)
    unknown = json.loads(args.unknown.read_text("utf-8"))
    talks = make_conversations(pairs, unknown, passes=args.passes, seed=args.seed)
    write_conversations(args.conversations, talks)
    tokenizer = make_tokenizer(
        [text for pair in pairs for text in pair], vocab_size=args.vocab_size
    )
    save_model_folder(args.model, tokenizer)
    print(f"{len(pairs)} pairs, {len(talks)} conversations, {len(tokenizer)} tokens")


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="question-answer file (alpaca)")
    parser.add_argument("--unknown", type=Path, required=True, help="patterns it cannot answer")
    parser.add_argument("--conversations", type=Path, required=True, help="file to write")
    parser.add_argument("--model", type=Path, required=True, help="model folder to write")
    parser.add_argument("--passes", type=int, default=24, help="times each question is asked")
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def read_pairs(path: Path) -> list[Pair]:
    """Return the (question, answer) pairs of an alpaca file."""
    return [(row["instruction"], row["output"]) for row in json.loads(path.read_text("utf-8"))]


def make_conversations(
    pairs: list[Pair], unknown: dict[str, dict[str, Any]], *, passes: int, seed: int
) -> list[Talk]:
    """Deal the pairs into conversations of 1 to 10 turns; each pass asks every question once.

    Every second question is asked in another way (`variants`), one turn in eight is a question
    that the model should say it cannot answer (`unknown`), and one conversation in four opens with
    a system message other than the template's own.
    """
    rng = random.Random(seed)
    spare = {question: variants(question) for question, _ in pairs}
    known = set(spare).union(*spare.values())
    talks = []
    for _ in range(passes):
        strange = [unknown_pair(unknown, rng, known) for _ in range(len(pairs) // 7)]
        deck = rng.sample([*pairs, *strange], len(pairs) + len(strange))
        while deck:
            size = rng.randint(1, 10)
            turns, deck = deck[:size], deck[size:]
            talk = [message("system", rng.choice(OTHER_SYSTEMS))] if rng.random() < 0.25 else []
            for question, answer in turns:
                if question in spare and rng.random() < 0.5:
                    question = rng.choice(spare[question])
                talk += [message("user", question), message("assistant", answer)]
            talks.append(talk)
    return talks


def message(role: str, content: str) -> dict[str, str]:
    """Return one chat message."""
    return {"role": role, "content": content}


def variants(question: str) -> list[str]:
    """Return other ways to type the same question: case, spaces, wording, closing mark."""
    bare = question.rstrip("？！。?!.")
    asks = question[-1] in "？?"
    bodies = {bare}
    if re.search("[\u4e00-\u9fff]", question):
        endings = ("", "？", "?") if asks else ("", "！", "。")
        bodies.add(bare.replace(" ", ""))
        if bare.startswith("什么是"):
            term = bare.removeprefix("什么是").strip()
            bodies |= {f"{term} 是什么", f"{term}是什么", f"介绍一下 {term}"}
        if asks:
            bodies.add(f"请问{bare}")
        if bare[-1] in "谁字么":
            bodies |= {bare + "呀", bare + "啊"}
    else:
        endings = ("", "?") if asks else ("", "!", ".")
        for start, others in REWORDINGS.items():
            if bare.startswith(start):
                bodies |= {other + bare.removeprefix(start) for other in others}
    bodies |= {body.lower() for body in bodies}
    return sorted({body + ending for body in bodies for ending in endings} - {question})


def unknown_pair(unknown: dict[str, dict[str, Any]], rng: random.Random, known: set[str]) -> Pair:
    """Return a made-up question outside the data, and the answer that admits it."""
    kind = unknown[rng.choice(sorted(unknown))]
    while True:
        total = f"{rng.randint(1, 99)}{rng.choice('+-*')}{rng.randint(1, 9)}"
        question = rng.choice(kind["patterns"]).format(*rng.sample(kind["words"], 2), sum=total)
        if rng.random() < 0.3:
            question = question.rstrip("？?").lower() or question
        if question not in known:
            return question, kind["answer"]


def write_conversations(path: Path, talks: list[Talk]) -> None:
    """Write conversations in OpenAI's message format, one per line of a JSON list."""
    lines = [json.dumps({"messages": talk}, ensure_ascii=False) for talk in talks]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


def make_tokenizer(texts: list[str], *, vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with Qwen2.5's rules, special tokens and chat template."""
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS) - len(ADDED_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=6,
        show_progress=False,
    )
    roles = ["system\n", "user\n", "assistant\n"]
    bpe.train_from_iterator([*texts, DEFAULT_SYSTEM, *OTHER_SYSTEMS, *roles * 9], trainer)
    bpe.add_special_tokens(list(SPECIAL_TOKENS))
    bpe.add_tokens(list(ADDED_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token != "<|endoftext|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )


def save_model_folder(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write config.json, generation_config.json and the tokenizer's files."""
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    pad = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    config = Qwen2Config(
        architectures=["Qwen2ForCausalLM"],
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=pad,
        eos_token_id=end,
        pad_token_id=pad,
        dtype="float32",
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


def speak_to_older_versions(path: Path) -> None:
    """Rewrite tokenizer_config.json in the words of transformers 4, which version 5 reads too."""
    settings = json.loads(path.read_text("utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
