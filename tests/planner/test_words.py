"""Everything a plan says has its words in both languages, with the values those words ask for."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from planner.planning import GIB, h200, plan, plan_again, rtx4090
from planner.test_advice import CASES

from studio.core.settings import ROOT
from studio.core.spec import Serving
from studio.planner.result import OWN, ServingPlan
from studio.ui.i18n import read_words

WORDS = {
    lang: read_words(ROOT / "assets" / "locales" / lang / "plan.yaml") for lang in ("en", "zh")
}
SEVEN = "Qwen/Qwen2.5-7B-Instruct"


def said(p: ServingPlan) -> list[tuple[str, dict]]:
    """Every sentence of a plan."""
    return [
        (f"plan.reason.{p.reason}", p.values),
        *((f"plan.advice.{a.key}", a.values) for a in p.advice),
        *((f"plan.note.{key}", values) for key, values in p.notes),
    ]


@pytest.mark.parametrize("lang", WORDS)
def test_every_case_can_be_said(lang: str) -> None:
    plans = [
        plan_again(Serving(model=model, **settings), cards, host_free=8 * GIB)
        for model, cards, settings in CASES.values()
    ]
    plans += [
        plan(SEVEN, h200(), draft_model="some/body", gpu_memory_utilization=0.96),
        plan(SEVEN, rtx4090(), backend="hf"),
        plan(SEVEN, rtx4090(), backend="sglang", gpu_memory_utilization=0.99),
        plan_again(Serving(model=SEVEN), h200(), disk_free=GIB),
    ]
    for p in plans:
        for key, values in said(p):
            asked = {name for _, name, _, _ in string.Formatter().parse(WORDS[lang][key]) if name}
            assert asked <= values.keys(), key


@pytest.mark.parametrize("lang", WORDS)
def test_every_key_in_the_source_has_words(lang: str) -> None:
    rules = (ROOT / "studio/planner/rules.py").read_text()
    serving = (ROOT / "studio/planner/serving.py").read_text()
    reasons = set(re.findall(r'yield \(?\s*"(\w+)",? ', rules)) | {"fits"}
    notes = set(re.findall(r'append\(\("(\w+)"', serving))
    assert len(reasons) > 10
    assert len(notes) > 5
    keys = {f"plan.reason.{key}" for key in reasons} | {f"plan.note.{key}" for key in notes}
    keys |= {f"plan.part.{kind}" for kind in (*OWN, "other", "free")}
    assert keys <= WORDS[lang].keys()


def test_no_word_is_left_over() -> None:
    source = "".join(path.read_text() for path in Path(ROOT, "studio/planner").glob("*.py"))
    for key in WORDS["en"]:
        assert f'"{key.rpartition(".")[2]}' in source or key.startswith("plan.advice."), key
