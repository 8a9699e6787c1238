"""Count the tokens of every sample as a training would see them. Runs in LLaMA-Factory's own
environment and uses its converters, templates and processors, so that the figures are exact.

    python token_lengths.py lengths.json

Reads one sample at a time. Writes `artifacts/progress.jsonl` and `artifacts/lengths.json`:
lengths before cutting, how many would be cut, and the tokens that are learned after cutting. A
training that packs (as stage pt does unless told otherwise) cuts elsewhere, by blocks.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import sys
import time
from array import array
from pathlib import Path

from datasets import load_dataset
from llamafactory.data.converter import get_dataset_converter
from llamafactory.data.loader import _get_dataset_processor
from llamafactory.data.parser import get_dataset_list
from llamafactory.data.template import get_template_and_fix_tokenizer
from llamafactory.extras.constants import FILEEXT2TYPE, IGNORE_INDEX
from llamafactory.hparams import DataArguments, ModelArguments
from llamafactory.model import load_tokenizer

UNCUT = 1 << 30
LONGEST = 20
REFUSED = 100
NUM_BINS = 40
TOLD_EVERY_S = 0.5
STAGES = {"dpo": "rm"}
"""LLaMA-Factory reads the data of a DPO training as that of a reward model."""


class Counter:
    """Counts samples with one processor."""

    def __init__(self, settings: dict) -> None:
        model_args = ModelArguments(
            model_name_or_path=settings["model_name_or_path"],
            image_max_pixels=settings["image_max_pixels"],
        )
        self.data_args = DataArguments(
            template=settings["template"],
            dataset=settings["dataset"],
            dataset_dir=settings["dataset_dir"],
            cutoff_len=settings["cutoff_len"],
        )
        self.stage = STAGES.get(settings["stage"], settings["stage"])
        self.cutoff = settings["cutoff_len"]
        tokens = load_tokenizer(model_args)
        self.tokenizer = tokens["tokenizer"]
        template = get_template_and_fix_tokenizer(self.tokenizer, self.data_args)
        self.processor = _get_dataset_processor(
            self.data_args, self.stage, template, self.tokenizer, tokens.get("processor")
        )

    def count(self, sample: dict) -> tuple[int, int]:
        """Return tokens before cutting, and tokens learned after it; raise ValueError."""
        if self.stage == "pt":
            text = sample["_prompt"][0]["content"] + self.tokenizer.eos_token
            length = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            length += bool(getattr(self.tokenizer, "add_bos_token", False))
            return length, min(length, self.cutoff)
        answers = 1 if self.stage == "sft" else 2
        if len(sample["_prompt"]) % 2 != 1 or len(sample["_response"]) < answers:
            raise ValueError("roles or order: LLaMA-Factory would leave this sample out")
        length, learned = self.encode(sample, UNCUT)
        if length > self.cutoff:
            learned = self.encode(sample, self.cutoff)[1]
        return length, learned

    def encode(self, sample: dict, cutoff: int) -> tuple[int, int]:
        """Return length and learned tokens with a cutoff; of a pair the longer, and of both."""
        self.data_args.cutoff_len = cutoff
        given = {
            "prompt": sample["_prompt"],
            "response": sample["_response"],
            "system": sample["_system"],
            "tools": sample["_tools"],
            "images": sample["_images"] or [],
            "videos": sample["_videos"] or [],
            "audios": sample["_audios"] or [],
        }
        if self.stage == "kto":
            given["kl_response"] = sample["_response"]
        made = self.processor._encode_data_example(**given)
        if self.stage == "rm":
            chosen, chosen_labels, rejected, rejected_labels = made
            return max(len(chosen), len(rejected)), learned(chosen_labels) + learned(
                rejected_labels
            )
        return len(made[0]), learned(made[1])


def learned(labels: list[int]) -> int:
    """Return how many tokens count for the loss."""
    return sum(label != IGNORE_INDEX for label in labels)


def main() -> None:
    """Count, and write the figures."""
    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    began = time.monotonic()
    counter = Counter(settings)
    names = [name.strip() for name in settings["dataset"].split(",")]
    attributes = get_dataset_list(names, settings["dataset_dir"])
    paths = [os.path.join(settings["dataset_dir"], a.dataset_name) for a in attributes]
    totals = [total_of(path, settings["max_samples"]) for path in paths]
    lengths, kept, longest, refused = array("I"), 0, [], []
    done = num_refused = 0
    told_at = 0.0
    for name, attribute, path in zip(names, attributes, paths, strict=True):
        convert = get_dataset_converter(attribute.formatting, attribute, counter.data_args)
        kind = FILEEXT2TYPE[path.rpartition(".")[2]]
        samples = load_dataset(kind, data_files=[path], split="train", streaming=True)
        for row, sample in enumerate(samples, 1):
            if settings["max_samples"] and row > settings["max_samples"]:
                break
            done += 1
            try:
                length, labels = counter.count(convert(sample))
            except Exception as error:  # whatever LLaMA-Factory raises is the reason
                num_refused += 1
                if len(refused) < REFUSED:
                    reason = str(error).strip().splitlines()
                    refused.append(
                        {
                            "dataset": name,
                            "row": row,
                            "reason": (reason[0] if reason else type(error).__name__)[:200],
                        }
                    )
                continue
            lengths.append(length)
            kept += labels
            heapq.heappush(longest, (length, -row, name))
            if len(longest) > LONGEST:
                heapq.heappop(longest)
            if time.monotonic() - told_at > TOLD_EVERY_S:
                told_at = time.monotonic()
                tell(done, max(sum(totals), done))
    tell(done, done)
    figures = {
        "template": settings["template"],
        "stage": settings["stage"],
        "cutoff_len": settings["cutoff_len"],
        "datasets": names,
        **summary(lengths, settings["cutoff_len"]),
        "label_tokens": kept,
        "longest": [
            {"dataset": name, "row": -row, "tokens": length}
            for length, row, name in sorted(longest, reverse=True)
        ],
        "refused_count": num_refused,
        "refused": refused,
        "seconds": round(time.monotonic() - began, 2),
    }
    part = Path("artifacts/lengths.json.part")
    part.write_text(json.dumps(figures, ensure_ascii=False), encoding="utf-8")
    part.replace("artifacts/lengths.json")
    print(f"{figures['count']} samples, p50 {figures['p50']}, max {figures['max']} tokens")


def summary(lengths: array, cutoff: int) -> dict:
    """Return count, mean, percentiles (nearest rank), the share over the cutoff, and bins."""
    ordered = sorted(lengths)
    count = len(ordered)
    if not count:
        return {"count": 0, "total": 0, "mean": 0, "p50": 0, "p90": 0, "p99": 0, "min": 0} | {
            "max": 0,
            "num_cut": 0,
            "share_cut": 0.0,
            "bins": [],
        }
    rank = {f"p{p}": ordered[math.ceil(p / 100 * count) - 1] for p in (50, 90, 99)}
    num_cut = sum(length > cutoff for length in ordered)
    return {
        "count": count,
        "total": sum(ordered),
        "mean": round(sum(ordered) / count, 2),
        **rank,
        "min": ordered[0],
        "max": ordered[-1],
        "num_cut": num_cut,
        "share_cut": num_cut / count,
        "bins": bins(ordered),
    }


def bins(ordered: list[int]) -> list[dict]:
    """Return at most NUM_BINS bins of one round width; `from` belongs to a bin, `to` does not."""
    width = max(1, math.ceil((ordered[-1] + 1) / NUM_BINS))
    step = 10 ** max(0, len(str(width)) - 1)
    width = math.ceil(width / step) * step
    counts = [0] * (ordered[-1] // width + 1)
    for length in ordered:
        counts[length // width] += 1
    return [{"from": n * width, "to": (n + 1) * width, "count": c} for n, c in enumerate(counts)]


def total_of(path: str, most: int | None) -> int:
    """Return how many samples a file of lines has; 0 where only reading it would tell."""
    if not path.endswith(".jsonl"):
        return 0
    with open(path, "rb") as file:
        total = sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
    return min(total, most) if most else total


def tell(done: int, total: int) -> None:
    """Note how many samples are done."""
    with open("artifacts/progress.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"done": done, "total": total}) + "\n")


if __name__ == "__main__":
    main()
