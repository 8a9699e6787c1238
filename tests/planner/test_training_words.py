"""Everything a training plan says has its words in both languages, and no word is left over."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from planner.planning import GIB, h200, rtx4090, v100
from planner.test_training import some
from planner.training import HALF, ONE_HALF, SEVEN, train

from studio.core.settings import ROOT
from studio.planner.training_result import TRAINED, TrainingPlan
from studio.ui.i18n import read_words

FOLDER = ROOT / "assets" / "locales"
WORDS = {
    lang: read_words(FOLDER / lang / "trainplan.yaml") | read_words(FOLDER / lang / "plan.yaml")
    for lang in ("en", "zh")
}


def plans() -> list[TrainingPlan]:
    """Plans of all kinds: what fits, what does not, and every refusal."""
    full: dict[str, Any] = {"finetuning_type": "full", "save_steps": 10, "max_steps": 100}
    made = [train(model, cards, **asked) for asked in some(15) for model, cards in (
        (HALF, h200(2)), (SEVEN, rtx4090(2)), (SEVEN, h200(8)), (ONE_HALF, rtx4090()),
    )]  # fmt: skip
    made += [
        train(SEVEN, h200(2), **full, strategy="zero3", offload="all", host_free=64 * GIB),
        train(SEVEN, h200(2), **full, strategy="zero3", offload="all", offload_nvme=True),
        train(SEVEN, h200(4), **full, strategy="zero3", disk_free=300 * GIB),
        train(SEVEN, h200(1, used=130 * GIB), spare=h200(2)),
        train(HALF, rtx4090(2), num_processes=4),
        train(HALF, h200(), finetuning_type="full", quantization_bit=4),
        train(HALF, h200(2), precision="pure_bf16", strategy="zero3"),
        train(HALF, h200(2), offload="optimizer"),
        train(HALF, h200(2), strategy="zero2", offload="all"),
        train(HALF, v100()),
        train(HALF, [], on_cpu=True),
        train(HALF, h200(), packing=True, needs_reference=True, cutoff_len=2**18),
        train(HALF, h200(), lora_rank=512),
        train(HALF, h200(), strategy="zero1"),
        train("Qwen/Qwen2.5-14B", rtx4090(), cutoff_len=512),
    ]
    return made


def said(plan: TrainingPlan) -> list[tuple[str, dict[str, Any]]]:
    """Every sentence of a plan."""
    return [
        (f"trainplan.reason.{plan.reason}", plan.values),
        *((f"trainplan.advice.{a.key}", a.values) for a in plan.advice),
        *((f"trainplan.note.{key}", values) for key, values in plan.notes),
    ]


@pytest.fixture(scope="module")
def spoken() -> list[tuple[str, dict[str, Any]]]:
    return [pair for plan in plans() for pair in said(plan)]


@pytest.mark.parametrize("lang", WORDS)
def test_every_case_can_be_said(lang: str, spoken: list[tuple[str, dict[str, Any]]]) -> None:
    for key, values in spoken:
        asked = {name for _, name, _, _ in string.Formatter().parse(WORDS[lang][key]) if name}
        assert asked <= values.keys(), key
    assert {f"plan.part.{kind}" for kind in TRAINED} <= WORDS[lang].keys()


def test_no_word_is_left_over() -> None:
    source = "".join(path.read_text() for path in Path(ROOT, "studio/planner").glob("*.py"))
    source += Path(ROOT, "studio/ui/train/plan.py").read_text()
    source += Path(ROOT, "studio/core/spec.py").read_text()
    for key in read_words(FOLDER / "en" / "trainplan.yaml"):
        last = key.rpartition(".")[2]
        assert f'"{last}"' in source or f".{last}" in source or f" {last}:" in source, key


def test_most_sentences_were_heard(spoken: list[tuple[str, dict[str, Any]]]) -> None:
    heard = {key for key, _ in spoken}
    asked = {
        key
        for key in read_words(FOLDER / "en" / "trainplan.yaml")
        if key.split(".")[1] in ("reason", "note", "advice")
    }
    silent = {
        "trainplan.note.published",  # below: the shapes of these tests are not on this machine
        "trainplan.note.from_config",
    }
    assert asked - heard <= silent | {f"trainplan.advice.{key}" for key in RARE}


RARE = {"gradient_checkpointing", "num_processes", "save_only_model", "save_steps", "qlora"}
"""Advice that comes last, so that it is seldom among the few that are offered."""
