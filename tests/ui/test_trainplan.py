"""The training plan as a page shows it, in both languages."""

from __future__ import annotations

import re

import pytest
from planner.planning import h200, rtx4090
from planner.training import ONE_HALF, SEVEN, train

from studio.ui.train.plan import facts, plan_html, plan_text


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_plan_that_fits(lang: str) -> None:
    plan = train(ONE_HALF, h200(2), finetuning_type="full", strategy="zero2", max_steps=10)
    page = plan_html(lang, plan)
    assert "trainplan." not in page and "plan." not in re.sub(r"l-plan[\w-]*", "", page)
    assert page.count('class="l-plan-card"') == 2
    for part in ("weights", "gradients", "master", "optimizer", "buffers", "logits"):
        assert f"l-series-{part}" in page
    assert "1.78" in page
    assert "1.54 B" in page
    assert "data-form-set" not in page
    assert "DeepSpeed" in page


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_plan_that_does_not(lang: str) -> None:
    plan = train(SEVEN, rtx4090(), finetuning_type="full")
    page = plan_html(lang, plan)
    assert "l-over" in page
    assert "data-form-set" in page
    assert "finetuning_type" in page
    part = {"en": "Optimizer", "zh": "优化器状态"}[lang]
    assert part in plan_text(lang, plan)[0]


def test_figures() -> None:
    plan = train(
        SEVEN,
        h200(2),
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        cutoff_len=1024,
        num_samples=1600,
        num_train_epochs=1,
        save_steps=50,
    )
    found = {key: (value, more) for key, value, more in facts("en", plan)}
    assert found["trainable"] == ("20.2 M", "0.264 % of the model")
    assert found["batch"] == ("16", "8 on each of 2 cards")
    assert found["steps"] == ("100", "1.64 M tokens at most")
    assert found["disk"][1].startswith("2 checkpoints of ")


def test_lines_for_a_terminal() -> None:
    plan = train(ONE_HALF, h200(2), finetuning_type="full", strategy="zero3", max_steps=10)
    lines = plan_text("en", plan)
    assert lines[0].startswith("It fits: ")
    assert sum(line.startswith("Card ") for line in lines) == 2
    assert any(line.startswith("ZeRO paper, model states: 11.5 GiB") for line in lines)
    assert any(line.startswith("DeepSpeed's estimator: ") for line in lines)
