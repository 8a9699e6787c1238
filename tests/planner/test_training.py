"""Trainings by known answers: parameters, states, steps, disk, host, and why one does not fit."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from planner.planning import GIB, TINY, h200, rtx4090, v100
from planner.training import HALF, ONE_HALF, SEVEN, counted, train

from studio.core.spec import Training
from studio.planner.result import CardMemory
from studio.planner.training_result import TrainingPlan
from studio.planner.training_states import Counts, deepspeed, paper, zero_paper

GB = 10**9


# parameters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "asked", "trainable"),
    [
        (SEVEN, {}, 20_185_088),
        (HALF, {}, 4_399_104),
        (HALF, {"lora_rank": 16}, 8_798_208),
        (SEVEN, {"lora_target": "q_proj,v_proj"}, 28 * 8 * (2 * 3584 + 3584 + 512)),
        (SEVEN, {"finetuning_type": "full"}, 7_615_616_512),
        (ONE_HALF, {"finetuning_type": "full"}, 1_543_714_304),
    ],
)
def test_trainable_parameters(model: str, asked: dict[str, Any], trainable: int) -> None:
    assert counted(model, **asked).trainable == trainable


def test_dora_adds_one_number_for_every_output() -> None:
    outputs = 28 * (3584 + 2 * 512 + 3584 + 2 * 18944 + 3584)
    assert counted(SEVEN, use_dora=True).trainable == 20_185_088 + outputs


def test_freeze_trains_the_last_layers_alone() -> None:
    two = counted(HALF, finetuning_type="freeze", freeze_trainable_layers=2)
    layer = (counted(HALF, finetuning_type="full").trainable - 151_936 * 896 - 896) // 24
    assert two.trainable == 2 * layer
    assert (
        counted(HALF, finetuning_type="freeze", freeze_trainable_layers=-2).trainable == 2 * layer
    )


def test_the_vision_tower_is_kept_unless_asked() -> None:
    model = "Qwen/Qwen2-VL-7B-Instruct"
    assert counted(model, finetuning_type="full").trainable == 8_291_375_616 - 675_759_104
    free: dict[str, Any] = {"freeze_vision_tower": False, "freeze_multi_modal_projector": False}
    assert counted(model, finetuning_type="full", **free).trainable == 8_291_375_616
    assert counted(model).trainable == 20_185_088


def test_packed_weights() -> None:
    """NF4: half a byte and a scale for 64 numbers; embedding and head stay as they are."""
    linear = 7_615_616_512 - 2 * 152_064 * 3584
    plain = counted(SEVEN, quantization_bit=4, double_quantization=False).frozen_bytes
    double = counted(SEVEN, quantization_bit=4).frozen_bytes
    eight = counted(SEVEN, quantization_bit=8).frozen_bytes
    heads = 2 * 2 * 152_064 * 3584
    assert plain - heads == pytest.approx(linear * (0.5 + 4 / 64), rel=0.001)
    assert double - heads == pytest.approx(linear * (0.5 + 1 / 64), rel=0.002)
    assert eight - heads == pytest.approx(linear, rel=0.002)


# states ------------------------------------------------------------------------------------------


def of_size(total: int, largest: int = 0) -> Counts:
    """Return a model all of whose parameters are trained."""
    return Counts(
        total=total,
        trainable=total,
        added=0,
        frozen_bytes=0,
        cast=total,
        embedding=largest,
        tied=True,
        second_embedding_gradient=True,
        largest=largest,
        block=0,
        trained_layers=1,
    )


@pytest.mark.parametrize(
    ("stage", "gb"), [("ddp", 120), ("zero1", 31.4), ("zero2", 16.6), ("zero3", 1.9)]
)
def test_the_example_of_the_zero_paper(stage: str, gb: float) -> None:
    """Figure 1: 7.5 billion parameters on 64 cards."""
    need = Training.model_validate(
        {"model": "", "finetuning_type": "full", "strategy": stage, "num_processes": 64}
    )
    assert paper(need, of_size(7_500_000_000)).card_bytes / GB == pytest.approx(gb, abs=0.05)


def test_two_cards_save_no_more_than_the_paper_says() -> None:
    assert 16 / zero_paper(2, 2)[0] == pytest.approx(1.78, abs=0.003)
    assert 16 / zero_paper(2, 7)[0] == 4
    assert 16 / zero_paper(2, 8)[0] > 4


@pytest.mark.parametrize(
    ("strategy", "offload", "card", "host"),
    [
        ("zero2", "none", 2 + 9, 4 * 2 * 1.5),
        ("zero2", "optimizer", 2, 16 * 1.5),
        ("zero3", "none", 0.4 + 9, 0.1 * 4 * 2 * 1.5),
        ("zero3", "optimizer", 0.4 + 1, 16 * 1.5),
        ("zero3", "all", 0.4, 18 * 1.5),
    ],
)
def test_deepspeeds_own_estimates(strategy: str, offload: str, card: float, host: float) -> None:
    """Per parameter on two cards of one node, the largest module a tenth of all."""
    asked = {"finetuning_type": "full", "strategy": strategy, "offload": offload}
    need = Training.model_validate({"model": "", "num_processes": 2, **asked})
    found = deepspeed(need, of_size(GB, largest=GB // 10))
    assert found is not None
    assert found.card_bytes / GB == pytest.approx(card)
    assert found.host_bytes / GB == pytest.approx(host)


def test_deepspeed_estimates_neither_stage_1_nor_lora() -> None:
    assert (
        deepspeed(Training(model="", finetuning_type="full", strategy="zero1"), of_size(1)) is None
    )
    assert (
        deepspeed(Training(model="", finetuning_type="lora", strategy="zero2"), of_size(1)) is None
    )


def test_one_card_holds_sixteen_bytes_of_states_per_parameter() -> None:
    plan = train(ONE_HALF, h200(), finetuning_type="full")
    assert plan.states_bytes == 16 * 1_543_714_304
    assert train(ONE_HALF, h200(), finetuning_type="full", precision="pure_bf16").states_bytes == (
        8 * 1_543_714_304
    )


def test_ddp_keeps_the_gradients_twice() -> None:
    card = train(ONE_HALF, h200(2), finetuning_type="full").cards[0]
    assert card.of("buffers") >= card.of("gradients") == 4 * 1_543_714_304


def test_offload_moves_the_states_to_the_host() -> None:
    asked: dict[str, Any] = {"finetuning_type": "full", "strategy": "zero2"}
    kept = train(ONE_HALF, h200(2), **asked)
    moved = train(ONE_HALF, h200(2), **asked, offload="optimizer")
    assert moved.peak_bytes < kept.peak_bytes
    assert 18 * 1_543_714_304 < moved.offload_bytes < 26 * 1_543_714_304
    assert moved.host_bytes - kept.host_bytes == moved.offload_bytes
    nvme = train(
        ONE_HALF, h200(2), **{**asked, "strategy": "zero3"}, offload="all", offload_nvme=True
    )
    assert nvme.host_bytes == kept.host_bytes
    assert ("nvme", {"offload_bytes": nvme.offload_bytes}) in nvme.notes


# length and disk ---------------------------------------------------------------------------------


def test_steps_and_tokens() -> None:
    """1000 samples, 2 x 4 on two cards: 500 batches each... 250 a card, 63 updates an epoch."""
    asked: dict[str, Any] = {
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "cutoff_len": 512,
        "num_train_epochs": 3,
    }
    plan = train(HALF, h200(2), **asked, num_samples=1000)
    assert plan.effective_batch == 16
    assert plan.steps == 189
    assert plan.tokens_per_step == 16 * 512
    assert plan.tokens == 189 * 16 * 512
    assert train(HALF, h200(2), **asked, num_samples=1000, max_steps=20).steps == 20
    assert train(HALF, h200(2), **asked).steps is None
    assert train(HALF, h200(2), **asked, num_samples=1000, packing=True).steps is None


def test_a_preference_pair_counts_twice() -> None:
    one = train(HALF, h200(), stage="sft", cutoff_len=512)
    two = train(HALF, h200(), stage="dpo", cutoff_len=512)
    assert two.tokens_per_step == 2 * one.tokens_per_step


def test_checkpoints_on_disk() -> None:
    size = 1_543_714_304
    asked: dict[str, Any] = {"finetuning_type": "full", "max_steps": 100, "save_steps": 20}
    disk = train(ONE_HALF, h200(), **asked).disk
    assert (disk.num_checkpoints, disk.checkpoint_bytes, disk.result_bytes) == (
        5,
        12 * size,
        4 * size,
    )
    kept = train(ONE_HALF, h200(), **asked, save_total_limit=2).disk
    assert kept.num_checkpoints == 3
    light = train(ONE_HALF, h200(), **asked, save_only_model=True).disk
    assert light.checkpoint_bytes == light.result_bytes
    zero = train(ONE_HALF, h200(2), **asked, strategy="zero2").disk
    assert (zero.checkpoint_bytes, zero.result_bytes) == (16 * size, 2 * size)
    assert train(ONE_HALF, h200(), finetuning_type="full", max_steps=100).disk.num_checkpoints == 0


def test_a_full_disk_is_seen_before_it_happens() -> None:
    asked: dict[str, Any] = {
        "finetuning_type": "full",
        "strategy": "zero3",
        "max_steps": 100,
        "save_steps": 10,
    }
    plan = train(SEVEN, h200(4), **asked, disk_free=500 * GIB)
    assert (plan.fits, plan.reason) == (False, "disk")
    assert plan.values["checkpoints"] == 10
    limits = [advice.changes for advice in plan.advice]
    assert {"save_total_limit": 2} in limits
    assert train(SEVEN, h200(4), **asked, save_total_limit=2, disk_free=500 * GIB).fits


# verdicts ----------------------------------------------------------------------------------------


def test_a_24_gb_card_and_full_training_of_7b() -> None:
    plan = train(SEVEN, rtx4090(), finetuning_type="full", cutoff_len=1024)
    assert (plan.fits, plan.reason) == (False, "memory")
    assert plan.values["card"] == 0
    assert plan.values["part"] == "optimizer"
    assert plan.cards[0].over_bytes > 0
    assert any(advice.changes == {"finetuning_type": "lora"} for advice in plan.advice)


def test_advice_is_only_what_fits() -> None:
    """Every piece is planned again as a form would set it; there are singles or pairs, few."""
    asked: dict[str, Any] = {
        "finetuning_type": "full",
        "per_device_train_batch_size": 8,
        "cutoff_len": 4096,
    }
    names = {
        "disable_gradient_checkpointing": ("gradient_checkpointing", lambda off: not off),
        "enable_liger_kernel": ("liger_kernel", bool),
    }
    for cards in (rtx4090(), rtx4090(2), h200()):
        for model in (HALF, ONE_HALF, SEVEN):
            plan = train(model, cards, num_processes=1, **asked)
            if plan.fits:
                continue
            assert plan.advice, (model, len(cards))
            for advice in plan.advice:
                changes = {}
                for name, value in advice.changes.items():
                    other, turn = names.get(name, (name, lambda same: same))
                    changes[other] = turn(value)
                assert train(model, cards, **{"num_processes": 1, **asked, **changes}).fits, advice


def test_an_idle_card_is_named_first() -> None:
    busy = h200(1, used=130 * GIB)
    spare = [*busy, *[card for card in h200(2) if card.index == 1]]
    plan = train(SEVEN, busy, spare=spare)
    assert plan.reason == "others"
    assert plan.advice[0].key == "cards"
    assert plan.advice[0].changes == {"cards": [1]}


def test_a_smaller_batch_keeps_the_effective_one() -> None:
    plan = train(SEVEN, rtx4090(), per_device_train_batch_size=4, cutoff_len=1024)
    assert not plan.fits
    first = plan.advice[0]
    assert first.key == "batch"
    size = first.changes["per_device_train_batch_size"]
    assert size * first.changes["gradient_accumulation_steps"] == 4


@pytest.mark.parametrize(
    ("asked", "cards", "reason"),
    [
        ({"num_processes": 4}, rtx4090(2), "cards"),
        ({"finetuning_type": "full", "quantization_bit": 4}, h200(), "packed"),
        ({"precision": "pure_bf16", "strategy": "zero3"}, h200(2), "pure_bf16"),
        ({"strategy": "ddp", "offload": "optimizer"}, h200(2), "offload"),
        ({"strategy": "zero2", "offload": "all"}, h200(2), "offload_all"),
        ({"precision": "bf16"}, v100(), "bfloat16"),
    ],
)
def test_what_cannot_be(asked: dict[str, Any], cards: list[CardMemory], reason: str) -> None:
    plan = train(HALF, cards, **asked)
    assert (plan.fits, plan.reason) == (False, reason)
    assert plan.advice


def test_a_small_host_refuses_offload() -> None:
    asked: dict[str, Any] = {"finetuning_type": "full", "strategy": "zero3", "offload": "all"}
    plan = train(SEVEN, h200(2), **asked, host_free=64 * GIB)
    assert plan.reason == "host"
    assert plan.values["need_bytes"] > 128 * GIB
    assert all("offload" in advice.changes for advice in plan.advice)


def test_too_many_processes_are_cut_to_the_cards_there_are() -> None:
    plan = train("Qwen/Qwen2.5-32B", rtx4090(2), num_processes=8, strategy="zero3")
    assert plan.reason == "cards"
    assert plan.advice
    assert all(advice.changes["num_processes"] == 2 for advice in plan.advice)


def test_of_an_imagined_machine_only_the_cards_are_known() -> None:
    asked: dict[str, Any] = {"finetuning_type": "full", "strategy": "zero3", "offload": "all"}
    small: dict[str, Any] = {"host_free": 8 * GIB, "disk_free": GIB}
    assert train(SEVEN, h200(2), **asked, **small).reason == "host"
    assert train(SEVEN, h200(2), **asked, **small, imagined=True).fits


def test_on_a_cpu_everything_lies_in_host_memory() -> None:
    plan = train(TINY, [], precision="fp32", on_cpu=True, cutoff_len=64)
    assert plan.reason == "fits_host"
    assert plan.cards[0].card is None
    assert plan.host_bytes == plan.peak_bytes < GIB
    two = train(TINY, [], precision="fp32", on_cpu=True, cutoff_len=64, num_processes=2)
    assert plan.host_bytes * 1.9 < two.host_bytes


def test_zero_says_what_it_brings() -> None:
    full = dict(train(ONE_HALF, h200(2), finetuning_type="full", strategy="zero2").notes)
    assert full["zero_saves_little"]["ratio"] == 1.78
    assert full["zero_saves_little"]["alone_bytes"] == 16 * 1_543_714_304
    eight = dict(train(ONE_HALF, h200(8), finetuning_type="full", strategy="zero2").notes)
    assert eight["zero_saves"]["ratio"] > 4
    lora = dict(train(SEVEN, h200(2), strategy="zero2").notes)
    assert lora["zero_frozen"]["frozen_bytes"] == 2 * 7_615_616_512
    assert "zero_alone" in dict(train(SEVEN, h200(1), strategy="zero2").notes)


def test_plan_goes_to_disk_and_back() -> None:
    plan = train(SEVEN, rtx4090(2), finetuning_type="full", strategy="zero3", save_steps=10)
    assert TrainingPlan.model_validate_json(json.dumps(plan.model_dump(mode="json"))) == plan


# order -------------------------------------------------------------------------------------------

CHOICES: dict[str, list[Any]] = {
    "finetuning_type": ["full", "lora", "freeze"],
    "strategy": ["ddp", "zero1", "zero2", "zero3", "fsdp2"],
    "per_device_train_batch_size": list(range(1, 9)),
    "cutoff_len": [256, 1024, 4096],
    "stage": ["pt", "sft", "rm", "dpo", "kto"],
    "precision": ["bf16", "fp32"],
    "gradient_checkpointing": [True, False],
    "liger_kernel": [False, False, True],
}


def some(count: int) -> list[dict[str, Any]]:
    """Return trainings of all kinds, the same ones every time."""
    dice = random.Random(7)
    return [{name: dice.choice(of) for name, of in CHOICES.items()} for _ in range(count)]


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_more_never_needs_less(ranks: int) -> None:
    """A longer or larger batch takes no less; another card no more where states are dealt out."""
    for asked in some(40):
        here = train(HALF, h200(ranks), **asked)
        longer = {**asked, "cutoff_len": asked["cutoff_len"] * 2}
        larger = {**asked, "per_device_train_batch_size": asked["per_device_train_batch_size"] + 1}
        for more in (longer, larger):
            assert here.peak_bytes <= train(HALF, h200(ranks), **more).peak_bytes, (asked, more)
        if asked["strategy"] != "ddp":
            wider = train(HALF, h200(ranks + 1), **asked)
            assert wider.peak_bytes <= here.peak_bytes, asked


def test_parts_add_up() -> None:
    """Every card is told apart to the byte; no part is below zero."""
    for asked in some(40):
        for card in train(ONE_HALF, h200(2), **asked).cards:
            assert all(part.bytes >= 0 for part in card.parts)
            assert sum(part.bytes for part in card.parts) == card.total_bytes + card.over_bytes
