"""From a launch's settings to its plan, kept with the run, printed, and compared afterwards."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import spec
from planner.planning import GIB, MIB, TINY, h200, rtx4090
from planner.training import SEVEN, train

from studio.core.errors import RecipeInvalid
from studio.core.settings import Settings
from studio.core.spec import State
from studio.jobs.jobs import Run
from studio.jobs.rundir import RunDir
from studio.planner.measured import compare, read_plan
from studio.planner.result import CardMemory
from studio.planner.training_result import TrainingPlan
from studio.studio import Launch, Studio
from studio.ui.forms.work import Asked
from studio.ui.plan.planning import MachinePlans
from studio.ui.plan.view import compared
from studio.ui.train.plan import plan_html

SMALL = {
    "model_name_or_path": TINY,
    "finetuning_type": "full",
    "template": "qwen",
    "dataset": "smoke_zh_en",
    "use_cpu": True,
    "cutoff_len": 128,
    "max_steps": 12,
    "save_steps": 5,
}


@pytest.fixture
def studio(settings: Settings) -> Studio:
    return Studio(settings)


def ask(cards: Any = None, **changes: Any) -> Launch:
    settings = {**SMALL, **changes}
    return Launch(engine="llamafactory-train", settings=settings, cards=cards)


def test_settings_become_a_plan(studio: Studio) -> None:
    plan = studio.training_plan(ask(per_device_train_batch_size=4, gradient_accumulation_steps=2))
    assert plan is not None
    assert plan.reason == "fits_host"
    assert plan.trainable == plan.params == 1_706_240
    assert (plan.effective_batch, plan.steps) == (8, 12)
    assert plan.tokens_per_step == 8 * 128
    assert plan.disk.num_checkpoints == 3
    assert studio.training_plan(Launch(engine="vllm", settings={"model": TINY})) is None


def test_cards_to_think_of(studio: Studio) -> None:
    asked = ask(model_name_or_path=SEVEN, use_cpu=False, bf16=True, finetuning_type="lora")
    alone = studio.training_plan(asked, rtx4090(2))
    assert alone is not None and (len(alone.cards), alone.num_processes) == (1, 1)
    both = {**asked.settings, "num_processes": 2, "strategy": "zero3"}
    two = studio.training_plan(Launch(engine="llamafactory-train", settings=both), h200(2))
    assert two is not None and [card.card for card in two.cards] == [0, 1]


def test_disk_and_host_memory_count_on_ones_own_machine_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(studio.settings.home)._replace(free=2**30)
    monkeypatch.setattr("studio.plans.shutil.disk_usage", lambda path: full)
    roomy = CardMemory(index=-1, name="host", total_bytes=2**38, used_bytes=0)
    monkeypatch.setattr("studio.planner.training.host_memory", lambda *_: roomy)
    asked = ask(model_name_or_path=SEVEN, use_cpu=False, bf16=True, num_processes=2)
    asked = replace(asked, settings={**asked.settings, "strategy": "zero3"})
    thought, own = (studio.training_plan(asked, h200(2), own=own) for own in (False, True))
    assert thought is not None and thought.reason == "fits"
    assert own is not None and own.reason == "disk" and own.values["have_bytes"] == 2**30
    small = CardMemory(index=-1, name="host", total_bytes=2**33, used_bytes=0)
    monkeypatch.setattr("studio.planner.training.host_memory", lambda *_: small)
    offloaded = replace(asked, settings={**asked.settings, "offload": "all"})
    thought, own = (studio.training_plan(offloaded, h200(2), own=own) for own in (False, True))
    assert thought is not None and thought.reason == "fits"
    assert own is not None and own.reason == "host"


def test_the_plan_is_told_with_the_facts(studio: Studio) -> None:
    known = studio.plan(ask())
    assert "serving" not in known
    plan = TrainingPlan.model_validate(known["training"])
    assert plan.model == TINY
    with pytest.raises(RecipeInvalid):
        studio.plan(ask(strategy="ddp", offload="optimizer"))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_tab_draws_it(studio: Studio, lang: str) -> None:
    plans = MachinePlans(studio, studio.training_plan, plan_html)
    here, far = ask(), ask(model_name_or_path=SEVEN, use_cpu=False, bf16=True)
    asked = Asked(engine="llamafactory-train", settings=dict(SMALL))
    assert plans.draw(lang, here, asked, "").fits
    thought = plans.draw(lang, far, asked, "1x4090")
    assert "RTX 4090" in thought.html and "l-over" in thought.html
    assert thought.fits, "a machine one only thinks of never blocks a launch here"
    unknown = plans.draw(lang, ask(model_name_or_path="some/body"), asked, "")
    assert "some/body" in unknown.html and "l-note" in unknown.html


def test_planned_beside_measured(tmp_path: Path) -> None:
    plan = train(SEVEN, h200(), max_steps=100, save_steps=50)
    (tmp_path / "plan.json").write_text(json.dumps(plan.model_dump(mode="json")))
    (tmp_path / "log.txt").write_text(
        "[INFO] trainable params: 20,185,088 || all params: 7,635,801,600 || trainable%: 0.2643\n"
    )
    output = tmp_path / "artifacts" / "output"
    saved = output / "checkpoint-50"
    saved.mkdir(parents=True)
    (saved / "adapter_model.safetensors").write_bytes(bytes(80 * MIB))
    (saved / "trainer_state.json").write_text("{}")
    (output / "trainer_log.jsonl").write_text('{"current_steps": 5, "total_steps": 100}\n')
    metrics = [
        {"host_bytes": 3 * GIB, "gpu_bytes": {"0": 20 * GIB}},
        {"host_bytes": 2 * GIB, "gpu_bytes": {"0": 25 * GIB}},
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, metrics)))
    run = RunDir(tmp_path)
    kept = read_plan(run)
    assert kept == plan
    found = compare(plan, run)
    assert found is not None
    measured = {row.what: row.measured for row in found.rows}
    assert measured == {
        "peak_bytes": 25 * GIB,
        "host_bytes": 3 * GIB,
        "trainable": 20_185_088,
        "steps": 100,
        "checkpoint_bytes": 80 * MIB + 2,
    }
    assert found.rows[0].planned == plan.peak_bytes
    launched = Run(spec=spec("training"), state=State.DONE, dir=run, result=None)
    for lang, word in (("en", "Trained parameters"), ("zh", "训练的参数")):
        page = compared(lang, launched)
        assert word in page and "25.0 GiB" in page and "trainplan." not in page
    exact = [row for row in found.rows if row.what in ("trainable", "steps")]
    assert all(row.error == 0 for row in exact)
