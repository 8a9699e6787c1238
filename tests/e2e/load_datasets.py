"""Load data sets with LLaMA-Factory's own training code and print what it made of them.

Runs in LLaMA-Factory's environment: `python load_datasets.py asked.json told.json`. Each item asked
for is a set of LLaMA-Factory arguments; each item told has the tokens and the learned tokens of
every sample, in order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer

told = []
for number, asked in enumerate(json.loads(Path(sys.argv[1]).read_text())):
    args = {
        "do_train": True,
        "finetuning_type": "lora",
        "output_dir": f"out{number}",
        "use_cpu": True,
        "report_to": "none",
        "overwrite_cache": True,
        "packing": False,
        **asked,
    }
    model_args, data_args, training_args, finetuning_args, _ = get_train_args(args)
    tokens = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(tokens["tokenizer"], data_args)
    stage = {"dpo": "rm"}.get(finetuning_args.stage, finetuning_args.stage)
    module = get_dataset(template, model_args, data_args, training_args, stage=stage, **tokens)
    rows = list(module["train_dataset"])
    ids = [key for key in ("input_ids", "chosen_input_ids", "rejected_input_ids") if key in rows[0]]
    labels = [key for key in ("labels", "chosen_labels", "rejected_labels") if key in rows[0]]
    told.append(
        {
            "lengths": [max(len(row[key]) for key in ids) for row in rows],
            "learned": sum(
                sum(label != -100 for label in row[key]) for row in rows for key in labels or ids
            ),
        }
    )
Path(sys.argv[2]).write_text(json.dumps(told))
